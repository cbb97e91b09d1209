import numpy as np
import pytest
from pyramids import random_image

from singan_tf.tasks import inpainting


def test_a_smooth_picture_comes_back_where_it_was_cut_out():
    """Harmonic functions are what a membrane on their border is."""
    y, x = np.mgrid[-1:1:150j, -1.4:1.4:211j]
    smooth = [0.7 * x, (x**2 - y**2) / 2, np.exp(1.5 * x) * np.sin(1.5 * y) / 8]
    picture = np.stack(smooth, axis=-1).astype(np.float32)[np.newaxis]
    hole = (abs(y - 0.5) < 0.02) | (abs(x - y) < 0.02)
    hole |= (np.hypot(x - 0.3, y + 0.2) < 0.4) | (np.hypot(x + 0.9, y) < 0.006)
    assert 0.1 < hole.mean() < 0.3
    torn = np.where(hole[..., np.newaxis], np.float32(9), picture)
    filled = inpainting.fill_hole(torn, hole)
    assert filled.dtype == np.float32
    np.testing.assert_allclose(filled, picture, atol=0.02)
    np.testing.assert_array_equal(filled[0, ~hole], picture[0, ~hole])


@pytest.mark.parametrize("size", [(9, 1), (1, 8), (2, 2), (33, 17)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_hole_is_filled_with_colours_of_what_is_left(size, channels):
    """Also if that is a single pixel, in a corner."""
    image = random_image(*size, channels)
    hole = np.ones(size, bool)
    hole[-1, -1] = False
    filled = inpainting.fill_hole(image, hole)
    np.testing.assert_allclose(
        filled, np.broadcast_to(image[:, -1:, -1:], image.shape), atol=1e-6
    )
    nothing = np.zeros(size, bool)
    np.testing.assert_array_equal(inpainting.fill_hole(image, nothing), image)


def test_a_hole_without_a_border_is_refused():
    with pytest.raises(ValueError, match="whole image"):
        inpainting.fill_hole(random_image(5, 5), np.ones([5, 5], bool))
