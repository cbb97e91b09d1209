"""Runs by the command line that are trained on a part of a photograph."""

import json
import sys

import numpy as np
import pytest
from helpers import ROOT, SMOKE, copied, pixels, run, sentence
from PIL import Image
from run_folders import assert_a_kill_changes_nothing, assert_same_run
from shapes import disk
from task_commands import call

import singan_tf
from export.pipeline import Pipeline
from singan_tf import images
from singan_tf.errors import UsageError
from singan_tf.runs.folder import RunFolder

INSIDE = disk(48, 60, 22, 30, 19)
PATCHES = ["--max_size=60", "--min_size=30", "--num_scales=2", "--patch_scales=2"]


def save(path, seed=0, alpha=None, part=INSIDE):
    """Green and blue inside, and outside always red and otherwise by a seed."""
    levels = images.to_uint8(images.read(images.resolve("coffee")))[0, 100:148, 200:260]
    levels[..., 0] = 0
    noise = np.random.default_rng(seed).integers(0, 256, levels.shape, np.uint8)
    noise[..., 0] = 255
    levels = np.where(part[:, :, np.newaxis], levels, noise)
    layers = levels if alpha is None else np.dstack([levels, alpha])
    Image.fromarray(layers).save(path)
    return path


def save_mask(path, mask=INSIDE):
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def mask(tmp_path_factory):
    return save_mask(tmp_path_factory.mktemp("masks") / "mask.png")


def train(capsys, image, run_dir, *arguments):
    status, out, error = run(
        capsys, "train", f"--image={image}", f"--run_dir={run_dir}", *arguments
    )
    assert status == 0, error
    return run_dir


@pytest.mark.parametrize(
    "votes", [[], pytest.param(["--patch_votes"], marks=pytest.mark.slow)]
)
def test_patches_have_no_colour_from_outside_and_nothing_there_counts(
    capsys, tmp_path, mask, votes
):
    first, second = (
        train(
            capsys,
            save(tmp_path / f"{seed}.png", seed),
            tmp_path / str(seed),
            f"--train_mask={mask}",
            *PATCHES,
            *votes,
        )
        for seed in (0, 1)
    )
    assert_same_run(first, second)
    assert pixels(first / "samples.png").tolist() == (
        pixels(second / "samples.png").tolist()
    )
    model = singan_tf.load(first)
    samples = images.to_uint8(model.sample([1, 2, 3]))
    assert samples[..., 0].max() == 0 and samples[..., 1:].std() > 10
    # It is the photograph, filled, that is restored.
    restored = images.to_uint8(model.singan.reconstruct().numpy())[0]
    assert restored[..., 0].max() == 0
    shown = pixels(RunFolder(first).real(1))
    np.testing.assert_array_equal(restored, shown)
    np.testing.assert_array_equal(shown[INSIDE], pixels(tmp_path / "0.png")[INSIDE])


@pytest.mark.slow
def test_a_transparent_photograph_is_learned_where_it_is_opaque(capsys, tmp_path, mask):
    alpha = np.where(INSIDE, 255, 0).astype(np.uint8)
    cut_out = save(tmp_path / "cut_out.png", 1, alpha)
    found = train(capsys, cut_out, tmp_path / "a", *PATCHES)
    plain = save(tmp_path / "plain.png", 2)
    assert_same_run(
        found, train(capsys, plain, tmp_path / "b", f"--train_mask={mask}", *PATCHES)
    )
    facts = json.loads((found / "config.json").read_text())["image"]
    assert len(facts["inside_sha256"]) == 64
    white = train(capsys, cut_out, tmp_path / "c", "--transparent=white", *PATCHES)
    facts = json.loads((white / "config.json").read_text())["image"]
    assert facts.keys() == {"name", "height", "width", "sha256"}
    assert pixels(RunFolder(white).real(1))[0, 0].tolist() == [255] * 3
    # Neither goes on with the other, and both say what would.
    arguments = [f"--image={cut_out}", *PATCHES]
    status, _, error = run(capsys, "train", *arguments, f"--run_dir={white}")
    assert status == 1 and "transparent=white" in sentence(error)
    arguments.append("--transparent=white")
    status, _, error = run(capsys, "train", *arguments, f"--run_dir={found}")
    assert status == 1 and "a part -> all" in sentence(error)


