"""Masks, as people's tools leave them: which pixels of a file are inside."""

import pathlib
from typing import Callable, NamedTuple

import numpy as np

from singan_tf import images
from singan_tf.errors import UserError

# Takes a sentence that a person should read.
Note = Callable[[str], None]

# What JPEG leaves beside black and white, of a mask's full range.
_MASK_NOISE = 16 / 255
# The highest number of a class in a mask; more than that is a brightness.
_HIGHEST_CLASS = 63
# The most colours of a mask that stand for classes, as in a palette.
_MOST_CLASSES = 256


class Mask(NamedTuple):
    """A mask's file.

    Attributes:
        levels: How much each pixel is inside, float32 [H, W] in [0, 1], 1 somewhere.
        greys: Whether there is something between in and out.
    """

    levels: np.ndarray
    greys: bool


def read(path: pathlib.Path, note: Note) -> Mask:
    """Reads a mask as people's tools leave them.

    Where a file has transparency, what is painted is inside, whatever its colour;
    otherwise what is bright in any channel. The brightest level of the file counts as
    1, so a mask of 0 and 1 is as good as one of 0 and 255. In a mask of classes, small
    whole numbers or a palette's colours, all but black is inside.

    Args:
        path: Any image.
        note: Takes sentences about how the file was taken.

    Raises:
        UserError: if it cannot be read, or is empty.
    """
    pixels, lossy = images.read_channels(path)
    levels, void = _levels(path, pixels, lossy, note)
    brightest = float(levels.max())
    _refuse_empty(path, brightest, void, lossy)
    mask = levels / np.float32(brightest)
    tolerance = _MASK_NOISE if lossy else 0
    if brightest < 1 - tolerance:
        note(
            f"The brightest level of the mask {path.name}, {100 * brightest:.4g}% of "
            "what its format holds, counts as 100%."
        )
    greys = bool(((mask > tolerance) & (mask < 1 - tolerance)).any())
    return Mask(mask, greys)


def _levels(
    path: pathlib.Path, pixels: np.ndarray, lossy: bool, note: Note
) -> tuple[np.ndarray, str]:
    """How much each pixel of a mask's file is inside, and what outside is called.

    Args:
        path: The file, for notes.
        pixels: float32 [H, W, 1 to 4] in [0, 1], alpha last.
        lossy: Whether the file's format loses levels.
        note: Takes sentences.

    Returns:
        float32 [H, W] in [0, 1], and what is all 0 there, such as "black".
    """
    has_alpha = pixels.shape[-1] in (2, 4)
    colour = pixels[..., :-1] if has_alpha else pixels
    levels, void = colour.max(axis=-1), "black"
    if has_alpha and (pixels[..., -1] == 0).all():
        levels, void = pixels[..., -1], "transparent"
    elif has_alpha and np.ptp(pixels[..., -1]) > 0:
        levels, void = pixels[..., -1], "transparent"
        note(
            f"The mask {path.name} is transparent in parts: what is painted on it is "
            "inside, whatever its colour."
        )
    elif not lossy and _holds_classes(colour):
        levels = (levels > 0).astype(np.float32)
        note(
            f"The mask {path.name} holds several classes: all but black (0) is inside."
        )
    return levels, void


def _refuse_empty(path: pathlib.Path, brightest: float, void: str, lossy: bool) -> None:
    """Raises a `UserError` if nothing is inside a mask of this brightest level."""
    if brightest == 0 or (lossy and brightest < _MASK_NOISE):
        found = f"all of it is {void}"
        if brightest > 0:
            found = (
                f"its brightest level is {255 * brightest:.0f} of 255, which is what "
                "compression leaves of black"
            )
        raise UserError(
            f"The mask {path} is empty: {found}. A mask is bright inside and "
            "black elsewhere, or painted on a transparent layer."
        )


def _holds_classes(colour: np.ndarray) -> bool:
    """Whether the colours of a mask name things, rather than tell how much is inside.

    Args:
        colour: float32 [H, W, 1 or 3] in [0, 1], without losses.
    """
    levels = np.unique(colour.max(axis=-1))
    levels = levels[levels > 0].astype(np.float64)
    # The highest level is a border's, not a class's, as in PASCAL VOC.
    classes = levels[levels < 1]
    for depth in (8, 16, 32) if len(levels) > 1 else ():
        numbers = classes * (2**depth - 1)
        whole = np.allclose(numbers, np.rint(numbers), rtol=0, atol=1e-3)
        if whole and numbers.max() <= _HIGHEST_CLASS:
            return True
    if colour.shape[-1] == 1:
        return False
    codes = np.rint(colour * 255).astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    codes = np.unique(codes)
    if len(codes) > _MOST_CLASSES:
        return False
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    # Shades of one colour are a brush's; several colours are several things.
    brightness = colours.max(axis=1)
    shades = np.outer(
        brightness, colours[brightness.argmax()] / max(brightness.max(), 1)
    )
    return bool((np.abs(colours - shades) > 2.5).any())
