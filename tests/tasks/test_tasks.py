import hashlib
import json

import numpy as np
import pytest
import tensorflow as tf
from helpers import ROOT, SMOKE, contents, copied, pixels, run, sentence
from PIL import Image
from skimage import filters
from task_commands import HEIGHT, TASKS, WIDTH, call, command

import singan_tf
from singan_tf import images
from singan_tf.measure import quality
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import painting
from singan_tf.tasks.inputs import injection_scales
from singan_tf.tasks.task import Task


@pytest.mark.parametrize("name", TASKS)
def test_a_task_leaves_results_sheet_and_call_and_the_run_as_it_was(
    capsys, tmp_path, finished, inputs, name
):
    before = contents(finished)
    output = tmp_path / "out"
    status, out, error = run(capsys, *command(name, finished, inputs, output))
    assert status == 0, error
    assert str(output / "contact_sheet.png") in out
    assert contents(finished) == before
    names = {path.name for path in output.iterdir()}
    scales = {f"scale_{n:02d}.png" for n in (1, 2)}
    blended = {f"scale_{n:02d}_blended.png" for n in (1, 2)} | {"mask.png"}
    expected = {
        "sample": {"seed_000000.png", "seed_000001.png"},
        "outpaint": {"seed_000000.png", "seed_000001.png"},
        "tile": {"seed_000000.png", "seed_000001.png"},
        "transfer": {"input.png", "input_matched.png", "scale_01.png"},
        "super_resolve": {"super_resolved.png", "bicubic.png"},
        "paint": {"input.png"} | scales,
        "animate": {"animation.webp", "animation.gif"},
    }.get(name, {"input.png"} | scales | blended)
    names.discard("animation.mp4")
    assert names == expected | {"contact_sheet.png", "call.json"}
    written = call(output)
    assert written["command"] == name
    assert written["version"] == singan_tf.__version__
    assert written["stack"]["tensorflow"] == tf.__version__
    assert written["arguments"]["run_dir"] == str(finished)
    assert written["arguments"]["seed"] == 0
    assert written["arguments"]["output_dir"] == str(output)
    config = (finished / "config.json").read_bytes()
    assert written["run"] == {
        "name": "rocket",
        "image": "rocket.png",
        "image_sha256": json.loads(config)["image"]["sha256"],
        "config_sha256": hashlib.sha256(config).hexdigest(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_a_function_of_its_seed(capsys, tmp_path, finished, inputs, name):
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        arguments = command(name, finished, inputs, tmp_path / folder)
        status, _, error = run(capsys, *arguments, f"--seed={seed}")
        assert status == 0, error
    results = [contents(tmp_path / folder) for folder in "abc"]
    for result in results:
        result.pop(next(path for path in result if path.name == "call.json"))
    assert results[0] == results[1] != results[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_task_works_in_grey(capsys, tmp_path, grey, inputs, name):
    status, _, error = run(capsys, *command(name, grey, inputs, tmp_path / "out"))
    assert status == 0, error
    for path in (tmp_path / "out").glob("scale_*.png"):
        assert pixels(path).shape == (HEIGHT, WIDTH)


def test_without_a_mask_the_whole_image_is_redrawn(capsys, tmp_path, finished, inputs):
    results = []
    for name in ("edit", "paint"):
        arguments = [name, f"--run_dir={finished}", f"--input={inputs / 'fits.png'}"]
        output = tmp_path / name
        assert run(capsys, *arguments, f"--output_dir={output}")[0] == 0
        results.append(pixels(output / "scale_01.png"))
        assert not (output / "mask.png").exists()
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("file", "flag", "size", "said"),
    [
        ("fits.png", "--nokeep_size", (48, 32), "has the run's size of 48x32"),
        ("large.png", "--nokeep_size", (48, 32), "resized from 70x45 to the run's 48x"),
        ("large.png", "--keep_size", (70, 45), "keeps its size of 70x45"),
    ],
)
def test_the_result_says_what_became_of_the_size(
    capsys, tmp_path, finished, inputs, file, flag, size, said
):
    arguments = [
        f"--run_dir={finished}",
        f"--input={inputs / file}",
        f"--output_dir={tmp_path}",
        "--injection_scale=2",
    ]
    status, out, _ = run(capsys, "paint", *arguments, flag)
    assert status == 0
    assert said in out
    assert said in " ".join(call(tmp_path)["notes"])
    assert Image.open(tmp_path / "scale_02.png").size == size
    assert not (tmp_path / "scale_01.png").exists()


@pytest.mark.parametrize(
    ("name", "flag", "status", "part"),
    [
        ("paint", "--injection_scale=3", 1, "from 1 to 2"),
        ("edit", "--injection_scale=0", 1, "from 1 to 2"),
        ("inpaint", "--injection_scale=first", 1, "injection_scale=first"),
        ("paint", "--input={inputs}/notes.txt", 1, "notes.txt"),
        ("harmonize", "--input={inputs}/missing.png", 1, "missing.png"),
        ("harmonize", "--mask={inputs}/notes.txt", 1, "notes.txt"),
        ("edit", "--input=", 2, "--input is missing"),
        ("inpaint", "--mask=", 2, "--mask is missing"),
        ("inpaint", "--mask={inputs}/full.png", 1, "covers the whole image"),
        ("super_resolve", "--factor=0.5", 2, "--factor=0.5"),
        ("super_resolve", "--factor=17", 2, "--factor=17"),
        ("super_resolve", "--factor=nan", 2, "--factor=nan"),
        ("super_resolve", "--input={inputs}/thin.png", 1, "thin.png is 70x4 pixels"),
        ("super_resolve", "--reference={inputs}/fits.png", 1, "the result is 72x48"),
        ("paint", "--quantize", 2, "--injection_scale"),
        ("paint", "--sketch", 2, "--injection_scale"),
        ("paint", "--palette=3 --quantize --injection_scale=1", 2, "of its own"),
        ("paint", "--palette=3 --sketch --injection_scale=1", 2, "of its own"),
        ("paint", "--palette=65", 2, "--palette"),
        ("sample", "--start_scale=every", 2, "--start_scale"),
        ("animate", "--start_scale=all", 2, "--start_scale"),
        ("animate", "--start_scale=3", 2, "from 0 to 2"),
        ("animate", "--frames=1", 2, "--frames"),
        ("sample", "--scale_h=-1", 2, "--scale_h"),
        ("sample", "--scale_v=0.01", 2, "--height=0 must be at least"),
        ("sample", "--noise_scale=-1", 2, "--noise_scale"),
        ("sample", "--keep={inputs}/notes.txt", 1, "notes.txt"),
        ("sample", "--keep={inputs}/empty.png", 1, "is empty"),
        ("sample", "--keep={inputs}/full.png", 1, "keeps the whole photograph"),
        ("sample", "--keep={inputs}/mask.png --width=96", 2, "leave out --width"),
        ("transfer", "--input=", 2, "--input is missing"),
        ("transfer", "--input={inputs}/notes.txt", 1, "notes.txt"),
        ("transfer", "--injection_scale=3", 1, "from 1 to 2"),
        ("tile", "--height=9 --width=9 --scale_h=2", 2, "choose one way"),
        ("tile", "--scale_h=0.01", 2, "--width=0 must be at least"),
        ("tile", "--scale_h=400 --scale_v=400", 2, "at most 100 megapixels"),
        ("outpaint", "--left=0 --bottom=0", 2, "grows nowhere"),
        ("outpaint", "--top=-1", 2, "--top"),
        ("outpaint", "--right=9000000", 2, "the most is 100 megapixels"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    capsys, tmp_path, finished, inputs, name, flag, status, part
):
    output = tmp_path / "out"
    arguments = command(name, finished, inputs, output)
    found, _, error = run(capsys, *arguments, *flag.format(inputs=inputs).split())
    assert found == status
    assert part in sentence(error)
    assert not output.exists()


def test_two_ways_to_give_a_size_are_refused(capsys, finished):
    arguments = [f"--run_dir={finished}", "--height=40", "--scale_h=2"]
    status, _, error = run(capsys, "sample", *arguments)
    assert status == 2
    assert "choose one way" in sentence(error)


def test_too_many_pixels_are_refused(capsys, tmp_path, finished):
    Image.new("L", (8000, 60)).save(tmp_path / "long.png")
    arguments = [f"--run_dir={finished}", f"--input={tmp_path / 'long.png'}"]
    status, _, error = run(capsys, "super_resolve", *arguments, "--factor=16")
    assert status == 1
    assert "--factor=16 makes 128000x960 pixels" in sentence(error)


@pytest.mark.parametrize("name", [*TASKS, "evaluate"])
def test_an_unfinished_run_is_refused(capsys, tmp_path, finished, inputs, name):
    run_dir = copied(finished, tmp_path / "run")
    (run_dir / "scales" / "02" / "state.json").unlink()
    output = tmp_path / "out"
    status, _, error = run(capsys, *command(name, run_dir, inputs, output))
    assert status == 1
    assert "not finished: 2 of 3 scales" in sentence(error)
    assert not output.exists()


def test_results_never_go_into_the_run(capsys, tmp_path, finished, inputs):
    run_dir = copied(finished, tmp_path / "run")
    for output in (run_dir, run_dir / "results"):
        arguments = command("paint", run_dir, inputs, output)
        status, _, error = run(capsys, *arguments, "--overwrite")
        assert status == 1
        assert "is in the run" in sentence(error)
    assert contents(run_dir) == contents(finished)


def test_a_command_cut_short_leaves_no_call_of_an_earlier_one(
    capsys, tmp_path, finished, inputs, monkeypatch
):
    arguments = command("paint", finished, inputs, tmp_path)
    assert run(capsys, *arguments)[0] == 0

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(painting, "redraw", stop)
    assert run(capsys, *arguments, "--overwrite")[0] == 130
    assert not (tmp_path / "call.json").exists()


def test_multiples_and_noise_scale_of_a_sample(capsys, tmp_path, finished):
    singan, _ = loading.load(RunFolder(finished))
    for index, flags in enumerate(
        [["--scale_h=2"], ["--scale_v=1.5", "--scale_h=0.5"], ["--noise_scale=0"]]
    ):
        output = tmp_path / str(index)
        arguments = ["--num_samples=1", f"--run_dir={finished}"]
        status, _, error = run(
            capsys, "sample", *arguments, f"--output_dir={output}", *flags
        )
        assert status == 0, error
    sizes = [Image.open(tmp_path / n / "seed_000000.png").size for n in "012"]
    assert sizes == [(96, 32), (24, 48), (48, 32)]
    still = images.to_uint8(singan.sample([99], noise_scale=0.0).numpy()[0])
    np.testing.assert_array_equal(pixels(tmp_path / "2/seed_000000.png"), still)


def test_the_same_seeds_across_all_start_scales(capsys, tmp_path, finished):
    singan, _ = loading.load(RunFolder(finished))
    draw = singan.sampler()
    arguments = [f"--run_dir={finished}", "--start_scale=all", "--seed=2"]
    status, out, error = run(
        capsys, "sample", *arguments, f"--output_dir={tmp_path / 'a'}"
    )
    assert status == 0, error
    assert "3 samples" in out
    found = {path.name for path in (tmp_path / "a").glob("seed_*.png")}
    both = [(s, n) for s in (2, 3, 4) for n in range(3)]
    names = {(s, n): f"seed_{s:06d}_scale_{n:02d}.png" for s, n in both}
    assert found == set(names.values())
    for (seed, scale), name in names.items():
        expected = draw([seed], scale, HEIGHT, WIDTH, 1.0).numpy()
        np.testing.assert_array_equal(
            pixels(tmp_path / "a" / name), images.to_uint8(expected[0])
        )
    # A row of the sheet is the photograph and the three scales.
    sheets = [pixels(tmp_path / "a/contact_sheet.png").shape]
    status, _, _ = run(
        capsys, "sample", *arguments, "--num_samples=1", f"--output_dir={tmp_path}/b"
    )
    assert status == 0 and len(list((tmp_path / "b").glob("seed_*.png"))) == 3
    sheets.append(pixels(tmp_path / "b/contact_sheet.png").shape)
    assert sheets[0][1] == sheets[1][1] and sheets[0][0] > 2.5 * sheets[1][0]
    assert call(tmp_path / "b")["arguments"]["start_scale"] == "all"


def test_blur_tells_a_blurred_image_from_a_sharp_one():
    sharp = np.random.default_rng(0).uniform(-1, 1, [1, 40, 50, 3]).astype(np.float32)
    blurred = filters.gaussian(sharp, sigma=(0, 2, 2, 0))
    blur = quality.quality(sharp, None)["blur"], quality.quality(blurred, None)["blur"]
    assert 0 <= blur[0] < blur[1] <= 1


@pytest.mark.slow
def test_the_higher_the_start_scale_the_more_the_layout_stays(trained):
    singan, _ = loading.load(RunFolder(trained))
    photograph = images.read(trained / "pyramid" / "03.png").ravel()
    likeness = []
    for start_scale in range(4):
        samples = [singan.sample([seed], start_scale) for seed in range(5)]
        likeness.append(
            np.mean([np.corrcoef(np.ravel(s), photograph)[0, 1] for s in samples])
        )
    # The first step is the layout's; those above it move details, and little.
    assert likeness[0] < 0.9 < min(likeness[1:])
    assert likeness[1] < likeness[-1]


def test_a_run_of_one_scale_takes_no_image(finished):
    singan, config = loading.load(RunFolder(finished))
    singan.sizes = singan.sizes[:1]
    task = Task(RunFolder(finished), finished, singan, config, [])
    with pytest.raises(singan_tf.errors.UserError, match="one scale"):
        injection_scales(task, "all")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "section", "setting"),
    [
        ("super_resolution", "training", {"reconstruction_weight": 100.0}),
        ("animation", "network", {"padding": "noise"}),
    ],
)
def test_a_preset_combines_with_another(
    capsys, tmp_path, photograph, preset, section, setting
):
    run_dir = tmp_path / "run"
    flags = [f"--flagfile={ROOT / 'configs' / preset}.flags", "--num_scales=2"]
    arguments = [f"--image={photograph}", f"--run_dir={run_dir}", SMOKE, *flags]
    status, _, error = run(capsys, "train", *arguments, "--steps=1")
    assert status == 0, error
    config = json.loads((run_dir / "config.json").read_text())["config"]
    assert setting.items() <= config[section].items()
    command = ["animate", f"--run_dir={run_dir}", f"--output_dir={tmp_path / 'out'}"]
    assert run(capsys, *command, "--frames=3", "--loop")[0] == 0
