"""ONNX files against the signatures that they stand for."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers import ROOT, contents, copied, pixels, run
from shapes import disk

from export import onnx_model, saved_model, signatures
from export.pipeline import Pipeline
from singan_tf import images
from singan_tf.errors import UserError
from singan_tf.model import noise, patch_stage, patch_voting
from singan_tf.model.patch_stage import PatchStage
from singan_tf.model.pyramid import image_pyramid
from singan_tf.model.singan import SinGAN

WHY = "ONNX files need requirements-onnx.txt"
onnx = pytest.importorskip("onnx", reason=WHY)
tf2onnx = pytest.importorskip("tf2onnx", reason=WHY)
onnxruntime = pytest.importorskip("onnxruntime", reason=WHY)

LIMITS = signatures.Limits(2**18, 2)
SIZES = [(16, 20), (23, 29), (32, 40)]
SEEDS = (0, 3, -5, 2**40)


class Both:
    """A pyramid's ONNX files, and what answers the same in TensorFlow."""

    def __init__(self, folder, ask):
        """Takes the files' folder, and a function of a signature's name and inputs."""
        told = json.loads((folder / "signatures.json").read_text())
        self.signatures = told["signatures"]
        self._ask = ask
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._sessions = {
            name: onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options)
            for name in self.signatures
        }

    def answers(self, name, **inputs):
        """By onnxruntime and by TensorFlow, uint8 [1, H, W, C]."""
        described = self.signatures[name]
        rows = {
            key: np.asarray(inputs[key], spec["dtype"]).reshape(spec["shape"])
            for key, spec in described["inputs"].items()
        }
        (found,) = self._sessions[name].run(["result"], rows)
        output = described["outputs"]["result"]
        assert list(found.shape) == output["shape"] and found.dtype == output["dtype"]
        return found, np.asarray(self._ask(name, rows)["image"])


def assert_equal(answers, apart=0.0):
    """All levels are the same or the next, but for a share of them."""
    found, expected = answers
    assert expected.std() > 3  # It shows something.
    beyond = np.abs(found.astype(int) - expected.astype(int)) > 1
    assert beyond.mean() <= apart


