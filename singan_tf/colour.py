"""Embedded colour profiles: to sRGB, which everything else takes colours to be."""

from __future__ import annotations

import io
import logging
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from singan_tf.errors import printable

# The modes that each kind of profile is for. A grey image may have one for RGB.
_MODES = {
    "GRAY": ("L", "LA"),
    "RGB": ("L", "LA", "RGB", "RGBA"),
    "CMYK": ("CMYK",),
}
# Levels of 255. Makers' profiles of sRGB differ by rounding.
_TOLERANCE = 2
_NAME_LENGTH = 60
_BLACK_POINT_COMPENSATION = 0x2000  # LittleCMS's; in ImageCms since Pillow 10.3

_log = logging.getLogger(__name__)


class _Conversion(NamedTuple):
    transform: ImageCms.ImageCmsTransform
    mode: str
    name: str


def to_srgb(path: pathlib.Path, image: Image.Image, profile: bytes) -> Image.Image:
    """Converts the colours of an image to sRGB, and says so.

    A profile that is sRGB itself changes nothing; one that cannot be used is left
    out, with a line.

    Args:
        path: The image's file, for what is said.
        image: Of mode L, LA, RGB, RGBA or CMYK; may be changed.
        profile: The ICC profile that the file holds.

    Returns:
        The image itself, or one of mode RGB or RGBA.
    """
    conversion = _find_conversion(path, image.mode, profile)
    if conversion is None:
        return image
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    if image.mode != conversion.mode:
        image = image.convert(conversion.mode)
    # In place where it can be: an image of 100 megapixels takes 400 MB.
    in_place = image.mode == "RGB"
    image = ImageCms.applyTransform(image, conversion.transform, in_place) or image
    if alpha is not None:
        image.putalpha(alpha)
    _log.info(
        "%s: its colours were converted from %s to sRGB.",
        printable(path),
        conversion.name,
    )
    return image


def tell_unconverted(path: pathlib.Path, grey: bool, profile: bytes) -> None:
    """Says of an image of more than 8 bits that its profile is not applied.

    Args:
        path: The image's file.
        grey: Whether it is grey, rather than of RGB.
        profile: The ICC profile that the file holds.
    """
    conversion = _find_conversion(path, "L" if grey else "RGB", profile)
    if conversion is not None:
        _log.info(
            "%s: its colours are taken for sRGB, but are %s: that is converted in "
            "files of 8 bits only; convert it to sRGB, or save it with 8 bits.",
            printable(path),
            conversion.name,
        )


def _find_conversion(
    path: pathlib.Path, mode: str, profile: bytes
) -> _Conversion | None:
    """How to convert an image of a mode, or None if there is nothing to do."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if mode not in _MODES.get(space, ()):
            raise ValueError(f"it is for {space}")
        entered = {"GRAY": "L", "CMYK": "CMYK"}.get(space, "RGB")
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            entered,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            _BLACK_POINT_COMPENSATION,
        )
        name = printable((source.profile.profile_description or "").strip())
    # ImportError: Pillow was built without LittleCMS.
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, ImportError) as error:
        reason = printable(" ".join(str(error).split()))
        _log.info(
            "%s: its colour profile cannot be used (%s); its colours are taken for "
            "sRGB.",
            printable(path),
            reason or type(error).__name__,
        )
        return None
    if entered != "CMYK" and _changes_nothing(transform, entered, mode in ("L", "LA")):
        return None
    return _Conversion(transform, entered, name[:_NAME_LENGTH] or "those of a profile")


def _changes_nothing(
    transform: ImageCms.ImageCmsTransform, mode: str, grey: bool
) -> bool:
    """Tries a transform on colours of all kinds: names of profiles tell nothing."""
    if grey:
        colours = np.repeat(np.arange(256, dtype=np.uint8)[np.newaxis, :, None], 3, 2)
    else:
        steps = np.linspace(0, 255, 18).astype(np.uint8)
        colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    tried = Image.fromarray(colours).convert(mode)
    found = np.asarray(ImageCms.applyTransform(tried, transform), np.int16)
    return np.abs(found - colours).max() <= _TOLERANCE
