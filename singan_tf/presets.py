"""The presets that come with the program: files of flags, known by their names."""

import pathlib
from typing import Any

from singan_tf import config as config_lib
from singan_tf.errors import UsageError, nearest

_PACKAGE = pathlib.Path(__file__).resolve().parent
# Of a checkout, and of an installed package.
_FOLDERS = (_PACKAGE.parent / "configs", _PACKAGE / "configs")
_SUFFIX = ".flags"
# What the budgets of a study differ by; no presets for training.
_OF_STUDIES = "study_"
_TRUE = ("", "true")


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
    if name in names() or (name.startswith(_OF_STUDIES) and file.is_file()):
        return file
    raise UsageError(f"There is no preset {name}: {nearest(name, names())}")


def preset(name: str) -> dict[str, Any]:
    """The settings that a preset chooses, to train with or to add others to.

        singan_tf.train("coffee", "runs/coffee", {**preset("quick"), "max_size": 200})

    Args:
        name: Such as "quick"; `names` has them all.

    Returns:
        Values by name; the command line reads the same from the preset's file.

    Raises:
        UsageError: if there is no such preset.
    """
    found = {}
    for line in path(name).read_text(encoding="utf-8").splitlines():
        if line.startswith("--"):
            setting, _, text = line[2:].partition("=")
            setting, value = _read(setting, text)
            found[setting] = value
    return found


def _read(name: str, text: str) -> tuple[str, Any]:
    """The name and the value of a setting, from a flag's name and text."""
    kinds: dict[str, Any] = {field.name: field.type for field in config_lib.settings()}
    if name not in kinds:
        return name.removeprefix("no"), False  # Such as noxla.
    kind = kinds[name]
    if kind is bool:
        return name, text in _TRUE
    # Of the others, numbers by scale stay a text, which the configuration reads.
    return name, kind(text) if kind in (int, float) else text


def _folder() -> pathlib.Path:
    checkout, installed = _FOLDERS
    # Beside an installed package, configs/ would be somebody else's.
    return installed if installed.is_dir() else checkout
