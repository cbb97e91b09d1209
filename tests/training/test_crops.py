import numpy as np
import pytest
import tensorflow as tf
from shapes import disk

from singan_tf.model import noise
from singan_tf.training.crops import Crops

SEEDS = tf.range(300, dtype=tf.int64)


@pytest.mark.parametrize(
    ("side", "size", "whole"),
    [(0, (5, 7), True), (7, (5, 7), True), (5, (5, 5), False), (3, (3, 3), False)],
)
def test_windows_are_as_large_as_the_image_allows(side, size, whole):
    crops = Crops((5, 7), side)
    assert (crops.size, crops.whole) == (size, whole)


def test_windows_lie_everywhere_and_a_border_goes_with_them():
    image = np.arange(5 * 7, dtype=np.float32).reshape([1, 5, 7, 1])
    crops = Crops((5, 7), 3)
    windows = crops.cut(tf.constant(image), SEEDS, 9).numpy()
    corners = windows[:, 0, 0, 0].astype(int)
    places = {(corner // 7, corner % 7) for corner in corners}
    assert places == {(top, left) for top in range(3) for left in range(5)}
    bordered = np.pad(image, [[0, 0], [5, 5], [5, 5], [0, 0]], constant_values=-1)
    cut = crops.cut(tf.constant(bordered), SEEDS, 9, padded=True).numpy()
    assert cut.shape == (300, 13, 13, 1)
    np.testing.assert_array_equal(cut[:, 5:-5, 5:-5], windows)
    other = crops.cut(tf.constant(image), SEEDS, 10)
    assert (other.numpy() != windows).any()


def test_whole_images_are_given_once_for_each_seed():
    image = tf.constant(np.arange(35, dtype=np.float32).reshape([1, 5, 7, 1]))
    found = Crops((5, 7), 0).cut(image, SEEDS[:3], 9)
    np.testing.assert_array_equal(found, np.repeat(image, 3, axis=0))


INSIDE = disk(30, 40, 14, 12, 9)
MANY = tf.range(1000, dtype=tf.int64)


def squares_inside(corner, side=9, seen=4):
    window = INSIDE[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
    views = np.lib.stride_tricks.sliding_window_view(window, (seen, seen))
    return int(views.all(axis=(2, 3)).sum())


def corners_of(crops, stream, seeds):
    """Where windows lie, by an image whose pixels are numbered."""
    image = np.arange(30 * 40, dtype=np.float32).reshape([1, 30, 40, 1])
    numbers = crops.cut(tf.constant(image), seeds, stream).numpy()[:, 0, 0, 0]
    return np.stack(np.divmod(numbers.astype(int), 40), axis=1)


def test_windows_of_what_counts_are_as_likely_as_there_is_to_see():
    crops = Crops((30, 40), 9, INSIDE, 4)
    corners = corners_of(crops, noise.REAL_CROP_STREAM, MANY)
    counts = np.array([[squares_inside((y, x)) for x in range(32)] for y in range(22)])
    found = np.zeros(counts.shape)
    np.add.at(found, tuple(corners.T), 1)
    assert (found[counts == 0] == 0).all()
    expected = 1000 * counts / counts.sum()
    # Summed over blocks, so that each is large; of a Poisson variable the deviation.
    for block in np.ndindex(2, 3):
        rows, columns = (slice(11 * block[0], 11 * block[0] + 11), slice(None))
        columns = slice(11 * block[1], 11 * block[1] + 11)
        mean = expected[rows, columns].sum()
        assert abs(found[rows, columns].sum() - mean) <= 4 * np.sqrt(mean) + 1e-9


def test_windows_beside_a_fake_s_stay_or_move_to_the_nearest_with_much_to_see():
    crops = Crops((30, 40), 9, INSIDE, 4)
    asked = crops.corners(SEEDS, noise.FAKE_CROP_STREAM).numpy()
    corners = corners_of(crops, noise.FAKE_CROP_STREAM, SEEDS)
    counts = np.array([[squares_inside((y, x)) for x in range(32)] for y in range(22)])
    much = np.argwhere(counts >= counts.max() / 2)
    for corner, wish in zip(corners, asked):
        assert squares_inside(corner) >= counts.max() / 2
        least = ((much - wish) ** 2).sum(axis=1).min()
        assert ((corner - wish) ** 2).sum() == least
    assert (corners == asked).all(axis=1).any()
