import ast
import dataclasses
import fcntl
import importlib
import os
import platform
import re
import signal
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from helpers import ROOT, SMOKE, contents, copied, pixels, run, sentence
from PIL import Image
from png_files import SIGNATURE, header

from singan_tf import config
from singan_tf.cli import program, train
from singan_tf.keras2 import HAS_ADDONS


def test_no_command_lists_every_command_with_a_line_each(capsys):
    status, out, _ = run(capsys)
    assert status == 0
    for command in program.COMMANDS:
        name = command.name
        assert re.search(rf"^  {name} +\S", out, re.MULTILINE)


@pytest.mark.parametrize("name", [each.name for each in program.COMMANDS])
def test_help_shows_the_flags_of_a_command(capsys, name):
    status, out, _ = run(capsys, name, "--help")
    assert status == 0
    assert "  --" in out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["trian"], "did you mean train?"),
        (["train", "--stepss=3"], "Did you mean: steps"),
        (["train"], "--image is missing"),
        (["sample"], "--run_dir is missing"),
        (["train", "photo.png"], "photo.png is not a flag"),
        (["train", "--image=coffee", "--steps=0"], "--steps=0 must be at least 1"),
        (["train", "--image=coffee", "--steps=many"], "--steps=many"),
        (
            ["train", "--image=coffee", "--crop_size=0-1:0,3-:96"],
            "--crop_size=0-1:0,3-:96 gives scale 2 to none",
        ),
        (["train", "--image=coffee", "--padding=mirror"], "which is not one of zeros"),
        (
            ["train", "--image=coffee", "--adversary=0-1:critic,3-:frechet"],
            "--adversary=0-1:critic,3-:frechet gives scale 2 to none",
        ),
        (["train", "--image=coffee", "--scale_factor=1.5"], "--scale_factor"),
        (["train", "--image=coffee", "--continue_steps=-1"], "--continue_steps"),
        (
            ["train", "--image=coffee", "--continue_steps=5", "--patch_scales=64"],
            "continue_steps=5 has nothing to go on with",
        ),
        (
            [
                "train",
                "--image=coffee",
                "--continue_steps=5",
                "--strategy=multi_worker",
            ],
            "does not go with --strategy=multi_worker",
        ),
        (["train", "--image=coffee", "--flagfile=/no/such.flags"], "/no/such.flags"),
        (
            ["train", "--image=coffee", "--max_size=48", "--num_scales=30"],
            "num_scales=30 is too many",
        ),
    ],
)
def test_bad_usage_is_one_sentence_and_status_2(capsys, tmp_path, arguments, part):
    if arguments[0] == "train":
        arguments = [*arguments, f"--run_dir={tmp_path / 'run'}"]
    status, _, error = run(capsys, *arguments)
    assert status == 2
    assert part in sentence(error)
    assert list(tmp_path.iterdir()) == []


def test_paper_flags_write_out_every_setting_of_the_reference_recipe():
    text = (ROOT / "configs" / "paper.flags").read_text()
    lines = [line for line in text.splitlines() if line.startswith("--")]
    names = {re.match(r"--(no(?=xla))?(\w+)", line)[2] for line in lines}
    runtime = {field.name for field in dataclasses.fields(config.RuntimeConfig)}
    assert names == {field.name for field in config.settings()} - runtime
    values = flags.FlagValues()
    train.TRAIN.define(values)
    values(["main.py", *lines])
    recipe = config.from_settings({name: values[name].value for name in names})
    # One sample an update, also where there are several devices, and one gradient of
    # the critic for all of a step's updates of the generator.
    assert config.differences(config.Config(), recipe) == [
        "--global_batch_size: 0 -> 1",
        "--adversary_gradient: renewed -> reused",
    ]


def bad_images(folder):
    """One file for each way in which --image can be bad, by name."""
    good = np.random.default_rng(0).integers(0, 256, [64, 64, 3], np.uint8)
    Image.fromarray(good).save(folder / "whole.png")
    (folder / "truncated.png").write_bytes((folder / "whole.png").read_bytes()[:3000])
    (folder / "notes.txt").write_text("not an image")
    (folder / "empty.jpg").touch()
    Image.fromarray(good[:20]).save(folder / "small.png")
    Image.fromarray(np.tile(good, [1, 20, 1])).save(folder / "narrow.png")
    (folder / "bomb.png").write_bytes(SIGNATURE + header(100_000, 100_000, 8, 2))
    (folder / "folder.png").mkdir()


