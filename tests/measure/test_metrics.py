import itertools

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial import distance
from shapes import disk
from skimage import filters

from singan_tf.measure import metrics

SIDE = metrics.PATCH_SIDE


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def noise_image(rng, height=40, width=50, channels=3):
    return rng.uniform(-1, 1, [1, height, width, channels]).astype(np.float32)


def texture(rng, height=40, width=50):
    """Something smoother than noise, with detail everywhere."""
    image = filters.gaussian(noise_image(rng, height, width), sigma=(0, 1.5, 1.5, 0))
    return (image / np.abs(image).max()).astype(np.float32)


def constant(value, height=30, width=20, channels=3):
    return np.full([1, height, width, channels], value, np.float32)


def brute_patches(image):
    height, width = image.shape[1:3]
    return np.stack(
        [
            np.moveaxis(image[0, y : y + SIDE, x : x + SIDE], -1, 0).ravel()
            for y in range(height - SIDE + 1)
            for x in range(width - SIDE + 1)
        ]
    )


def covariance(rng, size, rank):
    root = rng.normal(size=[size, rank])
    return root @ root.T


def test_a_gaussian_is_the_mean_and_covariance(rng):
    rows = rng.normal(size=[30, 4]).astype(np.float32)
    fitted = metrics.gaussian(rows)
    np.testing.assert_allclose(fitted.mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(fitted.covariance, np.cov(rows.T), rtol=1e-5)
    with pytest.raises(ValueError, match="1 rows"):
        metrics.gaussian(rows[:1])


def test_frechet_distance_of_axis_aligned_gaussians_has_a_closed_form():
    first = metrics.Gaussian(np.array([1.0, 2, 3]), np.diag([4.0, 9, 0]))
    second = metrics.Gaussian(np.array([1.0, 0, 3]), np.diag([1.0, 16, 25]))
    # (2 - 0)^2 + (2 - 1)^2 + (3 - 4)^2 + (0 - 5)^2.
    assert metrics.frechet_distance(first, second) == pytest.approx(31)
    assert metrics.frechet_distance(second, first) == pytest.approx(31)


@pytest.mark.parametrize("rank", [6, 3])
def test_frechet_distance_is_that_of_a_matrix_root(rng, rank):
    """By SciPy's root of the product, also of singular matrices."""
    first, second = (
        metrics.Gaussian(rng.normal(size=6), covariance(rng, 6, rank)) for _ in range(2)
    )
    product = first.covariance @ second.covariance
    # The root of a singular matrix is known to half the digits.
    root = linalg.sqrtm(product + 1e-12 * np.eye(6)).real
    expected = np.sum((first.mean - second.mean) ** 2)
    expected += np.trace(first.covariance + second.covariance - 2 * root)
    found = metrics.frechet_distance(first, second)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("rank", [20, 2])
def test_frechet_distance_of_equals_is_zero_and_never_negative(rng, rank):
    fitted = metrics.Gaussian(np.zeros(20), covariance(rng, 20, rank))
    assert 0 <= metrics.frechet_distance(fitted, fitted) < 1e-5


def test_patches_are_all_squares_in_order(rng):
    image = noise_image(rng, 9, 12)
    np.testing.assert_array_equal(metrics.patches(image), brute_patches(image))


def test_too_many_patches_are_a_choice_without_repeats(rng):
    image = noise_image(rng, 20, 20)
    found = metrics.patches(image, limit=50)
    everything = {patch.tobytes() for patch in brute_patches(image)}
    chosen = {patch.tobytes() for patch in found}
    assert len(chosen) == 50
    assert chosen <= everything
    np.testing.assert_array_equal(found, metrics.patches(image, limit=50))


@pytest.mark.parametrize("channels", [1, 3])
def test_patch_frechet_of_a_brighter_image_is_the_squared_step(rng, channels):
    image = noise_image(rng, channels=channels) / 2
    found = metrics.patch_frechet(image, image + np.float32(0.25))
    assert found == pytest.approx(0.25**2, rel=1e-3)


def test_patch_frechet_is_that_of_all_patches(rng):
    first, second = noise_image(rng, 14, 22), texture(rng, 25, 12)
    fitted = [metrics.gaussian(brute_patches(image)) for image in (first, second)]
    expected = metrics.frechet_distance(*fitted) / (3 * SIDE**2)
    assert metrics.patch_frechet(first, second) == pytest.approx(expected, rel=1e-6)


def test_nearest_patches_by_brute_force(rng, monkeypatch):
    # Several bands, the last one shorter.
    monkeypatch.setattr(metrics, "_BAND", 100)
    first, second = texture(rng, 15, 20), texture(rng, 24, 17)
    table = distance.cdist(brute_patches(first), brute_patches(second), "sqeuclidean")
    expected = table.min(axis=1).mean() / (3 * SIDE**2)
    assert metrics.nearest_patches(first, second) == pytest.approx(expected, rel=1e-5)


def test_a_crop_is_plausible_but_leaves_things_out(rng):
    photograph = texture(rng)
    crop = photograph[:, :20, :20]
    assert metrics.nearest_patches(crop, photograph) == 0
    assert metrics.nearest_patches(photograph, crop) > 0.01


@pytest.mark.parametrize("size", [(30, 40), (18, 23)])
def test_sliced_wasserstein_by_other_directions(rng, size):
    first, second = texture(rng, 30, 40), noise_image(rng, *size)
    one, other = brute_patches(first), brute_patches(second)
    found = []
    for _ in range(500):
        direction = rng.normal(size=one.shape[1])
        direction /= np.linalg.norm(direction)
        found.append(stats.wasserstein_distance(one @ direction, other @ direction))
    expected = pytest.approx(np.mean(found), rel=0.05)
    assert metrics.sliced_wasserstein(first, second) == expected


def test_sliced_wasserstein_of_constants_has_a_closed_form():
    """A step of 1 along the diagonal, seen from a random direction in 147."""
    found = metrics.sliced_wasserstein(constant(-0.5), constant(0.5))
    assert found == pytest.approx(np.sqrt(2 / np.pi), rel=0.1)


def test_diversity_by_its_formula(rng):
    photograph = noise_image(rng, 6, 7)
    samples = [noise_image(rng, 4, 5) for _ in range(3)]
    deviations = []
    for y, x in itertools.product(range(4), range(5)):
        grey = [np.mean(sample[0, y, x]) for sample in samples]
        deviations.append(np.sqrt(np.sum((grey - np.mean(grey)) ** 2) / 2))
    grey = photograph[0].mean(-1).ravel()
    spread = np.sqrt(np.sum((grey - grey.mean()) ** 2) / (len(grey) - 1))
    expected = np.mean(deviations) / spread
    assert metrics.diversity(samples, photograph) == pytest.approx(expected, rel=1e-5)


def test_diversity_needs_two_samples_of_one_size_and_a_photograph_with_contrast(rng):
    photograph, sample, other = (noise_image(rng, 9, 9) for _ in range(3))
    assert metrics.diversity([sample], photograph) is None
    assert metrics.diversity([], photograph) is None
    assert metrics.diversity([sample, other[:, :8]], photograph) is None
    assert metrics.diversity([sample, other], constant(0.3, 9, 9)) is None
    assert metrics.diversity([sample, sample], photograph) == 0


@pytest.mark.parametrize("image", ["noise", "texture"])
@pytest.mark.parametrize("share", [0, 0.25, 0.5, 1])
def test_a_pasted_share_is_found(rng, image, share):
    make = {"noise": noise_image, "texture": texture}[image]
    photograph, sample = make(rng, 60, 80), make(rng, 60, 80)
    width = round(80 * share)
    sample[:, :, :width] = photograph[:, :, :width]
    # A row or two of windows at the border, where texture goes on by chance.
    assert metrics.copied(sample, photograph) == pytest.approx(share, abs=0.03)


def test_what_compression_and_rounding_change_is_still_a_copy(rng):
    photograph = texture(rng)
    noisy = photograph + rng.normal(0, 3 / 127.5, photograph.shape)
    assert metrics.copied(noisy, photograph) == 1
    assert metrics.copied_anywhere(noisy, photograph) == 1
    blurred = filters.gaussian(photograph, sigma=(0, 3, 3, 0))
    assert metrics.copied(blurred, photograph) < 0.05


def test_what_is_flat_is_not_told_from_a_copy(rng):
    photograph = texture(rng)
    photograph[:, :, 20:] = 0.5
    sample = texture(rng)
    sample[:, :, 20:] = 0.5
    assert metrics.copied(sample, photograph) < 0.05
    assert metrics.copied(photograph, photograph) == 1
    for flat in (constant(0.5), constant(0.5) + rng.normal(0, 0.01, [1, 30, 20, 3])):
        assert metrics.copied(flat, flat) is None
        assert metrics.copied_anywhere(flat, photograph) is None


def test_a_moved_copy_is_found_anywhere(rng):
    photograph = texture(rng, 66, 66)
    moved = np.roll(photograph, (7, 13), (1, 2))
    assert metrics.copied(moved, photograph) < 0.02
    # What the border cuts is no window of the photograph.
    assert 0.6 < metrics.copied_anywhere(moved, photograph) < 1
    assert metrics.copied_anywhere(photograph, moved[:, :50]) > 0.4
    assert metrics.copied_anywhere(texture(rng, 66, 66), photograph) < 0.02


def test_of_a_large_image_a_choice_of_windows_tells_how_much_is_copied(rng):
    photograph = texture(rng, 33, 33)
    sample = texture(rng, 440, 660)
    # The first four of sixty columns of the grid, so one window in fifteen.
    sample[:, :, :44] = np.tile(photograph[:, :11, :11], (1, 40, 4, 1))
    found = metrics.copied_anywhere(sample, photograph)
    # Three standard deviations of a choice of 1,024 of 2,400 windows.
    assert found == pytest.approx(4 / 60, abs=0.018)
    assert metrics.copied_anywhere(sample, photograph) == found


@pytest.mark.parametrize("channels", [1, 3])
def test_no_way_of_copying_wins_every_metric(rng, channels):
    photograph = texture(rng, 44, 55)[..., :channels]
    copies = [photograph] * 3
    moved = [np.roll(photograph, (5 * n, 9 * n), (1, 2)) for n in (1, 2, 3)]
    for sample in copies + moved:
        assert metrics.patch_frechet(sample, photograph) < 0.01
        assert metrics.nearest_patches(sample, photograph) < 0.02
        assert metrics.nearest_patches(photograph, sample) < 0.02
        assert metrics.copied_anywhere(sample, photograph) > 0.5
    assert metrics.diversity(copies, photograph) == 0
    assert metrics.copied(copies[0], photograph) == 1
    assert metrics.diversity(moved, photograph) > 0.8


@pytest.mark.parametrize(
    "metric",
    [metrics.patch_frechet, metrics.nearest_patches, metrics.sliced_wasserstein],
)
def test_patch_distances_where_images_are_odd(rng, metric):
    image = noise_image(rng)
    assert metric(image, image) == pytest.approx(0, abs=1e-6)
    assert metric(constant(0.2), constant(0.2)) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(metric(constant(0.2), image))
    assert np.isfinite(metric(image, constant(0.2)))
    assert metric(image[:, :6], image) is None
    assert metric(image, image[:, :, :6]) is None
    # One patch.
    single = metric(image[:, :SIDE, :SIDE], image)
    assert single is None if metric is metrics.patch_frechet else np.isfinite(single)


def test_copied_shares_of_tiny_images_and_of_other_sizes(rng):
    image = noise_image(rng)
    tiny = image[:, :10, :30]
    assert metrics.copied(tiny, tiny) is None
    assert metrics.copied_anywhere(tiny, image) is None
    assert metrics.copied_anywhere(image, tiny) is None
    assert metrics.copied(image[:, :, :-1], image) is None
    assert metrics.copied_anywhere(image[:, :22, :22], image) == 1


def test_rmse():
    assert metrics.rmse(constant(0.5), constant(-0.25)) == 0.75


def test_sifid_is_the_frechet_distance_of_features(rng):
    first, second = noise_image(rng), texture(rng, 33, 20)

    def features(image):
        return image[0].reshape(-1, 3) if image.shape[1] > 20 else None

    expected = metrics.frechet_distance(
        *(metrics.gaussian(features(image)) for image in (first, second))
    )
    assert metrics.sifid(features, first, second) == pytest.approx(expected)
    assert metrics.sifid(features, first, first) == pytest.approx(0, abs=1e-9)
    assert metrics.sifid(features, first[:, :20], second) is None
    assert metrics.sifid(features, first, second[:, :20]) is None


INSIDE = disk(40, 50, 18, 24, 15)


def windows_inside(side):
    return np.array(
        [
            INSIDE[y : y + side, x : x + side].all()
            for y in range(40 - side + 1)
            for x in range(50 - side + 1)
        ]
    )


def outside_changed(image, rng):
    other = rng.uniform(-1, 1, image.shape)
    return np.where(INSIDE[:, :, np.newaxis], image, other).astype(np.float32)


MASKED = {
    "patch_frechet": lambda s, p: metrics.patch_frechet(s, p, INSIDE),
    "sliced_wasserstein": lambda s, p: metrics.sliced_wasserstein(s, p, INSIDE),
    "plausibility": lambda s, p: metrics.nearest_patches(s, p, inside_among=INSIDE),
    "coverage": lambda s, p: metrics.nearest_patches(p, s, inside=INSIDE),
    "copied": lambda s, p: metrics.copied(s, p, INSIDE),
    "copied_anywhere": lambda s, p: metrics.copied_anywhere(s, p, INSIDE),
    "diversity": lambda s, p: metrics.diversity([s, -s], p, INSIDE),
    "rmse": lambda s, p: metrics.rmse(s, p, INSIDE),
}


@pytest.mark.parametrize("name", MASKED)
def test_what_is_outside_changes_no_metric(rng, name):
    photograph, sample = texture(rng), texture(rng)
    sample[:, :, :25] = photograph[:, :, :25]
    found = MASKED[name](sample, photograph)
    assert found is not None
    assert MASKED[name](sample, outside_changed(photograph, rng)) == found
    full = np.ones([40, 50], bool)
    everything = metrics.patch_frechet(sample, photograph)
    assert metrics.patch_frechet(sample, photograph, full) == everything


def test_of_the_photograph_patches_inside_count(rng):
    photograph, sample = texture(rng), texture(rng)
    chosen = brute_patches(photograph)[windows_inside(SIDE)]
    patches = brute_patches(sample)
    expected = metrics.frechet_distance(
        metrics.gaussian(chosen), metrics.gaussian(patches)
    )
    found = metrics.patch_frechet(sample, photograph, INSIDE)
    assert found == pytest.approx(expected / chosen.shape[1], rel=1e-4)
    squares = distance.cdist(patches, chosen, "sqeuclidean") / chosen.shape[1]
    found = metrics.nearest_patches(sample, photograph, 10**5, inside_among=INSIDE)
    assert found == pytest.approx(squares.min(axis=1).mean(), rel=1e-4)
    found = metrics.nearest_patches(photograph, sample, 10**5, INSIDE)
    assert found == pytest.approx(squares.min(axis=0).mean(), rel=1e-4)


def test_copies_are_looked_for_inside(rng):
    photograph = texture(rng)
    copy = outside_changed(photograph, rng)
    assert metrics.copied(copy, photograph, INSIDE) == 1
    assert metrics.copied(copy, photograph) < 0.6
    assert metrics.copied_anywhere(photograph, copy, ~INSIDE) < 0.2
    assert metrics.copied(copy, photograph, disk(40, 50, 18, 24, 5)) is None
    assert metrics.copied_anywhere(copy, photograph, disk(40, 50, 18, 24, 5)) is None


def test_diversity_and_errors_are_shares_of_what_is_inside(rng):
    photograph, samples = texture(rng), [texture(rng) for _ in range(3)]
    grey = photograph[0].mean(axis=-1)[INSIDE]
    values = np.stack([sample[0].mean(axis=-1) for sample in samples])
    expected = values.std(axis=0, ddof=1).mean() / grey.std(ddof=1)
    found = metrics.diversity(samples, photograph, INSIDE)
    assert found == pytest.approx(expected, rel=1e-5)
    map_ = metrics.variance_map(samples, photograph, INSIDE)
    expected = values.var(axis=0, ddof=1) / grey.var(ddof=1)
    np.testing.assert_allclose(map_, expected, rtol=1e-4)
    squares = ((samples[0] - photograph)[0][INSIDE].astype(float) ** 2).mean()
    found = metrics.rmse(samples[0], photograph, INSIDE)
    assert found == pytest.approx(np.sqrt(squares), rel=1e-5)


def test_too_little_inside_has_no_distance(rng):
    photograph, sample = texture(rng), texture(rng)
    small = disk(40, 50, 18, 24, 3)
    assert metrics.patch_frechet(sample, photograph, small) is None
    assert metrics.sliced_wasserstein(sample, photograph, small) is None
    assert metrics.nearest_patches(photograph, sample, inside=small) is None

    def features(image, inside=None):
        return image[0].reshape(-1, 3) if inside is None else image[0][inside]

    assert metrics.sifid(features, sample, photograph, small & False) is None
    assert metrics.sifid(features, sample, photograph, small) > 0


def test_seams_are_those_of_rolled_neighbours():
    """A stripe of a photograph that goes up by 3 down and 5 across."""
    y, x = np.mgrid[:6, :9]
    photograph = (0.03 * y + 0.05 * x)[np.newaxis, :, :, np.newaxis]
    found = metrics.seams(photograph[:, :4, :7], photograph)
    assert found == pytest.approx((3, 6))
    rolled = np.roll(photograph, (2, -4), axis=(1, 2))
    assert metrics.seams(rolled, photograph) == pytest.approx((1, 1))
    assert metrics.seams(photograph, 0 * photograph + 0.03 * y[..., np.newaxis]) is None


def test_seams_are_by_the_neighbours_that_are_both_inside(rng):
    photograph, tile = texture(rng), texture(rng)[:, :20, :24]
    pairs = [
        [
            np.abs(photograph[0, y, x] - photograph[0, y + down, x + across])
            for y in range(40 - down)
            for x in range(50 - across)
            if INSIDE[y, x] and INSIDE[y + down, x + across]
        ]
        for down, across in ((1, 0), (0, 1))
    ]
    jumps = tile[0, 0] - tile[0, -1], tile[0, :, 0] - tile[0, :, -1]
    expected = [np.abs(j).mean() / np.mean(p) for j, p in zip(jumps, pairs)]
    found = metrics.seams(tile, photograph, INSIDE)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert metrics.seams(tile, outside_changed(photograph, rng), INSIDE) == found


def test_the_nearest_photograph_is_by_what_is_inside(rng):
    first, second = texture(rng), 0.2 * texture(rng)
    broken = outside_changed(second, rng)
    sample = 0.2 * texture(rng)
    assert metrics.nearest_photograph(sample, [first, second]) == 1
    spoilt = np.where(INSIDE[:, :, np.newaxis], broken, 3 * first)
    assert metrics.nearest_photograph(sample, [0.3 * first, spoilt]) == 0
    found = metrics.nearest_photograph(sample, [0.3 * first, spoilt], [None, INSIDE])
    assert found == 1