@pytest.mark.slow
def test_python_trains_what_the_command_does(capsys, tmp_path, mask):
    image = save(tmp_path / "a.png")
    settings = {"max_size": 60, "min_size": 30, "num_scales": 2, "patch_scales": 2}
    singan_tf.train(image, tmp_path / "a", settings, train_mask=INSIDE)
    train(capsys, image, tmp_path / "b", f"--train_mask={mask}", *PATCHES)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    for wrong in (INSIDE.astype(float), INSIDE & False):
        with pytest.raises(ValueError, match="train_mask"):
            singan_tf.train(image, tmp_path / "c", settings, train_mask=wrong)
    with pytest.raises(ValueError, match="transparent"):
        singan_tf.train(image, tmp_path / "c", settings, transparent="black")


def test_a_mask_that_cannot_be_is_told_in_a_sentence(capsys, tmp_path):
    image = save(tmp_path / "a.png")
    small = save_mask(tmp_path / "small.png", disk(48, 60, 22, 30, 5))
    cut = save_mask(tmp_path / "cut.png", INSIDE[:40])
    empty = save_mask(tmp_path / "empty.png", INSIDE & False)
    fits = save_mask(tmp_path / "fits.png")
    for given, words, more in (
        (small, ("Too little", "scale 0", "7x7"), []),
        (cut, ("60x40", "60x48"), []),
        (empty, ("empty",), []),
        (tmp_path / "none.png", ("no file",), []),
        (fits, ("critic_normalization=instance", "train_mask"), ["instance"]),
    ):
        arguments = [f"--image={image}", f"--run_dir={tmp_path / 'run'}", *PATCHES]
        arguments += [f"--critic_normalization={each}" for each in more]
        status, _, error = run(capsys, "train", *arguments, f"--train_mask={given}")
        assert status == (2 if more else 1)
        assert all(word in sentence(error) for word in words), error
        assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mask):
    """A masked run of which every scale is trained; never write into it."""
    folder = tmp_path_factory.mktemp("trained")
    settings = singan_tf.preset("smoke")
    settings.update(patch_votes=True, patch_scales=1, min_size=30, max_size=60)
    singan_tf.train(
        save(folder / "a.png"), folder / "run", settings, train_mask=str(mask)
    )
    return folder / "run"


@pytest.mark.slow
def test_tasks_work_on_a_masked_run(capsys, tmp_path, trained):
    run_dir = copied(trained, tmp_path / "run")
    image = RunFolder(run_dir).real(2)
    edit = save_mask(tmp_path / "edit.png", disk(*pixels(image).shape[:2], 20, 25, 6))
    blend = [f"--input={image}", "--injection_scale=1"]
    for command, *arguments in [
        ("sample", "--num_samples=2", "--scale_h=2"),
        ("sample", "--num_samples=1", "--start_scale=all"),
        ("sample", "--num_samples=1", "--retarget", "--scale_h=0.7"),
        ("sample", "--num_samples=1", f"--keep={edit}"),
        ("outpaint", "--left=12", "--num_samples=1"),
        ("tile", "--num_samples=1"),
        ("super_resolve", "--factor=2"),
        ("animate", "--frames=3"),
        ("transfer", f"--input={image}"),
        ("edit", *blend, f"--mask={edit}"),
        ("harmonize", *blend, f"--mask={edit}"),
        ("inpaint", *blend, f"--mask={edit}"),
        ("paint", *blend, "--quantize"),
        ("paint", *blend, "--palette=4"),
        ("evaluate", "--num_samples=2"),
    ]:
        output = tmp_path / command
        folders = [f"--run_dir={run_dir}", f"--output_dir={output}", "--overwrite"]
        status, _, error = run(capsys, command, *folders, *arguments)
        assert status == 0, (command, error)
        assert (output / "contact_sheet.png").exists()
    # What is kept is the filled photograph, to the last bit.
    kept = pixels(tmp_path / "sample" / "seed_000000.png")
    inside = pixels(edit) > 0
    np.testing.assert_array_equal(kept[inside], pixels(image)[inside])
    seams = call(tmp_path / "tile")["results"]
    assert seams["seams"]["left_right"] > 0
    found = json.loads((tmp_path / "evaluate" / "metrics.json").read_text())
    assert any("what is inside" in note for note in found["notes"])
    for command in ("report", "export"):
        status, _, error = run(capsys, command, f"--run_dir={run_dir}")
        assert status == 0, error
    assert "what is inside" in RunFolder(run_dir).report.read_text()
    answer = Pipeline(str(run_dir / "saved_model"), "sample")({"seed": [3]})
    sample = images.to_uint8(singan_tf.load(run_dir).sample([3]))
    np.testing.assert_array_equal(answer["image"], sample)


