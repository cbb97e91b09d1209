"""The one number that chooses between candidates, against closed forms."""

import numpy as np
import pytest
from scipy import ndimage

from singan_tf.measure.likeness import distance, distance_to_nearest

NOISE = np.random.default_rng(1).normal(0, 0.2, [1, 128, 128, 3]).astype(np.float32)


def test_a_copy_is_at_no_distance():
    assert distance([NOISE, NOISE], NOISE) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("contrast", [0.5, 2.0])
def test_contrast_counts_in_patches_and_in_frequencies(contrast):
    # Of covariances S and c^2 S, tr(S + c^2 S - 2 c S) = (1 - c)^2 tr(S): as a share
    # |1 - c|. Every band is 20 log10 c decibels off, of which ten count as one.
    expected = abs(1 - contrast) + abs(20 * np.log10(contrast)) / 10
    found = distance([contrast * NOISE], NOISE)
    assert found == pytest.approx(expected, rel=0.01)


def test_a_colour_of_its_own_counts_in_patches_alone():
    # The mean moves by as much as the photograph's standard deviation.
    moved = NOISE + np.float32(NOISE.std())
    assert distance([moved], NOISE) == pytest.approx(1, rel=0.01)


def test_a_weak_grating_is_further_than_what_lacks_as_much_power():
    photograph = ndimage.gaussian_filter(NOISE, (0, 2, 2, 0)) * 5
    stripes = 0.03 * np.sin(2 * np.pi * 0.35 * np.arange(128, dtype=np.float32))
    grating = photograph + stripes[:, np.newaxis]
    fainter = photograph * np.float32(np.sqrt(1 - stripes.var() / photograph.var()))
    assert distance([grating], photograph) > 5 * distance([fainter], photograph)


def test_small_images_are_compared_by_patches_alone():
    small = NOISE[:, :50, :50]
    assert distance([2 * small], small) == pytest.approx(1, rel=0.05)
    with pytest.raises(ValueError, match="fewer than two patches"):
        distance([small[:, :7, :7]], small)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_image_is_infinitely_far(value):
    broken = NOISE.copy()
    broken[0, 3, 4, 1] = value
    assert distance([NOISE, broken], NOISE) == np.inf


def test_a_photograph_of_one_colour_can_be_compared_with():
    flat = np.full([1, 64, 64, 3], 0.5, np.float32)
    assert distance([flat], flat) == pytest.approx(0, abs=1e-6)
    assert 0.1 < distance([flat + 0.01], flat) < np.inf


def test_what_is_outside_does_not_count():
    inside = np.zeros([128, 128], bool)
    inside[:100, 20:] = True
    broken = np.where(inside[:, :, np.newaxis], NOISE, -NOISE + 0.3)
    found = distance([2 * NOISE], NOISE, inside)
    assert distance([2 * NOISE], broken, inside) == found
    assert found == pytest.approx(distance([2 * NOISE], NOISE), rel=0.1)
    assert found != distance([2 * NOISE], broken)


def test_what_is_outside_of_several_photographs_does_not_count():
    """The mean over samples, each compared with what is inside of its photograph."""
    inside = np.zeros([128, 128], bool)
    inside[:100, 20:] = True
    broken = np.where(inside[:, :, np.newaxis], NOISE, -NOISE + 0.3)
    samples, others = [2 * NOISE, 9 * NOISE], [broken, 8 * NOISE]
    found = distance_to_nearest(samples, others, [inside, None])
    expected = [
        distance(samples[:1], broken, inside),
        distance(samples[1:], 8 * NOISE),
    ]
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-6)
