import numpy as np
import pytest
import tensorflow as tf

from singan_tf import config
from singan_tf.config import NetworkConfig
from singan_tf.model import networks
from singan_tf.training import losses

BUILDERS = {"generator": networks.build_generator, "critic": networks.build_critic}
KINDS = list(BUILDERS)
NORMALIZATIONS = ["batch", "instance", "none"]


def make(kind, width=8, seed=0, mixed_precision="none", **values):
    values = {"width": width, "max_width": max(width, 128), **values}
    settings = {"seed": seed, "mixed_precision": mixed_precision, **values}
    return BUILDERS[kind](config.from_settings(settings), 0)


def normalized(kind, normalization, **values):
    return make(kind, **{f"{kind}_normalization": normalization}, **values)


def images(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).uniform(-1, 1, shape), tf.float32)


def run(network, image, training=False):
    is_generator = isinstance(network, networks.Generator)
    return network((image, 0 * image) if is_generator else image, training=training)


def spread(network):
    """Makes weights large enough for every layer to matter."""
    rng = np.random.default_rng(0)
    for variable in network.variables:
        shape = variable.shape
        if len(shape) == 4:
            variable.assign(rng.normal(0, 1.3 / np.prod(shape[:3]) ** 0.5, shape))
        elif "gamma" in variable.name or "variance" in variable.name:
            variable.assign(rng.uniform(0.5, 1.5, shape))
        else:
            variable.assign(rng.normal(0, 0.3, shape))
    return network


def numpy_layers(network, x, normalization, training):
    """The five layers of the reference recipe in float64; also each layer's moments."""
    x = np.asarray(x, np.float64)
    weights = [v.numpy().astype(np.float64) for v in network.trainable_variables]
    averages = [v.numpy() for v in network.non_trainable_variables]
    moments = []
    for layer in range(5):
        kernel, bias = weights.pop(0), weights.pop(0)
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
        x = np.einsum("bhwcij,ijco->bhwo", windows, kernel) + bias
        if layer == 4:
            return x, moments
        if normalization != "none":
            gamma, beta = weights.pop(0), weights.pop(0)
            axes = (1, 2) if normalization == "instance" else (0, 1, 2)
            mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
            moments.append((mean, variance, x[..., 0].size))
            if normalization == "batch" and not training:
                mean, variance = averages.pop(0), averages.pop(0)
            x = gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
        x = np.where(x > 0, x, 0.2 * x)


@pytest.mark.parametrize(
    "width, generator, critic",
    [(32, 29_763, 29_185), (64, 114_819, 113_665), (128, 450_819, 448_513)],
)
def test_parameter_counts_are_the_reference_codes(width, generator, critic):
    for kind, expected in [("generator", generator), ("critic", critic)]:
        variables = make(kind, width).trainable_variables
        assert sum(np.prod(v.shape) for v in variables) == expected


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("residual", [True, False])
def test_output_shapes(channels, residual):
    image = images(2, 19, 24, channels)
    generator = make("generator", channels=channels, residual=residual)
    assert generator((image, image)).shape == (2, 9, 14, channels)
    assert make("critic", channels=channels)(image).shape == (2, 9, 14, 1)


