import numpy as np
import pytest
import tensorflow as tf
from run_folders import TINY, assert_same_run, stored, train

from singan_tf import config
from singan_tf.model import noise, pyramid
from singan_tf.training import patch_losses, players

pytestmark = pytest.mark.usefixtures("deterministic")

ONE_SCALE = {"num_scales": 1, "min_size": 20, "steps": 1, "previous_pool": 2}
STILL = {"generator_learning_rate": 0.0, "critic_learning_rate": 0.0}
COLUMNS = ("critic_real", "critic_fake", "gradient_penalty", "adversarial")


def first_losses(run_dir):
    row = np.loadtxt(
        run_dir / "scales/00/losses.csv", delimiter=",", skiprows=1, ndmin=2
    )[0]
    return dict(zip((*COLUMNS, "reconstruction"), row[1:]))


def crop(image, seeds, stream, side):
    """The window whose corner a stream draws, of an image with or without a border."""
    free = np.array(image.shape[1:3]) - side
    top, left = (noise.uniform(seeds, stream, 2)[0].numpy() * (free + 1)).astype(int)
    return image[:, top : top + side, left : left + side]


def sliced_wasserstein(fake, real, seeds, count):
    """Between all patches of two images of one size, by TensorFlow's own patches."""

    def all_patches(image):
        sizes, ones = [1, 7, 7, 1], [1, 1, 1, 1]
        found = tf.image.extract_patches(image, sizes, ones, ones, "VALID")
        return tf.reshape(found, [-1, 7 * 7 * 3])

    directions = noise.normal(seeds, noise.PROJECTION_STREAM, [7, 7, 3, count])
    directions = tf.reshape(directions, [-1, count])
    directions /= tf.norm(directions, axis=0)
    sides = [tf.sort(all_patches(x) @ directions, axis=0) for x in (fake, real)]
    return tf.reduce_mean(tf.abs(sides[0] - sides[1]))


@pytest.mark.parametrize("side", [0, 16])
def test_a_critic_and_a_distance_push_at_once(coffee, tmp_path, side):
    """Each term by itself, at the place that is its own, and Adam on their sum."""
    settings = {**ONE_SCALE, "crop_size": side, "patch_count": 0, "patch_weight": 0.7}
    settings.update(generator_normalization="none", critic_normalization="none")
    settings.update(adversary="critic+sliced_wasserstein", critic_learning_rate=0.0)
    trained = train(coffee, tmp_path, **settings)
    full = config.from_settings({**TINY, **settings})
    stage, critic, _, _ = players.make_players(full, 0)
    size = trained.sizes[0]
    real = pyramid.image_pyramid(coffee, [size])[0]
    seeds = noise.derive_seeds(0, tf.constant(0, tf.int64), 1)
    zeros = tf.zeros([1, *size, 3])
    star = stage.padded_inputs(trained.reconstruction_noise, zeros)[0]
    if side:
        free = np.array(size) - side
        draw = noise.uniform(seeds, noise.FAKE_CROP_STREAM, 2).numpy()
        corners = tf.constant((draw * (free + 1)).astype(np.int32))
        inputs = stage.padded_crop_inputs(
            seeds, 0, stage.pad(zeros), corners, (side, side)
        )
        beside = crop(real, seeds, noise.FAKE_CROP_STREAM, side)
        elsewhere = crop(real, seeds, noise.REAL_CROP_STREAM, side)
        top, left = (
            noise.uniform(seeds, noise.REAL_CROP_STREAM, 2)[0].numpy() * (free + 1)
        ).astype(int)
        star = star[:, top : top + side + 10, left : left + side + 10]
        assert (beside.numpy() != elsewhere.numpy()).any()
    else:
        inputs = stage.padded_inputs(stage.noise(seeds, 0, *size), zeros)
        beside = elsewhere = real
    with tf.GradientTape(persistent=True) as tape:
        fake = stage.generator(inputs)
        distance = sliced_wasserstein(fake, beside, seeds, 64)
        score = tf.reduce_mean(critic(fake))
        pushed = 0.7 * 2.0 * distance - score
        error = tf.reduce_mean(
            (stage.generator((star, tf.zeros_like(star))) - elsewhere) ** 2
        )
        loss = pushed + 10 * error
        without_distance = 10 * error - score
    variables = stage.generator.trainable_variables
    gradients = tape.gradient(loss, variables)
    others = tape.gradient(without_distance, variables)
    row = first_losses(tmp_path)
    assert row["adversarial"] == pytest.approx(float(pushed), rel=1e-4)
    assert row["reconstruction"] == pytest.approx(float(error), rel=1e-4)
    for column, image in (("critic_real", elsewhere), ("critic_fake", fake)):
        expected = float(tf.reduce_mean(critic(image)))
        assert row[column] == pytest.approx(expected, rel=1e-4)
    assert row["gradient_penalty"] > 0
    # Adam's first update is the rate times the sign, where that is no rounding error.
    after = trained.stages[0].generator.trainable_variables
    turned = 0
    for variable, before, gradient, other in zip(after, variables, gradients, others):
        moved = variable.numpy() - before.numpy()
        clear = np.abs(gradient) > 1e-4
        step = -5e-4 * np.sign(gradient)
        np.testing.assert_allclose(moved[clear], step[clear], rtol=1e-2)
        turned += (np.sign(other) != np.sign(gradient))[clear].sum()
    # So the critic alone would have moved some of them the other way.
    assert turned > 0


def test_two_distances_add_up_with_their_weights(coffee, tmp_path):
    names = ("sliced_wasserstein", "frechet")
    alone = {}
    for name in names:
        train(coffee, tmp_path / name, adversary=name, **ONE_SCALE, **STILL)
        alone[name] = first_losses(tmp_path / name)["adversarial"]
    both = {"adversary": "+".join(names), "critic_updates": 2, "generator_updates": 2}
    train(coffee, tmp_path / "both", **{**ONE_SCALE, **STILL, **both})
    row = first_losses(tmp_path / "both")
    expected = sum(patch_losses.WEIGHTS[name] * alone[name] for name in names)
    assert row["adversarial"] == pytest.approx(expected, rel=1e-5)
    assert row["critic_real"] == row["critic_fake"] == row["gradient_penalty"] == 0


@pytest.mark.slow
def test_the_order_of_adversaries_at_once_does_not_matter(coffee, tmp_path):
    names = ["critic", "sliced_wasserstein", "frechet"]
    for folder, order in (("there", names), ("back", names[::-1])):
        settings = {**ONE_SCALE, "crop_size": 16, "adversary": "+".join(order)}
        train(coffee, tmp_path / folder, **settings)
    assert_same_run(tmp_path / "there", tmp_path / "back")


@pytest.mark.slow
def test_a_critic_updates_as_often_beside_a_distance_as_alone(coffee, tmp_path):
    """A distance of no weight changes nothing of it, with whole images or crops."""
    settings = {**ONE_SCALE, "critic_updates": 2, "generator_updates": 2}
    settings.update(steps=2, crop_size=16)
    train(coffee, tmp_path / "alone", **settings)
    both = {"adversary": "critic+frechet", "patch_weight": 0.0}
    train(coffee, tmp_path / "both", **settings, **both)
    found, expected = stored(tmp_path / "both"), stored(tmp_path / "alone")
    assert found.keys() == expected.keys()
    compared = [key for key in expected if key[1].startswith("critic/")]
    assert len(compared) > 10
    for key in compared:
        np.testing.assert_allclose(found[key], expected[key], atol=1e-5, err_msg=key)
