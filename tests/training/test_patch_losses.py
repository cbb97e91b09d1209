import functools
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import tensorflow as tf
from shapes import disk

from singan_tf import config, images
from singan_tf.training import patch_losses

RNG = np.random.default_rng(0)
NAMES = sorted(patch_losses.WEIGHTS)


def smooth(height, width, channels=3, count=1, seed=0):
    """Images with structure at every scale, float64 [count, H, W, C] in [-1, 1]."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(count, height, width, channels))
    for axis in (1, 2):
        image += 2 * np.roll(image, 1, axis) + 2 * np.roll(image, 2, axis)
    return np.tanh(image / 8)


def all_patches(image, size, stride=1):
    """By plain indexing: float64 [N, size * size * C]."""
    height, width = image.shape[:2]
    return np.array(
        [
            image[i : i + size, j : j + size].ravel()
            for i in range(0, height - size + 1, stride)
            for j in range(0, width - size + 1, stride)
        ]
    )


def make(name, real, **settings):
    """A distance by its name, as a function of fakes and seeds."""
    settings = {"patch_size": 3, "patch_count": 0, **settings}
    chosen = config.AdversaryConfig(adversary=name, **settings)
    distance = patch_losses.make(chosen, name, tf.constant(real))

    def measure(fakes, seeds=None):
        seeds = np.arange(fakes.shape[0]) if seeds is None else np.array(seeds)
        return distance(tf.convert_to_tensor(fakes), None, tf.constant(seeds, tf.int64))

    return measure


def value_and_gradient(distance, fake):
    fake = tf.constant(fake)
    with tf.GradientTape() as tape:
        tape.watch(fake)
        value = distance(fake)
    return value.numpy(), tf.convert_to_tensor(tape.gradient(value, fake)).numpy()


def moments(patches):
    return patches.mean(0), np.cov(patches, rowvar=False)


def scipy_frechet(a, b):
    (mean_a, cov_a), (mean_b, cov_b) = moments(a), moments(b)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    distance = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    return distance / a.shape[1]


def mean_to_nearest(a, b):
    squared = ((a[:, None] - b[None]) ** 2).mean(-1)
    return squared.min(1).mean()


@pytest.mark.parametrize("size, stride", [(1, 1), (3, 1), (4, 2), (5, 3), (7, 1)])
def test_patches_are_those_of_plain_indexing(size, stride):
    image = RNG.normal(size=(7, 10, 2))
    expected = all_patches(image, size, stride)
    np.testing.assert_array_equal(patch_losses.patches(image, size, stride), expected)
    some = RNG.permutation(len(expected))[:5]
    found = patch_losses.patches(image, size, stride, tf.constant(some, tf.int32))
    np.testing.assert_array_equal(found, expected[some])


@pytest.mark.parametrize("stride", [1, 2])
def test_frechet_is_scipys_value(stride):
    real, fake = smooth(20, 24), smooth(20, 24, seed=1, count=2)
    distance = make("frechet", real, patch_stride=stride)
    side = functools.partial(all_patches, size=3, stride=stride)
    expected = [scipy_frechet(side(real[0]), side(image)) for image in fake]
    np.testing.assert_allclose(distance(fake), expected, rtol=1e-8)
    single = make("frechet", real.astype(np.float32), patch_stride=stride)
    found = single(fake.astype(np.float32))
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_frechet_with_fewer_patches_than_dimensions():
    """7x7x3 patches of 11x12 pixels: 30 patches, 147 dimensions."""
    real, fake = smooth(11, 12), smooth(11, 12, seed=1)
    a, b = all_patches(real[0], 7), all_patches(fake[0], 7)
    (mean_a, _), (mean_b, _) = moments(a), moments(b)
    # Bures' distance in its other form: the nuclear norm of the factors' product.
    factors = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    nuclear = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    expected = ((mean_a - mean_b) ** 2).sum() - 2 * nuclear
    expected += sum((x**2).sum() for x in factors)
    found, gradient = value_and_gradient(make("frechet", real, patch_size=7), fake)
    # The square root of float64's rounding of zero eigenvalues.
    np.testing.assert_allclose(found, expected / 147, rtol=1e-5)
    assert np.isfinite(gradient).all() and gradient.any()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_numerical_ones(name):
    real, fake = smooth(9, 10, 1), smooth(9, 10, 1, seed=1)
    distance = make(name, real, patch_size=2, patch_projections=4)
    theoretical, numerical = tf.test.compute_gradient(
        distance, [tf.constant(fake)], delta=1e-6
    )
    np.testing.assert_allclose(theoretical[0], numerical[0], atol=1e-7)
    assert np.abs(theoretical[0]).max() > 1e-4


def flat(value, size=25):
    return np.full((1, size, size, 3), value, np.float32)


def photograph(size=25):
    coffee = images.read(images.resolve("coffee"))
    return coffee[:, 150 : 150 + size, 250 : 250 + size]


@pytest.mark.parametrize(
    "name, alignment",
    [(name, "covariance") for name in NAMES]
    + [("aligned_nearest_neighbor", "variance")],
)
@pytest.mark.parametrize(
    "real, fake",
    [
        (photograph(), photograph()),
        (photograph(), flat(0.3)),
        (flat(0.3), photograph()),
        (flat(0.3), flat(-0.5)),
        (flat(-1), flat(-1)),
        (photograph(), photograph() * 1e-6),
        (photograph(7), photograph(7)),
    ],
    ids=["equal", "flat fake", "flat real", "flat", "black", "no contrast", "one"],
)
def test_degenerate_images_have_finite_values_and_gradients(
    name, alignment, real, fake
):
    """7x7x3 patches, of which a 25-pixel image has 361."""
    distance = make(name, real, patch_size=7, patch_alignment=alignment)
    value, gradient = value_and_gradient(distance, fake)
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
    assert np.abs(gradient).max() < 100
    if np.array_equal(real, fake):
        np.testing.assert_allclose(value, 0, atol=1e-6)


@pytest.mark.parametrize(
    "size, stride, memory", [(3, 1, 1), (3, 1, 256), (5, 3, 256), (11, 2, 1)]
)
def test_nearest_neighbor_is_brute_force(size, stride, memory):
    """1 MiB takes these images' patches in several groups, the last one cut."""
    real, fake = smooth(31, 33), smooth(31, 33, seed=1)
    distance = make(
        "nearest_neighbor",
        real,
        patch_size=size,
        patch_stride=stride,
        patch_memory=memory,
    )
    side = functools.partial(all_patches, size=size, stride=stride)
    expected = mean_to_nearest(side(fake[0]), side(real[0]))
    np.testing.assert_allclose(distance(fake), [expected], rtol=1e-10)
    single = make(
        "nearest_neighbor",
        real.astype(np.float32),
        patch_size=size,
        patch_stride=stride,
        patch_memory=memory,
    )
    np.testing.assert_allclose(single(fake.astype(np.float32)), [expected], rtol=1e-5)


