"""Embedded colour profiles against the formulas that they stand for."""

import logging

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    gamma,
    grey_profile,
    linear_to_srgb,
    rgb_profile,
    srgb_to_linear,
    to_xyz,
)

from singan_tf import images

RNG = np.random.default_rng(0)
P3 = rgb_profile("Display P3", DISPLAY_P3, srgb_to_linear)
ADOBE = rgb_profile("Adobe RGB (1998)", ADOBE_RGB, gamma(563 / 256))
GREY = grey_profile()


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
