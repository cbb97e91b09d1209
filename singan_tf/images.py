"""Image files to and from NumPy arrays: float32 [1, H, W, C] in [-1, 1]."""

from __future__ import annotations

import difflib
import hashlib
import importlib.resources
import io
import logging
import math
import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from singan_tf.errors import UserError
from singan_tf.files import replacing

MAX_PIXELS = 100_000_000

_READ_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
# No GIF: its 256 colours would spoil a result without a word.
_WRITE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # TIFF tags
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601
_SUGGESTIONS = "hubble_deep_field, coffee, chelsea, astronaut, rocket, grass"
_MARGIN = 6
_LOSSLESS_PIXELS = 2**13

_log = logging.getLogger(__name__)


def resolve(name_or_path: str) -> pathlib.Path:
    """Finds a file, or a photograph that scikit-image carries.

    Args:
        name_or_path: A path, or a bare name such as "coffee".

    Returns:
        The path of an existing file.

    Raises:
        UserError: There is neither such a file nor such a photograph.
    """
    path = pathlib.Path(name_or_path)
    if path.exists():
        return path
    folder = pathlib.Path(str(importlib.resources.files("skimage") / "data"))
    carried = {
        file.stem: file
        for file in folder.iterdir()
        if file.suffix in (".png", ".jpg", ".jpeg")
    }
    if name_or_path in carried:
        return carried[name_or_path]
    near = difflib.get_close_matches(path.stem, carried, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UserError(
        f"There is no file {name_or_path}{hint}; give the path of an image, or the "
        f"name of a photograph in scikit-image such as {_SUGGESTIONS}."
    )


def read(
    path: str | os.PathLike[str], channels: int = 3, background: str = "white"
) -> np.ndarray:
    """Reads an image file, upright, its transparent parts on a background.

    Args:
        path: A PNG, JPEG, WebP, TIFF, BMP or GIF file. Of an animation or of
            several pages, the first is read.
        channels: 3 for colour, 1 for grey (ITU-R 601 luma).
        background: "white" or "black".

    Returns:
        float32 [1, H, W, channels] in [-1, 1].

    Raises:
        UserError: The file cannot be read as an image; the message says why.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels}")
    path = pathlib.Path(path)
    with _open(path) as file:
        if not file.read(1):
            raise UserError(f"{path} is empty; copy or download it again.")
        file.seek(0)
        try:
            with warnings.catch_warnings():
                # Pillow warns below MAX_PIXELS, and before errors told of here.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                warnings.simplefilter("ignore", UserWarning)
                pixels, orientation = _decode(path, file)
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
            # Damaged data makes the decoders raise nearly anything.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{path} cannot be decoded ({reason}); it may be cut short or "
                "damaged: copy it again, or convert it to PNG."
            ) from error
    pixels = _set_channels(_without_alpha(path, pixels, background), channels)
    # Rounding may have left a value a hair above 1.
    return np.clip(_upright(pixels, orientation) * 2 - 1, -1, 1, order="C")[np.newaxis]


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Maps [-1, 1] to 0..255, clipping, halves rounded up."""
    return np.floor((np.clip(image, -1, 1) + 1) * 127.5 + 0.5).astype(np.uint8)


def write(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes an image file whole or not at all.

    Args:
        path: Where to; the suffix chooses the format, missing folders are made.
        image: [H, W, C] or [1, H, W, C] with C 1 or 3, uint8 or in [-1, 1].

    Raises:
        UserError: The suffix is not one of an image, or the file cannot be
            written.
    """
    path = pathlib.Path(path)
    kind = _WRITE_FORMATS.get(path.suffix.lower())
    if kind is None:
        raise UserError(
            f"{path} does not end in the name of an image format; "
            f"use one of {', '.join(_WRITE_FORMATS)}."
        )
    picture = _to_pillow(image)
    options = {"quality": 90} if kind == "JPEG" else {}
    with replacing(path) as temporary, temporary.open("wb") as file:
        picture.save(file, format=kind, **options)


def encode(image: np.ndarray, max_side: int) -> tuple[bytes, tuple[int, int]]:
    """A small WebP file in memory, for a page.

    Args:
        image: As for `write`.
        max_side: A larger image is shrunk to it.

    Returns:
        The file's bytes, and (width, height) of what is in it.
    """
    picture = _to_pillow(image).convert("RGB")
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    # Enlarged, small images would show what compression does to colours.
    small = picture.width * picture.height <= _LOSSLESS_PIXELS
    picture.save(file, format="WEBP", lossless=small, quality=90)
    return file.getvalue(), picture.size


def write_animation(
    path: str | os.PathLike[str], frames: Sequence[np.ndarray], fps: float
) -> None:
    """Writes an animation that repeats for ever, whole or not at all.

    Args:
        path: Where to; the suffix chooses the format: .webp, .gif (256 colours a
            frame) or .mp4, which needs the package imageio-ffmpeg.
        frames: At least one; each [H, W, C] or [1, H, W, C] with C 1 or 3, uint8
            or in [-1, 1], all of one size.
        fps: Frames in a second; GIF and WebP round a frame to milliseconds.

    Raises:
        UserError: The suffix is another one, or the file cannot be written.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".webp", ".gif", ".mp4"):
        raise UserError(f"{path} does not end in .webp, .gif or .mp4; rename it.")
    pictures = [_to_pillow(frame).convert("RGB") for frame in frames]
    with replacing(path) as temporary:
        if suffix == ".mp4":
            _write_mp4(temporary, pictures, fps)
            return
        options = {"quality": 90} if suffix == ".webp" else {}
        pictures[0].save(
            temporary,
            format=suffix[1:],
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 / fps),
            loop=0,
            **options,
        )


