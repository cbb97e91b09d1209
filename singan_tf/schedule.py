"""Which adversary trains which scale: the names, and the text that says so by scale."""

import math
import re

from singan_tf.errors import UsageError

ADVERSARIES = (
    "critic",
    "frechet",
    "nearest_neighbor",
    "aligned_nearest_neighbor",
    "sliced_wasserstein",
)


def read_schedule(text: str) -> list[tuple[int, str]]:
    """The first scale and the name of each adversary, in order.

    Raises:
        UsageError: if there is a scale without an adversary, or with two, or the
            text is not understood.
    """

    def wrong(reason):
        return UsageError(f"--adversary={text} {reason}.")

    expected: float = 0
    ranges: list[tuple[int, float, str]] = []
    for entry in text.split(","):
        match = re.fullmatch(r"\s*(?:(\d+)(-?)(\d*):)?(\w+(?:\+\w+)*)\s*", entry)
        if not match or (match[3] and not match[2]):
            raise wrong(
                f"has {entry.strip()!r}, which is neither a name nor like "
                "0-3:critic or 4-:critic"
            )
        names = match[4].split("+")
        for name in names:
            if name not in ADVERSARIES:
                known = ", ".join(ADVERSARIES)
                raise wrong(f"names {name}, which is not one of {known}")
        if len(set(names)) < len(names):
            raise wrong(f"has {match[4]}, which names one adversary twice")
        first = int(match[1] or 0)
        open_ended = not match[1] or (match[2] and not match[3])
        last = math.inf if open_ended else int(match[3] or first)
        if last < first:
            raise wrong(f"has a range from {first} down to {last}")
        ranges.append((first, last, match[4]))
    ranges.sort(key=lambda entry: entry[0])
    for first, last, _ in ranges:
        if first < expected:
            raise wrong(f"gives scale {first} to two adversaries")
        if first > expected:
            raise wrong(f"gives scale {expected} to none")
        expected = last + 1
    if expected != math.inf:
        raise wrong(f"gives scale {expected} to none; end it with {expected}-:NAME")
    return [(first, name) for first, _, name in ranges]