@pytest.mark.parametrize(
    "name",
    [
        "truncated.png",
        "notes.txt",
        "empty.jpg",
        "small.png",
        "narrow.png",
        "bomb.png",
        "folder.png",
        "missing.png",
    ],
)
def test_a_bad_image_is_one_sentence_that_names_it(capsys, tmp_path, name):
    bad_images(tmp_path)
    run_dir = tmp_path / "run"
    status, _, error = run(
        capsys, "train", f"--image={tmp_path / name}", f"--run_dir={run_dir}", SMOKE
    )
    assert status == 1
    assert name in sentence(error)
    assert not run_dir.exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["I;16", "CMYK"])
def test_images_of_other_kinds_train(capsys, tmp_path, mode):
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    grey = np.arange(40 * 40, dtype=np.uint16).reshape(40, 40)
    if mode == "I;16":
        Image.fromarray(grey * 40).save(path)
    else:
        Image.fromarray((grey // 7).astype(np.uint8)).convert(mode).save(path)
    status, out, error = run(
        capsys,
        "train",
        f"--image={path}",
        f"--run_dir={tmp_path / 'run'}",
        SMOKE,
        "--num_scales=2",
        "--patch_scales=1",
        "--steps=1",
    )
    assert status == 0, error
    assert "samples.png" in out


@pytest.mark.slow
def test_a_schedule_of_adversaries_trains_and_samples(capsys, tmp_path, photograph):
    run_dir = tmp_path / "run"
    arguments = [f"--image={photograph}", f"--run_dir={run_dir}", SMOKE]
    schedule = "--adversary=0:critic,1:nearest_neighbor,2-:sliced_wasserstein"
    status, _, error = run(capsys, "train", *arguments, schedule)
    assert status == 0, error
    for scale, with_critic in enumerate([True, False, False]):
        text = (run_dir / f"scales/{scale:02d}/losses.csv").read_text()
        for line in text.splitlines()[1:]:
            _, *critic, adversarial, _ = map(float, line.split(","))
            assert any(critic) == with_critic
            assert with_critic or adversarial > 0
    output = f"--output_dir={tmp_path / 'out'}"
    status, _, error = run(
        capsys, "sample", f"--run_dir={run_dir}", output, "--num_samples=1"
    )
    assert status == 0, error


def test_training_leaves_the_run_folder_of_the_design(finished):
    names = {str(path) for path in contents(finished)}
    assert {"config.json", "samples.png"} <= names
    for scale in ("00", "01", "02"):
        folder = f"scales/{scale}"
        assert {
            f"pyramid/{scale}.png",
            f"{folder}/losses.csv",
            f"{folder}/fake.png",
            f"{folder}/reconstruction.png",
            f"{folder}/state.json",
        } <= names
        lines = (finished / folder / "losses.csv").read_text().splitlines()
        assert lines[0] == (
            "step,critic_real,critic_fake,gradient_penalty,adversarial,reconstruction"
        )
        assert [line.split(",")[0] for line in lines[1:]] == list("01234")
    assert any(name.startswith("events/") for name in names)
    assert not any(".tmp" in name for name in names)


def test_the_same_command_on_a_finished_run_says_so_and_changes_nothing(
    capsys, finished, photograph
):
    before = contents(finished)
    status, out, _ = run(
        capsys, "train", f"--image={photograph}", f"--run_dir={finished}", SMOKE
    )
    assert status == 0
    assert "is finished" in out
    assert contents(finished) == before


def test_more_steps_of_a_finished_run_are_told_of_before_they_are_done(
    capsys, finished, photograph
):
    before = contents(finished)
    command = ["train", f"--image={photograph}", f"--run_dir={finished}", SMOKE]
    status, out, _ = run(capsys, *command, "--continue_steps=4", "--dry_run")
    assert status == 0
    assert "--steps=0-1:5,2-:9" in out and "--schedule_steps=0-1:0,2-:5" in out
    assert "# Scale 2, the finest, gets 9 steps in place of 5" in out
    assert "0.1 of where it began" in out and "is finished" not in out
    assert contents(finished) == before


@pytest.mark.slow
def test_a_finished_run_is_gone_on_with(capsys, tmp_path, finished, photograph):
    folder = copied(finished, tmp_path / "run")
    command = ["train", f"--image={photograph}", f"--run_dir={folder}", SMOKE]
    status, out, _ = run(capsys, *command, "--continue_steps=1")
    assert status == 0 and "gets 6 steps in place of 5" in out
    assert len((folder / "scales/02/losses.csv").read_text().splitlines()) == 7
    assert (folder / "report" / "index.html").exists()
    before = contents(folder)
    status, out, _ = run(capsys, *command, "--continue_steps=1")
    assert status == 0 and "is finished" in out
    assert contents(folder) == before
    status, _, error = run(capsys, *command)
    assert status == 1 and "--steps: 0-1:5,2-:6 -> 5" in sentence(error)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("--image=coffee", "photograph: rocket.png -> rocket.png, coffee.png"),
        ("--steps=6", "5 -> 6"),
    ],
)
def test_a_run_folder_of_another_run_is_refused(
    capsys, finished, photograph, change, part
):
    before = contents(finished)
    status, _, error = run(
        capsys,
        "train",
        f"--image={photograph}",
        f"--run_dir={finished}",
        SMOKE,
        change,
    )
    assert status == 1
    assert part in sentence(error)
    assert "overwrite that run" in error
    assert contents(finished) == before


