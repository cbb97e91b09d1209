"""Inception V3 as SIFID sees it: an image's features at every position of a layer.

The weights are those of Keras, for ImageNet, and come from a file or, only when
asked for, from the network. Batch norm is folded into the convolutions: a layer is
a kernel and a bias, and the layers have the order in which keras.applications
builds them. So a small .npz holds what the first layers need, and those are computed
here without building the whole network.
"""

import dataclasses
import pathlib
import zipfile
from typing import Any, Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from singan_tf import files
from singan_tf.errors import UserError
from singan_tf.keras2 import keras
from singan_tf.pretrained import DOWNLOAD, download, require_readable

WEIGHTS_NAME = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
NO_WEIGHTS = (
    f"No SIFID, which needs Inception's weights: give inception_weights=FILE with "
    f"Keras' {WEIGHTS_NAME} (keras-applications on storage.googleapis.com has it, "
    f"84 MiB) or a .npz made from it by `python main.py shrink_inception`, or "
    f"inception_weights={DOWNLOAD}."
)

_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
    + WEIGHTS_NAME
)
_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"
# Of Inception V3 in Keras, whose batch norm has no gamma.
_EPSILON = 1e-3
# Stride and padding of the convolutions before the second max pool; the first max
# pool is before number 3.
_STEM = ((2, "VALID"), (1, "VALID"), (1, "SAME"), (1, "VALID"), (1, "VALID"))
_POOLED = 3


class Layer(NamedTuple):
    """A layer that SIFID can look at.

    Attributes:
        place: Where it is, in words.
        convolutions: How many of the network's lead up to it.
        name: In Keras; None in the stem, whose layers Keras only numbers.
        least_side: Of an image, in pixels, that gives it 2x2 positions.
        first: The pixel in the middle of what its first position sees, down and across.
        apart: The pixels from there to the middle of the next.
    """

    place: str
    convolutions: int
    name: Optional[str]
    least_side: int
    first: int
    apart: int


# By their number of features, which is what the flags call them.
LAYERS = {
    64: Layer("before the first max pool, as the paper's code", 3, None, 9, 3, 2),
    192: Layer("before the second max pool", 5, None, 23, 9, 4),
    768: Layer("before the auxiliary classifier", 70, "mixed7", 59, 21, 16),
    2048: Layer("before the last average pool", 94, "mixed10", 107, 37, 32),
}


class Convolution(NamedTuple):
    """A convolution with its batch norm folded in; a ReLU follows.

    Attributes:
        kernel: float32 [height, width, inputs, outputs].
        bias: float32 [outputs].
    """

    kernel: np.ndarray
    bias: np.ndarray


@dataclasses.dataclass(frozen=True)
class Inception:
    """The network up to one of its layers.

    Attributes:
        features: Of the layer, a key of `LAYERS`.
        function: From float32 [1, H, W, 3] in [-1, 1] to the layer's map.
    """

    features: int
    function: Callable[[tf.Tensor], tf.Tensor]

    def __call__(
        self, image: np.ndarray, inside: Optional[np.ndarray] = None
    ) -> Optional[np.ndarray]:
        """Computes the features at every position; the image is not resized.

        Args:
            image: float32 [1, H, W, C] in [-1, 1]; grey counts as three equal
                channels.
            inside: What of the image counts, bool [H, W]: positions are left out whose
                middle it has not. None for all.

        Returns:
            float32 [positions, features]; None if the image is smaller than the
            layer's least side.
        """
        if min(image.shape[1:3]) < LAYERS[self.features].least_side:
            return None
        colour = tf.repeat(tf.constant(image), 3 // image.shape[3], axis=3)
        found = self.function(colour).numpy()
        if inside is None:
            return found.reshape(-1, self.features)
        layer = LAYERS[self.features]
        middles = (layer.first + layer.apart * np.arange(n) for n in found.shape[1:3])
        return found[0][inside[np.ix_(*middles)]]


def load(weights: str, features: int = 64) -> Inception:
    """Builds the network up to a layer.

    Args:
        weights: A path of Keras' .h5 or of a .npz by `save`, or "download".
        features: Of the layer, a key of `LAYERS`.

    Raises:
        UserError: if the weights cannot be read or downloaded, or are others.
    """
    layer = LAYERS[features]
    make = _stem if layer.name is None else _network
    return Inception(features, make(read(weights, features), layer))


def read(weights: str, features: int) -> list[Convolution]:
    """Reads the convolutions that lead up to a layer.

    Args:
        weights: As for `load`.
        features: Of the layer, a key of `LAYERS`.

    Raises:
        UserError: if the weights cannot be read or downloaded, or are others.
    """
    path = (
        download(WEIGHTS_NAME, _URL, _MD5, "inception_weights")
        if weights == DOWNLOAD
        else pathlib.Path(weights)
    )
    if not path.is_file():
        raise UserError(
            f"inception_weights={weights} is not a file; give the path of Keras' "
            f"{WEIGHTS_NAME} or of a .npz made from it, or {DOWNLOAD}."
        )
    read_file = _read_npz if path.suffix == ".npz" else _read_keras
    require_readable(path, "inception_weights")
    try:
        found = read_file(path)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"inception_weights={path} is neither Keras' {WEIGHTS_NAME} nor a .npz "
            f"made from it ({reason}); copy or make it again."
        ) from None
    needed = LAYERS[features].convolutions
    if len(found) < needed:
        raise UserError(
            f"inception_weights={path} holds {len(found)} convolutions, but "
            f"sifid_features={features} needs {needed}; make a file with that many by "
            "`python main.py shrink_inception`."
        )
    return found[:needed]


