"""How a setting is declared: its default, its help, its range, and the check of it."""

import dataclasses
import sys
from typing import Any, Optional

from singan_tf.errors import UsageError

# Of whole numbers that have no other limit: what every kind of integer can hold.
_MOST = 2**31 - 1


def setting(
    default: Any,
    meaning: str,
    low: Optional[float] = None,
    high: Optional[float] = None,
    choices: tuple = (),
    path: bool = False,
) -> Any:
    """Declares a setting: a field of a `Section`.

    Args:
        default: The value where none is given.
        meaning: The help of its flag.
        low: The least value; None for any.
        high: The largest value; None for any.
        choices: The only values; empty for any.
        path: Whether it is a path.
    """
    metadata = {
        "help": meaning,
        "low": low,
        "high": high,
        "choices": choices,
        "path": path,
    }
    return dataclasses.field(default=default, metadata=metadata)


class Section:
    """A group of settings that checks itself against its own metadata."""

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            UsageError: if a value is out of its range.
        """
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))


def _check(field: dataclasses.Field, value: Any) -> None:
    kind: Any = field.type
    expected = (int, float) if kind is float else kind
    if not isinstance(value, expected) or (
        isinstance(value, bool) and kind is not bool
    ):
        raise UsageError(f"--{field.name}={value!r} must be of type {kind.__name__}.")
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise UsageError(f"--{field.name}={value} must be one of {', '.join(choices)}.")
    # Whole numbers may stand for others, also some that no float can hold.
    if field.type is float and not abs(value) <= sys.float_info.max:
        raise UsageError(f"--{field.name}={value} must be a finite number.")
    low, high = field.metadata["low"], field.metadata["high"]
    if field.type is int and high is None and value > _MOST:
        high = _MOST
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = [f"at least {low}"] if low is not None else []
        bounds += [f"at most {high}"] if high is not None else []
        raise UsageError(f"--{field.name}={value} must be {' and '.join(bounds)}.")
