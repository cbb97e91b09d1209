"""Image files to the samples that they hold, in as many bits as they have."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import pathlib
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from singan_tf import colour
from singan_tf.config import MAX_PIXELS
from singan_tf.errors import UserError, printable
from singan_tf.files import open_to_read

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH = 24  # where its byte is
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUBFILE, _BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 254, 258, 262, 274  # tags
_SUBFOLDERS, _ICC_PROFILE, _DNG = 330, 34675, 50706
_TIFF_COLOURS: dict[int, int] = {
    tifffile.PHOTOMETRIC.RGB: 3,
    tifffile.PHOTOMETRIC.MINISBLACK: 1,
}
_RAW = "a raw camera file"
_EXPORT = "save or export it as PNG or JPEG with a program that opens it"
# What begins the files of other kinds, and what helps.
_FOREIGN = [
    (rb".{4}ftypavi[fs]", "an AVIF image", _EXPORT),
    (rb".{4}ftyp(?:he[iv]|mif1|msf1)", "an HEIC image", _EXPORT),
    (rb".{4}ftypcrx |.{8}CR\x02|FUJIFILMCCD|II(?:RO|RS|U\0)|FOVb", _RAW, _EXPORT),
    (rb".{4}ftyp", "a film", "save one frame of it as PNG"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image", _EXPORT),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image", _EXPORT),
    (rb"8BPS", "a Photoshop file", _EXPORT),
    (rb"%PDF-", "a PDF document", "save the page or the picture in it as PNG"),
    (rb"\s*<(?:[?!].*<)?svg[\s/>]", "an SVG drawing", "export it as PNG"),
    (rb"\s*<(?:!doctype )?html", "a web page", "download the image itself"),
]
_MOST_BYTES = 8  # of a pixel
_HEAD = 2**10  # bytes in which they are looked for
_BLOCK = 2**20  # bytes read at a time

_log = logging.getLogger(__name__)
_libtiff = threading.Lock()


class Samples(NamedTuple):
    """An image as its file holds it.

    Attributes:
        values: [H, W, 1 to 4], of integers or floating-point numbers from 0 to
            `peak`: grey or RGB, then alpha if there are 2 or 4.
        peak: What is white, or opaque.
        orientation: By EXIF, 1 to 8: how to turn the image; others mean nothing.
        top: The highest value in a file of 16 bits; 0 of others.
    """

    values: np.ndarray
    peak: int
    orientation: int
    top: int = 0


def decode(path: pathlib.Path) -> Samples:
    """Reads the samples of an image file, colours in sRGB.

    Args:
        path: A PNG, JPEG, WebP, TIFF, BMP or GIF file; AVIF, if Pillow reads it. Of
            an animation or of several pages, the first is read.

    Raises:
        UserError: The file cannot be read as an image; the message says why.
        MemoryError: It needs more memory than there is.
    """
    with open_to_read(path) as file:
        try:
            # Pillow warns below MAX_PIXELS, and before errors told of here.
            with warnings.catch_warnings(), _quiet_loggers():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                warnings.simplefilter("ignore", UserWarning)
                return _decode(path, file)
        except (UserError, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise _too_large(path) from error
        except UnidentifiedImageError as error:
            raise UserError(
                f"{path} is not a readable PNG, JPEG, WebP, TIFF, BMP or GIF image; "
                "copy it again if it is cut short, otherwise convert it to PNG."
            ) from error
        except Exception as error:
            if isinstance(error, OSError) and error.strerror:
                raise UserError(
                    f"{path} cannot be read ({error.strerror}); copy it to another "
                    "place first."
                ) from error
            # Damaged data makes the decoders raise nearly anything.
            reason = printable(" ".join(str(error).split())) or type(error).__name__
            raise UserError(
                f"{path} cannot be decoded ({reason}); it may be cut short or "
                "damaged: copy it again, or convert it to PNG."
            ) from error


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def tell_used_bits(path: pathlib.Path, top: int) -> None:
    """Says of 16 bits that only the lower ones are used: scanners' 12 of 16 bits.

    They are not scaled: a photograph may be as dark as that.
    """
    bits = next((bits for bits in (8, 10, 12, 14) if top < 2**bits), 16)
    if not 0 < top or bits == 16:
        return
    factor = 2 ** (16 - bits)
    _log.info(
        "%s has 16 bits, but no value above %d, as files of %d bits have: it is read "
        "as it is, and dark. If it should be brighter, multiply its values by %d first "
        "(with ImageMagick: magick OLD -evaluate multiply %d NEW.png).",
        printable(path),
        top,
        bits,
        factor,
        factor,
    )


def _decode(path: pathlib.Path, file: BinaryIO) -> Samples:
    head = file.read(_HEAD)
    if not head:
        raise UserError(f"{path} is empty; copy or download it again.")
    _check_bytes(path, file, head)
    foreign = _foreign(path, head)
    # Some begin as a TIFF does, whose first page is a small preview.
    if foreign and _RAW in str(foreign):
        raise foreign
    if head.startswith(_PNG_MAGIC):
        _check_sums(path, file)
    file.seek(0)
    try:
        image = Image.open(file, formats=_formats())
    except UnidentifiedImageError:
        if foreign:
            raise foreign from None
        if head[:4] not in _TIFF_MAGICS:
            raise
        return _decode_tiff(path, file)
    _check_size(path, *image.size)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_raw(image):
        raise _refusal(path, _RAW, _EXPORT)
    if _needs_tifffile(image):
        return _decode_tiff(path, file)
    # They are not counted: that can take minutes.
    if getattr(image, "is_animated", False):
        _tell_frames(path)
    with _quiet_libtiff():
        image.load()
    # In load() Pillow has turned a TIFF, and no other format.
    turned = image.format == "TIFF"
    orientation = 1 if turned else image.getexif().get(_ORIENTATION, 1)
    if image.mode == "F" or image.mode.startswith("I"):
        return _decode_deep_grey(path, image, orientation)
    # Pillow keeps the upper 8 of 16 bits.
    cut = image.format == "PNG" and head[_PNG_DEPTH] == 16
    pixels = np.atleast_3d(np.asarray(_in_8_bits(path, image)))
    top = int(_colours(pixels).max()) if cut else 0
    return Samples(pixels, 255, orientation, top * 256 + 255 if top else 0)


def _in_8_bits(path: pathlib.Path, image: Image.Image) -> Image.Image:
    """In mode L, LA, RGB or RGBA, and in sRGB."""
    profile = image.info.get("icc_profile")
    if image.mode == "LA":
        mode = "LA"
    elif image.mode in ("PA", "RGBA", "RGBa") or "transparency" in image.info:
        mode = "RGBA"
    elif image.mode == "CMYK" and profile:
        image, mode = colour.to_srgb(path, image, profile), "RGB"
        profile = None
    else:
        mode = "L" if image.mode in ("1", "L") else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    return colour.to_srgb(path, image, profile) if profile else image


def _decode_deep_grey(
    path: pathlib.Path, image: Image.Image, orientation: int
) -> Samples:
    """Grey of more than 8 bits: Pillow's modes I, I;16... and F."""
    values, top = np.asarray(image), 0
    tags = getattr(image, "tag_v2", {})  # TIFF only
    if image.mode == "F":
        peak = 1
        _check_range(path, values)
    else:
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        peak = 2**bits - 1
        if bits == 16:
            top = int(values.max())
    if image.info.get("icc_profile"):
        colour.tell_unconverted(path, True, image.info["icc_profile"])
    grey = peak - values if tags.get(_PHOTOMETRIC) == 0 else values  # white is zero
    if "transparency" in image.info:
        alpha = np.where(values == image.info["transparency"], 0, peak)
        grey = np.stack([grey, alpha.astype(grey.dtype)], axis=-1)
    return Samples(np.atleast_3d(grey), peak, orientation, top)