@pytest.mark.parametrize("constraint", ["gradient_penalty", "spectral"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("training", [False, True])
def test_a_critic_takes_images_of_every_size(constraint, normalization, training):
    critic = normalized("critic", normalization, critic_constraint=constraint)
    for height, width in [(20, 17), (31, 12)]:
        scores = critic(images(1, height, width, 3), training=training)
        assert scores.shape == (1, height - 10, width - 10, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_a_pixel_sees_11_by_11_pixels(kind, normalization):
    network = spread(normalized(kind, normalization))
    image = images(1, 25, 25, 3)
    with tf.GradientTape() as tape:
        tape.watch(image)
        pixel = tf.reduce_sum(run(network, image)[0, 4, 9])
    seen = np.any(tape.gradient(pixel, image).numpy()[0] != 0, axis=-1)
    expected = np.zeros((25, 25), bool)
    expected[4:15, 9:20] = True
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("training", [False, True])
def test_networks_compute_what_numpy_computes(kind, normalization, training):
    network = spread(normalized(kind, normalization))
    noisy, previous = images(2, 18, 17, 3), images(2, 18, 17, 3, seed=1)
    expected, _ = numpy_layers(network, noisy, normalization, training)
    if kind == "generator":
        expected = np.tanh(expected) + previous[:, 5:-5, 5:-5]
        actual = network((noisy, previous), training=training)
    else:
        actual = network(noisy, training=training)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)


def test_without_residual_the_previous_image_is_not_added():
    generator = spread(make("generator", residual=False))
    noisy = images(1, 18, 17, 3)
    expected, _ = numpy_layers(generator, noisy, "batch", False)
    actual = generator((noisy, noisy))
    np.testing.assert_allclose(actual, np.tanh(expected), rtol=0, atol=1e-5)


def test_with_residual_the_output_is_not_clipped():
    generator = make("generator")
    image = tf.fill([1, 12, 12, 3], 1.5)
    np.testing.assert_allclose(generator((0 * image, image)), 1.5, atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_running_averages_move_a_tenth_of_the_way_to_the_batch(kind):
    network = spread(normalized(kind, "batch"))
    before = [v.numpy() for v in network.non_trainable_variables]
    image = images(2, 14, 15, 3)
    _, moments = numpy_layers(network, image, "batch", True)
    run(network, image, training=True)
    after = [v.numpy() for v in network.non_trainable_variables]
    for layer, (mean, variance, count) in enumerate(moments):
        # PyTorch's running variance is the unbiased one, too.
        batch = [np.ravel(mean), np.ravel(variance) * count / (count - 1)]
        for old, value, new in zip(before[2 * layer :], batch, after[2 * layer :]):
            np.testing.assert_allclose(new, 0.9 * old + 0.1 * value, rtol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_inference_leaves_running_averages_alone(kind):
    network = spread(normalized(kind, "batch"))
    before = [v.numpy() for v in network.non_trainable_variables]
    run(network, images(2, 14, 15, 3))
    np.testing.assert_array_equal(before[0], network.non_trainable_variables[0])


@pytest.mark.parametrize("value, expected", [(0.5, 0.5), (-0.5, -0.5 * 0.2**4)])
def test_a_leaky_slope_of_a_fifth_follows_each_of_four_layers(value, expected):
    critic = normalized("critic", "none", width=1, channels=1)
    for variable in critic.trainable_variables:
        centre = np.zeros(variable.shape)
        if centre.ndim == 4:
            centre[1, 1] = 1
        variable.assign(centre)
    scores = critic(tf.fill([1, 11, 11, 1], value))
    np.testing.assert_allclose(scores, [[[[expected]]]], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_instance_normalisation_ignores_contrast_and_batch_mates(kind):
    network = normalized(kind, "instance", width=16)
    for variable in network.trainable_variables:
        if len(variable.shape) == 4:
            variable.assign(20 * variable)
    image = images(2, 20, 20, 3)
    changed = tf.concat([3 * image[:1] + 0.2, -image[1:]], 0)
    first, second = run(network, image), run(network, changed)
    np.testing.assert_allclose(first[0], second[0], rtol=0, atol=2e-3)
    assert np.abs(first[1] - second[1]).max() > 0.05


@pytest.mark.parametrize(
    "padding, mode",
    [
        ("zeros", "constant"),
        ("noise", "constant"),
        ("reflect", "reflect"),
        ("circular", "wrap"),
    ],
)
@pytest.mark.parametrize("height, width", [(6, 9), (20, 7)])
def test_padding_is_numpys(padding, mode, height, width):
    image = images(2, height, width, 3)
    expected = np.pad(image, [(0, 0), (5, 5), (5, 5), (0, 0)], mode)
    np.testing.assert_array_equal(networks.pad(image, padding), expected)
    graph = tf.function(
        lambda x: networks.pad(x, padding),
        input_signature=[tf.TensorSpec([None, None, None, 3])],
    )
    np.testing.assert_array_equal(graph(image), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights_have_the_reference_codes_moments(kind):
    gammas = []
    for variable in make(kind, width=128).trainable_variables:
        value = variable.numpy()
        if value.ndim == 4:
            assert value.mean() == pytest.approx(0, abs=0.1 / value.size**0.5)
            assert value.std() == pytest.approx(0.02, rel=4 / value.size**0.5)
        elif "gamma" in variable.name:
            gammas.append(value)
        else:
            np.testing.assert_array_equal(value, 0)
    assert np.mean(gammas) == pytest.approx(1, abs=0.005)
    assert np.std(gammas) == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize("seed", [0, 5, 2**31 - 2])
@pytest.mark.parametrize(
    "kind, values",
    [
        ("generator", {}),
        ("generator", {"generator_normalization": "instance"}),
        ("critic", {}),
        ("critic", {"critic_constraint": "spectral"}),
    ],
)
def test_a_seed_fixes_every_initial_variable(kind, values, seed):
    first, again, other = (
        make(kind, seed=s, **values).variables for s in (seed, seed, seed + 1)
    )
    for a, b, c in zip(first, again, other):
        np.testing.assert_array_equal(a, b, err_msg=a.name)
        if len(a.shape) == 4:
            assert not np.allclose(a, c, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_of_the_same_shape_start_differently(kind):
    kernels = [v.numpy() for v in make(kind).variables if v.shape == [3, 3, 8, 8]]
    assert len(kernels) == 3
    correlation = np.corrcoef([kernel.ravel() for kernel in kernels]) - np.eye(3)
    assert np.abs(correlation).max() < 0.2


def test_no_two_networks_of_a_program_start_alike():
    kernels = [
        build(config.from_settings({"seed": seed, "width_doubling": 0}), scale)
        .trainable_variables[0]
        .numpy()
        .tobytes()
        for seed in (0, 1, 2**31 - 1)
        for scale in (0, 1, 2, 63)
        for build in BUILDERS.values()
    ]
    assert len(set(kernels)) == len(kernels)


def penalty(critic, image):
    """A gradient penalty, whose gradient needs second derivatives."""
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = critic(image, training=True)
    return tf.reduce_mean((tf.norm(tape.gradient(score, image), axis=-1) - 1) ** 2)


@pytest.mark.parametrize("term", [penalty, lambda critic, x: run(critic, x, True)])
def test_synchronized_batch_norm_on_one_device_is_keras_own(term):
    """Tests of two devices, in test_distribution.py, are against one with Keras'."""
    settings = config.from_settings({"width": 8})
    ours = networks.build_critic(settings, 0, synchronized=True)
    keras = networks.build_critic(settings, 0)
    spread(keras)
    ours.set_weights(keras.get_weights())
    image = images(2, 14, 15, 3)
    found, expected = [], []
    for critic, results in ((ours, found), (keras, expected)):
        with tf.GradientTape() as tape:
            value = term(critic, image)
        gradients = tape.gradient(
            value, critic.trainable_variables, unconnected_gradients="zero"
        )
        results += [value, *gradients, *critic.non_trainable_variables]
        results.append(critic(image))
    kinds = {type(each).__name__ for each in ours.layers}
    assert "SynchronizedBatchNormalization" in kinds
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_gradient_penalty_survives_16_bits(precision):
    """Its value and its gradient, and a flat critic, whose norms are near zero."""
    found = []
    for each in ("none", precision):
        critic = spread(make("critic", mixed_precision=each))
        with tf.GradientTape() as tape:
            value = penalty(critic, images(2, 18, 17, 3))
        gradients = tape.gradient(
            value, critic.trainable_variables, unconnected_gradients="zero"
        )
        flat = np.concatenate([np.ravel(gradient) for gradient in gradients])
        found.append((float(value), flat))
    (exact, expected), (rough, actual) = found
    assert rough == pytest.approx(exact, rel=0.05)
    norms = np.linalg.norm(expected) * np.linalg.norm(actual)
    # bfloat16 has 8 bits, and slopes that jump at zero.
    assert expected @ actual > (0.99 if precision == "float16" else 0.9) * norms
    for variable in critic.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    real = images(2, 18, 17, 3)
    with tf.GradientTape() as tape:
        value = losses.gradient_penalty(critic, real, -real, tf.constant([0.2, 0.9]))
        value = tf.reduce_mean(value)
    assert float(value) == pytest.approx(1, abs=1e-3)
    for gradient in tape.gradient(
        value, critic.trainable_variables, unconnected_gradients="zero"
    ):
        assert np.isfinite(gradient).all()


def test_a_checkpoint_of_synchronized_batch_norm_is_one_of_keras(tmp_path):
    settings = config.from_settings({"width": 4})
    ours = spread(networks.build_generator(settings, 0, synchronized=True))
    keras = networks.build_generator(settings, 0)
    path = tf.train.Checkpoint(generator=ours).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(generator=keras).read(path).assert_consumed()
    image = images(1, 14, 14, 3)
    np.testing.assert_allclose(run(keras, image), run(ours, image), atol=1e-5)


@pytest.mark.parametrize("precision", ["none", "bfloat16"])
def test_spectral_normalisation_brings_every_kernel_to_norm_one(precision):
    critic = make("critic", mixed_precision=precision, critic_constraint="spectral")
    image = images(1, 11, 11, 3)
    for _ in range(40):
        scores = critic(image, training=True)
    assert scores.dtype == tf.float32
    kernels = [v.numpy() for v in critic.variables if len(v.shape) == 4]
    assert len(kernels) == 5
    for kernel in kernels:
        values = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)
        assert values[0] == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_16_bits_keep_float32_outputs_weights_and_nearly_the_values(
    kind, normalization, precision
):
    exact = spread(normalized(kind, normalization))
    rough = spread(normalized(kind, normalization, mixed_precision=precision))
    assert all(v.dtype == tf.float32 for v in rough.variables)
    image = images(2, 18, 17, 3)
    expected, actual = run(exact, image), run(rough, image)
    assert actual.dtype == tf.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=0.1)
    assert np.mean(np.abs(actual - expected)) < 0.02


@pytest.mark.parametrize(
    "values, widths",
    [
        ({}, [32, 32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 128, 128, 128]),
        ({"width_doubling": 0}, [32] * 14),
        ({"width_doubling": 1, "max_width": 100}, [32, 64] + [100] * 12),
        ({"width": 8, "width_doubling": 2, "max_width": 16}, [8, 8] + [16] * 12),
    ],
)
def test_widths_double_up_to_the_cap(values, widths):
    config = NetworkConfig(**values)
    assert [networks.scale_width(config, scale) for scale in range(14)] == widths