def texture(height, width, channels=3):
    """A photograph for tests, float32 [1, H, W, C]: no two patches of it are equal."""
    rng = np.random.default_rng(5)
    image = rng.uniform(-1, 1, (1, height // 4 + 1, width // 4 + 1, channels))
    image = tf.image.resize(image, (height, width), "bicubic")
    return tf.clip_by_value(tf.cast(image, tf.float32), -1, 1)


def pyramid(make_stage, kinds, palette=None, **settings):
    """Stages of patches that vote ("v") or not ("p"), and trained ones ("t").

    With a palette, scale 1 takes images of its colours.
    """
    channels = settings.get("channels", 3)
    sizes = SIZES[: len(kinds)]
    singan = SinGAN(sizes, channels)
    reals = image_pyramid(texture(*sizes[-1], channels), sizes)
    wrap = settings.get("padding") == "circular"
    for scale, kind in enumerate(kinds):
        if kind == "t":
            colours = None if palette is None or scale != 1 else np.float32(palette)
            amplitude = 1.0 if scale == 0 else 0.3
            stage = make_stage(scale, amplitude, colours, **settings)
        else:
            shift = 0.1 if scale == 0 else 0.0
            stage = PatchStage(
                sizes[scale], channels, 2, shift, scale == 0, wrap, votes=kind == "v"
            )
            stage.remember(reals[scale], reals[scale])
        singan.append(stage, None)
    singan.set_reconstruction_noise(None if kinds[0] in "pv" else 11)
    return singan


def check_all(both, apart=0.0):
    """Every file, with seeds, scales, an image and a mask of many kinds."""
    described = both.signatures["sample"]["outputs"]["result"]
    _, height, width, channels = described["shape"]
    last = len(SIZES) - 1
    for seed in (0, 3, -5, 2**40):
        assert_equal(
            both.answers("sample", seed=seed, start_scale=0, noise_scale=1), apart
        )
    for scale in range(1, last + 1):
        inputs = {"seed": 3, "start_scale": scale, "noise_scale": 1.5}
        assert_equal(both.answers("sample", **inputs), apart)
    assert_equal(both.answers("reconstruct", seed=0), apart)
    image = images.to_uint8(np.asarray(texture(height, width, channels))[:, ::-1])
    assert_equal(both.answers("super_resolve", image=image, seed=2), apart)
    mask = np.zeros([height, width])
    mask[3:-4, 5:], mask[3] = 255, 100
    for scale in range(1, last + 1):
        inputs = {"image": image, "mask": mask, "injection_scale": scale, "seed": 2}
        found, expected = both.answers("edit", **inputs)
        assert_equal((found, expected), apart)
        np.testing.assert_array_equal(found[0, :3], image[0, :3])


def both_of(singan, folder, limits):
    """What is written of a pyramid beside what its signatures answer."""
    onnx_model.write(folder, singan, limits)
    functions = signatures.build(singan, limits)

    def ask(name, rows):
        return functions[name](**as_tensors(rows))

    return Both(folder, ask)


def check_pyramid(singan, folder, apart=0.0):
    check_all(both_of(singan, folder, LIMITS), apart)


def as_tensors(rows):
    return {name: tf.constant(value) for name, value in rows.items()}


@pytest.mark.slow
def test_the_command_writes_what_answers_as_the_saved_model(capsys, finished, tmp_path):
    run_dir = copied(finished, tmp_path / "rocket")
    status, out, error = run(capsys, "export", f"--run_dir={run_dir}", "--onnx")
    assert status == 0 and not error
    version = run_dir / "saved_model" / "1"
    lines = out.splitlines()
    assert lines[0] == f"Wrote {version}"
    names = ["sample", "reconstruct", "super_resolve", "edit"]
    assert lines[1] == f"Wrote {version / 'onnx'}: {', '.join(names)}"
    assert lines[2].startswith("*_png is not there: ONNX has no") and len(lines) == 3
    written = {path.name for path in (version / "onnx").iterdir()}
    assert written == {f"{name}.onnx" for name in names} | {"signatures.json"}
    pipeline = Pipeline(str(version), "sample")
    check_all(Both(version / "onnx", lambda name, rows: pipeline(rows, name)))
    # The lines that the docs show, where TensorFlow is not imported.
    text = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = code.replace("runs/demo/", f"{run_dir}/")
    code += "\nimport sys\nassert 'tensorflow' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    shown = pixels(tmp_path / "three.png")
    assert_equal((shown, pipeline({"seed": [3]}, "sample")["image"][0]))
    status, _, error = run(capsys, "verify", f"--run_dir={run_dir}")
    assert status == 0, error


@pytest.fixture
def unguarded(monkeypatch):
    """The converter's passes work in place.

    Otherwise each keeps a copy to fall back on, a third of its time.
    """
    monkeypatch.setenv("TF2ONNX_CATCH_ERRORS", "FALSE")


@pytest.mark.slow
@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize(
    ("kinds", "settings"),
    [
        ("ttt", {"padding": "circular", "channels": 1}),
        (
            "ttt",
            {
                "padding": "noise",
                "generator_normalization": "0:instance,1:none,2-:batch",
                "palette": np.random.default_rng(2).uniform(-1, 1, (5, 3)),
            },
        ),
    ],
)
def test_kinds_of_scales_and_networks(make_stage, tmp_path, kinds, settings):
    check_pyramid(pyramid(make_stage, kinds, **settings), tmp_path / "onnx")


@pytest.mark.slow
@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize(("kind", "apart"), [("v", 0.0), ("p", 0.005)])
def test_patches_of_what_is_inside(tmp_path, monkeypatch, kind, apart):
    """Red is outside only, so there is none in what is put together."""
    monkeypatch.setattr(patch_voting, "_MOST_PATCHES", 300)
    real, size = texture(*SIZES[-1]).numpy(), SIZES[-1]
    inside = disk(*size, 15, 20, 13)
    real[..., 0] = np.where(inside, -1, 1)
    stage = PatchStage(size, 3, 2, 0.1, True, False, votes=kind == "v", masked=True)
    assert len(stage.nearest) == (2 if kind == "v" else 1)
    stage.remember(real, real)
    stage.restrict([inside])
    singan = SinGAN([size], 3)
    singan.append(stage, None)
    singan.set_reconstruction_noise(None)
    # Too few pixels to enlarge it: that would be a third file.
    limits = signatures.Limits(size[0] * size[1] * 16 - 1, 1)
    answers = both_of(singan, tmp_path / "onnx", limits)
    for seed in SEEDS:
        both = answers.answers("sample", seed=seed, start_scale=0, noise_scale=1)
        assert_equal(both, apart)
        assert both[0][..., 0].max() == 0


@pytest.mark.slow
@pytest.mark.usefixtures("unguarded")
def test_noise_chooses_one_of_several_photographs(tmp_path):
    size, further_size = SIZES[0], (15, 18)
    stage = PatchStage(
        size, 3, 2, 0.1, True, False, votes=True, further_sizes=[further_size]
    )
    first, second = texture(*size), -texture(*further_size)
    stage.remember(first, first)
    stage.remember(second, second, 1)
    singan = SinGAN([size], 3, [[further_size]])
    singan.append(stage, None)
    singan.set_reconstruction_noise(None)
    # Too few pixels to enlarge it: that would be one more file.
    limits = signatures.Limits(size[0] * size[1] * 16 - 1, 1)
    answers = both_of(singan, tmp_path / "onnx", limits)
    # Which of the photographs each reconstructs is an input of the SavedModel's.
    assert set(answers.signatures) == {"sample"}
    assert (
        "of several photographs" in onnx_model.left_out(singan, limits)["reconstruct"]
    )
    seeds = tf.range(6, dtype=tf.int64)
    chosen = patch_stage._choices(stage.noise(seeds, 0, *size), 2)
    assert set(chosen.numpy()) == {0, 1}
    for noise_scale in (1, 0):
        for seed in seeds:
            inputs = {"seed": seed, "start_scale": 0, "noise_scale": noise_scale}
            assert_equal(answers.answers("sample", **inputs))


@pytest.mark.slow
@pytest.mark.usefixtures("unguarded")
def test_patches_that_fit_equally_well_may_change_places(make_stage, tmp_path):
    """Where a last bit decides between two patches, runtimes choose differently."""
    check_pyramid(pyramid(make_stage, "pvt"), tmp_path / "onnx", apart=0.005)


def in_onnxruntime(function, **inputs):
    """What a function of tensors gives when it is an ONNX file."""
    specs = [
        tf.TensorSpec(value.shape, value.dtype, name) for name, value in inputs.items()
    ]
    graph = tf.function(
        lambda *tensors: {"result": function(*tensors)}, input_signature=specs
    )
    model = onnx_model._convert("sample", graph).SerializeToString()
    (result,) = onnxruntime.InferenceSession(model).run(["result"], inputs)
    return result


def test_seeds_give_the_numbers_of_tensorflow():
    for seed in (3, -(2**62) + 1):
        found = in_onnxruntime(
            lambda seed: noise.normal(seed, 2, [5, 7, 3]), seed=np.array([seed])
        )
        expected = noise.normal([seed], 2, [5, 7, 3])
        # Runtimes may leave out that an angle is rounded to 32 bits on its way.
        np.testing.assert_allclose(found, np.asarray(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("operation", [tf.math.floordiv, tf.math.floormod])
def test_divisions_round_down(operation, dtype):
    values = np.array([-(2**30) - 1, -8, -7, -1, 0, 1, 7, 8, 2**30 + 1], dtype)
    for divisor in (3, -3, 7):
        divisors = np.full_like(values, divisor)
        found = in_onnxruntime(operation, values=values, divisors=divisors)
        np.testing.assert_array_equal(found, operation(values, divisors))
        assert found.dtype == dtype


def test_remainders_of_fractions_have_the_sign_of_the_divisor():
    values = np.array([-7.25, -1, -0.25, -1e-9, 0, 0.25, 1, 7.25], np.float32)
    for divisor in (1.0, 3.0, -3.0):
        divisors = np.full_like(values, divisor)
        found = in_onnxruntime(tf.math.floormod, values=values, divisors=divisors)
        np.testing.assert_array_equal(found, np.mod(values, divisors))
        assert found.dtype == np.float32


def test_what_falls_on_one_place_is_added_up():
    places = np.array([[0, 1], [2, 2], [0, 1], [0, 1]], np.int32)
    found = in_onnxruntime(
        lambda places, updates: tf.scatter_nd(places, updates, [3, 4]),
        places=places,
        updates=np.array([1.0, 2.0, 4.0, 8.0]),
    )
    expected = np.zeros([3, 4])
    expected[0, 1], expected[2, 2] = 13, 2
    np.testing.assert_array_equal(found, expected)


def test_the_least_of_segments_of_any_rank():
    rng = np.random.default_rng(0)
    values = rng.normal(size=[3, 4, 2]).astype(np.float32)
    segments = rng.integers(0, 6, [3, 4, 2]).astype(np.int32)
    segments[segments == 4] = 5
    found = in_onnxruntime(
        lambda values, segments: tf.math.unsorted_segment_min(values, segments, 6),
        values=values,
        segments=segments,
    )
    most = np.finfo(np.float32).max
    expected = [values[segments == i].min(initial=most) for i in range(6)]
    np.testing.assert_array_equal(found, expected)


def test_what_has_no_file_is_told(make_stage):
    singan = pyramid(make_stage, "t")
    assert set(onnx_model.build(singan, LIMITS)) == {
        "sample",
        "reconstruct",
        "super_resolve",
    }
    height, width = SIZES[0]
    enough = height * width * 16
    assert set(onnx_model.left_out(singan, signatures.Limits(enough, 1))) == {"*_png"}
    few = signatures.Limits(enough - 1, 1)
    reasons = onnx_model.left_out(singan, few)
    assert f"limit of {enough - 1} pixels" in reasons["super_resolve"]
    assert set(onnx_model.build(singan, few)) == {"sample", "reconstruct"}


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (KeyboardInterrupt, 130, "Stopped."),
        (
            ValueError("a\nfault"),
            1,
            "reconstruct cannot be written as ONNX (a fault); ",
        ),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
    ],
)
def test_what_ends_before_its_end_leaves_nothing(
    capsys, finished, tmp_path, monkeypatch, fault, status, words
):
    run_dir = copied(finished, tmp_path / "rocket")
    before = contents(run_dir)
    base = run_dir / "saved_model"
    monkeypatch.setattr(saved_model, "_write", lambda folder, *_: folder.mkdir())

    def convert(*arguments, **keywords):
        if (base / ".1.tmp" / "onnx" / "sample.onnx").exists():
            raise fault
        return onnx.ModelProto(), None

    monkeypatch.setattr(tf2onnx.convert, "from_function", convert)
    monkeypatch.setattr(onnx.checker, "check_model", lambda model: None)
    found, _, error = run(capsys, "export", f"--run_dir={run_dir}", "--onnx")
    assert found == status and words in error and "Traceback" not in error
    assert [path.name for path in base.iterdir()] == [".lock"]
    (base / ".lock").unlink()
    base.rmdir()
    assert contents(run_dir) == before


def test_what_onnx_cannot_hold_is_told_in_a_sentence():
    """The converter itself leaves in the file what it knows nothing of."""
    image = tf.TensorSpec([4, 4], tf.float32, "image")
    function = tf.function(
        lambda image: {"result": tf.linalg.eigvalsh(image)}, input_signature=[image]
    )
    with pytest.raises(UserError) as caught:
        onnx_model._convert("edit", function)
    message = str(caught.value)
    assert message.startswith("edit cannot be written as ONNX (")
    assert "SelfAdjointEig" in message and message.endswith("; export without it.")
    assert "\n" not in message
