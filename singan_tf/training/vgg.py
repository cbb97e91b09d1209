"""VGG16's first activations, which a texture loss compares (Gatys et al., 2015).

ImageNet weights by a path, or by download; without them there is no texture loss.
"""

import pathlib
from typing import Callable

import numpy as np
import tensorflow as tf

from singan_tf.errors import UserError
from singan_tf.keras2 import keras
from singan_tf.pretrained import DOWNLOAD, download, require_readable

WEIGHTS_NAME = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"

_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/" + WEIGHTS_NAME
)
_MD5 = "6d6bbae143d832006294945121d1f1fc"
# The convolutions that are looked at, the first of each of four blocks; a max pool
# is before each of them but the first.
_LOOKED_AT = (0, 2, 4, 7)
# Of ImageNet's blue, green and red, which Keras subtracts.
_MEANS = (103.939, 116.779, 123.68)


def load(weights: str) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    """Builds the first blocks of the network.

    Args:
        weights: A path of Keras' VGG16 without top in .h5, or "download".

    Returns:
        A function from float32 [B, H, W, C] in [-1, 1], no side below 8 and C 1 or
        3, to the activations of four layers, float32 [B, h, w, channels].

    Raises:
        UserError: if the weights cannot be read or downloaded, or are others.
    """
    layers = _read(find(weights))

    def activations(image: tf.Tensor) -> list[tf.Tensor]:
        colour = tf.repeat(image, 3 // image.shape[3], axis=3)
        x = (colour[..., ::-1] + 1) * 127.5 - tf.constant(_MEANS)
        found = []
        for index, (kernel, bias) in enumerate(layers):
            if index in _LOOKED_AT[1:]:
                x = tf.nn.max_pool2d(x, 2, 2, "VALID")
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
            if index in _LOOKED_AT:
                found.append(x)
        return found

    return activations


def find(weights: str) -> pathlib.Path:
    """The file of weights, downloaded if it is to be.

    Raises:
        UserError: if it cannot be read or downloaded.
    """
    if weights == DOWNLOAD:
        return download(WEIGHTS_NAME, _URL, _MD5, "vgg_weights")
    path = pathlib.Path(weights)
    if not path.is_file():
        raise UserError(
            f"The VGG weights {path} are not a file; give the path of Keras' "
            f"{WEIGHTS_NAME}, or {DOWNLOAD}."
        )
    require_readable(path, "vgg_weights")
    return path


def _read(path: pathlib.Path) -> list[tuple[np.ndarray, np.ndarray]]:
    model = keras.applications.VGG16(include_top=False, weights=None)
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"The VGG weights {path} are not Keras' {WEIGHTS_NAME} ({reason}); copy "
            "them again."
        ) from None
    convolutions = [
        layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    ]
    return [tuple(x.get_weights()) for x in convolutions[: _LOOKED_AT[-1] + 1]]
