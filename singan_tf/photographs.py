"""A photograph to train on: its pixels, and which of them count."""

import logging
import os
import pathlib
from typing import NamedTuple, Optional, Union

import numpy as np

from singan_tf import images, inside, masks
from singan_tf.errors import UserError, printable

# Of files that are taken for images in a folder.
_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".avif",
)

# What becomes of the transparent parts of a photograph.
TRANSPARENT = ("outside", "white")
# More than half opaque is opaque.
_OPAQUE = 0.5

_log = logging.getLogger(__name__)

# A path of a mask, or bool [H, W].
Mask = Union[str, os.PathLike[str], np.ndarray]


class Pixels(NamedTuple):
    """What a run is trained on.

    Attributes:
        image: float32 [1, H, W, C] in [-1, 1]; what is outside is filled.
        inside: What counts, bool [H, W]; None where all does.
    """

    image: np.ndarray
    inside: Optional[np.ndarray]


def in_folder(folder: pathlib.Path, besides: str = "") -> list[pathlib.Path]:
    """The image files in a folder, by name; hidden ones are none.

    Args:
        folder: The folder.
        besides: The name of a file that is none of them.

    Raises:
        UserError: There is none.
    """
    paths = sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in _SUFFIXES
        and not file.name.startswith(".")
        and file.name != besides
        and file.is_file()
    )
    if not paths:
        raise UserError(
            f"The folder {folder} holds no image ({', '.join(_SUFFIXES)}); name one "
            "that does."
        )
    return paths


def read(
    path: pathlib.Path,
    channels: int,
    mask: Optional[Mask] = None,
    transparent: str = "outside",
) -> Pixels:
    """Reads a photograph, and checks that there is something in it to learn.

    Args:
        path: As for `images.read`.
        channels: Likewise.
        mask: What is inside it, of the photograph's size; None for all that is opaque.
        transparent: "outside", and transparent pixels do not count; or "white", and
            they lie on white.

    Raises:
        UserError: if a file cannot be read, the mask is empty or of another size,
            nothing is both inside and opaque, or all that is inside is of one colour.
    """
    if transparent == "white":
        image, alpha = images.read(path, channels), None
    else:
        image, alpha = images.read_layer(path, channels)
    counts = np.ones(image.shape[1:3], bool)
    if alpha is not None:
        counts = alpha > _OPAQUE
        if not counts.any():
            raise UserError(
                f"{path} is transparent everywhere, so nothing of it is to be learned; "
                "choose another photograph, or lay it on white (transparent=white)."
            )
    if mask is not None:
        counts &= _read_mask(mask, path, counts.shape)
        if not counts.any():
            raise UserError(
                f"Of {path} nothing that is opaque is inside the mask {_named(mask)}; "
                "invert the mask, or lay the photograph on white (transparent=white)."
            )
    if counts.all():
        images.check_photograph(path, image)
        return Pixels(image, None)
    images.check_photograph(path, image[:, counts][:, :, np.newaxis])
    _log.info(
        "%s: only what is inside is learned, %.3g%% of it.",
        printable(path),
        100 * counts.mean(),
    )
    return Pixels(inside.fill(image, counts), counts)


def _read_mask(mask: Mask, path: pathlib.Path, size: tuple[int, ...]) -> np.ndarray:
    """What is inside a mask of a photograph of that size, bool [H, W]."""
    if isinstance(mask, np.ndarray):
        read_mask = mask
    else:
        file = images.resolve(os.fspath(mask))
        levels, greys = masks.read(file, lambda text: _log.info("%s", printable(text)))
        read_mask = levels > 0.5
        if greys:
            _log.info("The greys of the mask %s were cut at half.", printable(file))
    if read_mask.shape != size:
        (height, width), (mask_height, mask_width) = size, read_mask.shape[:2]
        raise UserError(
            f"The mask {_named(mask)} is {mask_width}x{mask_height} pixels, but the "
            f"photograph {path} is {width}x{height}; make it as large."
        )
    return read_mask


def _named(mask: Mask) -> str:
    return "given" if isinstance(mask, np.ndarray) else os.fspath(mask)
