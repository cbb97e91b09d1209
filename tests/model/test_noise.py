import numpy as np
import pytest
import tensorflow as tf

from singan_tf.model import noise

SEEDS = [3, -1, 2**62, 0, 3]


def normal(seeds, stream=0):
    return noise.normal(seeds, stream, [4, 5, 3])


def uniform(seeds, stream=0):
    return noise.uniform(seeds, stream, 60)


@pytest.fixture(params=[normal, uniform], ids=["normal", "uniform"])
def draw(request):
    return request.param


def test_a_row_depends_on_its_own_seed_alone(draw):
    singles = tf.concat([draw([seed]) for seed in SEEDS], 0)
    np.testing.assert_array_equal(draw(SEEDS), singles)
    np.testing.assert_array_equal(draw(SEEDS[::-1]), singles[::-1])


def test_an_unknown_batch_size_draws_the_same_numbers(draw):
    graph = tf.function(draw, input_signature=[tf.TensorSpec([None], tf.int64)])
    np.testing.assert_array_equal(graph(tf.constant(SEEDS, tf.int64)), draw(SEEDS))


def test_shapes_may_be_tensors_in_a_graph():
    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)] * 2)
    def graph(height, width):
        return noise.normal([5, 6], 2, [height, width, 3])

    np.testing.assert_array_equal(graph(4, 5), normal([5, 6], 2))


def test_seeds_and_streams_are_unrelated(draw):
    """Every pair of (seed, stream) gives numbers of its own, swapped pairs too."""
    rows = [np.ravel(draw([seed], stream)) for seed in range(5) for stream in range(5)]
    rows += [np.ravel(draw([0], stream)) for stream in range(1000, 1005)]
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    # 60 numbers a row: 5 standard errors are 0.65.
    assert np.abs(correlation).max() < 0.65


def test_the_named_streams_are_apart_from_every_scales():
    named = [
        noise.RECONSTRUCTION_STREAM,
        noise.PREVIOUS_STREAM,
        noise.MIXING_STREAM,
        noise.FAKE_CROP_STREAM,
        noise.REAL_CROP_STREAM,
    ]
    assert len(set(named)) == 5
    assert min(named) > 64


def test_normal_numbers_are_standard_normal():
    x = np.ravel(noise.normal([1, 2], 0, [200, 250, 1]))
    assert x.dtype == np.float32
    # 100,000 numbers: five standard errors of each moment.
    for power, moment, tolerance in [
        (1, 0, 0.016),
        (2, 1, 0.023),
        (3, 0, 0.062),
        (4, 3, 0.16),
    ]:
        assert np.mean(x**power) == pytest.approx(moment, abs=tolerance)


def test_uniform_numbers_are_uniform_below_one():
    x = np.ravel(noise.uniform([1, 2], 0, 50_000))
    assert x.dtype == np.float32 and x.min() >= 0 and x.max() < 1
    for power in (1, 2, 3):
        assert np.mean(x**power) == pytest.approx(1 / (power + 1), abs=0.006)


def test_derived_seeds_are_all_different():
    seeds = [
        noise.derive_seeds(run, tf.constant(counter, tf.int64), 4).numpy()
        for run in (0, 1, 2**31 - 1)
        for counter in (*range(300), 2**40)
    ]
    assert seeds[0].dtype == np.int64
    assert len(np.unique(seeds)) == 3 * 301 * 4


def test_derived_seeds_are_the_same_in_a_graph():
    graph = tf.function(lambda counter: noise.derive_seeds(7, counter, 3))
    counter = tf.constant(3, tf.int64)
    np.testing.assert_array_equal(graph(counter), noise.derive_seeds(7, counter, 3))


@pytest.mark.parametrize(
    "seed, stream, expected",
    [
        (0, 0, [-1.697034, -0.4813767, -0.6622369]),
        (1, 0, [0.1266503, -0.49301657, 0.6311907]),
        (1, 1, [1.6652163, 1.366376, 0.7786316]),
        (-5, 1004, [-0.06809361, 1.0701936]),
        (2**62, 1004, [0.6427322, 0.7819548]),
    ],
)
def test_a_seed_gives_the_same_normal_numbers_in_every_version(seed, stream, expected):
    actual = noise.normal([seed], stream, [len(expected)])
    np.testing.assert_allclose(actual, [expected], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "seed, expected",
    [(0, [0.21101546, 0.70601, 0.8000634]), (2, [0.800979, 0.7047168, 0.69717824])],
)
def test_a_seed_gives_the_same_uniform_numbers_in_every_version(seed, expected):
    actual = noise.uniform([seed], 0, 3)
    np.testing.assert_allclose(actual, [expected], rtol=0, atol=1e-6)


def test_a_run_derives_the_same_seeds_in_every_version():
    derived = noise.derive_seeds(7, tf.constant(3, tf.int64), 3)
    assert derived.numpy().tolist() == [
        8300880858537896868,
        -3430977040392882423,
        6132123626752123224,
    ]
