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
import re
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from singan_tf.config import MAX_PIXELS as MAX_PIXELS
from singan_tf.decoding import Samples, decode, tell_used_bits, upright
from singan_tf.errors import UserError, printable
from singan_tf.files import open_to_read, replacing

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
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601
_SUGGESTIONS = "hubble_deep_field, coffee, chelsea, astronaut, rocket, grass"
_MARGIN = 6
_LOSSLESS_PIXELS = 2**13
_BAND = 2**18  # pixels
_BLOCK = 2**20  # bytes
# Of the range from black to white.
_BLACK = 0.08
_FLAT = 0.005
_LOOKED_AT = 1024

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
    try:
        path.stat()
        return path
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pass
    except OSError as error:
        raise UserError(
            f"{path} cannot be opened ({error.strerror}); check the path and the "
            "permissions of its folders."
        ) from error
    folder = pathlib.Path(str(importlib.resources.files("skimage") / "data"))
    carried = {
        file.stem: file
        for file in folder.iterdir()
        if file.suffix in (".png", ".jpg", ".jpeg")
    }
    if name_or_path in carried:
        return carried[name_or_path]
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", name_or_path):
        raise UserError(
            f"{name_or_path} is an address; download the image and give its path."
        )
    if path.is_symlink():
        raise UserError(
            f"{path} is a link to {os.readlink(path)}, which does not exist; mend the "
            "link, or give the path of an image."
        )
    if "," in name_or_path and all(name_or_path.split(",")):
        raise UserError(
            f"There is no file {name_or_path}; one image is wanted here, not a list."
        )
    near = []
    # What looks like a path is not a photograph's name that was misspelt.
    if path.name == name_or_path:
        cutoff = 1 if path.suffix else 0.5
        near = difflib.get_close_matches(path.stem, carried, 1, cutoff)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UserError(
        f"There is no file {name_or_path}{hint}; give the path of an image, or the "
        f"name of a photograph in scikit-image such as {_SUGGESTIONS}."
    )


def read(path: str | os.PathLike[str], channels: int = 3) -> np.ndarray:
    """Reads an image file, upright, its transparent parts on white.

    Args:
        path: A PNG, JPEG, WebP, TIFF, BMP or GIF file; AVIF, if Pillow reads it. Of
            an animation or of several pages, the first is read. An embedded colour
            profile is converted to sRGB.
        channels: 3 for colour, 1 for grey (ITU-R 601 luma).

    Returns:
        float32 [1, H, W, channels] in [-1, 1].

    Raises:
        UserError: The file cannot be read as an image; the message says why.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels}")
    path = pathlib.Path(path)
    try:
        samples = decode(path)
        tell_used_bits(path, samples.top)
        _tell_transparency(path, samples)
        return _to_tensor(samples, channels)
    except MemoryError as error:
        raise _short_of_memory(path) from error


def read_layer(
    path: str | os.PathLike[str], channels: int = 3
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads an image file as `read` does, but its colours and its alpha apart.

    Args:
        path: As for `read`.
        channels: Likewise.

    Returns:
        The colours, float32 [1, H, W, channels] in [-1, 1], where the file is
        transparent those that it has there; and how opaque each pixel is, float32
        [H, W] in [0, 1], or None if all are wholly.

    Raises:
        UserError: As for `read`.
    """
    path = pathlib.Path(path)
    try:
        samples = decode(path)
        tell_used_bits(path, samples.top)
        values, peak, orientation, _ = samples
        opaque = values.shape[-1] in (1, 3) or values[..., -1].min() >= peak
        if opaque:
            return _to_tensor(samples, channels), None
        alpha = values[..., -1].astype(np.float32) / peak
        colours = samples._replace(values=values[..., :-1])
        return _to_tensor(colours, channels), upright(alpha, orientation)
    except MemoryError as error:
        raise _short_of_memory(path) from error


def read_channels(path: str | os.PathLike[str]) -> tuple[np.ndarray, bool]:
    """Reads an image file as it is stored, upright, for what is no picture: a mask.

    Args:
        path: As for `read`.

    Returns:
        float32 [H, W, 1 to 4] in [0, 1]: grey or colour, then alpha where the file
        has transparency; and whether the file was compressed with losses, so that
        levels next to each other mean the same.

    Raises:
        UserError: As for `read`.
    """
    path = pathlib.Path(path)
    try:
        values, peak, orientation, _ = decode(path)
        pixels = values.astype(np.float32) / peak
    except MemoryError as error:
        raise _short_of_memory(path) from error
    with open_to_read(path) as file:
        head = file.read(16)
    lossy = head[:2] == b"\xff\xd8" or (head[:4] == b"RIFF" and head[12:] != b"VP8L")
    return upright(pixels, orientation), lossy


def _short_of_memory(path: pathlib.Path) -> UserError:
    return UserError(f"{path} needs more memory than there is; shrink it first.")


