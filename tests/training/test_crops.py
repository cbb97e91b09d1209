import numpy as np
import pytest
import tensorflow as tf

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