def test_a_random_subset_is_the_mean_over_as_many_patches_of_the_seed():
    real, fake = smooth(14, 15), smooth(14, 15, seed=1)
    each = ((all_patches(fake[0], 3)[:, None] - all_patches(real[0], 3)) ** 2).mean(-1)
    each = each.min(1)
    one = make("nearest_neighbor", real, patch_count=1)
    values = [float(one(fake, [seed])[0]) for seed in range(40)]
    # Each is that of some patch, and seeds choose different ones.
    assert all(np.isclose(each, value).any() for value in values)
    assert len({round(value, 9) for value in values}) > 20
    most = make("nearest_neighbor", real, patch_count=len(each) - 1)
    left_out = len(each) * each.mean() - (len(each) - 1) * most(fake, [3])[0]
    assert np.isclose(each, left_out, atol=1e-9).any()
    np.testing.assert_array_equal(most(fake, [3]), most(fake, [3]))


def test_the_gradient_goes_to_chosen_patches_alone():
    real, fake = smooth(20, 20), smooth(20, 20, seed=1)
    distance = make("nearest_neighbor", real, patch_count=2)
    _, gradient = value_and_gradient(distance, fake)
    assert 9 < np.count_nonzero(gradient.any(-1)) <= 18


@pytest.mark.parametrize("alignment", ["covariance", "variance"])
def test_alignment_gives_fake_patches_the_moments_of_real_ones(alignment):
    """Against the formula written out, where nothing is near singular."""
    real, fake = smooth(24, 24, 1), 0.5 * smooth(24, 24, 1, seed=1) + 0.2
    x, y = all_patches(fake[0], 2), all_patches(real[0], 2)
    (mean_x, cov_x), (mean_y, cov_y) = moments(x), moments(y)
    if alignment == "variance":
        cov_x, cov_y = np.diag(np.diag(cov_x)), np.diag(np.diag(cov_y))
    matrix = scipy.linalg.sqrtm(cov_y) @ np.linalg.inv(scipy.linalg.sqrtm(cov_x))
    aligned = (x - mean_x) @ matrix.T + mean_y
    expected = mean_to_nearest(aligned, y)
    distance = make(
        "aligned_nearest_neighbor", real, patch_size=2, patch_alignment=alignment
    )
    # The shrinkage is what they differ by.
    np.testing.assert_allclose(distance(fake), [expected], rtol=0.02)
    assert abs(distance(fake)[0] - mean_to_nearest(x, y)) > 0.1 * expected


