"""Transfer: the layout of one picture in the colours and textures of the photograph.

A picture enters the pyramid as a painting does. What a stage finds there is nearer to
what it knows if the picture has the photograph's colours already.
"""

import numpy as np

from singan_tf.errors import UserError
from singan_tf.measure import metrics
from singan_tf.model.singan import SinGAN
from singan_tf.tasks import inputs
from singan_tf.tasks.task import Task

# Directions in which colours vary by less than this share of the most vary by rounding.
_ROUNDING = 1e-8
# One of 255; resizing leaves less than that of one colour.
_LEVEL = 1 / 127.5


def injection_scale(singan: SinGAN) -> int:
    """Where a picture enters if nothing else is said: at the last scale but one.

    Any lower, and what it shows can hardly be told; at the last, textures are faint.
    """
    return max(len(singan.sizes) - 2, 1)


def read_layout(task: Task, name: str, keep_size: bool) -> np.ndarray:
    """Reads the picture whose layout is transferred.

    Args:
        task: The opened task.
        name: As for `inputs.read_input`.
        keep_size: As for `inputs.read_input`.

    Returns:
        float32 [1, H, W, C] in [-1, 1].

    Raises:
        UserError: as `inputs.read_input`, or if it is of one colour everywhere.
    """
    image = inputs.read_input(task, name, keep_size)
    if np.ptp(image, axis=(1, 2)).max() < _LEVEL:
        raise UserError(
            f"{name} is of one colour everywhere, so it has no layout to transfer; "
            "choose another picture."
        )
    return image


def match_colours(image: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """Gives an image the mean and the covariance of a photograph's colours.

    The linear map that moves colours least, the optimal transport between Gaussians
    (Pitie and Kokaram, "The linear Monge-Kantorovitch linear colour mapping for
    example-based colour transfer", CVMP 2007): with S and P the covariances of the
    image's and the photograph's colours and R = P^(1/2),

        x -> R (R S R)^(-1/2) R (x - mean of the image) + mean of the photograph.

    Where the image's colours vary in fewer directions than the photograph's, such as
    only from black to white, the inverse is the pseudo-inverse: then each brightness
    gets the colour that the photograph has there on average, by linear regression.

    Args:
        image: float32 [1, H, W, C] in [-1, 1].
        photograph: float32 [1, h, w, C] in [-1, 1].

    Returns:
        float32 [1, H, W, C], clipped to [-1, 1].
    """
    channels = image.shape[-1]
    own, other = (
        metrics.gaussian(each.reshape(-1, channels)) for each in (image, photograph)
    )
    root = _power(other.covariance, 0.5)
    linear = root @ _power(root @ own.covariance @ root, -0.5) @ root
    matched = (image - own.mean) @ linear + other.mean
    return np.clip(matched, -1, 1).astype(np.float32)


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a symmetric matrix without negative eigenvalues, where it has one."""
    values, vectors = np.linalg.eigh(matrix)
    there = values > max(_ROUNDING * values.max(), np.finfo(np.float64).tiny)
    values = np.where(there, values, 1.0) ** exponent * there
    return (vectors * values) @ vectors.T