def _decode_tiff(path: pathlib.Path, file: BinaryIO) -> Samples:
    """As _decode, for the kinds of TIFF that Pillow lacks."""
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        _check_size(path, page.imagewidth, page.imagelength)
        colours = _TIFF_COLOURS.get(page.photometric, 0)
        if (
            not colours
            or page.axes not in ("YX", "YXS", "SYX")
            or page.extrasamples not in ((), (tifffile.EXTRASAMPLE.UNASSALPHA,))
            or page.samplesperpixel != colours + len(page.extrasamples)
            or page.dtype not in ("u1", "u2", "f2", "f4", "f8")
        ):
            raise UserError(
                f"{path} is a kind of TIFF that is not supported; "
                "save it as PNG, or as TIFF with 8 or 16 bits in grey or RGB."
            )
        if tiff.pages.is_multipage:
            _tell_frames(path)
        values = page.asarray()
        orientation = int(page.tags.valueof(_ORIENTATION, default=1))
        profile = page.tags.valueof(_ICC_PROFILE)
    if page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    values = np.atleast_3d(values)
    if profile:
        colour.tell_unconverted(path, colours == 1, profile)
    if values.dtype.kind == "f":
        _check_range(path, values)
        return Samples(values, 1, orientation)
    peak = np.iinfo(values.dtype).max
    in_16_bits = page.dtype == "u2" and page.bitspersample == 16
    top = int(_colours(values).max()) if in_16_bits else 0
    return Samples(values, peak, orientation, top)


def _colours(values: np.ndarray) -> np.ndarray:
    """[H, W, 1 to 4] without alpha."""
    return values[..., : 1 if values.shape[-1] < 3 else 3]