@pytest.mark.parametrize("alignment", ["covariance", "variance"])
def test_alignment_undoes_a_change_of_contrast_and_brightness(alignment):
    real = smooth(20, 20)
    distance = make("aligned_nearest_neighbor", real, patch_alignment=alignment)
    plain = make("nearest_neighbor", real)
    changed = 0.3 * real + 0.4
    assert distance(changed)[0] < 0.02 * plain(changed)[0]


def test_alignment_is_stable_where_the_naive_form_is_not():
    """A 25-pixel image has 225 11x11x3 patches, of 363 values each: most eigenvalues
    are zeros, which rounding makes negative, also in float64."""
    real, fake = photograph(), np.float32(0.5) * photograph()[:, :, ::-1]
    covariance = np.cov(all_patches(fake[0], 11).astype(np.float64), rowvar=False)
    with np.errstate(all="ignore"):
        naive = np.linalg.eigvalsh(covariance) ** -0.5
    assert not np.isfinite(naive).all()
    distance = make("aligned_nearest_neighbor", real, patch_size=11)
    value, gradient = value_and_gradient(distance, fake)
    assert 0 < value[0] < 0.1
    assert np.isfinite(gradient).all()
    # Nothing is gained by more or less of all contrast: alignment undoes it.
    centred = fake - fake.mean()
    along = (gradient * centred).sum() / np.linalg.norm(centred)
    assert abs(along) < 0.05 * np.linalg.norm(gradient)


def test_sliced_wasserstein_of_a_shift_has_a_closed_form():
    """A constant moves each projection by the sum of its direction's weights."""
    real = smooth(12, 13)
    distance = make("sliced_wasserstein", real, patch_size=2, patch_projections=2000)
    # The sum of 12 coordinates of a random unit vector is sqrt(12) times a
    # coordinate, whose mean absolute value is this.
    coordinate = np.exp(
        scipy.special.gammaln(6) - scipy.special.gammaln(6.5)
    ) / np.sqrt(np.pi)
    expected = 0.3 * np.sqrt(12) * coordinate
    np.testing.assert_allclose(distance(real + 0.3), [expected], rtol=0.05)


def test_sliced_wasserstein_with_one_value_a_patch_is_scipys():
    """1x1 patches of one channel have but one direction, up to its sign."""
    real, fake = smooth(15, 16, 1), smooth(15, 16, 1, seed=1)
    distance = make("sliced_wasserstein", real, patch_size=1, patch_projections=3)
    expected = scipy.stats.wasserstein_distance(real.ravel(), fake.ravel())
    np.testing.assert_allclose(distance(fake), [expected], rtol=1e-10)


@pytest.mark.parametrize("size", [(15, 16), (31, 40), (7, 100)])
def test_sliced_wasserstein_takes_images_of_other_sizes(size):
    real, fake = smooth(22, 23, 1), 0.5 * smooth(*size, 1, seed=1) + 0.3
    distance = make("sliced_wasserstein", real, patch_size=1)
    expected = scipy.stats.wasserstein_distance(real.ravel(), fake.ravel())
    # Quantiles of the smaller image are interpolated, where SciPy's are steps.
    np.testing.assert_allclose(distance(fake), [expected], rtol=0.02)


