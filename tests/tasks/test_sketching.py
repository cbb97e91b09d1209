import numpy as np
import pytest
from pyramids import random_image

from singan_tf.tasks import (
    sketching,
)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_step_is_drawn_as_a_line_along_it(channels):
    image = np.full([1, 20, 31, channels], -0.5, np.float32)
    image[:, :, 15:] = 0.5
    drawn = sketching.sketch(image)
    assert drawn.shape == image.shape and drawn.dtype == np.float32
    assert set(np.unique(drawn)) == {-1, 1}
    assert (drawn == drawn[..., :1]).all()
    lines = drawn[0, :, :, 0] == -1
    assert not np.delete(lines, [14, 15], axis=1).any()
    # An edge detector does not see beyond the border.
    assert lines[2:-2].any(axis=1).all()


def test_a_disk_is_drawn_as_its_circle():
    y, x = np.mgrid[:50, :60]
    distance = np.hypot(y - 24, x - 31)
    image = np.where(distance < 15, 0.9, -0.2).astype(np.float32)[None, :, :, None]
    lines = sketching.sketch(image)[0, :, :, 0] == -1
    assert (abs(distance[lines] - 15) < 1.5).all()
    # All around: in every tenth of the full angle.
    angles = np.arctan2(y - 24, x - 31)[lines]
    assert (np.histogram(angles, 10, (-np.pi, np.pi))[0] >= 5).all()


def test_nothing_is_drawn_where_nothing_is():
    """Also where gradients are so rare that rounding is among the strongest tenth."""
    image = np.full([1, 60, 60, 3], 0.3, np.float32)
    image[:, 40:46, 20:26] = 0.31
    lines = sketching.sketch(image)[0, :, :, 0] == -1
    assert lines[37:49, 17:29].sum() >= 12
    lines[37:49, 17:29] = False
    assert not lines.any()


def test_a_pale_image_has_the_lines_of_a_strong_one():
    image = random_image(40, 50)
    drawn = sketching.sketch(image)
    assert 0 < (drawn == -1).mean() < 0.3
    np.testing.assert_array_equal(sketching.sketch(image / 16), drawn)


@pytest.mark.parametrize("size", [(1, 1), (30, 40)])
def test_an_image_of_one_colour_has_no_lines(size):
    image = np.full([1, *size, 3], 0.3, np.float32)
    assert (sketching.sketch(image) == 1).all()
