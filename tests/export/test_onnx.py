"""ONNX files against the signatures that they stand for."""

import json
import logging

import numpy as np
import pytest
import tensorflow as tf
from helpers import contents, copied, run, sentence

from export import onnx_model, saved_model, signatures
from export.pipeline import Pipeline
from singan_tf.model.patch_stage import PatchStage
from singan_tf.model.pyramid import image_pyramid
from singan_tf.model.singan import SinGAN

WHY = "ONNX files need requirements-onnx.txt"
tf2onnx = pytest.importorskip("tf2onnx", reason=WHY)
onnxruntime = pytest.importorskip("onnxruntime", reason=WHY)

LIMITS = signatures.Limits(2**18, 2)
SIZES = [(16, 20), (23, 29), (32, 40)]
SEEDS = (0, 3, -5, 2**40)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


class Both:
    """A pyramid's ONNX files and the functions that its SavedModel holds."""

    def __init__(self, folder, functions, **settings):
        self.told = json.loads((folder / "signatures.json").read_text())
        names = self.told["signatures"]
        self.sessions = {name: session(folder / f"{name}.onnx") for name in names}
        self.functions = functions
        self.settings = settings

    def answers(self, name, **inputs):
        """By onnxruntime and by TensorFlow, uint8 [1, H, W, C]."""
        described = self.told["signatures"][name]
        rows = {
            key: np.asarray(inputs[key], spec["dtype"]).reshape(spec["shape"])
            for key, spec in described["inputs"].items()
        }
        (found,) = self.sessions[name].run(["result"], rows)
        output = described["outputs"]["result"]
        assert list(found.shape) == output["shape"] and found.dtype == output["dtype"]
        tensors = {key: tf.constant(value) for key, value in rows.items()}
        expected = self.functions[name](**tensors)["image"]
        return found, np.asarray(expected)


def assert_equal(answers, shown=10):
    found, expected = answers
    assert expected.std() > shown  # It shows something.
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1)


def texture(height, width, channels=3):
    """A photograph for tests, float32 [1, H, W, C]: no two patches of it are equal."""
    rng = np.random.default_rng(5)
    image = rng.uniform(-1, 1, (1, height // 4 + 1, width // 4 + 1, channels))
    image = tf.image.resize(image, (height, width), "bicubic")
    return tf.clip_by_value(tf.cast(image, tf.float32), -1, 1)


def pyramid(make_stage, kinds, **settings):
    """Stages of patches that vote ("v") or not ("p"), and trained ones ("t")."""
    channels = settings.get("channels", 3)
    sizes = SIZES[: len(kinds)]
    singan = SinGAN(sizes, channels)
    reals = image_pyramid(texture(*sizes[-1], channels), sizes)
    wrap = settings.get("padding") == "circular"
    for scale, kind in enumerate(kinds):
        if kind == "t":
            stage = make_stage(scale, 1.0 if scale == 0 else 0.3, **settings)
        else:
            shift = 0.1 if scale == 0 else 0.0
            stage = PatchStage(
                sizes[scale], channels, 2, shift, scale == 0, wrap, votes=kind == "v"
            )
            stage.remember(reals[scale], reals[scale])
        singan.append(stage, None)
    singan.set_reconstruction_noise(None if kinds[0] in "pv" else 11)
    return singan


@pytest.fixture(scope="module")
def both(make_stage, tmp_path_factory):
    """Writes the files of a pyramid."""

    def write(kinds, **settings):
        singan = pyramid(make_stage, kinds, **settings)
        folder = tmp_path_factory.mktemp("files") / "onnx"
        onnx_model.write(folder, singan, LIMITS)
        return Both(folder, signatures.build(singan, LIMITS))

    return write


def check_all(both):
    height, width = both.told["size"]
    channels = both.told["signatures"]["sample"]["outputs"]["result"]["shape"][-1]
    last = len(SIZES) - 1
    for seed in SEEDS:
        assert_equal(both.answers("sample", seed=seed, start_scale=0, noise_scale=1))
    for scale in range(1, last + 1):
        inputs = {"seed": 3, "start_scale": scale, "noise_scale": 1.5}
        assert_equal(both.answers("sample", **inputs))
    assert_equal(both.answers("reconstruct", seed=0))
    image = np.asarray(texture(height, width, channels))[:, ::-1] * 127 + 128
    mask = np.zeros([height, width])
    mask[3:-4, 5:] = 255
    mask[3] = 100
    for scale in range(1, last + 1):
        inputs = {"image": image, "mask": mask, "injection_scale": scale, "seed": 2}
        found, expected = both.answers("edit", **inputs)
        assert_equal((found, expected))
        np.testing.assert_array_equal(found[0, :3], image[0, :3].astype(np.uint8))
    if "super_resolve" in both.sessions:
        function = both.functions["super_resolve"]
        both.functions["super_resolve"] = lambda **rows: function(
            **rows, factor=tf.constant([4.0])
        )
        assert_equal(both.answers("super_resolve", image=image, seed=2))


@pytest.fixture(scope="module")
def written(finished, tmp_path_factory):
    """A version folder with ONNX files, by the command."""
    run_dir = copied(finished, tmp_path_factory.mktemp("runs") / "rocket")
    yield run_dir


def test_the_command_writes_what_answers_as_the_saved_model(capsys, finished, tmp_path):
    run_dir = copied(finished, tmp_path / "rocket")
    arguments = ["--onnx", "--max_pixels=20000"]
    status, out, error = run(capsys, "export", f"--run_dir={run_dir}", *arguments)
    assert status == 0 and not error
    version = run_dir / "saved_model" / "1"
    lines = [line for line in out.splitlines() if line]
    assert lines[:2] == [
        f"Wrote {version}",
        f"Wrote {version / 'onnx'}: sample, reconstruct, edit",
    ]
    assert any(line.startswith("*_png is not there: ONNX has no") for line in lines)
    assert any(
        line.startswith("super_resolve is not there:") and "20000 pixels" in line
        for line in lines
    )
    names = {path.name for path in (version / "onnx").iterdir()}
    assert names == {"sample.onnx", "reconstruct.onnx", "edit.onnx", "signatures.json"}
    pipelines = {
        name: Pipeline(str(version), name) for name in ("sample", "edit", "reconstruct")
    }
    check_all(Both(version / "onnx", pipelines))
    status, _, error = run(capsys, "verify", f"--run_dir={run_dir}")
    assert status == 0, error


@pytest.mark.slow
@pytest.mark.parametrize("kinds", ["ttt", "vvv", "ppp", "vvt", "pvt"])
def test_every_kind_of_scale(both, kinds):
    check_all(both(kinds))
