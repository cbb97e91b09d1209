"""The presets that come with the program: files of flags, known by their names."""

import pathlib

from singan_tf.cli import commands
from singan_tf.errors import UsageError

_PACKAGE = pathlib.Path(__file__).resolve().parent.parent
# Of a checkout, and of an installed package.
_FOLDERS = (_PACKAGE.parent / "configs", _PACKAGE / "configs")
_SUFFIX = ".flags"
# What the budgets of a study differ by; no presets for training.
_OF_STUDIES = "study_"


def names() -> list[str]:
    """The presets to train with, in alphabetical order."""
    found = sorted(path.stem for path in _folder().glob(f"*{_SUFFIX}"))
    return [name for name in found if not name.startswith(_OF_STUDIES)]


def path(name: str) -> pathlib.Path:
    """The file of flags of a preset, or of a study's budget.

    Args:
        name: The file's name without its suffix.

    Raises:
        UsageError: if there is no such preset; the message has the nearest name.
    """
    file = _folder() / f"{name}{_SUFFIX}"
    if name.startswith(_OF_STUDIES) or name in names():
        return file
    near = commands.nearest(name, names())
    raise UsageError(f"There is no preset --preset={name}: {near}")


def _folder() -> pathlib.Path:
    checkout, installed = _FOLDERS
    # Beside an installed package, configs/ would be somebody else's.
    return installed if installed.is_dir() else checkout
