"""Means, covariances and roots of matrices, for distances of patches.

The small matrices are handled in float64, where the difference of nearly equal traces
keeps its digits.
"""

from typing import NamedTuple, Optional

import tensorflow as tf

# Of the largest eigenvalue: below it the gradient of a root stops growing. Under a
# grey level of 8 bits in standard deviation, and well above float64's rounding.
_ROOT_FLOOR = 1e-12
# Added to variances before they are divided by: about a grey level of 8 bits,
# squared. What varies less is noise, which alignment must not blow up.
SHRINKAGE = 1e-4


class Moments(NamedTuple):
    """Mean [D] and covariance [D, D] (over N - 1) of a set of patches, float64."""

    mean: tf.Tensor
    covariance: tf.Tensor


def moments(found: tf.Tensor, whole: Optional[tf.Tensor] = None) -> Moments:
    """Mean and covariance of patches [N, D], in float64; of some, if bool [N] says."""
    if whole is not None:
        return _moments_of_some(found, whole)
    mean = tf.reduce_mean(found, axis=0)
    centred = found - mean
    # A single patch has no covariance: zero, not 0 / 0.
    covariance = tf.matmul(centred, centred, transpose_a=True)
    covariance = tf.cast(covariance, tf.float64) / max(found.shape[0] - 1, 1)
    return Moments(tf.cast(mean, tf.float64), covariance)


def _moments_of_some(found: tf.Tensor, whole: tf.Tensor) -> Moments:
    """The same, with arrays of one size however many count."""
    counts = tf.cast(whole, found.dtype)[:, tf.newaxis]
    number = tf.reduce_sum(counts)
    mean = tf.reduce_sum(counts * found, axis=0) / number
    centred = counts * (found - mean)
    covariance = tf.matmul(centred, centred, transpose_a=True)
    number = tf.cast(tf.maximum(number - 1, 1), tf.float64)
    covariance = tf.cast(covariance, tf.float64) / number
    return Moments(tf.cast(mean, tf.float64), covariance)


@tf.custom_gradient
def trace_of_root(matrix: tf.Tensor) -> tf.Tensor:
    """Trace of the square root of a symmetric matrix, float64 [D, D].

    Negative eigenvalues, which rounding makes of zeros, count as zero. The gradient
    has the closed form 1/2 M^-1/2; going through eigenvectors instead would divide
    by the differences of eigenvalues, which are zero where eigenvalues repeat.
    """
    eigenvalues, vectors = tf.linalg.eigh(matrix)
    # eigh sorts upwards. The tiny number is for a matrix of zeros.
    floor = tf.maximum(_ROOT_FLOOR * eigenvalues[-1], _ROOT_FLOOR**2)

    def gradient(upstream):
        scaled = vectors / tf.sqrt(tf.maximum(eigenvalues, floor))
        return upstream / 2 * tf.matmul(scaled, vectors, transpose_b=True)

    return tf.reduce_sum(tf.sqrt(tf.maximum(eigenvalues, 0))), gradient


@tf.custom_gradient
def inverse_root(matrix: tf.Tensor) -> tf.Tensor:
    """Inverse square root of a symmetric positive definite matrix, float64 [D, D].

    Its gradient solves R dR^-1 + dR^-1 R = -R^-1 dM R^-1 for R = M^1/2 in the basis of
    eigenvectors, dividing by sums of roots and by no difference; see `trace_of_root`.
    """
    eigenvalues, vectors = tf.linalg.eigh(matrix)
    # Rounding may leave less than the shrinkage that the caller added.
    roots = tf.sqrt(tf.maximum(eigenvalues, SHRINKAGE / 2))

    def gradient(upstream):
        inside = tf.matmul(vectors, upstream @ vectors, transpose_a=True)
        inside /= -roots * roots[:, None] * (roots + roots[:, None])
        return vectors @ tf.matmul(inside, vectors, transpose_b=True)

    return tf.matmul(vectors / roots, vectors, transpose_b=True), gradient


def square_root(matrix: tf.Tensor) -> tf.Tensor:
    """Square root of a symmetric matrix; negative eigenvalues count as zero."""
    eigenvalues, vectors = tf.linalg.eigh(matrix)
    scaled = vectors * tf.sqrt(tf.maximum(eigenvalues, 0))
    return tf.matmul(scaled, vectors, transpose_b=True)
