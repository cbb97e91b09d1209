"""Colour profiles, written here by hand, against the formulas that they stand for."""

import logging
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from singan_tf import images

RNG = np.random.default_rng(0)
D50 = np.array([0.9642, 1, 0.8249])
# (x, y) of red, green, blue and white.
WHITE = (0.3127, 0.3290)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), WHITE)
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), WHITE)
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), WHITE)


def srgb_to_linear(v):
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(v):
    v = np.clip(v, 0, 1)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)


def gamma(power):
    return lambda v: v**power


def to_xyz(primaries):
    """From linear RGB to XYZ under its own white."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    scales = np.linalg.solve(columns[:, :3], columns[:, 3])
    return columns[:, :3] * scales


def adapted(matrix):
    """By Bradford to D50, as a profile holds it."""
    bradford = np.array(
        [
            [0.8951, 0.2664, -0.1614],
            [-0.7502, 1.7135, 0.0367],
            [0.0389, -0.0685, 1.0296],
        ]
    )
    white = bradford @ matrix.sum(1)
    change = np.diag(bradford @ D50 / white)
    return np.linalg.inv(bradford) @ change @ bradford @ matrix


def text(value):
    value = value.encode() + b"\0"
    return (
        b"desc" + struct.pack(">II", 0, len(value)) + value + bytes(4 + 4 + 2 + 1 + 67)
    )


def xyz(values):
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))


def curve(function):
    points = np.round(function(np.linspace(0, 1, 1024)) * 65535).astype(">u2")
    return b"curv" + struct.pack(">II", 0, len(points)) + points.tobytes()


def profile(space, kind, tags, pcs=b"XYZ "):
    """An ICC profile of version 2."""
    tags = {"cprt": b"text" + bytes(4) + b"none\0", "wtpt": xyz(D50), **tags}
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name.encode(), start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = struct.pack(
        ">II I4s4s4s 12s 4s 48s",
        start + len(data),
        0,
        0x02400000,
        kind,
        space,
        pcs,
        bytes(12),
        b"acsp",
        bytes(28) + xyz(D50)[8:] + bytes(8),
    )
    return header.ljust(128, b"\0") + table + data


def rgb_profile(name, primaries, to_linear):
    columns = adapted(to_xyz(primaries)).T
    tags = {"desc": text(name)}
    tags |= {f"{c}XYZ": xyz(column) for c, column in zip("rgb", columns)}
    tags |= {f"{c}TRC": curve(to_linear) for c in "rgb"}
    return profile(b"RGB ", b"mntr", tags)


def cmyk_profile():
    """One whose black ink alone shows."""
    levels = np.arange(256, dtype=np.uint8)
    lightness = [255 if not corner & 1 else 0 for corner in range(16)]
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", *(65536 * v for v in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table += levels.tobytes() * 4
    table += b"".join(bytes([v, 128, 128]) for v in lightness)
    table += levels.tobytes() * 3
    return profile(b"CMYK", b"prtr", {"desc": text("ink"), "A2B0": table}, b"Lab ")


P3 = rgb_profile("Display P3", DISPLAY_P3, srgb_to_linear)
ADOBE = rgb_profile("Adobe RGB (1998)", ADOBE_RGB, gamma(563 / 256))
GREY = profile(b"GRAY", b"mntr", {"desc": text("Gamma 1.8"), "kTRC": curve(gamma(1.8))})


def expected(colours, primaries, to_linear):
    """sRGB in [0, 1] of colours in [0, 1]."""
    matrix = np.linalg.inv(to_xyz(SRGB)) @ to_xyz(primaries)
    return linear_to_srgb(to_linear(colours) @ matrix.T)


def read(path):
    return (images.read(path)[0] + 1) / 2


@pytest.fixture(autouse=True)
def everything_is_told(caplog):
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize("kind", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize(
    "icc, primaries, to_linear, name",
    [
        (P3, DISPLAY_P3, srgb_to_linear, "Display P3"),
        (ADOBE, ADOBE_RGB, gamma(563 / 256), "Adobe RGB (1998)"),
    ],
    ids=["p3", "adobe"],
)
def test_colours_are_converted_to_srgb(
    tmp_path, caplog, icc, primaries, to_linear, name, kind
):
    # Large patches, so that JPEG keeps them.
    colours = RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    colours = colours.repeat(16, 0).repeat(16, 1)
    path = tmp_path / f"a.{kind}"
    options = {"webp": {"lossless": True}}.get(kind, {})
    if kind == "jpg":
        options = {"quality": 100, "subsampling": 0}
    Image.fromarray(colours).save(path, icc_profile=icc, **options)
    wanted = expected(colours / 255, primaries, to_linear)
    error = np.abs(read(path) - wanted) * 255
    # Near black, a level of JPEG is several in the other space.
    assert error.mean() < 1 if kind == "jpg" else error.max() < 2
    # It is worth it.
    assert np.abs(colours / 255 - wanted).max() * 255 > 30
    (record,) = caplog.records
    message = record.getMessage()
    assert str(path) in message and f"converted from {name} to sRGB" in message


def test_palettes_and_transparency_are_converted(tmp_path, caplog):
    colours = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    alpha = RNG.integers(0, 256, (6, 9, 1), dtype=np.uint8)
    wanted = expected(colours / 255, DISPLAY_P3, srgb_to_linear)
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([colours, alpha])).save(path, icc_profile=P3)
    on_white = wanted * (alpha / 255) + 1 - alpha / 255
    np.testing.assert_allclose(read(path), on_white, atol=2 / 255)
    picture = Image.fromarray(np.arange(54, dtype=np.uint8).reshape(6, 9), "L")
    picture.putpalette(colours.tobytes())
    picture.save(path, icc_profile=P3)
    np.testing.assert_allclose(read(path), wanted, atol=2 / 255)
    assert caplog.text.count("Display P3 to sRGB") == 2


@pytest.mark.parametrize("with_alpha", [False, True])
def test_grey_is_converted(tmp_path, caplog, with_alpha):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    stored = np.dstack([grey, np.full_like(grey, 255)]) if with_alpha else grey
    Image.fromarray(stored).save(tmp_path / "a.png", icc_profile=GREY)
    wanted = linear_to_srgb((grey / 255) ** 1.8)[..., None]
    np.testing.assert_allclose(read(tmp_path / "a.png"), wanted + [0] * 3, atol=2 / 255)
    assert "Gamma 1.8 to sRGB" in caplog.text


def test_cmyk_is_converted(tmp_path, caplog):
    ink = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 128), (90, 9, 200, 255)]
    cmyk = np.array(ink, np.uint8).reshape(1, 4, 4)
    picture = Image.frombytes("CMYK", (4, 1), cmyk.tobytes())
    picture.save(tmp_path / "a.tif", icc_profile=cmyk_profile())
    found = read(tmp_path / "a.tif")[0] * 255
    # Lightness 49.8 is 18.2 % of the light.
    half = linear_to_srgb(((49.8 + 16) / 116) ** 3) * 255
    wanted = np.array([255, 255, half, 0])[:, None]
    np.testing.assert_allclose(found, wanted + [0] * 3, atol=3)
    assert "ink to sRGB" in caplog.text


@pytest.mark.parametrize(
    "icc",
    [
        rgb_profile("by hand", SRGB, srgb_to_linear),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ],
    ids=["hand", "lcms"],
)
def test_srgb_stays_to_the_last_bit_and_says_nothing(tmp_path, caplog, icc):
    colours = RNG.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png", icc_profile=icc)
    found = images.to_uint8(images.read(tmp_path / "a.png"))[0]
    np.testing.assert_array_equal(found, colours)
    assert not caplog.records


def test_grey_is_the_same_in_display_p3(tmp_path, caplog):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "a.png", icc_profile=P3)
    found = images.to_uint8(images.read(tmp_path / "a.png", 1))[0, ..., 0]
    np.testing.assert_array_equal(found, grey)
    assert not caplog.records


@pytest.mark.parametrize(
    "icc",
    [b"x", RNG.bytes(3000), P3[:200], GREY, cmyk_profile()],
    ids=["short", "random", "cut", "grey", "cmyk"],
)
def test_a_profile_that_cannot_be_used_is_left_out(tmp_path, caplog, icc):
    colours = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png", icc_profile=icc)
    found = images.to_uint8(images.read(tmp_path / "a.png"))[0]
    np.testing.assert_array_equal(found, colours)
    (record,) = caplog.records
    assert "cannot be used" in record.getMessage() and record.getMessage().isprintable()


@pytest.mark.parametrize("colour", [True, False])
def test_of_16_bits_it_is_told_that_they_stay(tmp_path, caplog, colour):
    values = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
    values = values if colour else values[..., 0]
    for name, icc in (("a.tif", ADOBE if colour else GREY), ("b.tif", None)):
        options = {"photometric": "rgb"} if colour else {}
        tifffile.imwrite(tmp_path / name, values, iccprofile=icc, **options)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), read(tmp_path / "b.tif"))
    (record,) = caplog.records
    assert "8 bits only" in record.getMessage()
    assert ("Adobe RGB" if colour else "Gamma 1.8") in record.getMessage()


def test_a_profile_s_name_cannot_write_to_the_terminal(tmp_path, caplog):
    icc = rgb_profile("\x1b[31mred\n" + "x" * 500, DISPLAY_P3, srgb_to_linear)
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png", icc_profile=icc)
    images.read(tmp_path / "a.png")
    (record,) = caplog.records
    message = record.getMessage().replace(str(tmp_path), "")
    assert message.isprintable() and len(message) < 150
