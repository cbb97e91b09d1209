"""Keras 2, whichever package of the installed stack has it, by the name `keras`.

TensorFlow's own Keras is version 3 from TensorFlow 2.16 on; Keras 2 is then the package
tf_keras. Whether that is installed beside an older TensorFlow does not count: what
tensorflow-addons brings there goes with TensorFlow's own.
"""

import importlib
from typing import Any

import tensorflow as tf

from singan_tf import stack

# Whether tensorflow-addons fits, which ends where TensorFlow's own Keras 2 does.
HAS_ADDONS = stack.has_keras_2(tf.__version__)

keras: Any = tf.keras if HAS_ADDONS else importlib.import_module("tf_keras")
