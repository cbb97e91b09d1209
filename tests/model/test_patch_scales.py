"""Runs whose coarse scales are made of patches: every command works on them."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from helpers import SMOKE, contents, pixels, run, sentence
from PIL import Image

import main
from export import saved_model, signatures, verify
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder

SETTINGS = ["--patch_scales=2", "--patch_iterations=2", "--crop_size=16"]
SETTINGS += ["--previous_pool=2", "--padding=reflect"]


def train(folder, photograph, *settings):
    arguments = [f"--image={photograph}", f"--run_dir={folder}", SMOKE, *settings]
    assert main.main(["main.py", "train", *arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def patched(tmp_path_factory, photograph):
    """A finished run of two scales of patches and one that is trained."""
    folder = tmp_path_factory.mktemp("runs") / "patched"
    return train(folder, photograph, *SETTINGS)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, photograph):
    """A finished run of patches alone, in grey."""
    folder = tmp_path_factory.mktemp("runs") / "untrained"
    return train(folder, photograph, *SETTINGS, "--patch_scales=64", "--channels=1")


@pytest.fixture(scope="module")
def competing(tmp_path_factory, photograph):
    """Of two scales of patches and one that is of patches after all."""
    folder = tmp_path_factory.mktemp("runs") / "competing"
    wild = ["--generator_learning_rate=1", "--patch_votes", "--patches_compete"]
    train(folder, photograph, *SETTINGS, *wild)
    assert RunFolder(folder).state(2).patches
    return folder


@pytest.fixture(scope="module")
def mask(tmp_path_factory, photograph):
    path = tmp_path_factory.mktemp("masks") / "mask.png"
    with Image.open(photograph) as image:
        inside = np.zeros(image.size[::-1], np.uint8)
    inside[10:20, 20:40] = 255
    Image.fromarray(inside).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["patched", "competing"])
def test_such_a_run_exports_and_answers_alike(kind, request, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(request.getfixturevalue(kind), run_dir)
    folder = saved_model.export(RunFolder(run_dir), None, signatures.Limits(2**16, 8))
    verify.verify(folder)
    singan, _ = loading.load(RunFolder(run_dir))
    served = tf.saved_model.load(str(folder)).signatures["sample"]
    answer = served(
        seed=tf.constant([3, 4], tf.int64),
        start_scale=tf.constant([0, 1]),
        height=tf.constant([41, 41]),
        width=tf.constant([77, 77]),
        noise_scale=tf.constant([1.0, 0.5]),
    )["image"]
    drawn = singan.sampler()([3], 0, 41, 77, 1.0)
    expected = np.floor((drawn[0] + 1) * 127.5 + 0.5)
    np.testing.assert_array_equal(answer[0], expected)


def test_the_patch_scales_restore_the_photograph_to_the_last_bit(patched):
    singan, _ = loading.load(RunFolder(patched))
    for scale in (0, 1):
        folder = patched / f"scales/{scale:02d}"
        real = pixels(patched / f"pyramid/{scale:02d}.png")
        np.testing.assert_array_equal(pixels(folder / "reconstruction.png"), real)
        np.testing.assert_array_equal(
            singan.reconstructions(2)[scale], singan.stages[scale].real
        )
        assert (pixels(folder / "fake.png") != real).any()
        assert RunFolder(patched).state(scale).step == 0


@pytest.mark.slow
def test_the_report_tells_what_was_not_trained(patched, untrained):
    page = (patched / "report/index.html").read_text()
    assert page.count("<td>patches</td>") == 2
    assert "Losses of scale 2" in page and "Losses of scale 1" not in page
    page = (untrained / "report/index.html").read_text()
    assert page.count("<td>patches</td>") == 3
    assert "Nothing was trained." in page


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "--num_samples=1", "--height=21", "--noise_scale=0.5"],
        ["sample", "--num_samples=1", "--start_scale=1", "--scale_h=2"],
        ["sample", "--num_samples=1", "--keep"],
        ["outpaint", "--num_samples=1", "--left=20", "--top=11"],
        ["super_resolve", "--factor=1.5"],
        ["paint", "--injection_scale=all"],
        ["harmonize", "--injection_scale=1", "--mask"],
        ["edit", "--injection_scale=2", "--mask"],
        ["inpaint", "--injection_scale=1", "--mask"],
        ["animate", "--frames=3", "--start_scale=0"],
        ["evaluate", "--num_samples=2"],
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize(
    "kind",
    [
        "patched",
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ("untrained", "competing")
        ),
    ],
)
def test_every_task_works(kind, command, request, capsys, tmp_path, photograph, mask):
    run_dir = request.getfixturevalue(kind)
    before = contents(run_dir)
    name, *arguments = command
    if name in ("paint", "harmonize", "edit"):
        arguments.append(f"--input={photograph}")
    masked = ("--mask", "--keep")
    arguments = [f"{a}={mask}" if a in masked else a for a in arguments]
    arguments += [f"--run_dir={run_dir}", f"--output_dir={tmp_path / 'out'}"]
    status, _, error = run(capsys, name, *arguments)
    assert status == 0, error
    assert contents(run_dir) == before
    for path in (tmp_path / "out").rglob("*.png"):
        assert pixels(path).std() > 0


@pytest.mark.parametrize("flag", ["--quantize", "--sketch"])
@pytest.mark.parametrize(
    ("kind", "scale", "told"),
    [
        ("patched", 1, "injection_scale=2, or leave out "),
        ("untrained", 2, "patches; leave out "),
        pytest.param("competing", 2, "patches; leave out ", marks=pytest.mark.slow),
    ],
)
def test_patches_are_not_trained_again(
    kind, scale, told, flag, request, capsys, tmp_path, photograph
):
    run_dir = request.getfixturevalue(kind)
    arguments = [f"--run_dir={run_dir}", f"--output_dir={tmp_path / 'out'}"]
    arguments += [f"--input={photograph}", f"--injection_scale={scale}", flag]
    status, _, error = run(capsys, "paint", *arguments)
    assert status == 1 and told + flag.strip("-") in error
    sentence(error)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["quantize", "sketch"])
def test_the_scale_above_is_trained_again(flag, capsys, tmp_path, patched, photograph):
    arguments = [f"--run_dir={patched}", f"--output_dir={tmp_path / 'out'}"]
    arguments += [f"--input={photograph}", "--injection_scale=2", f"--{flag}"]
    status, _, error = run(capsys, "paint", *arguments)
    assert status == 0, error
    assert list((tmp_path / "out").glob(f"scale_02_{flag}*.png"))