def check_photograph(path: pathlib.Path, photograph: np.ndarray) -> None:
    """Looks whether there is something in a photograph that can be learnt.

    Says so in a line if that is little.

    Args:
        path: Its file.
        photograph: What `read` made of it.

    Raises:
        UserError: It is of one colour everywhere.
    """
    low, high = photograph.min(axis=(0, 1, 2)), photograph.max(axis=(0, 1, 2))
    level = ", ".join(map(str, to_uint8(high)))
    if np.array_equal(low, high):
        raise UserError(
            f"{path} is of one colour everywhere (its level: {level} of 255), so there "
            "is nothing in it to learn; choose another photograph."
        )
    if high.max() < 2 * _BLACK - 1:
        _log.info(
            "%s is nearly black: nothing in it is brighter than %s of 255; "
            "brighten it first if that is not meant.",
            printable(path),
            level,
        )
        return
    # Some of the pixels of a large one tell as much.
    step = math.ceil(max(photograph.shape) / _LOOKED_AT)
    if photograph[:, ::step, ::step].std(axis=(0, 1, 2)).max() < 2 * _FLAT:
        _log.info(
            "%s is nearly of one colour everywhere: there is little in it to learn.",
            printable(path),
        )


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Maps [-1, 1] to 0..255, clipping, halves rounded up."""
    return np.floor((np.clip(image, -1, 1) + 1) * 127.5 + 0.5).astype(np.uint8)


def write(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes an image file whole or not at all.

    Args:
        path: Where to; the suffix chooses the format, missing folders are made.
        image: [H, W, C] or [1, H, W, C], C 1 or 3 in [-1, 1], or 1, 3 or 4 in uint8.

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
        fps: Frames in a second; one of a GIF lasts a hundredth more or less.

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
        unit = 1 if suffix == ".webp" else 10  # Milliseconds: a GIF holds hundredths.
        ends = [unit * round(1000 / unit * n / fps) for n in range(len(pictures) + 1)]
        pictures[0].save(
            temporary,
            format=suffix[1:],
            save_all=True,
            append_images=pictures[1:],
            duration=[end - start for start, end in zip(ends, ends[1:])],
            loop=0,
            quality=90,
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
        # Without a name, the package would try out encoders.
        codec="libx264",
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
    if not path.exists():
        # The package does not ask what became of the encoder's process.
        raise UserError("The encoder of films failed; name a .webp file instead.")


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
    line = int(font.getbbox("Ag")[3]) + _MARGIN
    # Narrow images still leave room for a word.
    width = max(max_side // 2, *(image.width for image in thumbnails))
    height = max(image.height for image in thumbnails) + line
    rows = math.ceil(len(images) / columns)
    size = columns * (width + _MARGIN) + _MARGIN, rows * (height + _MARGIN) + _MARGIN
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
    found = hashlib.sha256()
    with open_to_read(pathlib.Path(path)) as file:
        try:
            while block := file.read(_BLOCK):
                found.update(block)
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); copy it to another place "
                "first."
            ) from error
    return found.hexdigest()


def _to_tensor(samples: Samples, channels: int) -> np.ndarray:
    """float32 [1, H, W, channels] in [-1, 1], upright."""
    values, peak, orientation, _ = samples
    height, width = values.shape[:2]
    if orientation in (5, 6, 7, 8):
        height, width = width, height
    tensor = np.empty((1, height, width, channels), np.float32)
    # Where they go, in the order in which they are stored.
    stored = upright(tensor[0], {6: 8, 8: 6}.get(orientation, orientation))
    # In bands, so that a large image needs little memory beside the result.
    step = max(1, _BAND // values.shape[1])
    for top in range(0, values.shape[0], step):
        band = slice(top, top + step)
        pixels = values[band].astype(np.float32) / peak
        pixels = _set_channels(on_white(pixels), channels)
        # Rounding may have left a value a hair above 1.
        stored[band] = np.clip(pixels * 2 - 1, -1, 1)
    return tensor


def _tell_transparency(path: pathlib.Path, samples: Samples) -> None:
    if samples.values.shape[-1] in (1, 3):
        return
    alpha = samples.values[..., -1]
    if alpha.min() < samples.peak:
        what = "transparent in parts; they are"
        if not alpha.any():
            what = "transparent everywhere; it is"
        _log.info("%s is %s shown on white.", printable(path), what)


def on_white(pixels: np.ndarray) -> np.ndarray:
    """Lays [H, W, 2 or 4] in [0, 1] on white, and drops the alpha channel."""
    if pixels.shape[-1] in (1, 3):
        return pixels
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    return colour * alpha + (1 - alpha)


def _set_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if channels == 1 and pixels.shape[-1] == 3:
        return (pixels @ _LUMA)[..., np.newaxis]
    return np.broadcast_to(pixels, (*pixels.shape[:2], channels))


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


def _cut(
    caption: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int
) -> str:
    text = " ".join(caption.split())
    shown = text
    while text and font.getlength(shown) > width:
        text = text[:-1]
        shown = text + "..."
    return shown
