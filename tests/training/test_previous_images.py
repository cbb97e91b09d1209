import numpy as np
import pytest
import tensorflow as tf

from singan_tf import config
from singan_tf.model.singan import SinGAN, bring_up
from singan_tf.training import previous_images

SEEDS = tf.constant([3, 5, 8], tf.int64)


@pytest.fixture
def coarser(make_stage):
    singan = SinGAN([(12, 14), (16, 19), (20, 24)], 3)
    singan.stages = [make_stage(0), make_stage(1)]
    singan.set_reconstruction_noise(1)
    return singan


def padded(image):
    return tf.pad(image, [[0, 0], [5, 5], [5, 5], [0, 0]])


def test_scale_0_has_nothing_below(coarser):
    found = previous_images.make_source(coarser.coarsest(0), None, padded)(SEEDS)
    np.testing.assert_array_equal(found, np.zeros([3, 22, 24, 3]))
    found = previous_images.reconstruction(coarser.coarsest(0))
    np.testing.assert_array_equal(found, np.zeros([1, 12, 14, 3]))


def test_a_walk_gives_each_seed_the_sample_of_its_own(coarser):
    found = previous_images.make_source(coarser, None, padded)(SEEDS)
    for index, seed in enumerate(SEEDS):
        expected = padded(bring_up(coarser.sample(seed[None]), (20, 24)))
        np.testing.assert_allclose(found[index], expected[0], atol=1e-5)


def test_a_pool_is_samples_of_all_stages_and_gives_each_seed_one_of_them(coarser):
    settings = config.TrainingConfig(previous_pool=4, seed=7)
    first = previous_images.draw_pool(coarser.coarsest(1), None, settings)
    pool = previous_images.draw_pool(coarser, first, settings)
    np.testing.assert_array_equal(pool, previous_images.draw_pool_of(coarser, settings))
    assert pool.shape == [4, 16, 19, 3]
    differences = np.abs(pool[0] - pool[1]).max()
    assert differences > 0.1
    images = padded(bring_up(pool, (20, 24))).numpy()
    source = previous_images.make_source(coarser, pool, padded)
    chosen = set()
    for image in source(tf.range(40, dtype=tf.int64)).numpy():
        (which,) = [i for i in range(4) if (images[i] == image).all()]
        chosen.add(which)
    assert chosen == {0, 1, 2, 3}


def test_without_stages_or_wish_there_is_no_pool(coarser):
    wish = config.TrainingConfig(previous_pool=4)
    assert previous_images.draw_pool(coarser.coarsest(0), None, wish) is None
    none = config.TrainingConfig()
    assert previous_images.draw_pool(coarser, None, none) is None