def save(path: pathlib.Path, convolutions: list[Convolution]) -> None:
    """Writes a .npz that `load` reads, whole.

    Raises:
        UserError: if the file cannot be written.
    """
    arrays: dict[str, Any] = {}
    for index, convolution in enumerate(convolutions):
        arrays[f"kernel_{index:02d}"] = convolution.kernel
        arrays[f"bias_{index:02d}"] = convolution.bias
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _read_npz(path: pathlib.Path) -> list[Convolution]:
    with np.load(path, allow_pickle=False) as arrays:
        return [
            Convolution(
                arrays[f"kernel_{index:02d}"].astype(np.float32),
                arrays[f"bias_{index:02d}"].astype(np.float32),
            )
            for index in range(len(arrays.files) // 2)
        ]


def _read_keras(path: pathlib.Path) -> list[Convolution]:
    model = _keras_model()
    model.load_weights(path)
    convolutions = []
    for convolution, normalization in zip(*_layers(model)):
        (kernel,) = convolution.get_weights()
        beta, mean, variance = normalization.get_weights()
        scale = 1 / np.sqrt(variance.astype(np.float64) + _EPSILON)
        convolutions.append(
            Convolution(
                (kernel * scale).astype(np.float32),
                (beta - mean * scale).astype(np.float32),
            )
        )
    return convolutions


def _stem(
    convolutions: list[Convolution], layer: Layer
) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3])])
    def function(x):
        for index, (kernel, bias) in enumerate(convolutions):
            if index == _POOLED:
                x = tf.nn.max_pool2d(x, 3, 2, "VALID")
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, *_STEM[index]) + bias)
        return x

    return function


def _network(
    convolutions: list[Convolution], layer: Layer
) -> Callable[[tf.Tensor], tf.Tensor]:
    whole = _keras_model()
    model = keras.Model(whole.input, whole.get_layer(layer.name).output)
    for (kernel, bias), convolution, normalization in zip(
        convolutions, *_layers(model)
    ):
        convolution.set_weights([kernel])
        # Batch norm that only adds the bias.
        zeros = np.zeros_like(bias)
        normalization.set_weights([bias, zeros, zeros + (1 - _EPSILON)])
    return lambda image: model(image, training=False)


def _keras_model() -> keras.Model:
    return keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )


def _layers(model: keras.Model) -> tuple[list, list]:
    """Convolutions and their batch norms, in the order in which they were made."""
    kinds = keras.layers.Conv2D, keras.layers.BatchNormalization
    convolutions, normalizations = (
        sorted((x for x in model.layers if isinstance(x, kind)), key=_number)
        for kind in kinds
    )
    return convolutions, normalizations


def _number(layer: keras.layers.Layer) -> int:
    """Of a layer that Keras named: conv2d is 0, conv2d_7 is 7."""
    number = layer.name.rpartition("_")[2]
    return int(number) if number.isdigit() else 0
