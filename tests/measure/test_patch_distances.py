"""What docs/studies.md says of two distances of patches, against SciPy."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from benchmarks import patch_distances

from singan_tf import images
from singan_tf.measure import metrics


@pytest.fixture(scope="module")
def photograph():
    rocket = images.read(images.resolve("rocket")).astype(np.float64)
    return patch_distances.resized(rocket, 32, 48)


def test_an_image_of_equal_spectrum_is_equal_to_a_gaussian_but_not_to_its_values(
    photograph,
):
    other = patch_distances.of_equal_spectrum(photograph)
    # A real image, and another one.
    assert other.shape == photograph.shape
    assert metrics.rmse(other, photograph) > 0.3 * photograph.std()
    pair = [metrics.patches(patch_distances.around(x)) for x in (photograph, other)]
    assert len(pair[0]) == 32 * 48
    one, two = (np.cov(rows, rowvar=False) for rows in pair)
    np.testing.assert_allclose(one, two, atol=1e-12)
    np.testing.assert_allclose(pair[0].mean(0), pair[1].mean(0), atol=1e-12)
    frechet = metrics.frechet_distance(*map(metrics.gaussian, pair))
    assert frechet < 1e-7 * np.trace(one)
    # What a Gaussian does not hold, along directions of SciPy's choice and by it.
    directions = scipy.stats.ortho_group(147, seed=0).rvs()[:20]
    moved = photograph[:, :, ::-1]
    mirrored = metrics.patches(patch_distances.around(moved))
    distances = [
        np.mean(
            [
                scipy.stats.wasserstein_distance(pair[0] @ each, rows @ each)
                for each in directions
            ]
        )
        for rows in (pair[1], mirrored)
    ]
    assert distances[0] > 2 * distances[1]


def test_alignment_is_conditioned_as_the_covariance_is(photograph):
    found = patch_distances.alignment(photograph, photograph, 3)
    rows = metrics.patches(photograph, 3)
    assert (found.patches, found.values) == rows.shape == (30 * 46, 27)
    condition = np.linalg.cond(np.cov(rows, rowvar=False))
    assert found.condition == pytest.approx(condition, rel=1e-3)
    # An image is aligned with itself by the identity.
    assert found.gain == pytest.approx(1, rel=1e-6)
    assert found.gain_shrunk == pytest.approx(1, rel=1e-6)


def test_alignment_stretches_what_a_fake_lacks(photograph):
    height, width = photograph.shape[1:3]
    below = patch_distances.resized(photograph, height // 2, width // 2)
    fake = patch_distances.resized(below, height, width)
    found = patch_distances.alignment(photograph, fake, 3)
    sharp = patch_distances.alignment(photograph, photograph, 3)
    assert found.condition > 3 * sharp.condition
    for shrink, gain in ((0, found.gain), (1e-4, found.gain_shrunk)):
        inside, target = (
            np.cov(metrics.patches(x, 3), rowvar=False) + shrink * np.eye(27)
            for x in (fake, photograph)
        )
        matrix = np.linalg.inv(scipy.linalg.sqrtm(inside)) @ scipy.linalg.sqrtm(target)
        expected = np.linalg.svd(matrix.real, compute_uv=False)[0]
        assert gain == pytest.approx(expected, rel=1e-3)
    assert 1 < found.gain_shrunk < found.gain


def test_fewer_patches_than_values_have_no_inverse(photograph):
    small = patch_distances.resized(photograph, 12, 12)
    found = patch_distances.alignment(small, small, 7)
    # Of 36 patches of 147 values, 35 differences are independent.
    rows = metrics.patches(small, 7)
    assert np.linalg.matrix_rank(np.cov(rows, rowvar=False)) == 35
    assert found.condition == found.gain == np.inf
    assert found.gain_shrunk == pytest.approx(1)
