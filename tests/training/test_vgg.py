import shutil

import h5py
import numpy as np
import pytest
import tensorflow as tf
from helpers import SMOKE, run, sentence

from singan_tf import images
from singan_tf.errors import UserError
from singan_tf.keras2 import keras
from singan_tf.training import losses, vgg


@pytest.fixture(scope="module")
def photograph():
    return images.read(images.resolve("coffee"))[:, 100:140, 200:250]


@pytest.fixture(scope="module")
def activations(vgg_file):
    return vgg.load(str(vgg_file))


def test_activations_are_those_of_keras(vgg_file, activations, photograph):
    model = keras.applications.VGG16(include_top=False, weights=None)
    model.load_weights(vgg_file)
    names = [f"block{block}_conv1" for block in range(1, 5)]
    outputs = [model.get_layer(name).output for name in names]
    pixels = (photograph + 1) * 127.5
    prepared = keras.applications.vgg16.preprocess_input(pixels.copy())
    expected = keras.Model(model.input, outputs)(prepared)
    for found, wanted in zip(activations(tf.constant(photograph)), expected):
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, atol=1e-4 * scale)


def test_grey_is_taken_as_colour_and_small_images_have_activations(activations):
    grey = tf.random.stateless_uniform([2, 8, 9, 1], [1, 2], -1, 1)
    found, expected = activations(grey), activations(tf.repeat(grey, 3, axis=3))
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other)
    assert found[-1].shape == (2, 1, 1, 512)


def test_a_gram_matrix_is_the_mean_product_of_channels():
    values = np.random.default_rng(0).normal(size=[2, 3, 4, 5]).astype(np.float32)
    found = losses.gram(tf.constant(values)).numpy()
    for index in range(2):
        rows = values[index].reshape(12, 5)
        np.testing.assert_allclose(found[index], rows.T @ rows / 12, rtol=1e-4)


def test_texture_is_zero_for_the_photograph_and_does_not_ask_where(
    activations, photograph
):
    def grams(image):
        return [losses.gram(each) for each in activations(tf.constant(image))]

    real = grams(photograph)
    mirrored = photograph[:, ::-1]
    noise = np.random.default_rng(0).uniform(-1, 1, photograph.shape)
    batch = np.concatenate([photograph, mirrored, noise.astype(np.float32)])
    same, moved, other = losses.texture(grams(batch), real).numpy()
    assert same < 1e-8
    assert moved < other / 5


def test_texture_is_a_share_of_the_photographs_own_square():
    real = [tf.ones([1, 2, 2]), 3 * tf.ones([1, 4, 4])]
    found = [tf.zeros([1, 2, 2]), 6 * tf.ones([1, 4, 4])]
    np.testing.assert_allclose(losses.texture(found, real), [1.0])
    half = [1.5 * each for each in real]
    np.testing.assert_allclose(losses.texture(half, real), [0.25])


@pytest.mark.slow
@pytest.mark.parametrize("crop", [[], ["--crop_size=16"]])
def test_the_texture_loss_changes_what_is_trained(
    capsys, tmp_path, photograph_file, vgg_file, crop
):
    tables = []
    for weight in (0, 1):
        run_dir = tmp_path / str(weight)
        arguments = [f"--image={photograph_file}", f"--run_dir={run_dir}", SMOKE]
        arguments += ["--num_scales=1", "--min_size=24", "--max_size=24", "--steps=2"]
        arguments += [f"--texture_weight={weight}", f"--vgg_weights={vgg_file}", *crop]
        status, _, error = run(capsys, "train", *arguments)
        assert status == 0, error
        tables.append((run_dir / "scales/00/losses.csv").read_text().splitlines())
    without, with_it = tables
    assert without[:1] == with_it[:1] and without[2:] != with_it[2:]


@pytest.fixture(scope="module")
def photograph_file(tmp_path_factory, photograph):
    path = tmp_path_factory.mktemp("photographs") / "coffee.png"
    images.write(path, photograph[:, :32, :32])
    return path


def test_a_texture_loss_needs_weights(capsys, tmp_path):
    status, _, error = run(
        capsys, "train", "--image=coffee", f"--run_dir={tmp_path}", "--texture_weight=1"
    )
    assert status == 2 and "--vgg_weights" in sentence(error)


@pytest.mark.parametrize("content", [None, b"", b"not weights"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / vgg.WEIGHTS_NAME
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="VGG weights .*" + vgg.WEIGHTS_NAME):
        vgg.load(str(path))


def test_a_download_that_fails_names_the_file(monkeypatch):
    def fail(*args, **kwargs):
        raise Exception("URL fetch failure on ...")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(UserError, match="other means") as caught:
        vgg.load(vgg.DOWNLOAD)
    assert vgg.WEIGHTS_NAME in str(caught.value)


def test_a_texture_loss_goes_on_with_the_weights_that_it_began_with(
    capsys, tmp_path, photograph_file, vgg_file
):
    def train(weights):
        arguments = [f"--image={photograph_file}", f"--run_dir={tmp_path / 'run'}"]
        arguments += [SMOKE, "--num_scales=1", "--min_size=24", "--max_size=24"]
        arguments += ["--steps=1", "--texture_weight=1", f"--vgg_weights={weights}"]
        return run(capsys, "train", *arguments)

    status, _, error = train(vgg_file)
    assert status == 0, error
    moved = shutil.copy(vgg_file, tmp_path / "moved.h5")
    status, out, error = train(moved)
    assert status == 0 and "is finished" in out, error
    with h5py.File(moved, "r+") as file:
        file.attrs["other"] = 1
    status, _, error = train(moved)
    assert status == 1 and "weights of the texture loss" in sentence(error)
