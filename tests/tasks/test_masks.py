import fractions
import itertools
import math

import numpy as np
import pytest
from pyramids import random_image

from singan_tf.tasks import (
    masks,
)


def square_mask(height=40, width=50, top=15, left=20, side=6):
    mask = np.zeros([height, width], bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.mark.parametrize("radius", [0, 1, 4, 7])
def test_a_mask_is_widened_by_a_disk(radius):
    mask = square_mask()
    mask[2, 47] = True
    expected = np.zeros(mask.shape)
    inside = np.argwhere(mask)
    for y, x in itertools.product(*map(range, mask.shape)):
        distances = ((inside - [y, x]) ** 2).sum(axis=1)
        expected[y, x] = distances.min() <= radius**2
    softened = masks.soften_mask(mask.astype(np.float32), radius, 0)
    assert softened.dtype == np.float32
    np.testing.assert_array_equal(softened, expected)


def test_a_mask_is_blurred_by_a_gaussian_and_ends():
    sigma, reach = 2.5, 10
    mask = square_mask()
    kernel = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-reach, reach + 1)]
    kernel = np.array(kernel) / sum(kernel)
    expected = mask.astype(float)
    for axis in (0, 1):
        margins = [(reach, reach) if axis == a else (0, 0) for a in (0, 1)]
        padded = np.pad(expected, margins, mode="edge")
        expected = np.apply_along_axis(np.convolve, axis, padded, kernel, "valid")
    softened = masks.soften_mask(mask, 0, sigma)
    np.testing.assert_allclose(softened, expected, atol=1e-6)
    rows, columns = np.nonzero(softened)
    assert (rows.min(), rows.max()) == (15 - reach, 20 + reach)
    assert (columns.min(), columns.max()) == (20 - reach, 25 + reach)


def test_a_mask_that_is_neither_widened_nor_blurred_is_as_it_was():
    mask = np.random.default_rng(0).uniform(0, 1, [20, 30]).astype(np.float32)
    softened = masks.soften_mask(mask, 0, 0)
    np.testing.assert_array_equal(softened, mask)
    assert (masks.soften_mask(mask, 0, 0.1) != mask).any()


@pytest.mark.parametrize(
    "size", [(3, 4), (20, 30), (7, 11), (19, 29), (31, 47), (40, 60), (1, 1)]
)
def test_a_pixel_of_a_resized_mask_is_the_brightest_that_it_overlaps(size):
    mask = np.random.default_rng(0).uniform(0, 1, [20, 30])

    def overlapped(index, source, target):
        step = fractions.Fraction(source, target)
        first, end = index * step, (index + 1) * step
        return [p for p in range(source) if p < end and p + 1 > first]

    expected = [
        [
            mask[np.ix_(overlapped(y, 20, size[0]), overlapped(x, 30, size[1]))].max()
            for x in range(size[1])
        ]
        for y in range(size[0])
    ]
    np.testing.assert_array_equal(masks.resize_mask(mask, *size), expected)
    np.testing.assert_array_equal(
        masks.resize_mask(mask > 0.9, *size), np.array(expected) > 0.9
    )


@pytest.mark.parametrize("value", [False, True])
def test_an_empty_and_a_full_mask_stay_so(value):
    softened = masks.soften_mask(np.full([30, 20], value), 5, 3)
    np.testing.assert_array_equal(softened, np.full([30, 20], float(value)))


def test_a_blend_is_exact_where_the_mask_is_0_or_1():
    original, changed = random_image(9, 8), random_image(9, 8, seed=1)
    mask = np.random.default_rng(2).choice([0, 0.5, 1], [9, 8]).astype(np.float32)
    blended = masks.blend(original, changed, mask)
    np.testing.assert_array_equal(blended[:, mask == 0], original[:, mask == 0])
    np.testing.assert_array_equal(blended[:, mask == 1], changed[:, mask == 1])
    middle = (original + changed) / 2
    np.testing.assert_allclose(blended[:, mask == 0.5], middle[:, mask == 0.5], 1e-5)
