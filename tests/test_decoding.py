"""Files that are damaged, odd or of another kind; test_images.py reads sound ones."""

import functools
import io
import logging
import os
import struct
import threading
import tracemalloc

import helpers
import numpy as np
import pytest
import tifffile
from PIL import Image, features
from png_files import SIGNATURE, png

from singan_tf import decoding, images
from singan_tf.errors import UserError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)


refuse = functools.partial(helpers.refuse, images.read)


def encode(array, kind, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def bmp(width, height):
    header = struct.pack("<IHHI", 154, 0, 0, 54)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + header + info + bytes(100)


def tiff(width, height, bits, others=()):
    """Little-endian, grey, of one strip, with other tags."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1}
    tags |= {273: 8, 277: 1, 278: height, 279: 100, **dict(others)}
    entries = [struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags)]
    start = struct.pack("<4sI", b"II*\0", 108) + bytes(100)
    return start + struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)


# --- sizes


@pytest.mark.parametrize("bits", [8, 16, 64])
@pytest.mark.parametrize("size", [(0, 10), (10, 0), (0, 0)])
def test_a_side_of_no_pixels(tmp_path, size, bits):
    (tmp_path / "a.tif").write_bytes(tiff(*size, bits))
    refuse(tmp_path / "a.tif", "damaged", f"{size[0]}x{size[1]} pixels")


@pytest.mark.parametrize("kind", ["png", "bmp"])
def test_rows_too_long_for_the_decoder(tmp_path, kind):
    size = (100_000_000, 1)
    data = png(*size, 8, 2, bytes(100)) if kind == "png" else bmp(*size)
    (tmp_path / "a").write_bytes(data)
    refuse(tmp_path / "a", "more memory than there is", "shrink")


def test_no_memory_for_the_result(tmp_path, monkeypatch):
    def fail(*args):
        raise MemoryError

    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "_to_tensor", fail)
    refuse(tmp_path / "a.png", "more memory than there is")


def test_files_larger_than_any_image_are_not_read_whole(tmp_path):
    for start in (b"RIFF\xff\xff\xff\x7fWEBPVP8 ", b"\0\0\0\x18ftypavif", SIGNATURE):
        with open(tmp_path / "a", "wb") as file:
            file.write(start)
            file.truncate(2**40)  # nothing of it is stored
        refuse(tmp_path / "a", "800 megabytes")


@pytest.mark.parametrize("kind", ["8", "16", "alpha", "float"])
def test_decoding_takes_little_more_memory_than_the_result(tmp_path, kind):
    side = 1500
    values = np.zeros((side, side, 4 if kind == "alpha" else 3), np.uint8)
    stored = {"16": 2, "float": 4}.get(kind, 1)  # bytes
    path = tmp_path / "a.tif"
    if kind == "16":
        tifffile.imwrite(path, values.astype(np.uint16), photometric="rgb")
    elif kind == "float":
        tifffile.imwrite(path, values.astype(np.float32), photometric="rgb")
    else:
        Image.fromarray(values).save(path)
    images.read(path)  # what is imported and kept
    tracemalloc.start()
    try:
        result = images.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # And some bands of 4 MB.
    assert peak < result.nbytes + values.nbytes * stored + 20e6


def test_many_pages_are_not_counted(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    page = tiff(1, 1, 8)[108:]
    count = 50_000
    pages = b"".join(
        page[:-4]
        + struct.pack("<I", 108 + len(page) * (index + 1) % (count * len(page)))
        for index in range(count)
    )
    (tmp_path / "a.tif").write_bytes(tiff(1, 1, 8)[:108] + pages)
    assert images.read(tmp_path / "a.tif").shape == (1, 1, 1, 3)
    assert "several frames or pages" in caplog.text


# --- damage


@pytest.mark.parametrize("part", ["IHDR", "PLTE", "IDAT", "IEND"])
def test_a_wrong_checksum_is_damage(tmp_path, part):
    picture = Image.fromarray(COLOUR).quantize(16)
    picture.save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    images.read(tmp_path / "a.png")
    at = data.index(part.encode())
    (length,) = struct.unpack(">I", data[at - 4 : at])
    data[at + 4 + length] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    refuse(tmp_path / "a.png", "damaged", f"checksum of its part {part}", "copy it")


def test_checksums_are_looked_at_to_the_image_s_end_only(tmp_path):
    data = encode(COLOUR, "PNG")
    broken = data[:-1] + bytes([data[-1] ^ 1])
    (tmp_path / "a.png").write_bytes(data + broken[len(SIGNATURE) :] + bytes(1000))
    images.read(tmp_path / "a.png")


def test_a_disk_that_fails_is_not_a_damaged_image(tmp_path):
    path = "/proc/self/mem"  # whose first byte cannot be read
    if not os.path.exists(path):
        pytest.skip("there is no such file here")
    refuse(path, "cannot be read (Input/output error)")
    with pytest.raises(UserError, match="cannot be read"):
        images.sha256(path)


def damaged_tiffs():
    """One that tifffile logs of, one that libtiff writes of."""
    file = io.BytesIO()
    tifffile.imwrite(file, COLOUR.astype(np.uint16), photometric="rgb")
    deep = bytearray(file.getvalue())
    entry = deep.index(struct.pack("<HH", 273, 4))
    deep[entry + 2] = 99  # the type of the strips' places
    packed = bytearray(encode(COLOUR, "TIFF", compression="tiff_lzw"))
    packed[300:600] = RNG.integers(0, 256, 300, dtype=np.uint8).tobytes()
    return bytes(deep), bytes(packed)


def test_libraries_do_not_tell_of_damage_first(tmp_path, capfd, caplog):
    for data in damaged_tiffs():
        (tmp_path / "a.tif").write_bytes(data)
        refuse(tmp_path / "a.tif", "cannot be decoded")
        assert capfd.readouterr() == ("", "")
        assert not caplog.records
    assert logging.getLogger("tifffile").filters == []


def test_others_still_hear_of_damage(tmp_path, capfd, caplog):
    deep, packed = damaged_tiffs()
    (tmp_path / "a.tif").write_bytes(packed)
    refuse(tmp_path / "a.tif")
    with decoding._quiet_loggers():
        other = threading.Thread(
            target=lambda: tifffile.TiffFile(io.BytesIO(deep)).pages.first
        )
        other.start()
        other.join()
    assert "273" in caplog.text
    with pytest.raises(OSError):
        Image.open(tmp_path / "a.tif").load()
    assert capfd.readouterr().err


@pytest.mark.filterwarnings("error")
def test_a_number_too_large_for_32_bits_is_out_of_range(tmp_path):
    values = np.zeros((6, 9))
    values[2, 3] = 1e300
    tifffile.imwrite(tmp_path / "a.tif", values)
    refuse(tmp_path / "a.tif", "between 0 and 1", "1e+300")
    values[2, 3] = 1 + 1e-12
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert images.read(tmp_path / "a.tif").max() == 1


def test_a_name_s_control_characters_stay_out_of_the_log(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / os.fsdecode(b"a\n\x1b[31m\xff.png")
    alpha = np.dstack([COLOUR, COLOUR[..., :1]])
    Image.fromarray(alpha).save(
        path, save_all=True, append_images=[Image.new("L", (9, 9))]
    )
    images.read(path)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    for message in messages:
        assert r"a\n\x1b[31m\udcff.png" in message
        assert message.isprintable()


# --- other kinds


@pytest.mark.parametrize(
    "start, kind",
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x1cftypmif1", "HEIC"),
        (b"\0\0\0\x18ftypavif", "AVIF"),
        (b"\0\0\0\x18ftypcrx ", "raw camera"),
        (b"II*\0\x10\0\0\0CR\x02\0", "raw camera"),
        (b"FUJIFILMCCD-RAW 0201", "raw camera"),
        (b"IIU\0\x18\0\0\0", "raw camera"),
        (b"\0\0\0\x18ftypisom", "film"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%PDF-1.4\n", "PDF"),
        (b"<svg/>", "SVG"),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="', "SVG"),
        (b"\n<!DOCTYPE html><html>", "web page"),
    ],
)
def test_other_kinds_are_named(tmp_path, start, kind):
    (tmp_path / "a.jpg").write_bytes(start + bytes(100))
    refuse(tmp_path / "a.jpg", kind, "cannot be read here; ")


@pytest.mark.parametrize("tags", [{50706: 1}, {254: 1, 330: 8}])
def test_the_preview_in_a_raw_camera_file_is_not_taken_for_it(tmp_path, tags):
    (tmp_path / "a.nef").write_bytes(tiff(5, 5, 8, tags))
    refuse(tmp_path / "a.nef", "raw camera file")


@pytest.mark.skipif(
    "avif" not in features.modules or not features.check("avif"),
    reason="this Pillow has no AVIF",
)
def test_avif_is_read_if_pillow_reads_it(tmp_path, monkeypatch):
    smooth = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 64, 3))
    Image.fromarray(smooth).save(tmp_path / "a.avif", quality=95)
    actual = images.to_uint8(images.read(tmp_path / "a.avif"))[0]
    assert np.abs(actual.astype(int) - smooth).mean() < 3
    monkeypatch.setattr(decoding, "_formats", lambda: decoding._FORMATS)
    refuse(tmp_path / "a.avif", "an AVIF image", "PNG or JPEG")


# --- bits


@pytest.mark.parametrize(
    "kind", ["grey.png", "rgb.png", "grey.tif", "rgb.tif", "la.tif"]
)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_few_bits_in_16_are_told_of_and_read_as_they_are(tmp_path, caplog, kind, bits):
    caplog.set_level(logging.INFO)
    top = 2**bits - 1
    values = RNG.integers(0, top + 1, (6, 9, 3), dtype=np.uint16)
    values[0, 0] = top
    path = tmp_path / f"a.{kind}"
    if "rgb" not in kind:
        values = values[..., 0]
    if kind.endswith("png"):
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        path.write_bytes(png(9, 6, 16, 2 if values.ndim == 3 else 0, rows))
    elif kind == "la.tif":
        stored = np.dstack([values, np.full_like(values, 65535)])
        tifffile.imwrite(
            path, stored, photometric="minisblack", extrasamples=["unassalpha"]
        )
    else:
        tifffile.imwrite(path, values)
    actual = images.read(path)[0]
    expected = np.atleast_3d(values) / 65535 * 2 - 1
    # Pillow reads the upper 8 bits of RGB in PNG.
    tolerance = 2 / 255 if kind == "rgb.png" else 1e-6
    np.testing.assert_allclose(
        actual, np.broadcast_to(expected, actual.shape), atol=tolerance
    )
    if bits == 16 or (kind, bits) == ("rgb.png", 8):
        assert not caplog.records
    else:
        (record,) = caplog.records
        message = record.getMessage()
        assert str(path) in message and f"files of {bits} bits" in message
        assert f"multiply its values by {2 ** (16 - bits)}" in message
