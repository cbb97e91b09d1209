"""What is given by scale: names and numbers, and the text that says so."""

import math
import re
from collections.abc import Sequence
from typing import Callable, NamedTuple, TypeVar, Union

from singan_tf.errors import UsageError

ADVERSARIES = (
    "critic",
    "frechet",
    "nearest_neighbor",
    "aligned_nearest_neighbor",
    "sliced_wasserstein",
)

PADDINGS = ("zeros", "reflect", "circular", "noise")

NORMALIZATIONS = ("batch", "instance", "none")

# A whole number for all scales, or a text that gives each scale its own.
ByScale = Union[int, str]
# A number that need not be whole, likewise.
RealByScale = Union[float, str]

T = TypeVar("T")


class _Kind(NamedTuple):
    """What a text gives to scales, in the words of its errors.

    Attributes:
        pattern: A regular expression of one of them.
        name: Of one.
        plural: Of several.
        examples: A first and a last range.
    """

    pattern: str
    name: str
    plural: str
    examples: str


_NAMES = _Kind(r"\w+(?:\+\w+)*", "name", "adversaries", "0-3:critic or 4-:critic")
_NUMBERS = _Kind(
    r"-?\d{0,99}\.?\d{1,99}(?:[eE]-?\d{1,3})?",
    "number",
    "numbers",
    "0-3:500 or 4-:100",
)


def read_schedule(text: str) -> list[tuple[int, str]]:
    """The first scale and the name of each adversary, in order.

    Raises:
        UsageError: if there is a scale without an adversary, or with two, or the
            text is not understood.
    """

    def checked(joined: str) -> str:
        names = joined.split("+")
        for name in names:
            if name not in ADVERSARIES:
                known = ", ".join(ADVERSARIES)
                raise UsageError(
                    f"--adversary={text} names {name}, which is not one of {known}."
                )
        if len(set(names)) < len(names):
            raise UsageError(
                f"--adversary={text} has {joined}, which names one adversary twice."
            )
        return joined

    return _read_ranges("adversary", text, _NAMES, checked)


def read_names(
    setting: str, text: str, choices: Sequence[str]
) -> list[tuple[int, str]]:
    """The first scale and the name of each range, in order.

    Args:
        setting: The name of what is given, for errors.
        text: A name for all scales, or names by scale.
        choices: The names that there are, at least two.

    Raises:
        UsageError: if there is a scale without a name, or with two, or the text is not
            understood.
    """

    def checked(name: str) -> str:
        if name not in choices:
            known = ", ".join(choices)
            raise UsageError(
                f"--{setting}={text} names {name}, which is not one of {known}."
            )
        return name

    plural = setting.replace("_", " ") + "s"
    examples = f"0-3:{choices[0]} or 4-:{choices[1]}"
    return _read_ranges(setting, text, _Kind(r"\w+", "name", plural, examples), checked)


def read_numbers(
    setting: str, value: Union[ByScale, RealByScale]
) -> list[tuple[int, float]]:
    """The first scale and the number of each range, in order.

    Args:
        setting: The name of what is given, for errors.
        value: One number, or a text of them by scale.

    Returns:
        As few ranges as say the same; a number is an int where it is written as one.

    Raises:
        UsageError: if there is a scale without a number, or with two, or the text is
            not understood.
    """
    if not isinstance(value, str):
        return [(0, value)]
    ranges: list[tuple[int, float]] = []
    for first, number in _read_ranges(setting, value, _NUMBERS, _number):
        if not ranges or number != ranges[-1][1]:
            ranges.append((first, number))
    return ranges


def write_numbers(ranges: list[tuple[int, float]]) -> Union[ByScale, RealByScale]:
    """Inverse of `read_numbers`: one number, or the one text for these ranges."""
    if len(ranges) == 1:
        return ranges[0][1]
    entries = []
    for (first, number), (following, _) in zip(ranges, ranges[1:]):
        last = following - 1
        scales = f"{first}" if last == first else f"{first}-{last}"
        entries.append(f"{scales}:{number}")
    first, number = ranges[-1]
    return ",".join([*entries, f"{first}-:{number}"])


def map_numbers(
    setting: str,
    value: Union[ByScale, RealByScale],
    change: Callable[[float], float],
) -> Union[ByScale, RealByScale]:
    """Changes every number of a value by scale.

    Args:
        setting: The name of what is given, for errors.
        value: One number, or a text of them by scale.
        change: Makes a number of a number.

    Raises:
        UsageError: as `read_numbers`.
    """
    ranges = read_numbers(setting, value)
    return write_numbers([(first, change(number)) for first, number in ranges])


def with_number(
    setting: str, value: ByScale, scale: int, number: int
) -> Union[ByScale, RealByScale]:
    """Gives a scale and those above it a number of their own.

    Args:
        setting: The name of what is given, for errors.
        value: One number, or a text of them by scale.
        scale: The first scale that has the number.
        number: It.

    Raises:
        UsageError: as `read_numbers`.
    """
    below = [each for each in read_numbers(setting, value) if each[0] < scale]
    return write_numbers([*below, (scale, number)])


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def value_at(ranges: list[tuple[int, T]], scale: int) -> T:
    """What a scale is given by ranges in order."""
    return next(value for first, value in reversed(ranges) if first <= scale)


def _read_ranges(
    setting: str, text: str, kind: _Kind, read: Callable[[str], T]
) -> list[tuple[int, T]]:
    """The first scale and the value of each range of a text, in order.

    Args:
        setting: The name of what is given.
        text: Values by scale, such as 0-3:critic,4-:frechet, or one for all.
        kind: What the values are.
        read: Makes a value of its text, or refuses it.

    Raises:
        UsageError: if there is a scale without a value, or with two, or the text is
            not understood.
    """

    def wrong(reason: str) -> UsageError:
        return UsageError(f"--{setting}={text} {reason}.")

    expected: float = 0
    ranges: list[tuple[int, float, T]] = []
    for entry in text.split(","):
        match = re.fullmatch(
            rf"\s*(?:(\d{{1,99}})(-?)(\d{{0,99}}):)?({kind.pattern})\s*", entry
        )
        if not match or (match[3] and not match[2]):
            raise wrong(
                f"has {entry.strip()!r}, which is neither a {kind.name} nor like "
                f"{kind.examples}"
            )
        value = read(match[4])
        first = int(match[1] or 0)
        open_ended = not match[1] or (match[2] and not match[3])
        last = math.inf if open_ended else int(match[3] or first)
        if last < first:
            raise wrong(f"has a range from {first} down to {last}")
        ranges.append((first, last, value))
    ranges.sort(key=lambda entry: entry[0])
    for first, last, _ in ranges:
        if first < expected:
            raise wrong(f"gives scale {first} to two {kind.plural}")
        if first > expected:
            raise wrong(f"gives scale {expected} to none")
        expected = last + 1
    if expected != math.inf:
        ending = f"{expected}-:{kind.name.upper()}"
        raise wrong(f"gives scale {expected} to none; end it with {ending}")
    return [(first, value) for first, _, value in ranges]
