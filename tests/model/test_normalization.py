import numpy as np
import pytest
import tensorflow as tf

from singan_tf.keras2 import HAS_ADDONS, keras
from singan_tf.model import normalization

needs_addons = pytest.mark.skipif(
    not HAS_ADDONS, reason="tensorflow-addons ends at TensorFlow 2.15"
)
IMAGES = np.random.default_rng(0).normal(3, 2, [2, 13, 17, 4]).astype(np.float32)
POLICIES = ["float32", "mixed_bfloat16", "mixed_float16"]
# That of addons rounds means and variances to 8 or 11 bits, ours computes in 32.
TOLERANCES = {"float32": 0, "mixed_bfloat16": 2**-3, "mixed_float16": 2**-6}


def instance(kind, policy):
    gamma = keras.initializers.RandomNormal(1.0, 0.3, seed=1)
    return kind(epsilon=1e-5, gamma_initializer=gamma, dtype=policy)


def spectral(kind, policy):
    kernel = keras.initializers.RandomNormal(0.0, 0.2, seed=2)
    layer = keras.layers.Conv2D(5, 3, kernel_initializer=kernel, dtype=policy)
    wrapped = kind(layer, dtype=layer.dtype_policy)
    wrapped.build([None, *IMAGES.shape[1:]])
    wrapped.u.assign(np.float32([[0.1, -0.3, 0.2, 0.5, -0.4]]))
    return wrapped


def test_each_channel_of_each_image_is_normalised_by_itself():
    layer = normalization.instance_normalization(epsilon=1e-5)
    mean = IMAGES.mean((1, 2), keepdims=True)
    variance = IMAGES.var((1, 2), keepdims=True)
    expected = (IMAGES - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(layer(IMAGES), expected, atol=1e-5)


def test_training_brings_the_spectral_norm_to_one():
    layer = spectral(normalization.spectral_normalization, "float32")
    first = layer.layer.kernel.numpy()
    for _ in range(60):
        layer(IMAGES, training=True)
    matrix = layer.layer.kernel.numpy().reshape(-1, 5)
    values = np.linalg.svd(matrix, compute_uv=False)
    assert values[0] == pytest.approx(1, abs=1e-4)
    # Its direction stays what it was, and calls that do not train change nothing.
    np.testing.assert_allclose(
        matrix / first.reshape(-1, 5), (matrix / first.reshape(-1, 5))[0, 0], rtol=1e-4
    )
    layer(IMAGES)
    np.testing.assert_array_equal(layer.layer.kernel.numpy().reshape(-1, 5), matrix)


@needs_addons
@pytest.mark.parametrize("policy", POLICIES)
def test_instances_are_normalised_as_by_addons(policy):
    theirs = instance(
        normalization.tensorflow_addons().layers.InstanceNormalization, policy
    )
    ours = instance(normalization.InstanceNormalization, policy)
    with tf.GradientTape(persistent=True) as tape:
        expected, found = theirs(IMAGES), ours(IMAGES)
    assert expected.dtype == found.dtype
    assert distance(expected, found) <= TOLERANCES[policy]
    exact = instance(normalization.InstanceNormalization, "float32")(IMAGES)
    assert distance(found, exact) <= distance(expected, exact)
    assert names(theirs) == names(ours)
    for one, other in zip(theirs.weights, ours.weights):
        np.testing.assert_array_equal(one, other)
        if policy == "float32":
            np.testing.assert_allclose(
                tape.gradient(expected, one), tape.gradient(found, other), atol=1e-3
            )


@needs_addons
@pytest.mark.parametrize("policy", POLICIES)
def test_spectra_are_normalised_as_by_addons(policy):
    theirs = spectral(
        normalization.tensorflow_addons().layers.SpectralNormalization, policy
    )
    ours = spectral(normalization.SpectralNormalization, policy)
    for training in (True, True, False, True):
        expected = theirs(IMAGES, training=training)
        found = ours(IMAGES, training=training)
        assert expected.dtype == found.dtype
        # The same operations in the same order, in 16 bits as well.
        np.testing.assert_array_equal(expected, found)
        for one, other in zip(theirs.weights, ours.weights):
            np.testing.assert_array_equal(one, other)
    assert names(theirs) == names(ours)


@needs_addons
@pytest.mark.parametrize("forth", [True, False])
def test_checkpoints_fit_both(tmp_path, forth):
    addons = normalization.tensorflow_addons().layers
    for make, kinds in (
        (instance, (addons.InstanceNormalization, normalization.InstanceNormalization)),
        (spectral, (addons.SpectralNormalization, normalization.SpectralNormalization)),
    ):
        theirs, mine = (make(kind, "float32") for kind in kinds)
        theirs(IMAGES), mine(IMAGES)
        source, target = (theirs, mine) if forth else (mine, theirs)
        for variable in source.weights:
            variable.assign_add(tf.ones_like(variable))
        path = tf.train.Checkpoint(layer=source).write(str(tmp_path / "checkpoint"))
        status = tf.train.Checkpoint(layer=target).read(path)
        status.assert_existing_objects_matched()
        for one, other in zip(source.weights, target.weights):
            np.testing.assert_array_equal(one, other)


def distance(one, other):
    return np.abs(tf.cast(one, tf.float32) - tf.cast(other, tf.float32)).max()


def names(layer):
    """Of the variables, without what Keras counts up."""
    return [variable.name.split("/")[-1] for variable in layer.weights]


def batch_normalization(**arguments):
    gamma = keras.initializers.RandomNormal(1.0, 0.3, seed=1)
    layer = keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, **arguments
    )
    layer.build([None, None, None, 4])
    layer.beta.assign([0.1, 0.2, -0.3, 0.4])
    return layer


def test_batch_norm_of_all_positions_is_that_of_keras():
    ours, theirs = batch_normalization(), batch_normalization()
    everywhere = tf.ones([2, 13, 17, 1])
    for _ in range(2):
        found = normalization.normalize_inside(ours, tf.constant(IMAGES), everywhere)
        expected = theirs(IMAGES, training=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for mine, other in zip(ours.variables, theirs.variables):
        np.testing.assert_allclose(mine, other, rtol=1e-5)


def test_batch_norm_inside_has_the_statistics_of_what_is_inside():
    inside = np.random.default_rng(1).random((2, 13, 17, 1)) < 0.4
    chosen = IMAGES[inside[..., 0]].astype(np.float64)
    layer = batch_normalization()
    found = normalization.normalize_inside(
        layer, tf.constant(IMAGES), tf.constant(inside.astype(np.float32))
    )
    mean, variance = chosen.mean(axis=0), chosen.var(axis=0)
    expected = (IMAGES - mean) / np.sqrt(variance + 1e-5)
    expected = expected * layer.gamma.numpy() + layer.beta.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=1e-5)
    moved = 0.9 + 0.1 * chosen.var(axis=0, ddof=1)
    np.testing.assert_allclose(layer.moving_variance, moved, rtol=1e-5)
