"""SinGAN in TensorFlow: a generative model from one photograph (ICCV 2019).

    import singan_tf

    model = singan_tf.load("runs/coffee")
    images = model.sample([1, 2])  # float32 [2, H, W, C] in [-1, 1]

TensorFlow is imported when one of the names is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from singan_tf.api import Model, load, train
    from singan_tf.config import Config
    from singan_tf.model.singan import SinGAN
    from singan_tf.presets import preset

__version__ = "0.1.0"

__all__ = ["Config", "Model", "SinGAN", "__version__", "load", "preset", "train"]

_MODULES = {
    "Config": "singan_tf.config",
    "Model": "singan_tf.api",
    "SinGAN": "singan_tf.model.singan",
    "load": "singan_tf.api",
    "preset": "singan_tf.presets",
    "train": "singan_tf.api",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for by name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


# What an older Python reads before it is told so must be of its time.
def __dir__() -> list:
    return sorted({*globals(), *__all__})