def test_another_photograph_of_the_same_name_is_told_as_one(
    capsys, tmp_path, finished, photograph
):
    other = tmp_path / photograph.name
    Image.open(photograph).rotate(180).save(other)
    arguments = [f"--image={other}", f"--run_dir={finished}", SMOKE]
    status, _, error = run(capsys, "train", *arguments)
    assert status == 1
    assert f"another one that is named {photograph.name}, too" in sentence(error)
    assert "->" not in error


@pytest.mark.slow
def test_a_scale_too_small_for_a_critic_is_refused_with_what_helps(
    capsys, tmp_path, photograph
):
    command = ["train", f"--image={photograph}", SMOKE, "--steps=1", "--min_size=8"]
    command.append("--num_scales=2")
    refused = tmp_path / "refused"
    status, _, error = run(capsys, *command, f"--run_dir={refused}")
    assert status == 1
    assert str(photograph) in sentence(error) and "a critic sees 11" in error
    assert not refused.exists()
    ways_out = re.findall(r"--\w+=\d+", error)
    assert ways_out == ["--min_size=11", "--patch_scales=1"]
    arguments = [*command, ways_out[1], f"--run_dir={tmp_path / 'run'}"]
    assert run(capsys, *arguments)[0] == 0
    # A run with so small a scale is also found again.
    assert "is finished" in run(capsys, *arguments)[1]


def test_hours_are_told_of_at_once_and_minutes_are_not(
    capsys, tmp_path, photograph, monkeypatch
):
    """In place of the training, which would take them."""
    monkeypatch.setattr(train, "_train_opened", lambda *_: None)
    monkeypatch.setattr("singan_tf.reports.report.write", lambda *_: None)
    told = {}
    for image, *settings in (
        ("coffee",),
        (photograph, "--steps=200"),
        ("coffee", f"--flagfile={ROOT / 'configs' / 'quick.flags'}"),
    ):
        run_dir = tmp_path / str(len(told))
        status, _, error = run(
            capsys, "train", f"--image={image}", f"--run_dir={run_dir}", *settings
        )
        assert status == 0
        told[run_dir.name] = error
    assert re.fullmatch(
        r"Without a GPU, this will take about (an hour|\d+ hours) on this machine; "
        r"--preset=quick takes some minutes.\n",
        told["0"],
    )
    assert (told["1"], told["2"]) == ("", "")


def test_a_run_killed_before_its_contact_sheet_still_gets_it(
    capsys, tmp_path, finished, photograph
):
    run_dir = copied(finished, tmp_path / "run")
    (run_dir / "samples.png").unlink()
    status, _, _ = run(
        capsys, "train", f"--image={photograph}", f"--run_dir={run_dir}", SMOKE
    )
    assert status == 0
    sheet = (run_dir / "samples.png").read_bytes()
    assert sheet == (finished / "samples.png").read_bytes()


@pytest.mark.slow
def test_overwrite_replaces_a_run(capsys, tmp_path, photograph):
    command = ["train", f"--image={photograph}", f"--run_dir={tmp_path}", SMOKE]
    command.append("--patch_scales=64")
    assert run(capsys, *command)[0] == 0
    status, _, _ = run(capsys, *command, "--num_scales=2", "--overwrite")
    assert status == 0
    assert sorted(p.name for p in (tmp_path / "scales").iterdir()) == ["00", "01"]


