"""Masks for tests, without TensorFlow."""

import numpy as np


def disk(height, width, top, left, radius):
    """A mask, bool [height, width]."""
    rows, columns = np.mgrid[:height, :width]
    return (rows - top) ** 2 + (columns - left) ** 2 <= radius**2
