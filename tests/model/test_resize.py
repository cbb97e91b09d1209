import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from singan_tf.model.resize import resize

STORED = dict(np.load(pathlib.Path(__file__).parent.parent / "data" / "imresize.npz"))
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


# What lies between a short axis and a long one, whole blocks and parts of them, few
# and many inputs for a block.
LONG = [(256, 257), (257, 256), (300, 1000), (1000, 300), (3000, 65), (5, 3000)]


@pytest.mark.parametrize("way", [resize, resize_in_graph])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("source, target", LONG)
def test_a_long_axis_is_pillows_inside(way, turned, source, target):
    """Away from the borders, which Pillow does not mirror."""
    values = np.random.default_rng(0).uniform(-1, 1, (2, source)).astype(np.float32)
    picture = Image.fromarray(values).resize((target, 2), Image.BICUBIC)
    image, size = values[np.newaxis, :, :, np.newaxis], (2, target)
    if turned:
        image, size = image.transpose(0, 2, 1, 3), (target, 2)
    resized = np.squeeze(way(tf.constant(image), *size))
    border = int(np.ceil(2 * max(1, target / source)))
    inside = slice(border, target - border)
    np.testing.assert_allclose(
        (resized.T if turned else resized)[:, inside],
        np.asarray(picture)[:, inside],
        rtol=0,
        atol=TOLERANCE,
    )


@pytest.mark.parametrize("source, target", LONG)
def test_a_long_axis_is_mirrored_at_its_borders(source, target):
    """As what is computed of it with the mirrored images attached."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, source, 2, 1))
    image = image.astype(np.float32)
    tripled = np.concatenate([image[:, ::-1], image, image[:, ::-1]], axis=1)
    middle = resize(tf.constant(tripled), 3 * target, 2)[:, target:-target]
    np.testing.assert_allclose(
        resize(tf.constant(image), target, 2), middle, rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize("height, width", [(2, 300), (300, 4), (70, 2)])
def test_gradients_of_a_long_axis_are_the_numerical_ones(height, width):
    sizes = {(2, 300): (2, 280), (300, 4): (3, 4), (70, 2): (290, 2)}
    shape = (1, *sizes[height, width], 1)
    image = tf.constant(np.random.default_rng(1).normal(size=shape), tf.float32)
    change = tf.constant(np.random.default_rng(2).normal(size=shape), tf.float32)
    weights = np.random.default_rng(3).normal(size=(1, height, width, 1))

    def weighted(image):
        return tf.reduce_sum(resize(image, height, width) * weights)

    with tf.GradientTape() as tape:
        tape.watch(image)
        value = weighted(image)
    slope = tf.reduce_sum(tape.gradient(value, image) * change)
    # A linear map: the difference of its values is the slope.
    np.testing.assert_allclose(slope, weighted(image + change) - value, atol=1e-2)


@pytest.mark.parametrize("height, width", [(30, 400), (270, 33)])
def test_xla_compiles_long_and_short_axes(height, width):
    image = tf.random.stateless_uniform([2, 20, 300, 3], [1, 2], -1, 1)

    def both(image):
        with tf.GradientTape() as tape:
            tape.watch(image)
            resized = resize(image, height, width)
        return resized, tape.gradient(resized, image)

    compiled = tf.function(both, jit_compile=True, autograph=False)(image)
    for actual, expected in zip(compiled, both(image)):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("way", [resize, resize_in_graph])
def test_memory_grows_with_the_pixels_and_not_with_the_square_of_a_side(way):
    """A matrix for all of the longer axis would have 160 GB."""

    def wave(length):
        x = (np.arange(length) + 0.5) / length
        return np.sin(60 * np.pi * x).astype(np.float32).reshape(1, 1, length, 1)

    for length in (250_000, 5000):
        resized = way(tf.constant(wave(160_000)), 1, length)
        np.testing.assert_allclose(
            resized[:, :, 10:-10], wave(length)[:, :, 10:-10], rtol=0, atol=1e-3
        )
