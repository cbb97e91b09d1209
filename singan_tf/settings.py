"""How a setting is declared: its default, its help, its range, and the check of it."""

import dataclasses
import sys
from typing import Any, Optional, Union

from singan_tf.errors import UsageError
from singan_tf.schedule import ByScale, RealByScale, read_numbers, write_numbers

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


@dataclasses.dataclass(frozen=True)
class Section:
    """A group of settings that checks itself against its own metadata."""

    def __post_init__(self) -> None:
        """Checks the fields, and gives numbers by scale the one form that they have.

        Raises:
            UsageError: if a value is out of its range.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type in (ByScale, RealByScale):
                # What says the same is equal then: 500 and the text "0-:500".
                object.__setattr__(self, field.name, _by_scale(field, value))
            else:
                _check(field, value)


def _by_scale(field: dataclasses.Field, value: Any) -> Union[ByScale, RealByScale]:
    """Checks every number of a setting by scale; returns it in its one form."""
    name, whole = field.name, field.type == ByScale
    kind, article = (int, "a whole number") if whole else ((int, float), "a number")
    if not isinstance(value, (kind, str)) or isinstance(value, bool):
        raise UsageError(
            f"--{name}={value!r} must be {article}, or a text that gives one to each "
            "scale."
        )
    ranges = read_numbers(name, value)
    for _, number in ranges:
        plain = f"--{name}={number}"
        among = f"--{name}={value} has {number}, which"
        named = plain if len(ranges) == 1 else among
        if not isinstance(number, kind):
            raise UsageError(f"{named} must be {article}.")
        if not whole:
            _check_finite(number, named)
        _check_range(field, number, named)
    return write_numbers(
        ranges if whole else [(first, float(number)) for first, number in ranges]
    )


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
    if field.type is float:
        _check_finite(value, f"--{field.name}={value}")
    _check_range(field, value, f"--{field.name}={value}")


def _check_finite(value: float, named: str) -> None:
    # Whole numbers may stand for others, also some that no float can hold.
    if not abs(value) <= sys.float_info.max:
        raise UsageError(f"{named} must be a finite number.")


def _check_range(field: dataclasses.Field, value: Any, named: str) -> None:
    low, high = field.metadata["low"], field.metadata["high"]
    if field.type in (int, ByScale) and high is None and value > _MOST:
        high = _MOST
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = [f"at least {low}"] if low is not None else []
        bounds += [f"at most {high}"] if high is not None else []
        raise UsageError(f"{named} must be {' and '.join(bounds)}.")