def _formats() -> tuple[str, ...]:
    try:
        from PIL import AvifImagePlugin
    except ImportError:  # before Pillow 11.3
        return _FORMATS
    return (*_FORMATS, "AVIF") if AvifImagePlugin.SUPPORTED else _FORMATS


def _foreign(path: pathlib.Path, head: bytes) -> UserError | None:
    """What to say of a file of another kind, if it is one that is known."""
    for pattern, kind, advice in _FOREIGN:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return _refusal(path, kind, advice)
    return None


def _refusal(path: pathlib.Path, kind: str, advice: str) -> UserError:
    return UserError(f"{path} is {kind}, which cannot be read here; {advice}.")


def _is_raw(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether a TIFF is a camera's, its first page a preview of what lies below."""
    tags = image.tag_v2
    return _DNG in tags or (tags.get(_SUBFILE) == 1 and _SUBFOLDERS in tags)


def _needs_tifffile(image: Image.Image) -> bool:
    """Whether Pillow would cut or, in separate planes, garble the samples."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    if image.mode == "F" or image.mode.startswith("I;16"):
        return False
    return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8


def _check_sums(path: pathlib.Path, file: BinaryIO) -> None:
    """Refuses a PNG file with a wrong checksum, which Pillow does not look at.

    Of the chunks that an image needs; what is cut short is left to Pillow.
    """
    file.seek(len(_PNG_MAGIC))
    kind = b""
    while kind != b"IEND":
        start = file.read(8)
        if len(start) < 8 or not start[4:].isalpha():
            return
        length, kind = struct.unpack(">I4s", start)
        if not kind[:1].isupper():
            file.seek(length + 4, os.SEEK_CUR)
            continue
        found = zlib.crc32(kind)
        while length and (block := file.read(min(length, _BLOCK))):
            found = zlib.crc32(block, found)
            length -= len(block)
        wanted = file.read(4)
        if len(wanted) == 4 and wanted != struct.pack(">I", found):
            raise UserError(
                f"{path} is damaged (the checksum of its part {kind.decode()} is "
                "wrong); copy it again, or download it again."
            )


def _check_bytes(path: pathlib.Path, file: BinaryIO, head: bytes) -> None:
    """Refuses a file larger than any of its kind can be: some are read whole.

    A TIFF may hold any number of pages, of which one is read.
    """
    limit = _MOST_BYTES * MAX_PIXELS
    if head[:4] not in _TIFF_MAGICS and os.fstat(file.fileno()).st_size > limit:
        raise UserError(
            f"{path} has more than {limit // 10**6} megabytes; shrink it first."
        )


def _check_size(path: pathlib.Path, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise UserError(
            f"{path} is damaged (it says that it has {width}x{height} pixels); copy it "
            "again, or convert it to PNG."
        )
    if width * height > MAX_PIXELS:
        raise _too_large(path)


def _too_large(path: pathlib.Path) -> UserError:
    return UserError(f"{path} has more than {MAX_PIXELS:,} pixels; shrink it first.")


def _check_range(path: pathlib.Path, values: np.ndarray) -> None:
    low, high = values.min(), values.max()
    with np.errstate(over="ignore"):
        lowest, highest = np.float32(low), np.float32(high)
    # Negated so that NaN, which compares false, is refused too.
    if not (lowest >= 0 and highest <= 1):
        raise UserError(
            f"{path} holds floating-point values that are not all between 0 and 1 "
            f"(from {low:g} to {high:g}); scale them, or save as PNG."
        )


def _tell_frames(path: pathlib.Path) -> None:
    _log.info("%s holds several frames or pages; the first is used.", printable(path))


@contextlib.contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Keeps what the libraries log of damage from coming before what is said here."""
    thread = threading.get_ident()

    def is_of_another_thread(record: logging.LogRecord) -> bool:
        return record.thread != thread

    loggers = [logging.getLogger(name) for name in ("tifffile", "PIL.TiffImagePlugin")]
    for logger in loggers:
        logger.addFilter(is_of_another_thread)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_of_another_thread)


@contextlib.contextmanager
def _quiet_libtiff() -> Iterator[None]:
    """Keeps libtiff, in Pillow, from writing of damage to the standard error.

    Pillow has no way to ask for that. Where libtiff's own cannot be found, the lines
    stay: on Windows, and in builds of Pillow that have it inside.
    """
    library = ctypes.CDLL(Image.core.__file__)
    set_handler = getattr(library, "TIFFSetErrorHandler", None)
    if set_handler is None:
        yield
        return
    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    # There is one handler in the process: the first to come must put it back last.
    with _libtiff:
        before = set_handler(None)
        try:
            yield
        finally:
            set_handler(before)
