import pytest
import tensorflow as tf

from singan_tf import images


@pytest.fixture(scope="module")
def deterministic():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="module")
def coffee():
    """A photograph, float32 [1, 24, 30, 3]."""
    return images.read(images.resolve("coffee"))[:, 100:124, 200:230]
