import functools
import hashlib
import logging
import os
import pathlib
import struct
import tracemalloc

import helpers
import numpy as np
import pytest
import tifffile
from PIL import Image
from png_files import SIGNATURE, chunk, png

from singan_tf import decoding, images
from singan_tf.errors import UserError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
ALPHA = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
SMOOTH = np.stack(np.mgrid[0:128:8, 0:128:8].tolist() + [np.full((16, 16), 90)], -1)
SMOOTH = SMOOTH.astype(np.uint8)


def unit(array):
    """The expected tensor of an [H, W] or [H, W, 3] array in [0, 1]."""
    array = np.asarray(array, np.float64)
    array = np.repeat(array[..., None], 3, -1) if array.ndim == 2 else array
    return array[None] * 2 - 1


def on_white(colour, alpha):
    alpha = alpha[..., None] / 255 if colour.ndim == 3 else alpha / 255
    return colour / 255 * alpha + 1 - alpha


def check(path, expected, tolerance=1e-6):
    """Reads path, compares in [-1, 1], and returns what was read."""
    actual = images.read(path)
    assert actual.dtype == np.float32 and actual.flags.c_contiguous
    assert actual.min() >= -1 and actual.max() <= 1
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)
    return actual


refuse = functools.partial(helpers.refuse, images.read)