@pytest.mark.slow
def test_a_masked_run_goes_on_and_is_known_by_what_is_inside(
    capsys, tmp_path, trained, mask
):
    image = trained.parent / "a.png"
    arguments = [SMOKE, f"--image={image}", f"--run_dir={trained}", "--min_size=30"]
    arguments += ["--max_size=60", "--patch_scales=1", "--patch_votes"]
    status, out, error = run(capsys, "train", *arguments, f"--train_mask={mask}")
    assert status == 0 and "is finished" in out, error
    other = save_mask(tmp_path / "other.png", disk(48, 60, 22, 30, 20))
    status, _, error = run(capsys, "train", *arguments, f"--train_mask={other}")
    assert status == 1 and "another part" in sentence(error)
    status, _, error = run(capsys, "train", *arguments)
    assert status == 1 and "a part -> all" in sentence(error)


@pytest.fixture(scope="module")
def cut_outs(tmp_path_factory):
    """Two photographs that are transparent in different parts, and one that is not."""
    folder = tmp_path_factory.mktemp("cut_outs")
    for number, part in enumerate((INSIDE, INSIDE[::-1, ::-1])):
        alpha = np.where(part, 255, 0).astype(np.uint8)
        save(folder / f"{number}.png", number, alpha, part)
    Image.fromarray(pixels(save(folder / "2.png"))[4:44, 10:50]).save(folder / "2.png")
    return folder


@pytest.mark.slow
def test_of_several_photographs_what_is_opaque_of_each_is_learned(
    capsys, tmp_path, cut_outs
):
    given = f"{cut_outs / '0.png'},{cut_outs / '1.png'}"
    run_dir = train(capsys, given, tmp_path / "run", *PATCHES, "--patch_votes")
    told = json.loads((run_dir / "config.json").read_text())
    assert told["format"] == 2
    known_by = [
        each["inside_sha256"] for each in (told["image"], *told["further_images"])
    ]
    assert len(set(known_by)) == 2
    samples = images.to_uint8(singan_tf.load(run_dir).sample(range(8)))
    assert samples[..., 0].max() == 0 and samples[..., 1:].std() > 10
    names = {path.name for path in (run_dir / "pyramid").iterdir()}
    assert {"01_inside.png", "01-2_inside.png", "01-2.png"} < names
    status, _, error = run(
        capsys,
        "evaluate",
        f"--run_dir={run_dir}",
        f"--output_dir={tmp_path / 'evaluate'}",
        "--num_samples=2",
    )
    assert status == 0, error
    found = json.loads((tmp_path / "evaluate" / "metrics.json").read_text())
    notes = [found["notes"], *(each["notes"] for each in found["further_photographs"])]
    assert all("what is inside" in " ".join(each) for each in notes)
    status, _, error = run(capsys, "export", f"--run_dir={run_dir}")
    assert status == 0, error
    answer = Pipeline(str(run_dir / "saved_model"), "sample")({"seed": [3]})
    np.testing.assert_array_equal(answer["image"][0], samples[3])
    report = RunFolder(run_dir).report
    assert report.read_text().count("what is inside") == 2
    # The same photographs on white are another run.
    arguments = [f"--image={given}", *PATCHES, "--patch_votes", "--transparent=white"]
    status, _, error = run(capsys, "train", *arguments, f"--run_dir={run_dir}")
    assert status == 1 and "what is learned of 0.png: a part -> all" in sentence(error)


def test_a_mask_of_several_photographs_is_refused(capsys, tmp_path, cut_outs, mask):
    run_dir = tmp_path / "run"
    arguments = [f"--image={cut_outs}", f"--run_dir={run_dir}", f"--train_mask={mask}"]
    status, _, error = run(capsys, "train", *arguments, *PATCHES)
    assert status == 2 and not run_dir.exists()
    assert all(word in sentence(error) for word in ("train_mask", "3", "transparent"))
    paths = [cut_outs / "0.png", cut_outs / "1.png"]
    with pytest.raises(UsageError, match="train_mask"):
        singan_tf.train(paths, run_dir, train_mask=INSIDE)


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_bits(tmp_path, cut_outs):
    """Of a photograph that is transparent in parts, and one that is not."""
    given = f"--image={cut_outs / '0.png'},{cut_outs / '2.png'}"
    command = [sys.executable, str(ROOT / "main.py"), "train", given, SMOKE]
    command += ["--steps=15", "--checkpoint_seconds=0", "--num_scales=2"]
    command += ["--max_size=60", "--min_size=30", "--crop_size=24"]
    assert_a_kill_changes_nothing(command, tmp_path)
