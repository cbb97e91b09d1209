import csv

import numpy as np
import pytest
import tensorflow as tf
from run_folders import TINY, assert_same_run, train, weights

from singan_tf import config
from singan_tf.model import noise, pyramid
from singan_tf.training import players

pytestmark = pytest.mark.usefixtures("deterministic")


@pytest.mark.parametrize("adversary_gradient", ["renewed", "reused"])
def test_a_step_is_the_recipe_written_out(coffee, tmp_path, adversary_gradient):
    """One step at scale 0 against plain NumPy Adam on the written-out losses."""
    settings = {"critic_updates": 2, "generator_updates": 2, "num_scales": 1}
    settings.update(adversary_gradient=adversary_gradient)
    settings.update(min_size=20, steps=1, gradient_penalty_weight=0.3)
    settings.update(generator_normalization="none", critic_normalization="none")
    trained = train(coffee, tmp_path, **settings)
    full = config.from_settings({**TINY, **settings})
    stage, critic, _, _ = players.make_players(full, 0)
    size = trained.sizes[0]
    real = pyramid.image_pyramid(coffee, [size])[0]
    zeros = tf.zeros([1, size[0] + 10, size[1] + 10, 3])

    def padded(noise_map):
        return tf.pad(noise_map, [[0, 0], [5, 5], [5, 5], [0, 0]]) + zeros

    def adam(variables, gradients, moments, count):
        for variable, gradient, (m, v) in zip(variables, gradients, moments):
            m += 0.5 * (gradient.numpy() - m)
            v += 0.001 * (gradient.numpy() ** 2 - v)
            # The efficient form at the end of section 2 of Kingma and Ba (2015).
            rate = 5e-4 * np.sqrt(1 - 0.999**count) / (1 - 0.5**count)
            variable.assign_sub(rate * m / (np.sqrt(v) + 1e-8))

    def zero_moments(variables):
        return [[np.zeros(v.shape, np.float32) for _ in "mv"] for v in variables]

    moments = zero_moments(critic.trainable_variables)
    for update in range(2):
        seeds = noise.derive_seeds(0, update, 1)
        noise_map = padded(stage.noise(seeds, 0, *size))
        fake = stage.generator((noise_map, zeros))
        mixing = noise.uniform(seeds, noise.MIXING_STREAM, 1)[0, 0]
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                mixed = mixing * real + (1 - mixing) * fake
                inner.watch(mixed)
                total = tf.reduce_sum(critic(mixed))
            gradient = inner.gradient(total, mixed)
            penalty = tf.reduce_mean((tf.norm(gradient, axis=-1) - 1) ** 2)
            loss = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real))
            loss += 0.3 * penalty
        gradients = tape.gradient(loss, critic.trainable_variables)
        adam(critic.trainable_variables, gradients, moments, update + 1)
    moments = zero_moments(stage.generator.trainable_variables)
    star = padded(trained.reconstruction_noise)
    first_fake = stage.generator((noise_map, zeros))
    with tf.GradientTape() as tape:
        tape.watch(first_fake)
        first_term = -tf.reduce_mean(critic(first_fake))
    slope = tape.gradient(first_term, first_fake)
    for update in range(2):
        with tf.GradientTape() as tape:
            fake = stage.generator((noise_map, zeros))
            error = stage.generator((star, zeros)) - real
            term = -tf.reduce_mean(critic(fake))
            if adversary_gradient == "reused":
                # To first order around the first fake.
                term = first_term + tf.reduce_sum(slope * (fake - first_fake))
            loss = 10 * tf.reduce_mean(error**2) + term
        gradients = tape.gradient(loss, stage.generator.trainable_variables)
        adam(stage.generator.trainable_variables, gradients, moments, update + 1)
    for found, expected in zip(weights(trained), stage.generator.get_weights()):
        np.testing.assert_allclose(found, expected, atol=2e-6)
    with open(tmp_path / "scales/00/losses.csv") as file:
        row = {
            name: float(value) for name, value in list(csv.DictReader(file))[0].items()
        }
    assert row["gradient_penalty"] == pytest.approx(float(penalty), rel=1e-3)
    assert row["reconstruction"] == pytest.approx(
        float(tf.reduce_mean(error**2)), rel=1e-4
    )


@pytest.mark.slow
def test_xla_computes_the_same_losses_but_for_its_other_noise(coffee, tmp_path):
    scale = {"num_scales": 1, "min_size": 20, "steps": 1, "width": 2}
    for run, xla in (("plain", False), ("xla", True)):
        train(coffee, tmp_path / run, xla=xla, **scale)
    found, expected = (
        np.loadtxt(tmp_path / run / "scales/00/losses.csv", delimiter=",", skiprows=1)
        for run in ("xla", "plain")
    )
    # The critic's score of the photograph has no noise in it.
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4)
    np.testing.assert_allclose(found, expected, rtol=0.1, atol=5e-3)


@pytest.mark.slow
def test_xla_trains_on_crops(coffee, tmp_path):
    """Other crops than without, as its random numbers are others."""
    scale = {"num_scales": 1, "min_size": 20, "steps": 2, "width": 2}
    train(coffee, tmp_path, xla=True, crop_size=16, **scale)
    table = tmp_path / "scales/00/losses.csv"
    assert np.isfinite(np.loadtxt(table, delimiter=",", skiprows=1)).all()


@pytest.mark.slow
def test_distances_train_towards_the_photographs_patches(coffee, tmp_path):
    """Without the reconstruction term, the distance of samples must fall."""
    settings = {"num_scales": 1, "min_size": 20, "steps": 60, "width": 8}
    settings.update(reconstruction_weight=0.0, learning_rate_schedule="constant")
    for name in ("frechet", "nearest_neighbor", "sliced_wasserstein"):
        train(coffee, tmp_path / name, adversary=name, **settings)
        table = tmp_path / name / "scales/00/losses.csv"
        values = np.loadtxt(table, delimiter=",", skiprows=1)[:, 4]
        assert values[-10:].mean() < 0.5 * values[:10].mean(), name


def test_a_step_against_a_distance_is_one_update_of_the_generator(coffee, tmp_path):
    """So the number of updates against a critic has no effect on it."""
    one_scale = {"num_scales": 1, "min_size": 20, "adversary": "sliced_wasserstein"}
    train(coffee, tmp_path / "one", **one_scale)
    updates = {"critic_updates": 2, "generator_updates": 3}
    train(coffee, tmp_path / "more", **one_scale, **updates)
    assert_same_run(tmp_path / "one", tmp_path / "more")