def tiff(width, height, bits, photometric, data):
    """A single-strip little-endian grey TIFF."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric}
    tags |= {273: 8, 277: 1, 278: height, 279: len(data)}
    data += b"\0" * (len(data) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in tags.items())
    start = struct.pack("<4sI", b"II*\0", 8 + len(data))
    return start + data + struct.pack("<H", len(tags)) + entries + b"\0" * 4


# --- formats and modes


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff"])
def test_lossless_formats(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(COLOUR).save(path)
    check(path, unit(COLOUR / 255))


@pytest.mark.parametrize(
    "suffix, options",
    [("jpg", {"quality": 95}), ("webp", {"quality": 95}), ("gif", {})],
)
def test_lossy_formats(tmp_path, suffix, options):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(SMOOTH).save(path, **options)
    actual = images.read(path)
    assert np.abs(actual - unit(SMOOTH / 255)).mean() < 0.05


def test_webp_lossless(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.webp", lossless=True)
    check(tmp_path / "a.webp", unit(COLOUR / 255))


def test_content_counts_not_suffix(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", format="PNG")
    check(tmp_path / "a.jpg", unit(COLOUR / 255))


def test_grey(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    check(str(tmp_path / "a.png"), unit(GREY / 255))


def test_one_bit(tmp_path):
    bits = GREY > 127
    Image.fromarray(bits).save(tmp_path / "a.png")
    check(tmp_path / "a.png", unit(bits))


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_palette(tmp_path, suffix, caplog):
    caplog.set_level(logging.INFO)
    palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    indices = GREY % 200
    image = Image.fromarray(indices, "L")
    image.putpalette(palette.tobytes())
    image.save(tmp_path / f"a.{suffix}")
    check(tmp_path / f"a.{suffix}", unit(palette[indices] / 255))
    assert not caplog.records


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_with_transparency(tmp_path, suffix, caplog):
    caplog.set_level(logging.INFO)
    palette = RNG.integers(0, 255, (4, 3), dtype=np.uint8)
    indices = GREY % 4
    image = Image.fromarray(indices, "L")
    image.putpalette(palette.tobytes())
    path = tmp_path / f"a.{suffix}"
    image.save(path, transparency=2)
    palette[2] = 255
    check(path, unit(palette[indices] / 255))
    assert [str(path) in r.getMessage() for r in caplog.records] == [True]


def test_palette_with_partial_transparency(tmp_path):
    palette = RNG.integers(0, 256, (4, 3), dtype=np.uint8)
    alphas = np.array([0, 100, 200, 255], np.uint8)
    indices = GREY % 4
    image = Image.fromarray(indices, "L")
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "a.png", transparency=alphas.tobytes())
    check(tmp_path / "a.png", unit(on_white(palette[indices], alphas[indices])))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("colour", [COLOUR, GREY], ids=["RGBA", "LA"])
def test_alpha_on_white(tmp_path, suffix, colour, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    Image.fromarray(np.dstack([colour, ALPHA])).save(path, **options)
    check(path, unit(on_white(colour, ALPHA)))
    (record,) = caplog.records
    assert record.levelno == logging.INFO and record.name == "singan_tf.images"
    assert str(path) in record.getMessage() and "white" in record.getMessage()


def test_opaque_alpha_needs_no_notice(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    opaque = np.dstack([COLOUR, np.full_like(ALPHA, 255)])
    Image.fromarray(opaque).save(tmp_path / "a.png")
    check(tmp_path / "a.png", unit(COLOUR / 255))
    assert not caplog.records


def test_transparent_key_colour(tmp_path):
    key = tuple(int(v) for v in COLOUR[2, 3])
    Image.fromarray(COLOUR).save(tmp_path / "a.png", transparency=key)
    expected = COLOUR / 255
    expected[2, 3] = 1
    check(tmp_path / "a.png", unit(expected))


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk(tmp_path, suffix):
    flat = [(0, 0, 0, 0), (255, 0, 0, 0), (10, 200, 90, 40), (0, 0, 0, 255)]
    cmyk = np.repeat(np.array(flat, np.uint8).reshape(2, 2, 4), 16, 0).repeat(16, 1)
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    Image.frombytes("CMYK", (32, 32), cmyk.tobytes()).save(
        tmp_path / f"a.{suffix}", **options
    )
    ink = cmyk / 255
    expected = (1 - ink[..., :3]) * (1 - ink[..., 3:])
    check(tmp_path / f"a.{suffix}", unit(expected), tolerance=2 * 2 / 255)


def test_grey_16_bit_png_is_exact(tmp_path):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP[..., 0])
    (tmp_path / "a.png").write_bytes(png(9, 6, 16, 0, rows))
    check(tmp_path / "a.png", unit(DEEP[..., 0] / 65535))


def test_grey_16_bit_png_with_transparency(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rows = b"\0" + struct.pack(">HHH", 1000, 40000, 65535)
    key = chunk(b"tRNS", struct.pack(">H", 1000))
    (tmp_path / "a.png").write_bytes(png(3, 1, 16, 0, rows, key))
    check(tmp_path / "a.png", unit(np.array([[1, 40000 / 65535, 1]])))
    assert len(caplog.records) == 1


def test_rgb_16_bit_png(tmp_path):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP)
    (tmp_path / "a.png").write_bytes(png(9, 6, 16, 2, rows))
    check(tmp_path / "a.png", unit(DEEP / 65535), tolerance=2 / 255)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_grey_16_bit_tiff_is_exact(tmp_path, byteorder):
    tifffile.imwrite(tmp_path / "a.tif", DEEP[..., 0], byteorder=byteorder)
    check(tmp_path / "a.tif", unit(DEEP[..., 0] / 65535))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_tiff(tmp_path, dtype):
    values = DEEP[..., 0].astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    check(tmp_path / "a.tif", unit(1 - values / np.iinfo(dtype).max))


def test_12_bit_tiff(tmp_path):
    packed = bytes([0xFF, 0xF8, 0x00])  # 4095 and 2048
    (tmp_path / "a.tif").write_bytes(tiff(2, 1, 12, 1, packed))
    check(tmp_path / "a.tif", unit(np.array([[1, 2048 / 4095]])))


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    "values, peak",
    [
        (COLOUR, 255),
        (DEEP, 65535),
        ((DEEP / 65535).astype(np.float16), 1),
        ((DEEP / 65535).astype(np.float32), 1),
    ],
    ids=["8", "16", "half", "float"],
)
def test_rgb_tiff_is_exact(tmp_path, values, peak, compression, planar):
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(values, -1, 0) if planar else values,
        photometric="rgb",
        planarconfig="separate" if planar else "contig",
        compression=compression,
    )
    check(tmp_path / "a.tif", unit(values.astype(np.float64) / peak))


@pytest.mark.parametrize("channels", [2, 4])
def test_16_bit_tiff_with_alpha(tmp_path, channels, caplog):
    caplog.set_level(logging.INFO)
    values = RNG.integers(0, 65536, (6, 9, channels), dtype=np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        photometric="rgb" if channels == 4 else "minisblack",
        planarconfig="contig",
        extrasamples=["unassalpha"],
    )
    colour, alpha = values[..., :-1] / 65535, values[..., -1:] / 65535
    expected = np.broadcast_to(colour * alpha + 1 - alpha, (6, 9, 3))
    check(tmp_path / "a.tif", unit(expected))
    assert "white" in caplog.text


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_tiff(tmp_path, dtype):
    values = RNG.random((6, 9)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    check(tmp_path / "a.tif", unit(values))


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "rgb"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.5, 200])
def test_float_tiff_out_of_range(tmp_path, value, colour):
    values = np.full((6, 9, 3) if colour else (6, 9), 0.5, np.float32)
    values[2, 3] = value
    tifffile.imwrite(tmp_path / "a.tif", values)
    refuse(tmp_path / "a.tif", "between 0 and 1")


@pytest.mark.parametrize(
    "values, options",
    [
        (DEEP[..., 0].astype(np.int32), {}),
        (DEEP[..., 0].astype(np.int16), {}),
        (DEEP[..., 0].astype(np.uint32), {}),
        (DEEP.astype(np.uint32), {"photometric": "rgb"}),
        (
            np.dstack([DEEP, DEEP[..., 0]]),
            {"photometric": "rgb", "extrasamples": ["assocalpha"]},
        ),
        (np.dstack([DEEP, DEEP[..., 0]]), {"photometric": "separated"}),
    ],
    ids=["int32", "int16", "uint32", "rgb32", "premultiplied", "cmyk16"],
)
def test_unsupported_tiff(tmp_path, values, options):
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    refuse(tmp_path / "a.tif", "not supported")


def test_a_tiff_of_a_colour_space_without_a_name(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(4, 4, 16, 777, b"\x80" * 32))
    refuse(tmp_path / "a.tif", "not supported")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "deep.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation):
    # What the viewer shall see, and what has to be stored for it to be seen.
    shown = np.repeat(SMOOTH[:8], 2, 0)[:, :12]
    stored = {
        1: shown,
        2: np.fliplr(shown),
        3: np.rot90(shown, 2),
        4: np.flipud(shown),
        5: np.transpose(shown, (1, 0, 2)),
        6: np.rot90(shown, 1),
        7: np.rot90(np.transpose(shown, (1, 0, 2)), 2),
        8: np.rot90(shown, -1),
    }[orientation]
    path = tmp_path / f"a.{suffix}"
    if suffix == "deep.tif":
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(
            path, stored.astype(np.uint16) * 257, photometric="rgb", extratags=[tag]
        )
    else:
        exif = Image.Exif()
        exif[274] = orientation
        options = {"jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
        options = {"lossless": True} if suffix == "webp" else options
        Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **options)
    check(path, unit(shown / 255), 2 * 8 / 255 if suffix == "jpg" else 1e-6)


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp"])
def test_first_frame(tmp_path, suffix, caplog):
    caplog.set_level(logging.INFO)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    first, *rest = (Image.new("RGB", (9, 6), colour) for colour in colours)
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    first.save(path, save_all=True, append_images=rest, **options)
    check(path, unit(np.broadcast_to([1.0, 0, 0], (6, 9, 3))))
    (record,) = caplog.records
    assert str(path) in record.getMessage() and "several frames" in record.getMessage()


def test_first_page_of_a_deep_tiff(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    pages = np.stack([DEEP, 65535 - DEEP])
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb")
    check(tmp_path / "a.tif", unit(DEEP / 65535))
    assert "several frames" in caplog.text and str(tmp_path / "a.tif") in caplog.text


def test_camera_jpeg_with_a_second_picture(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    first, second = Image.fromarray(SMOOTH), Image.new("RGB", (16, 16))
    first.save(
        tmp_path / "a.jpg",
        format="MPO",
        save_all=True,
        append_images=[second],
        quality=100,
        subsampling=0,
    )
    check(tmp_path / "a.jpg", unit(SMOOTH / 255), 2 * 3 / 255)
    assert "several frames" in caplog.text


def test_one_channel(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    actual = images.read(tmp_path / "a.png", channels=1)
    luma = (COLOUR / 255) @ [0.299, 0.587, 0.114]
    assert actual.shape == (1, 6, 9, 1) and actual.dtype == np.float32
    np.testing.assert_allclose(actual[0, ..., 0], luma * 2 - 1, atol=1e-6)


def test_one_channel_of_grey_is_exact(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    actual = images.read(tmp_path / "a.png", channels=1)
    np.testing.assert_array_equal(images.to_uint8(actual)[0, ..., 0], GREY)


def test_channels_are_one_or_three(tmp_path):
    with pytest.raises(ValueError, match="channels"):
        images.read(tmp_path / "a.png", channels=4)


# --- what cannot be read


def test_missing(tmp_path):
    refuse(tmp_path / "no.png", "No such file")


def test_folder(tmp_path):
    refuse(tmp_path, "a folder", "one file")


def test_empty(tmp_path):
    (tmp_path / "a.png").touch()
    refuse(tmp_path / "a.png", "empty")


def test_unreadable(tmp_path, monkeypatch):
    # The tests may run as root, whom no permission stops.
    def forbid(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.png").touch()
    monkeypatch.setattr(os, "open", forbid)
    refuse(tmp_path / "a.png", "permissions")


@pytest.mark.parametrize(
    "data",
    [b"hello", b"P6 1 1 255 abc", SIGNATURE],
)
def test_not_an_image(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    refuse(tmp_path / "a.png", "not a readable", "convert it to PNG")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp", "gif"])
@pytest.mark.parametrize("part", [0.01, 0.3, 0.6, 0.95])
def test_truncated(tmp_path, suffix, part):
    path = tmp_path / f"a.{suffix}"
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    refuse(path, "copy it again")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("part", [0.1, 0.6, 0.95])
def test_truncated_deep_tiff(tmp_path, compression, part):
    path = tmp_path / "a.tif"
    noise = RNG.integers(0, 65536, (64, 64, 3), dtype=np.uint16)
    tifffile.imwrite(path, noise, photometric="rgb", compression=compression)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    refuse(path, "cannot be decoded")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp", "gif"])
@pytest.mark.filterwarnings("error")
def test_damage_never_escapes_as_another_exception(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 10_000)  # a light test
    rng = np.random.default_rng(1)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(60):
        damaged = data.copy()
        places = rng.integers(0, min(len(data), 200), 5)
        damaged[places] = rng.integers(0, 256, 5)
        path.write_bytes(damaged.tobytes())
        try:
            assert images.read(path).dtype == np.float32
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("error", [SyntaxError, ValueError, struct.error, IndexError])
def test_any_decoder_error(tmp_path, monkeypatch, error):
    def fail(self):
        raise error("broken\nchunk")

    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    refuse(tmp_path / "a.png", "broken chunk", "damaged")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("width, height", [(100_000, 100_000), (10_001, 10_000)])
@pytest.mark.parametrize("kind", ["png", "tif", "deep.tif"])
def test_decompression_bomb(tmp_path, kind, width, height):
    path = tmp_path / f"a.{kind}"
    data = {
        "png": png(width, height, 8, 2, b""),
        "tif": tiff(width, height, 8, 1, b"\0" * 8),
        "deep.tif": tiff(width, height, 64, 1, b"\0" * 8),
    }[kind]
    path.write_bytes(data)
    refuse(path, "100,000,000 pixels", "shrink")


@pytest.mark.filterwarnings("error")
def test_no_warning_between_the_two_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    Image.fromarray(COLOUR).save(tmp_path / "a.png")  # 54 pixels
    check(tmp_path / "a.png", unit(COLOUR / 255))


# --- what can be learnt from


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["flat", "black", "transparent"])
def test_a_photograph_of_one_colour_is_refused_for_training(tmp_path, kind, channels):
    pixels = np.full((6, 9, 4), (10, 20, 250, 255), np.uint8)
    if kind == "transparent":
        pixels = np.dstack([COLOUR, np.zeros_like(ALPHA)])
    elif kind == "black":
        pixels[..., :3] = 0
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    photograph = images.read(path, channels)
    with pytest.raises(UserError, match="of one colour everywhere") as caught:
        images.check_photograph(path, photograph)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "pixels, words",
    [
        (COLOUR, []),
        (COLOUR // 16, ["nearly black", "brighter than 15, 15, 15 of 255"]),
        (200 + COLOUR // 128, ["nearly of one colour"]),
        (np.where(np.arange(54).reshape(6, 9, 1) == 9, COLOUR, 0), []),
    ],
    ids=["photograph", "dark", "pale", "stars"],
)
def test_there_is_little_to_learn(tmp_path, caplog, pixels, words):
    caplog.set_level(logging.INFO)
    path = tmp_path / "a\n.png"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    images.check_photograph(path, images.read(path))
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == bool(words)
    for word in [*words, r"a\n.png"] if words else []:
        assert word in messages[0]


def test_whether_it_is_transparent_everywhere(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    Image.fromarray(np.dstack([COLOUR, 0 * ALPHA])).save(tmp_path / "a.png")
    check(tmp_path / "a.png", np.ones((1, 6, 9, 3)))
    assert "is transparent everywhere; it is shown on white" in caplog.text


# --- resolve


def test_resolve_existing_path(tmp_path, monkeypatch):
    (tmp_path / "coffee").touch()
    assert images.resolve(str(tmp_path / "coffee")) == tmp_path / "coffee"
    monkeypatch.chdir(tmp_path)
    assert images.resolve("coffee") == pathlib.Path("coffee")


@pytest.mark.parametrize(
    "name, shape",
    [
        ("hubble_deep_field", (1, 872, 1000, 3)),
        ("coffee", (1, 400, 600, 3)),
        ("camera", (1, 512, 512, 3)),
    ],
)
def test_resolve_carried_photograph(name, shape):
    path = images.resolve(name)
    assert path.stem == name and images.read(path).shape == shape


@pytest.mark.parametrize("name", images._SUGGESTIONS.split(", "))
def test_suggestions_exist(name):
    assert images.resolve(name).is_file()


@pytest.mark.parametrize(
    "name, hint",
    [
        ("cofee", "did you mean coffee?"),
        ("hubble", "did you mean hubble_deep_field?"),
        ("coffee.jpg", "did you mean coffee?"),
        ("hubble_deep_field.png", "did you mean hubble_deep_field?"),
        ("lfw_subset", "chelsea"),
        ("zzz", "chelsea"),
    ],
)
def test_resolve_unknown(tmp_path, monkeypatch, name, hint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        images.resolve(name)
    message = str(caught.value)
    assert name in message and hint in message and "\n" not in message


def test_resolve_what_cannot_be_looked_at(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for name in ("loop", "x" * 300):
        with pytest.raises(UserError, match="cannot be opened"):
            images.resolve(str(tmp_path / name))
    with pytest.raises(UserError, match="There is no file"):
        images.resolve("a\0b")


@pytest.mark.parametrize(
    "name",
    [
        "/home/me/photo.jpg",
        "photo.jpg",
        "photos/coffee",
        "./coffe",
        "cofee.jpg",
        "~/moon",
    ],
)
def test_a_path_is_not_taken_for_a_misspelt_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="There is no file") as caught:
        images.resolve(name)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["https://example.com/coffee.png", "file:///coffee", "s3://bucket/a.jpg"]
)
def test_an_address_is_to_be_downloaded(name):
    with pytest.raises(UserError, match="address; download") as caught:
        images.resolve(name)
    assert "did you mean" not in str(caught.value)


def test_a_broken_link_says_where_it_leads(tmp_path):
    link = tmp_path / "coffee"
    link.symlink_to(tmp_path / "gone.png")
    with pytest.raises(
        UserError, match="is a link to .*gone.png, which does not exist"
    ):
        images.resolve(str(link))


def test_numbers_in_a_mask_of_16_bits_are_not_taken_for_darkness(tmp_path, caplog):
    labels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    Image.fromarray(labels).save(tmp_path / "a.png")
    with caplog.at_level("INFO"):
        pixels, lossy = images.read_channels(tmp_path / "a.png")
        assert not caplog.messages and not lossy
        images.read(tmp_path / "a.png")
        assert "no value above 11," in caplog.text
    np.testing.assert_allclose(pixels[..., 0], labels / 65535)


# --- writing


def test_to_uint8():
    halves = (np.arange(255) + 0.5) / 127.5 - 1  # between two levels
    np.testing.assert_array_equal(images.to_uint8(halves - 1e-6), np.arange(255))
    np.testing.assert_array_equal(images.to_uint8(halves + 1e-6), np.arange(1, 256))
    levels = np.arange(256, dtype=np.float32) / 127.5 - 1
    np.testing.assert_array_equal(images.to_uint8(levels), np.arange(256))
    ends = images.to_uint8(np.array([-5.0, -1, 0, 1, 5, np.inf]))
    np.testing.assert_array_equal(ends, [0, 0, 128, 255, 255, 255])
    assert ends.dtype == np.uint8


@pytest.mark.parametrize("suffix", ["png", "PNG", "tif", "tiff", "bmp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("real", [False, True])
def test_write_round_trip(tmp_path, suffix, channels, batch, real):
    pixels = COLOUR[..., :channels]
    image = (pixels / 127.5 - 1).astype(np.float32) if real else pixels
    path = tmp_path / "new" / "folder" / f"a.{suffix}"
    images.write(path, image[None] if batch else image)
    actual = images.read(path, channels)
    np.testing.assert_array_equal(images.to_uint8(actual)[0], pixels)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix, kind", [("jpg", "JPEG"), ("webp", "WEBP")])
def test_write_lossy(tmp_path, suffix, kind):
    path = tmp_path / f"a.{suffix}"
    images.write(str(path), SMOOTH)
    with Image.open(path) as image:
        assert image.format == kind
    assert np.abs(images.read(path) - unit(SMOOTH / 255)).mean() < 0.05


def test_write_leaves_ordinary_permissions(tmp_path):
    (tmp_path / "plain").touch()
    images.write(tmp_path / "a.png", COLOUR)
    modes = {file.stat().st_mode for file in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("name", ["a", "a.gif", "a.txt", "png"])
def test_write_unknown_suffix(tmp_path, name):
    with pytest.raises(UserError, match=r"\.png") as caught:
        images.write(tmp_path / name, COLOUR)
    assert str(tmp_path / name) in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_write_refuses_a_batch(tmp_path):
    with pytest.raises(ValueError):
        images.write(tmp_path / "a.png", np.stack([COLOUR, COLOUR]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch, error):
    def fail(self, file, **options):
        file.write(b"half")
        raise error("disk full")

    path = tmp_path / "a.png"
    images.write(path, COLOUR)
    before = path.read_bytes()
    monkeypatch.setattr(Image.Image, "save", fail)
    expected = UserError if error is OSError else error
    with pytest.raises(expected, match="disk full"):
        images.write(path, 255 - COLOUR)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_write_where_no_file_can_be(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "a.png").mkdir()
    for path in (tmp_path / "file" / "a.png", tmp_path / "a.png"):
        with pytest.raises(UserError, match="cannot be written") as caught:
            images.write(path, COLOUR)
        assert str(path) in str(caught.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "file"]


# --- contact sheet


@pytest.mark.parametrize(
    "count, columns, grid",
    [(1, 0, (1, 1)), (4, 0, (2, 2)), (5, 0, (2, 3)), (5, 5, (1, 5)), (3, 9, (1, 3))],
)
def test_contact_sheet_grid(count, columns, grid):
    tile = RNG.integers(0, 200, (64, 64, 3), dtype=np.uint8)
    captions = [""] * count
    sheet = images.contact_sheet([tile] * count, captions, columns, max_side=64)
    cell = images.contact_sheet([tile], [""], max_side=64).shape
    margin = images._MARGIN
    rows, across = grid
    assert sheet.dtype == np.uint8
    assert sheet.shape == (
        rows * (cell[0] - margin) + margin,
        across * (cell[1] - margin) + margin,
        3,
    )
    found = sum(
        np.array_equal(sheet[y : y + 64, x : x + 64], tile)
        for y in range(margin, sheet.shape[0], cell[0] - margin)
        for x in range(margin, sheet.shape[1], cell[1] - margin)
    )
    assert found == count


def test_contact_sheet_thumbnails():
    small = COLOUR[:4, :5]
    large = np.full((300, 600, 1), 0.5, np.float32)
    sheet = images.contact_sheet([small, large], ["small", "large"], 2, max_side=64)
    top = left = images._MARGIN
    enlarged = small.repeat(12, 0).repeat(12, 1)  # 64 // 5
    np.testing.assert_array_equal(sheet[top : top + 48, left : left + 60], enlarged)
    second = left + 64 + images._MARGIN
    assert (sheet[top : top + 32, second : second + 64] == 191).all()
    assert (sheet[:top] == 255).all() and (sheet[:, : left - 1] == 255).all()


def test_contact_sheet_enlarges_no_further_than_the_largest():
    small, large = COLOUR[:4, :5], np.full((32, 40, 1), 0.5, np.float32)
    sheet = images.contact_sheet([small, large], ["small", "large"], 2, max_side=64)
    top = left = images._MARGIN
    enlarged = small.repeat(8, 0).repeat(8, 1)  # 40 // 5
    np.testing.assert_array_equal(sheet[top : top + 32, left : left + 40], enlarged)
    second = left + 40 + images._MARGIN
    assert (sheet[top : top + 32, second : second + 40] == 191).all()


def test_contact_sheet_captions():
    tile = np.full((1, 64, 64, 3), 1.0, np.float32)  # white on white
    blank = images.contact_sheet([tile], [""], max_side=64)
    assert (blank == 255).all()
    short = images.contact_sheet([tile], ["scale 0"], max_side=64)
    assert short.shape == blank.shape and short.min() < 100
    for caption in ("very " * 40 + "long", "two\nlines\nof text " * 9):
        cut = images.contact_sheet([tile], [caption], max_side=64)
        assert cut.shape == blank.shape and cut.min() < 100
        margin = images._MARGIN
        assert (cut[:, -margin + 1 :] == 255).all()
        assert (cut[:, : margin - 1] == 255).all()


def test_contact_sheet_tiny():
    sheet = images.contact_sheet([COLOUR], ["caption"], max_side=4)
    assert sheet.shape[1] == 4 + 2 * images._MARGIN


@pytest.mark.parametrize("count, captions", [(0, 0), (2, 1)])
def test_contact_sheet_needs_captions(count, captions):
    with pytest.raises(ValueError, match="captions"):
        images.contact_sheet([COLOUR] * count, [""] * captions)


# --- animations


@pytest.mark.parametrize("name", ["a.webp", "a.GIF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_animation(tmp_path, name, channels):
    values = (0, 120, 255)
    frames = [np.full((7, 9, channels), value, np.uint8) for value in values]
    images.write_animation(tmp_path / name, frames, 20)
    animation = Image.open(tmp_path / name)
    assert (animation.n_frames, animation.size) == (3, (9, 7))
    assert animation.info["loop"] == 0
    for index, value in enumerate(values):
        animation.seek(index)
        found = np.asarray(animation.convert("RGB")).astype(int)
        assert abs(found - value).max() <= 2
        assert animation.info["duration"] == 50
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.webp", "a.gif"])
@pytest.mark.parametrize("fps", [12, 15, 30, 40])
def test_an_animation_lasts_as_long_as_its_frames(tmp_path, name, fps):
    frames = [np.full((7, 9, 3), 8 * n, np.uint8) for n in range(24)]
    images.write_animation(tmp_path / name, frames, fps)
    animation = Image.open(tmp_path / name)
    durations = []
    for index in range(animation.n_frames):
        animation.seek(index)
        animation.load()
        durations.append(animation.info["duration"])
    assert sum(durations) == pytest.approx(24 * 1000 / fps, abs=10)
    # A frame is a hundredth of a second too long or too short at most.
    assert max(abs(each - 1000 / fps) for each in durations) < 10


def test_film(tmp_path):
    reader = pytest.importorskip("imageio_ffmpeg")
    frames = [np.full((17, 31, 1), value, np.uint8) for value in (0, 120, 255)]
    images.write_animation(tmp_path / "a.mp4", frames, 10)
    meta = next(reader.read_frames(str(tmp_path / "a.mp4")))
    assert meta["fps"] == 10
    assert meta["size"] == (32, 18)
    assert reader.count_frames_and_secs(str(tmp_path / "a.mp4"))[0] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_animation_refuses_other_formats(tmp_path):
    with pytest.raises(UserError, match="a.png does not end in .webp"):
        images.write_animation(tmp_path / "a.png", [COLOUR], 10)
    assert not list(tmp_path.iterdir())


# --- hash


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert images.sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(UserError, match="cannot be opened"):
        images.sha256(tmp_path / "b")
    with pytest.raises(UserError, match="is a device"):
        images.sha256("/dev/zero")


def test_sha256_of_a_file_larger_than_memory_is_read_in_blocks(tmp_path):
    size = 2**27
    with open(tmp_path / "a", "wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        found = images.sha256(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert found == hashlib.sha256(bytes(size)).hexdigest()


@pytest.mark.parametrize("size", [(30, 20), (100, 300), (700, 12), (256, 256)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_contact_sheet_of_thumbnails_is_the_same_sheet(size, channels):
    rng = np.random.default_rng(0)
    shapes = [(1, *size, channels), (1, 40, 60, channels)]
    pictures = [rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]
    small = [images.thumbnail(picture) for picture in pictures]
    assert all(picture.size <= 256 * 256 * 3 for picture in small)
    sheets = [images.contact_sheet(cells, ["a", "b"]) for cells in (pictures, small)]
    np.testing.assert_array_equal(*sheets)