def test_a_subset_biases_sliced_wasserstein_upwards_less_and_less():
    """As its docstring says: convex, so above the full value in the mean, and nearer
    to it the more patches; the mean over directions of all patches has no bias."""
    real, fake = smooth(20, 20, 1), smooth(20, 20, 1, seed=1)
    seeds = range(60)

    def mean_and_error(count):
        distance = make(
            "sliced_wasserstein", real, patch_count=count, patch_projections=16
        )
        values = distance(np.repeat(fake, len(seeds), 0), seeds).numpy()
        return values.mean(), values.std() / np.sqrt(len(seeds))

    found = [mean_and_error(count) for count in (8, 32, 128, 0)]
    means = [mean for mean, _ in found]
    assert means == sorted(means, reverse=True)
    many = make("sliced_wasserstein", real, patch_projections=4000)(fake)[0]
    assert abs(means[-1] - many) < 4 * found[-1][1]
    assert means[2] < 1.3 * many


@pytest.mark.parametrize("name", NAMES)
def test_a_row_depends_on_its_own_fake_real_and_seed(name):
    fakes = smooth(10, 11, count=3, seed=1)
    settings = {"patch_count": 20, "patch_projections": 3}
    for reals in (smooth(10, 11), smooth(10, 11, count=3, seed=2)):
        together = make(name, reals, **settings)(fakes, [4, 5, 6])
        assert together.shape == [3]
        for i in range(3):
            real = reals[i : i + 1] if len(reals) > 1 else reals
            alone = make(name, real, **settings)(fakes[i : i + 1], [4 + i])
            np.testing.assert_allclose(together[i], alone[0], rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_computes_the_same_with_its_gradient(name):
    real, fake = smooth(40, 40).astype("float32"), smooth(40, 40, seed=1)
    fake = fake.astype("float32")
    # Several groups of patches on both sides.
    distance = make(name, real, patch_memory=1, patch_count=700, patch_size=5)
    eager = value_and_gradient(distance, fake)
    graph = value_and_gradient(tf.function(distance, autograph=False), fake)
    for found, expected in zip(graph, eager):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_memory_of_the_search_is_bounded():
    """256x256 pixels, 11x11 patches, stride 1: 60,516 real patches. The table of
    squared distances to 3,000 of them alone would be 693 MiB."""
    code = textwrap.dedent(
        """
        import resource
        import tensorflow as tf
        from singan_tf.training import patch_losses
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        real, fake = (tf.random.stateless_uniform([1, 256, 256, 3], [0, i], -1, 1)
                      for i in range(2))
        before = peak()
        distance = patch_losses.nearest_neighbor(real, 11, 1, 3_000, 128)
        @tf.function
        def both(fake):
            with tf.GradientTape() as tape:
                tape.watch(fake)
                value = distance(fake, tf.constant([0], tf.int64))
            return tf.convert_to_tensor(tape.gradient(value, fake))
        assert tf.reduce_any(both(fake) != 0)
        print(before, peak() - before)
        """
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    _, grown = map(float, process.stdout.split())
    # The flag's, a few arrays of 3,000 patches of 4 MiB, and TensorFlow's own.
    assert grown < 350


def masked(name, real, inside, **settings):
    """A distance from what is inside of a real, and its gradient there."""
    settings = {"patch_size": 3, "patch_count": 0, **settings}
    chosen = config.AdversaryConfig(adversary=name, **settings)
    counts = tf.constant(inside[np.newaxis, :, :, np.newaxis].astype(real.dtype))

    def measure(fakes, seeds, with_gradient=False):
        real_tensor, seeds = tf.constant(real), tf.constant(seeds, tf.int64)
        with tf.GradientTape() as tape:
            tape.watch(real_tensor)
            distance = patch_losses.make(chosen, name, real_tensor, counts)
            values = distance(tf.constant(fakes), None, seeds)
        gradient = tape.gradient(values, real_tensor)
        return (values.numpy(), gradient) if with_gradient else values.numpy()

    return measure


INSIDE = disk(20, 24, 9, 11, 7)


def patches_inside(image, size=3):
    found = all_patches(image, size)
    return found[all_patches(INSIDE[:, :, np.newaxis], size).all(axis=1)]


@pytest.mark.parametrize("count", [0, 50])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_outside_of_the_real_does_not_count(name, count):
    real, fake = smooth(20, 24), smooth(20, 24, seed=1, count=2)
    other = np.where(INSIDE[:, :, np.newaxis], real, RNG.uniform(-9, 9, real.shape))
    found, gradient = masked(name, real, INSIDE, patch_count=count)(fake, [3, 4], True)
    changed = masked(name, other, INSIDE, patch_count=count)(fake, [3, 4])
    np.testing.assert_array_equal(found, changed)
    gradient = np.abs(tf.convert_to_tensor(gradient))[0].sum(axis=-1)
    assert gradient[INSIDE].max() > 0 and gradient[~INSIDE].max() == 0


def test_only_patches_inside_are_real_ones():
    real, fake = smooth(20, 24), smooth(20, 24, seed=1)
    expected = scipy_frechet(patches_inside(real[0]), all_patches(fake[0], 3))
    np.testing.assert_allclose(
        masked("frechet", real, INSIDE)(fake, [0]), expected, rtol=1e-8
    )
    expected = mean_to_nearest(all_patches(fake[0], 3), patches_inside(real[0]))
    np.testing.assert_allclose(
        masked("nearest_neighbor", real, INSIDE)(fake, [0]), expected, rtol=1e-8
    )


def test_of_fewer_real_patches_each_stands_for_as_many(monkeypatch):
    """Along one direction, a transport between the two sets of all patches."""
    real, fake = smooth(20, 24), smooth(20, 24, seed=1)
    direction = np.zeros([1, 3, 3, 3, 1])
    direction[0, 1, 1, 2] = 1
    monkeypatch.setattr(patch_losses.noise, "normal", lambda *_: tf.constant(direction))
    settings = {"patch_projections": 1}
    found = masked("sliced_wasserstein", real, INSIDE, **settings)(fake, [0])
    middles = 1 * 3 * 3 + 1 * 3 + 2
    expected = scipy.stats.wasserstein_distance(
        patches_inside(real[0])[:, middles], all_patches(fake[0], 3)[:, middles]
    )
    np.testing.assert_allclose(found, expected, rtol=0.03)


@pytest.mark.parametrize("later", [False, True])
def test_patches_inside_of_several_reals_are_one_set(later):
    """Of a masked photograph and one that counts as a whole, seen now or in steps."""
    reals = [smooth(20, 24), smooth(17, 19, seed=2)]
    fake = smooth(20, 24, seed=1)
    counts = tf.constant(INSIDE[np.newaxis, :, :, np.newaxis].astype(reals[0].dtype))
    real = np.concatenate([patches_inside(reals[0][0]), all_patches(reals[1][0], 3)])
    settings = config.AdversaryConfig(patch_size=3, patch_count=0)

    def found(name):
        given = None if later else reals
        distance = patch_losses.make(settings, name, given, [counts, None])
        seeds = tf.constant([5], tf.int64)
        return distance(fake, reals, seeds, [counts, None])[0].numpy()

    expected = scipy_frechet(real, all_patches(fake[0], 3))
    np.testing.assert_allclose(found("frechet"), expected, rtol=1e-8)
    expected = mean_to_nearest(all_patches(fake[0], 3), real)
    np.testing.assert_allclose(found("nearest_neighbor"), expected, rtol=1e-8)


def test_patches_inside_of_several_reals_are_transported_alike(monkeypatch):
    """A photograph with little inside counts as little, not as its size."""
    reals = [smooth(20, 24), smooth(17, 19, seed=2)]
    fake = smooth(20, 24, seed=1)
    direction = np.zeros([1, 3, 3, 3, 1])
    direction[0, 1, 1, 2] = 1
    monkeypatch.setattr(patch_losses.noise, "normal", lambda *_: tf.constant(direction))
    counts = tf.constant(INSIDE[np.newaxis, :, :, np.newaxis].astype(reals[0].dtype))
    settings = config.AdversaryConfig(patch_size=3, patch_count=0, patch_projections=1)
    distance = patch_losses.make(settings, "sliced_wasserstein", reals, [counts, None])
    found = distance(fake, None, tf.constant([0], tf.int64))
    middles = 1 * 3 * 3 + 1 * 3 + 2
    real = np.concatenate([patches_inside(reals[0][0]), all_patches(reals[1][0], 3)])
    expected = scipy.stats.wasserstein_distance(
        real[:, middles], all_patches(fake[0], 3)[:, middles]
    )
    # Each of the 97 counts a whole number of times. As often as its photograph has
    # patches, and it would be off by half.
    np.testing.assert_allclose(found, expected, rtol=0.05)