@pytest.mark.parametrize("way", [".", "new/.."])
def test_a_folder_that_holds_something_else_is_refused(
    capsys, tmp_path, photograph, way
):
    (tmp_path / "thesis.txt").write_text("years of work")
    for extra in ([], ["--overwrite"]):
        status, _, error = run(
            capsys,
            "train",
            f"--image={photograph}",
            f"--run_dir={tmp_path}/{way}",
            SMOKE,
            *extra,
        )
        assert status == 1
        assert "holds no run" in sentence(error)
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert left == ["thesis.txt"]


def test_what_nothing_can_be_learnt_from_is_refused_before_training(capsys, tmp_path):
    Image.new("RGB", (60, 40), (9, 99, 199)).save(tmp_path / "flat.png")
    status, _, error = run(
        capsys,
        "train",
        f"--image={tmp_path / 'flat.png'}",
        f"--run_dir={tmp_path / 'run'}",
        SMOKE,
    )
    assert status == 1 and "flat.png is of one colour everywhere" in sentence(error)
    assert [path.name for path in tmp_path.iterdir()] == ["flat.png"]


def test_a_run_folder_that_is_a_file_is_refused(capsys, photograph):
    status, _, error = run(
        capsys, "train", f"--image={photograph}", f"--run_dir={photograph}", SMOKE
    )
    assert status == 1
    assert "is a file" in sentence(error)


def test_samples_have_the_size_asked_for_and_are_a_function_of_the_seed(
    capsys, tmp_path, finished
):
    before = contents(finished)
    for folder, seed in (("a", 5), ("b", 6)):
        status, out, error = run(
            capsys,
            "sample",
            f"--run_dir={finished}",
            f"--output_dir={tmp_path / folder}",
            "--num_samples=2",
            f"--seed={seed}",
            "--height=70",
            "--width=33",
        )
        assert status == 0, error
        assert str(tmp_path / folder / "contact_sheet.png") in out
    assert contents(finished) == before
    first, second = (pixels(tmp_path / "a" / f"seed_00000{n}.png") for n in (5, 6))
    assert first.shape == (70, 33, 3)
    assert (first != second).any()
    again = pixels(tmp_path / "b" / "seed_000006.png")
    np.testing.assert_array_equal(again, second)


def test_one_side_alone_keeps_the_aspect_ratio(capsys, tmp_path, finished):
    status, out, _ = run(
        capsys,
        "sample",
        f"--run_dir={finished}",
        f"--output_dir={tmp_path}",
        "--num_samples=1",
        "--width=96",
    )
    assert status == 0
    assert Image.open(tmp_path / "seed_000000.png").size == (96, 64)


@pytest.mark.parametrize(
    ("flag", "status", "part"),
    [
        ("--start_scale=3", 2, "from 0 to 2"),
        ("--height=2", 2, "--height=2 must be at least"),
        ("--height=90000", 2, "megapixels"),
        ("--num_samples=0", 2, "--num_samples"),
        ("--run_dir=/no/such/run", 1, "/no/such/run"),
    ],
)
def test_impossible_samples_are_refused_before_anything_is_written(
    capsys, tmp_path, finished, flag, status, part
):
    output = tmp_path / "out"
    found, _, error = run(
        capsys, "sample", f"--run_dir={finished}", f"--output_dir={output}", flag
    )
    assert found == status
    assert part in sentence(error)
    assert not output.exists()


def test_an_output_folder_with_files_is_kept_unless_overwrite(
    capsys, tmp_path, finished
):
    (tmp_path / "mine.txt").write_text("mine")
    command = ["sample", f"--run_dir={finished}", f"--output_dir={tmp_path}"]
    status, _, error = run(capsys, *command)
    assert status == 1
    assert "is not empty" in sentence(error)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    status, _, _ = run(capsys, *command, "--overwrite", "--num_samples=1")
    assert status == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "damage",
    [
        lambda run_dir: (run_dir / "config.json").write_text("{"),
        lambda run_dir: (run_dir / "config.json").write_text("{}"),
        lambda run_dir: (run_dir / "scales/01/state.json").write_text("[1]"),
        lambda run_dir: (run_dir / "scales/01/state.json").write_text('{"a": 1}'),
        lambda run_dir: [p.unlink() for p in (run_dir / "scales/01").glob("*.index")],
        lambda run_dir: [
            p.write_bytes(p.read_bytes()[:99])
            for p in (run_dir / "scales/01").glob("*.data-*")
        ],
    ],
)
def test_a_damaged_run_is_one_sentence(capsys, tmp_path, finished, damage):
    run_dir = copied(finished, tmp_path / "damaged")
    damage(run_dir)
    status, _, error = run(
        capsys, "sample", f"--run_dir={run_dir}", f"--output_dir={tmp_path / 'out'}"
    )
    assert status == 1
    assert "damaged" in sentence(error)
    assert str(run_dir) in error


