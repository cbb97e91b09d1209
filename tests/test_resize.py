import pathlib

import numpy as np
import pytest
import tensorflow as tf

from singan_tf.resize import resize

STORED = dict(np.load(pathlib.Path(__file__).parent / "data" / "imresize.npz"))
# Of values up to 1.7; the stored ones were computed in float64.
TOLERANCE = 1e-5


def stored_cases():
    for key in sorted(STORED):
        name, _, size = key.partition("_")
        if size:
            height, width = map(int, size.split("x"))
            yield pytest.param(name, height, width, id=key)


def batch(array):
    array = array[..., None] if array.ndim == 2 else array
    return tf.constant(array[None], tf.float32)


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None, None, None], tf.float32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([], tf.int32),
    ]
)
def resize_in_graph(image, height, width):
    return resize(image, height, width)


@pytest.fixture(scope="module")
def noise():
    values = np.random.default_rng(0).uniform(-1, 1, (3, 13, 17, 2))
    return tf.constant(values, tf.float32)


@pytest.mark.parametrize("function", [resize, resize_in_graph])
@pytest.mark.parametrize("name, height, width", stored_cases())
def test_whole_image_equals_matlabs(name, height, width, function):
    actual = function(batch(STORED[name]), height, width)
    expected = batch(STORED[f"{name}_{height}x{width}"])
    assert actual.shape == expected.shape and actual.dtype == tf.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


def test_own_size_is_the_identity(noise):
    np.testing.assert_array_equal(resize(noise, 13, 17), noise)
    same = resize(noise, tf.constant(13), tf.constant(17, tf.int64))
    np.testing.assert_allclose(same, noise, rtol=0, atol=1e-6)


def test_each_column_is_resized_on_its_own_when_only_the_height_changes(noise):
    columns = [resize(column, 26, 1) for column in tf.split(noise, 17, axis=2)]
    expected = tf.concat(columns, axis=2)
    np.testing.assert_allclose(resize(noise, 26, 17), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("height", [1, 2, 5, 12, 14, 100])
@pytest.mark.parametrize("width", [1, 3, 16, 51])
def test_a_constant_image_stays_constant(height, width):
    resized = resize(tf.fill([1, 13, 17, 1], 0.7), height, width)
    np.testing.assert_allclose(resized, np.full((1, height, width, 1), 0.7), atol=1e-6)


@pytest.mark.parametrize("height, width", [(3, 7), (9, 2), (5, 8)])
def test_gradient_is_the_numerical_gradient(height, width):
    image = tf.constant(np.random.default_rng(1).normal(size=(1, 5, 4, 2)), tf.float32)
    # A linear map: a large step costs no accuracy.
    theoretical, numerical = tf.test.compute_gradient(
        lambda x: resize(x, height, width), [image], delta=0.5
    )
    np.testing.assert_allclose(theoretical[0], numerical[0], rtol=0, atol=1e-5)


def test_rows_of_a_batch_are_independent(noise):
    spoiled = tf.concat([noise[:1], tf.fill([2, 13, 17, 2], np.nan)], 0)
    alone = resize(noise[:1], 7, 29)
    np.testing.assert_allclose(resize(spoiled, 7, 29)[:1], alone, rtol=0, atol=1e-6)


def test_mirrored_images_give_mirrored_results(noise):
    turned = resize(noise[:, ::-1, ::-1], 7, 29)[:, ::-1, ::-1]
    np.testing.assert_allclose(turned, resize(noise, 7, 29), rtol=0, atol=1e-5)
