import numpy as np
import pytest
import tensorflow as tf
from run_folders import TINY, train, weights

from singan_tf import config
from singan_tf.keras2 import keras
from singan_tf.training import optimizers, players

pytestmark = pytest.mark.usefixtures("deterministic")


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("step", {0: 5e-4, 4799: 5e-4, 4800: 5e-5, 5999: 5e-5}),
        ("constant", {0: 5e-4, 5999: 5e-4}),
        # Half a cosine from 5e-4 to 5e-5 over 6000 updates.
        ("cosine", {0: 5e-4, 3000: 2.75e-4, 6000: 5e-5}),
    ],
)
def test_learning_rate_follows_its_schedule_over_updates(schedule, rates):
    settings = config.TrainingConfig(learning_rate_schedule=schedule)
    rate_at = optimizers.learning_rate_schedule(settings, 2000, 5e-4, updates=3)
    for update, rate in rates.items():
        np.testing.assert_allclose(rate_at(update), rate, rtol=1e-5)


def random_gradients(updates):
    random = np.random.default_rng(5)
    # So small that epsilon takes part.
    size = 10.0 ** random.uniform(-9, 1, [updates, 2, 3])
    return size * random.choice([-1, 1], size.shape)


def make_adam(decay=0):
    settings = config.TrainingConfig()
    return optimizers.make_optimizer(settings, 5, 0.03, 3, moving_average=decay)


def update(optimizer, variables, gradients):
    @tf.function
    def once(gradient):
        gradients = [gradient[0], gradient[1] * 2]
        optimizer.apply_gradients(zip(gradients, variables))

    for gradient in gradients:
        once(tf.constant(gradient, tf.float32))


def test_updates_are_those_of_the_formula():
    """The algorithm in float64, in the order of operations that Kingma and Ba give."""
    variables = [tf.Variable([0.3, -2, 1.0]), tf.Variable([1.0, 0, 0])]
    expected = np.array([each.numpy() for each in variables], np.float64)
    optimizer = make_adam()
    optimizer.build(variables)
    gradients = random_gradients(14)
    update(optimizer, variables, gradients)
    first = second = 0
    for count, gradient in enumerate(gradients * [[1], [2]], start=1):
        # From four fifths of the fifteen updates on.
        rate = 0.03 if count <= 12 else 0.003
        first = 0.5 * first + 0.5 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate *= np.sqrt(1 - 0.999**count) / (1 - 0.5**count)
        expected -= rate * first / (np.sqrt(second) + 1e-8)
    np.testing.assert_allclose(variables, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [0, 0.9])
def test_a_checkpoint_of_keras_own_adam_is_gone_on_with(tmp_path, decay):
    """As a run of an earlier version left it."""
    gradients = random_gradients(8)
    ends = []
    for change in (False, True):
        variables = [tf.Variable([0.3, -2, 1.0]), tf.Variable([1.0, 0, 0])]
        optimizer = keras.optimizers.Adam(
            optimizers.learning_rate_schedule(config.TrainingConfig(), 5, 0.03, 3),
            0.5,
            0.999,
            1e-8,
            use_ema=bool(decay),
            ema_momentum=decay,
        )
        optimizer.build(variables)
        update(optimizer, variables, gradients[:4])
        if change:
            path = tf.train.Checkpoint(optimizer=optimizer).write(tmp_path / "old")
            optimizer = make_adam(decay)
            optimizer.build(variables)
            status = tf.train.Checkpoint(optimizer=optimizer).read(path)
            status.assert_consumed()
        update(optimizer, variables, gradients[4:])
        if decay:
            optimizer.finalize_variable_values(variables)
        ends.append(np.array(variables))
    np.testing.assert_allclose(*ends, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_moving_average_is_that_of_the_weights_after_each_step(coffee, tmp_path):
    decay = 0.7
    one_scale = {"num_scales": 1, "min_size": 20, "learning_rate_schedule": "constant"}
    # Before batch norm a bias has only rounding errors for a gradient, and Adam
    # magnifies them.
    one_scale["generator_normalization"] = one_scale["critic_normalization"] = "none"
    after = [
        weights(train(coffee, tmp_path / str(n), steps=n, **one_scale))
        for n in (1, 2, 3)
    ]
    settings = config.from_settings({**TINY, **one_scale})
    average = players.make_players(settings, 0).stage.generator.get_weights()
    for step in after:
        average = [decay * a + (1 - decay) * w for a, w in zip(average, step)]
    averaged = train(
        coffee, tmp_path / "averaged", steps=3, moving_average=decay, **one_scale
    )
    trainable = averaged.stages[0].generator.trainable_variables
    names = [v.name for v in averaged.stages[0].generator.variables]
    for variable in trainable:
        expected = average[names.index(variable.name)]
        np.testing.assert_allclose(variable, expected, atol=1e-5)


@pytest.mark.slow
def test_float16_learns_what_is_too_small_for_it(coffee, tmp_path):
    """Without a scaled loss these gradients, below 6e-8, would be zero."""
    settings = {"num_scales": 1, "min_size": 20, "adversary": "frechet"}
    settings.update(patch_weight=0.0, reconstruction_weight=1e-5, steps=30)
    settings.update(learning_rate_schedule="constant", reconstruction_noise="fixed")
    for precision in ("none", "float16"):
        folder = tmp_path / precision
        train(coffee, folder, mixed_precision=precision, **settings)
    found, expected = (
        np.loadtxt(tmp_path / name / "scales/00/losses.csv", delimiter=",", skiprows=1)
        for name in ("float16", "none")
    )
    assert expected[-1, 5] < 0.8 * expected[0, 5]
    np.testing.assert_allclose(found[:, 5], expected[:, 5], rtol=0.1)
