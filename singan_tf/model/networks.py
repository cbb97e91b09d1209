"""The generator and the critic of one scale: fully convolutional Keras models.

Both are five valid 3x3 convolutions, so every output pixel sees 11x11 input
pixels. Nothing is padded between layers: whoever calls pads the input once by
`MARGIN`, which is what makes a crop compute exactly what the whole image does.
"""

from typing import Callable, NamedTuple, Optional

import tensorflow as tf

from singan_tf.config import Config, NetworkConfig
from singan_tf.keras2 import keras
from singan_tf.model import normalization as layers

NUM_LAYERS = 5
# Pixels that five valid 3x3 convolutions take off each side.
MARGIN = NUM_LAYERS
_KERNEL = 3

# PyTorch's defaults, which the recipe was tuned with; Keras' own are 0.99, 1e-3
# and a slope of 0.3.
_BATCH_NORM_MOMENTUM = 0.9
_BATCH_NORM_EPSILON = 1e-5
_LEAKY_SLOPE = 0.2
_WEIGHT_STDDEV = 0.02


class Generator(keras.Model):
    """Maps noise and a previous image to an image at its scale.

    SinGAN, eq. 5: the network sees their sum and corrects the previous image.
    """

    def __init__(
        self,
        config: NetworkConfig,
        scale: int,
        seed: int,
        precision: str,
        synchronized: bool,
    ):
        """Creates the layers; the variables come with the first call.

        Args:
            config: Normalisation, residual connection and image channels.
            scale: The scale, for its feature channels and its normalisation.
            seed: Of the initial weights.
            precision: Keras dtype policy of the convolutions, such as "float32".
            synchronized: Whether batch norm's statistics are those of all replicas
                of the strategy in whose scope this is created.
        """
        super().__init__()
        self._residual = config.residual
        kind = config.generator_normalization_at(scale)
        self._stack = _layers(
            scale_width(config, scale),
            config.channels,
            _Normalization(kind, synchronized),
            seed,
            precision,
            spectral=False,
        )

    def call(
        self, inputs, training: bool = False, inside: Optional[tf.Tensor] = None
    ) -> tf.Tensor:
        """Computes an image.

        Args:
            inputs: A pair, both padded by `MARGIN`: the noisy previous image and
                the previous image, float32 [B, H + 10, W + 10, C].
            training: Whether batch norm uses the batch's own statistics.
            inside: In training, where these are taken, float32 [B, H + 10, W + 10, 1]
                of 0 and 1; None for everywhere.

        Returns:
            float32 [B, H, W, C], centred on [-1, 1] and not clipped.
        """
        noisy, previous = inputs
        output = _apply(self._stack, noisy, training, inside, _cropped)
        image = tf.tanh(tf.cast(output, tf.float32))
        if self._residual:
            image += previous[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        return image


class Critic(keras.Model):
    """Scores every 11x11 patch of an image: the higher, the more real."""

    def __init__(
        self,
        config: NetworkConfig,
        scale: int,
        seed: int,
        precision: str,
        synchronized: bool,
    ):
        """Creates the layers; arguments as for `Generator`."""
        super().__init__()
        self._stack = _layers(
            scale_width(config, scale),
            1,
            _Normalization(config.critic_normalization, synchronized),
            seed,
            precision,
            spectral=config.critic_constraint == "spectral",
        )

    def call(
        self,
        inputs: tf.Tensor,
        training: bool = False,
        inside: Optional[tf.Tensor] = None,
    ) -> tf.Tensor:
        """Maps images float32 [B, H, W, C] to score maps [B, H - 10, W - 10, 1].

        Args:
            inputs: The images.
            training: Whether batch norm uses the batch's own statistics.
            inside: In training, what of the images counts in these, float32
                [B, H, W, 1] of 0 and 1: no feature does that sees something else.
                None for all. A score that sees nothing else (`whole`) does not depend
                on the rest.
        """
        output = _apply(self._stack, inputs, training, inside, _eroded)
        return tf.cast(output, tf.float32)


class _Normalization(NamedTuple):
    """Which one, and whether it looks at all replicas."""

    kind: str
    synchronized: bool


def scale_width(config: NetworkConfig, scale: int) -> int:
    """Feature channels at a scale: doubled every few scales, up to a cap."""
    doublings = scale // config.width_doubling if config.width_doubling else 0
    return min(config.width * 2**doublings, config.max_width)


def build_generator(
    config: Config, scale: int, synchronized: bool = False
) -> Generator:
    """Creates the untrained generator of a scale, variables included.

    Args:
        config: Of the run.
        scale: The scale.
        synchronized: See `Generator`.
    """
    return _build(Generator, config, scale, synchronized)


def build_critic(config: Config, scale: int, synchronized: bool = False) -> Critic:
    """Creates the untrained critic of a scale; see `build_generator`."""
    return _build(Critic, config, scale, synchronized)


def _build(kind, config: Config, scale: int, synchronized: bool) -> keras.Model:
    # A network of its own seed for each scale; its layers count on from there.
    seed = (config.training.seed * 64 + scale) * 64 + (32 if kind is Critic else 0)
    precision = config.training.mixed_precision
    network = kind(
        config.network,
        scale,
        seed,
        "float32" if precision == "none" else f"mixed_{precision}",
        synchronized,
    )
    side = 2 * MARGIN + 1
    image = tf.zeros([1, side, side, config.network.channels])
    network((image, image) if kind is Generator else image)
    for index, layer in enumerate(network.layers):
        if type(layer).__name__ == "SpectralNormalization":
            # The layer of tensorflow-addons takes only images of the size it was built
            # with, and starts its power iteration without a seed.
            layer.input_spec = None
            layer.u.assign(
                tf.random.stateless_normal(layer.u.shape, [seed, index], alg="philox")
            )
    return network


def pad(image: tf.Tensor, padding: str) -> tf.Tensor:
    """Surrounds images by `MARGIN` pixels.

    Args:
        image: [B, H, W, C]; reflect and circular need sides above `MARGIN`.
        padding: zeros, reflect, circular, or noise, which leaves the border of
            everything but noise maps zero.

    Returns:
        [B, H + 10, W + 10, C].
    """
    border = [[0, 0], [MARGIN, MARGIN], [MARGIN, MARGIN], [0, 0]]
    if padding == "reflect":
        return tf.pad(image, border, "REFLECT")
    if padding == "circular":
        image = tf.concat([image[:, -MARGIN:], image, image[:, :MARGIN]], axis=1)
        return tf.concat([image[:, :, -MARGIN:], image, image[:, :, :MARGIN]], axis=2)
    return tf.pad(image, border)


def _layers(
    width: int,
    outputs: int,
    normalization: _Normalization,
    seed: int,
    precision: str,
    spectral: bool,
) -> list:
    stack = []
    for index in range(NUM_LAYERS - 1):
        # The recipe's small weights count on a normalisation that undoes their size.
        initializer = (
            keras.initializers.GlorotUniform(seed + index)
            if normalization.kind == "none" and not spectral
            else _small_weights(seed + index)
        )
        convolution = _convolution(width, initializer, precision)
        stack.append(_spectral(convolution) if spectral else convolution)
        if normalization.kind != "none":
            stack.append(_normalization(normalization, seed + index, precision))
        stack.append(keras.layers.LeakyReLU(_LEAKY_SLOPE, dtype=precision))
    tail = _convolution(outputs, _small_weights(seed + NUM_LAYERS - 1), precision)
    return stack + [_spectral(tail) if spectral else tail]


def _small_weights(seed: int) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(0.0, _WEIGHT_STDDEV, seed=seed)


def _convolution(
    outputs: int, initializer: keras.initializers.Initializer, precision: str
) -> keras.layers.Layer:
    return keras.layers.Conv2D(
        outputs,
        _KERNEL,
        padding="valid",
        kernel_initializer=initializer,
        # Zero, where PyTorch draws from a uniform distribution of the fan-in: a
        # bias before batch norm has no effect, and the last one starts neutral.
        bias_initializer="zeros",
        dtype=precision,
    )


def _normalization(
    normalization: _Normalization, seed: int, precision: str
) -> keras.layers.Layer:
    gamma = keras.initializers.RandomNormal(1.0, _WEIGHT_STDDEV, seed=seed)
    if normalization.kind == "instance":
        return layers.instance_normalization(
            epsilon=_BATCH_NORM_EPSILON, gamma_initializer=gamma, dtype=precision
        )
    batch = keras.layers.BatchNormalization
    if normalization.synchronized:
        batch = layers.SynchronizedBatchNormalization
    return batch(
        momentum=_BATCH_NORM_MOMENTUM,
        epsilon=_BATCH_NORM_EPSILON,
        gamma_initializer=gamma,
        dtype=precision,
    )


def _spectral(layer: keras.layers.Layer) -> keras.layers.Layer:
    return layers.spectral_normalization(layer, dtype=layer.dtype_policy)


def whole(inside: tf.Tensor, side: int) -> tf.Tensor:
    """Which squares of images lie inside as a whole.

    Args:
        inside: float32 [B, H, W, 1] of 0 and 1.
        side: Of the squares, in pixels.

    Returns:
        float32 [B, H - side + 1, W - side + 1, 1] of 0 and 1, by the upper left corner.
    """
    return -tf.nn.max_pool2d(-inside, side, 1, "VALID")


def _cropped(inside: tf.Tensor) -> tf.Tensor:
    return inside[:, 1:-1, 1:-1]


def _eroded(inside: tf.Tensor) -> tf.Tensor:
    return whole(inside, _KERNEL)


def _apply(
    stack: list,
    x: tf.Tensor,
    training: bool,
    inside: Optional[tf.Tensor],
    shrink: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Applies layers, and to what is inside `shrink`, as often as there are kernels."""
    for layer in stack:
        if inside is None or not training:
            x = layer(x, training=training)
        elif layers.is_batch_normalization(layer):
            x = layers.normalize_inside(layer, x, inside)
        else:
            before, x = x, layer(x, training=True)
            inside = inside if x.shape[1] == before.shape[1] else shrink(inside)
    return x
