import numpy as np
import pytest
import tensorflow as tf
from pyramids import brought_up, build, random_image
from shapes import disk

from singan_tf.tasks import (
    painting,
)


@pytest.fixture(scope="module", params=["zeros", "noise"])
def model(request, make_stage):
    return build(make_stage, padding=request.param)


def test_redrawing_is_injecting(model):
    image = random_image(13, 17)
    expected = model.inject(tf.constant(image), 1, [7]).numpy()
    np.testing.assert_array_equal(painting.redraw(model, image, 1, 7), expected)
    assert (painting.redraw(model, image, 1, 8) != expected).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_palette_finds_the_colours_of_an_image(channels):
    rng = np.random.default_rng(0)
    colours = np.linspace(-0.9, 0.9, 5 * channels).reshape(5, channels)
    pixels = colours[rng.integers(0, 5, 600)] + rng.normal(0, 0.01, [600, channels])
    image = pixels.reshape(1, 20, 30, channels).astype(np.float32)
    palette = painting.find_palette(image, 5)
    assert palette.dtype == np.float32
    np.testing.assert_allclose(np.sort(palette, axis=0), colours, atol=0.01)
    np.testing.assert_array_equal(painting.find_palette(image, 5), palette)


def test_a_palette_has_no_more_colours_than_the_image():
    image = np.ones([1, 6, 6, 3], np.float32)
    image[:, :3] = -0.5
    palette = painting.find_palette(image, 5)
    np.testing.assert_allclose(np.sort(palette[:, 0]), [-0.5, 1])


def test_snapping_takes_the_nearest_colour_of_each_pixel():
    image = random_image(5, 6)
    palette = np.random.default_rng(1).uniform(-1, 1, [4, 3]).astype(np.float32)
    found = painting.snap(image, palette)
    for pixel, snapped in zip(image.reshape(-1, 3), found.reshape(-1, 3)):
        nearest = min(palette, key=lambda colour: np.sum((pixel - colour) ** 2))
        np.testing.assert_array_equal(snapped, nearest)


def test_an_image_enters_as_blurred_as_the_scale_below(model):
    image = random_image(32, 40)
    expected = brought_up(brought_up(image, (16, 20)), (22, 28))
    entered = painting.entering(model, image, 1)
    np.testing.assert_allclose(entered, expected, atol=1e-5)


def test_a_palette_is_of_the_pixels_inside():
    image = random_image(12, 14)
    inside = disk(12, 14, 6, 7, 4)
    other = np.where(inside[:, :, np.newaxis], image, 0.9).astype(np.float32)
    palette = painting.find_palette(image, 3, inside)
    np.testing.assert_array_equal(painting.find_palette(other, 3, inside), palette)
    pixels = image[0][inside].astype(np.float64)
    nearest = ((pixels[:, np.newaxis] - palette) ** 2).sum(axis=-1).argmin(axis=1)
    means = [pixels[nearest == each].mean(axis=0) for each in range(3)]
    np.testing.assert_allclose(palette, means, atol=0.05)