def can_write_films() -> bool:
    """Whether `write_animation` can write .mp4: imageio-ffmpeg and its encoder."""
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return False
    return True


def _write_mp4(path: pathlib.Path, pictures: Sequence[Image.Image], fps: float) -> None:
    import imageio_ffmpeg

    encoder = imageio_ffmpeg.write_frames(
        str(path),
        pictures[0].size,
        fps=fps,
        # Players want even sides; left to itself, the package makes them multiples
        # of 16.
        macro_block_size=1,
        ffmpeg_log_level="error",
        output_params=["-vf", "scale=ceil(iw/2)*2:ceil(ih/2)*2", "-f", "mp4"],
    )
    encoder.send(None)
    try:
        for picture in pictures:
            encoder.send(picture.tobytes())
    finally:
        encoder.close()


def contact_sheet(
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    columns: int = 0,
    max_side: int = 256,
) -> np.ndarray:
    """Lays images out in a captioned grid on white.

    Args:
        images: Each [H, W, C] or [1, H, W, C] with C 1 or 3, uint8 or in
            [-1, 1]; sizes may differ.
        captions: One for each image, cut to the width of its cell.
        columns: Images in a row; 0 for a roughly square grid.
        max_side: Larger images are shrunk to it; those below half of it are
            enlarged by a whole factor, their pixels left square.

    Returns:
        uint8 [H, W, 3].
    """
    if not images or len(images) != len(captions):
        raise ValueError(f"{len(images)} images with {len(captions)} captions")
    columns = min(columns or math.ceil(math.sqrt(len(images))), len(images))
    pictures = [_to_pillow(image) for image in images]
    largest = max(max(picture.size) for picture in pictures)
    # Small images are enlarged to about the size of the largest that is not.
    side = min(max_side, largest) if largest >= max_side / 2 else max_side
    thumbnails = [_thumbnail(picture, side) for picture in pictures]
    font = ImageFont.load_default()
    line = font.getbbox("Ag")[3] + _MARGIN
    # Narrow images still leave room for a word.
    width = max(max_side // 2, *(image.width for image in thumbnails))
    height = max(image.height for image in thumbnails) + line
    rows = math.ceil(len(images) / columns)
    size = (
        columns * (width + _MARGIN) + _MARGIN,
        rows * (height + _MARGIN) + _MARGIN,
    )
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for index, (image, caption) in enumerate(zip(thumbnails, captions)):
        row, column = divmod(index, columns)
        left = _MARGIN + column * (width + _MARGIN)
        top = _MARGIN + row * (height + _MARGIN)
        sheet.paste(image, (left, top))
        text = _cut(caption, font, width)
        draw.text((left, top + image.height + 2), text, fill="black", font=font)
    return np.array(sheet)


def thumbnail(image: np.ndarray, max_side: int = 256) -> np.ndarray:
    """An image as a contact sheet shows it, to be kept in its place.

    Args:
        image: As `contact_sheet` takes it.
        max_side: Likewise; smaller images stay as they are.

    Returns:
        uint8 [h, w, 3], or the image itself if it is no larger.
    """
    picture = _to_pillow(image)
    if max(picture.size) <= max_side:
        return image
    return np.asarray(_thumbnail(picture, max_side))


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with _open(pathlib.Path(path)) as file:
        return hashlib.sha256(file.read()).hexdigest()


def _open(path: pathlib.Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        advice = {
            IsADirectoryError: "give the path of one image in it",
            PermissionError: "change its permissions (chmod +r) or copy it",
        }.get(type(error), "check the path and the working folder")
        raise UserError(
            f"{path} cannot be opened ({error.strerror}); {advice}."
        ) from error


def _decode(path: pathlib.Path, file: BinaryIO) -> tuple[np.ndarray, int]:
    """float32 [H, W, 1 to 4] in [0, 1], alpha last, and the EXIF orientation."""
    try:
        image = Image.open(file, formats=_READ_FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
        if file.read(4) not in _TIFF_MAGICS:
            raise
        return _decode_tiff(path, file)
    _check_size(path, *image.size)
    if _needs_tifffile(image):
        return _decode_tiff(path, file)
    _tell_frames(path, getattr(image, "n_frames", 1))
    image.load()
    if image.mode == "F" or image.mode.startswith("I"):
        pixels = _decode_deep_grey(path, image)
    else:
        alpha = image.mode in ("LA", "PA", "RGBA", "RGBa")
        if alpha or "transparency" in image.info:
            mode = "RGBA"
        else:
            mode = "L" if image.mode in ("1", "L") else "RGB"
        pixels = np.asarray(image.convert(mode), np.float32) / 255
    # In load() Pillow has turned a TIFF, and no other format.
    turned = image.format == "TIFF"
    orientation = 1 if turned else image.getexif().get(_ORIENTATION, 1)
    return np.atleast_3d(pixels), orientation


def _needs_tifffile(image: Image.Image) -> bool:
    """Whether Pillow would cut or, in separate planes, garble the samples."""
    if image.format != "TIFF" or image.mode == "F" or image.mode.startswith("I;16"):
        return False
    return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8


def _decode_deep_grey(path: pathlib.Path, image: Image.Image) -> np.ndarray:
    """Grey of more than 8 bits: Pillow's modes I, I;16... and F."""
    values = np.asarray(image, np.float32)
    tags = getattr(image, "tag_v2", {})  # TIFF only
    if image.mode == "F":
        pixels = _check_range(path, values)
    else:
        pixels = values / (2 ** tags.get(_BITS_PER_SAMPLE, (16,))[0] - 1)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero
        pixels = 1 - pixels
    if "transparency" not in image.info:
        return pixels
    return np.stack([pixels, values != image.info["transparency"]], axis=-1)


def _decode_tiff(path: pathlib.Path, file: BinaryIO) -> tuple[np.ndarray, int]:
    """As _decode, for the kinds of TIFF that Pillow lacks."""
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        _check_size(path, page.imagewidth, page.imagelength)
        colours = {"RGB": 3, "MINISBLACK": 1}.get(page.photometric.name, 0)
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
        _tell_frames(path, len(tiff.pages))
        pixels = page.asarray()
        orientation = page.tags.valueof(_ORIENTATION, default=1)
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.dtype.kind == "f":
        pixels = _check_range(path, pixels.astype(np.float32))
    else:
        pixels = pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
    return np.atleast_3d(pixels), int(orientation)


def _check_size(path: pathlib.Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(path)


def _too_large(path: pathlib.Path) -> UserError:
    return UserError(f"{path} has more than {MAX_PIXELS:,} pixels; shrink it first.")


def _check_range(path: pathlib.Path, values: np.ndarray) -> np.ndarray:
    # Negated so that NaN, which compares false, is refused too.
    if not (values.min() >= 0 and values.max() <= 1):
        raise UserError(
            f"{path} holds floating-point values that are not all between 0 and 1 "
            f"(from {values.min():g} to {values.max():g}); scale them, or save as PNG."
        )
    return values


def _tell_frames(path: pathlib.Path, count: int) -> None:
    if count > 1:
        _log.info("%s holds %d frames or pages; the first is used.", path, count)


def _without_alpha(
    path: pathlib.Path, pixels: np.ndarray, background: str
) -> np.ndarray:
    """Lays [H, W, 2 or 4] on white or black, and drops the alpha channel."""
    if pixels.shape[-1] in (1, 3):
        return pixels
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    if alpha.min() < 1:
        _log.info("%s is transparent in parts; they are shown on %s.", path, background)
    return colour * alpha + (1 - alpha) * (background == "white")


def _set_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if channels == 1 and pixels.shape[-1] == 3:
        return (pixels @ _LUMA)[..., np.newaxis]
    return np.broadcast_to(pixels, (*pixels.shape[:2], channels))


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _to_pillow(image: np.ndarray) -> Image.Image:
    pixels = image if image.dtype == np.uint8 else to_uint8(image)
    if pixels.ndim == 4:
        pixels = pixels.squeeze(0)
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)


def _thumbnail(image: Image.Image, max_side: int) -> Image.Image:
    side = max(image.size)
    scale, method = 1.0, Image.Resampling.LANCZOS
    if side > max_side:
        scale = max_side / side
    elif side < max_side / 2:
        scale, method = max_side // side, Image.Resampling.NEAREST
    size = [max(1, round(length * scale)) for length in image.size]
    return image.convert("RGB").resize(size, method)


def _cut(caption: str, font: ImageFont.ImageFont, width: int) -> str:
    text = " ".join(caption.split())
    shown = text
    while text and font.getlength(shown) > width:
        text = text[:-1]
        shown = text + "..."
    return shown
