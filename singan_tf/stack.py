"""What the program runs on: the versions of Python, TensorFlow and Keras 2."""

import importlib
import platform
from importlib import metadata

# The last TensorFlow whose own Keras is version 2, and that tensorflow-addons fits.
_LAST_OF_KERAS_2 = (2, 15)


def tensorflow_version() -> str:
    """The version of TensorFlow, which is imported only where no metadata tell it."""
    try:
        return metadata.version("tensorflow")
    except metadata.PackageNotFoundError:
        # It has other names, such as tensorflow-cpu.
        return importlib.import_module("tensorflow").__version__


def has_keras_2(version: str) -> bool:
    """Whether the Keras of a version of TensorFlow is Keras 2."""
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) <= _LAST_OF_KERAS_2


def versions() -> dict[str, str]:
    """The versions by name: python, tensorflow and keras, which is Keras 2."""
    tensorflow = tensorflow_version()
    keras = "keras" if has_keras_2(tensorflow) else "tf_keras"
    return {
        "python": platform.python_version(),
        "tensorflow": tensorflow,
        "keras": metadata.version(keras),
    }
