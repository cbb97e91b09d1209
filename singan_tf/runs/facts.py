"""What a run folder remembers of its photographs, to know them again."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

# Photographs have fewer pixels, and TensorFlow counts no further.
_MOST_SIDE = 2**31


class Photograph(NamedTuple):
    """What a run folder remembers of its photograph.

    Attributes:
        name: File name.
        height: In pixels, as read.
        width: In pixels, as read.
        sha256: Of the file.
        inside_sha256: Of what of it counts, by `inside_sha256`; None where all does.
    """

    name: str
    height: int
    width: int
    sha256: str
    inside_sha256: Optional[str] = None


def inside_sha256(inside: Optional[np.ndarray]) -> Optional[str]:
    """What a run is known by that is trained on a part of its photograph.

    Args:
        inside: What counts, bool [H, W]; None for all.

    Returns:
        A hexadecimal SHA-256, None for all.
    """
    return None if inside is None else hashlib.sha256(inside.tobytes()).hexdigest()


def to_json(photograph: Photograph) -> dict[str, Any]:
    """What config.json keeps: without a mask, what it always did."""
    facts = photograph._asdict()
    if photograph.inside_sha256 is None:
        del facts["inside_sha256"]
    return facts


def from_json(data: dict[str, Any]) -> Photograph:
    """What `to_json` made the data of.

    Raises:
        TypeError: if it is something else.
    """
    photograph = Photograph(**data)
    sides = (photograph.height, photograph.width)
    texts = (photograph.name, photograph.sha256)
    if not all(type(side) is int and 0 < side < _MOST_SIDE for side in sides):
        raise TypeError("the sides of its image are no numbers of pixels")
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("the name or the checksum of its image is no text")
    if not isinstance(photograph.inside_sha256, (str, type(None))):
        raise TypeError("the checksum of what is inside its image is no text")
    return photograph


def changes(olds: Sequence[Photograph], news: Sequence[Photograph]) -> list[str]:
    """How a run's photographs, and what of them counts, have changed, in words.

    Args:
        olds: Those of the run that is there.
        news: Those that are given.

    Returns:
        One text for each change; none if they are the same.
    """
    if [each.sha256 for each in olds] != [each.sha256 for each in news]:
        old_names, names = (
            ", ".join(each.name for each in both) for both in (olds, news)
        )
        change = f"{old_names} -> {names}"
        if old_names == names:
            change = f"another one that is named {names}, too"
        return [f"photograph: {change}"]
    return [
        f"what is learned of {new.name}: {_part(old, new)}"
        for old, new in zip(olds, news)
        if old.inside_sha256 != new.inside_sha256
    ]


def _part(old: Photograph, new: Photograph) -> str:
    """How what counts of a photograph has changed, in words."""
    if old.inside_sha256 is None:
        return "all -> what is inside, or opaque (transparent=white learns all)"
    return f"a part -> {'all' if new.inside_sha256 is None else 'another part'}"