def test_an_unfinished_run_is_not_sampled(capsys, tmp_path, finished):
    (tmp_path / "config.json").write_bytes((finished / "config.json").read_bytes())
    status, _, error = run(capsys, "sample", f"--run_dir={tmp_path}")
    assert status == 1
    assert "not finished: 0 of 3 scales" in sentence(error)


@pytest.mark.parametrize("version", ["3.8", "3.14"])
def test_the_version_check_is_one_sentence(version):
    code = (
        f"import sys; sys.version_info = (*map(int, '{version}'.split('.')), 0);"
        "sys.argv = ['main.py'];"
        f"sys.path.insert(0, {str(ROOT)!r});"
        f"exec(open({str(ROOT / 'main.py')!r}).read(), {{'__name__': '__main__'}})"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert process.returncode == 1
    assert process.stderr.decode().count("\n") == 1
    error = process.stderr.decode()
    assert "needs Python 3.9 to 3.13" in error and f"is Python {version}:" in error


def test_an_old_python_can_read_what_tells_it_so():
    """No syntax and no subscript that Python 3.8 has not, up to the check."""
    for path in ("main.py", "singan_tf/__init__.py", "singan_tf/cli/entry.py"):
        tree = ast.parse((ROOT / path).read_text(), feature_version=(3, 8))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                given = [node.returns, *(each.annotation for each in node.args.args)]
                assert not any(isinstance(each, ast.Subscript) for each in given)


def test_the_version_tells_the_stack(capsys):
    status, out, _ = run(capsys, "--version")
    assert status == 0
    keras = importlib.import_module("keras" if HAS_ADDONS else "tf_keras")
    assert f"TensorFlow {tf.__version__}, Keras {keras.__version__})" in out
    assert f"Python {platform.python_version()}" in out


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, ROOT / "main.py", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "in_a_file"), [(signal.SIGINT, False), (signal.SIGTERM, True)]
)
def test_a_signal_leaves_a_run_that_the_printed_command_resumes(
    tmp_path, photograph, number, in_a_file
):
    run_dir = tmp_path / "run"
    command = ["train", f"--image={photograph}", f"--run_dir={run_dir}", SMOKE]
    overwrite = "--overwrite=true"
    if in_a_file:
        (tmp_path / "my.flags").write_text(overwrite)
        overwrite = f"--flagfile={tmp_path / 'my.flags'}"
    command += ["--steps=400", "--num_scales=2", overwrite]
    process = start(*command)
    while "step 10/400" not in process.stderr.readline():
        assert process.poll() is None
    # A second process in the same folder is refused while the first one trains; it is
    # halted meanwhile, so that it has steps left to be interrupted in.
    process.send_signal(signal.SIGSTOP)
    other = start(*command)
    assert other.wait(600) == 1
    assert "Another process is training" in sentence(other.stderr.read())
    process.send_signal(signal.SIGCONT)
    process.send_signal(number)
    out, error = process.communicate(timeout=600)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    state = (run_dir / "scales" / "00" / "state.json").read_text()
    assert '"finished": false' in state
    resumed = error.split("go on with: python ")[1].split()
    # Given again, it would delete what is to be resumed; a file of flags may hold it.
    assert [word for word in resumed if "overwrite" in word] == ["--nooverwrite"]
    process = start(*resumed[1:])
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    assert "scale 0/1" in error and "step 0 of 400" not in error.split("scale 1/1")[0]


@pytest.mark.slow
def test_a_terminal_gets_a_progress_bar(tmp_path, photograph):
    leader, follower = os.openpty()
    rows_and_columns = struct.pack("HHHH", 24, 250, 0, 0)
    fcntl.ioctl(follower, termios.TIOCSWINSZ, rows_and_columns)
    process = subprocess.Popen(
        [
            sys.executable,
            ROOT / "main.py",
            "train",
            f"--image={photograph}",
            f"--run_dir={tmp_path / 'run'}",
            SMOKE,
            "--num_scales=2",
        ],
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            data = os.read(leader, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
    assert process.wait(600) == 0
    for part in (b"scale 1/1 48x32", b"5/5", b"step/s", b"reconstruction", b"left"):
        assert part in seen
