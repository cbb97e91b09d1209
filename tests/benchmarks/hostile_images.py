"""Reads some hundreds of hostile image files, each in a process with limits.

    python tests/benchmarks/hostile_images.py

Each must be an image, float32 [1, H, W, 3] in [-1, 1], or one sentence (a UserError)
that names the file, within 20 seconds and 2.5 GB, and nothing else may be written.
Prints how many were which, and every violation; the exit status is 1 if there is any.
Runs on Linux; the files lie in a temporary folder.
"""

import collections
import io
import json
import os
import pathlib
import random
import resource
import signal
import socket
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
import tifffile
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from singan_tf import images  # noqa: E402
from singan_tf.errors import UserError, printable  # noqa: E402

SECONDS, BYTES, ADDRESSES = 20, 2.5e9, 8 * 2**30
MAGICS = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0"]
MAGICS += [b"MM\0*", b"II+\0", b"RIFF\0\0\0\0WEBPVP8 ", b"\0\0\0\x18ftypavif"]
SIZES = [(0, 0), (0, 9), (9, 0), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (65535, 65535)]
SIZES += [(100_000_001, 1), (100_000_000, 1), (1, 100_000_000)]
NAMES = ["new\nline", "\x1b[31mred", "tab\t", "\u202egnp", "ünï☃", " space ", "-dash"]
NAMES += ["%s{0}$(x)", "<b>", "q'uote\"", os.fsdecode(b"\xff\xfe"), "x" * 250]


def encode(pixels: np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def encode_tiff(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(size, data: bytes, depth=8, kind=2, before=b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0))
    return MAGICS[0] + header + before + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bmp(size) -> bytes:
    sides = struct.pack("<II", *size)
    info = struct.pack("<I8sHHIIIIII", 40, sides, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 154, 0, 0, 54) + info + bytes(100)


def gif(size) -> bytes:
    sides = struct.pack("<HH", size[0] % 2**16, size[1] % 2**16)
    screen = b"GIF89a" + sides + b"\xf0\0\0" + bytes(6)
    return screen + b"," + bytes(4) + sides + b"\0\2\2L\1\0;"


def tiff(size, data=bytes(100), **tags) -> bytes:
    """Little-endian, grey, of one strip; tags as t258=16 change it."""
    values = {256: size[0], 257: size[1], 258: 8, 259: 1, 262: 1, 273: 8, 277: 1}
    values |= {278: size[1], 279: len(data)}
    values |= {int(name[1:]): value for name, value in tags.items()}
    entries = [struct.pack("<HHII", tag, 4, 1, values[tag]) for tag in sorted(values)]
    head = struct.pack("<4sI", b"II*\0", 8 + len(data)) + data
    return head + struct.pack("<H", len(values)) + b"".join(entries) + bytes(4)


def inflated(size: int) -> bytes:
    """A zlib stream of so many zeros."""
    packer = zlib.compressobj(9)
    blocks = [packer.compress(bytes(2**20)) for _ in range(size // 2**20 + 1)]
    return b"".join(blocks) + packer.flush()


def damaged() -> Iterator[tuple[str, bytes]]:
    """Sound files with bits turned, cut short, zeroed or joined."""
    rng = random.Random(0)
    rows, columns = np.mgrid[:40, :56]
    photo = np.stack([rows * 6, columns * 4, rows * columns % 256], -1).astype("u1")
    deep = photo.astype("u2") * 257
    sound = {
        kind: encode(photo, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP")
    }
    sound["palette"] = encode(photo[..., 0], "PNG", bits=4)
    sound["progressive"] = encode(photo, "JPEG", progressive=True)
    sound["lossless"] = encode(photo, "WEBP", lossless=True)
    sound["deep grey"] = encode(deep[..., 0], "PNG")
    for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        sound[packing] = encode(photo, "TIFF", compression=packing)
    sound["deep"] = encode_tiff(deep, photometric="rgb")
    sound["zlib"] = encode_tiff(deep, photometric="rgb", compression="zlib")
    sound["big"] = encode_tiff(deep, photometric="rgb", bigtiff=True)
    sound["float"] = encode_tiff((photo / 255).astype("f4"), photometric="rgb")
    for name, data in sound.items():
        yield f"sound {name}", data
        for index in range(12):
            turned = bytearray(data)
            for _ in range(rng.choice([1, 2, 10, 50])):
                # Mostly in the head, where the structure is.
                end = len(data) if rng.random() < 0.4 else min(len(data), 200)
                turned[rng.randrange(end)] ^= 1 << rng.randrange(8)
            yield f"turned {name} {index}", bytes(turned)
        for share in (0.01, 0.05, 0.3, 0.6, 0.95, 0.999):
            yield f"cut {name} {share}", data[: int(len(data) * share)]
        yield f"zeroed {name}", data[: len(data) // 2].ljust(len(data), b"\0")
        yield f"joined {name}", data + data[::-1]


def made() -> Iterator[tuple[str, bytes]]:
    """Impossible sizes, bombs, metadata, other kinds."""
    for size in SIZES:
        for name, make in (("png", png), ("bmp", bmp), ("gif", gif), ("tif", tiff)):
            arguments = (zlib.compress(bytes(100)),) if make is png else ()
            yield f"size {size} {name}", make(size, *arguments)
        yield f"size {size} deep", tiff(size, t258=16)
        yield f"size {size} odd", tiff(size, t258=64)
    yield "bomb 400 megapixels", png((20000, 20000), inflated(12 * 10**8))
    yield "bomb 99 megapixels", png((9990, 9990), inflated(3 * 10**8))
    yield "bomb in 16x16", png((16, 16), inflated(10**9))
    for kind in (b"zTXt", b"iCCP"):
        text = chunk(kind, b"a\0\0" + inflated(3 * 10**8))
        yield f"bomb {kind}", png((9, 9), zlib.compress(bytes(252)), before=text)
    for bits in (8, 16, 32):
        strip = inflated(10**9)
        yield f"bomb strip {bits}", tiff((16, 16), strip, t258=bits, t259=8)
    for packing in (0, 2, 3, 4, 5, 6, 7, 9, 32773, 50000, 65535):
        data = random.Random(packing).randbytes(200)
        yield f"packing {packing}", tiff((16, 16), data, t259=packing)
        yield f"packing {packing} deep", tiff((16, 16), data, t258=16, t259=packing)
    page = tiff((9, 9))
    yield "endless pages", page[:-4] + struct.pack("<I", 108)
    for value in (np.nan, np.inf, -np.inf, 1e38, -1e-9, 1e300):
        for kind in ("f2", "f4", "f8"):
            with np.errstate(over="ignore"):
                yield (
                    f"{value} {kind}",
                    encode_tiff(np.full((9, 9), value).astype(kind)),
                )
    pixels = np.zeros((9, 9, 3), np.uint8)
    noise = random.Random(1).randbytes(3000)
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        yield f"profile {kind}", encode(pixels, kind, icc_profile=noise)
    for kind in ("PNG", "JPEG", "WEBP"):
        yield f"exif {kind}", encode(pixels, kind, exif=b"Exif\0\0" + noise)
        for value in (0, 9, 65535):
            exif = Image.Exif()
            exif[274] = value
            yield f"orientation {value} {kind}", encode(pixels, kind, exif=exif)
    for depth, kind in ((0, 0), (3, 0), (16, 3), (1, 2), (8, 1), (8, 3), (255, 255)):
        yield (
            f"depth {depth} {kind}",
            png((9, 9), zlib.compress(bytes(999)), depth, kind),
        )
    for index, magic in enumerate(MAGICS):
        yield f"magic {index}", magic
        yield f"magic {index} noise", magic + noise
    for start in (b"", b"\0", b"<svg/>", b"%PDF-1.7", b"PK\3\4", b"text\n", noise):
        yield f"other {start[:5]}", start
    for brand in (b"heic", b"mif1", b"avif", b"crx ", b"isom"):
        yield f"other {brand}", b"\0\0\0\x18ftyp" + brand + bytes(100)


def special(folder: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """What is no regular file, or cannot be opened, or is vast."""
    os.mkfifo(folder / "pipe")
    # It closes with the process.
    socket.socket(socket.AF_UNIX).bind(str(folder / "socket"))
    (folder / "loop").symlink_to("loop")
    (folder / "broken").symlink_to("nowhere")
    for name in ("pipe", "socket", "loop", "broken", "absent", "", "x" * 300, "a\0b"):
        yield f"special {name[:9]}", folder / name
    for path in ("/dev/zero", "/dev/null", "/dev/tty", "/proc/self/mem", "/dev/fd/0"):
        yield path, pathlib.Path(path)
    for index, magic in enumerate([*MAGICS, b""]):
        path = folder / f"vast {index}"
        with path.open("wb") as file:
            file.write(magic)
            file.truncate(2**33)  # nothing of it is stored
        yield f"vast {index}", path


def cases(folder: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """All of them, by a name for what is printed."""
    for index, (name, data) in enumerate((*damaged(), *made())):
        path = folder / f"{index}.image"
        path.write_bytes(data)
        yield name, path
    for name in NAMES:
        for data in (b"junk", encode(np.zeros((9, 9, 4), np.uint8), "PNG")):
            path = folder / f"{name}{len(data)}"
            path.write_bytes(data)
            yield f"name {name}", path
    yield from special(folder)


def read(path: pathlib.Path) -> tuple[str, str]:
    """What came of reading: «image», «sentence» or «violation», and of the last why."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = images.read(path)
    except UserError as error:
        message = printable(error)
        if printable(path) not in message or not message.endswith("."):
            return "violation", message
        return "sentence", message
    except BaseException as error:
        return "violation", repr(error)
    if found.dtype != np.float32 or found.ndim != 4 or not found.size:
        return "violation", f"{found.dtype} {found.shape}"
    if not (found.min() >= -1 and found.max() <= 1):  # nor NaN
        return "violation", f"from {found.min()} to {found.max()}"
    return "image", ""


def limited(path: pathlib.Path) -> tuple[str, str]:
    """`read` in a process of its own, with limits."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as answer:
        started, child = time.monotonic(), os.fork()
        if not child:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
            signal.alarm(SECONDS)
            answer.write(json.dumps(read(path)).encode())
            answer.flush()
            os._exit(0)
        _, status, usage = os.wait4(child, 0)
        seconds = time.monotonic() - started
        answer.seek(0)
        said.seek(0)
        written = said.read()
        if status:
            return "violation", f"ended by {status} after {seconds:.0f} s"
        if written:
            return "violation", f"wrote {written[:200]!r}"
        if usage.ru_maxrss * 1024 > BYTES:
            return "violation", f"took {usage.ru_maxrss / 1e6:.1f} GB"
        return tuple(json.loads(answer.read()))


def main() -> int:
    """Reads all of them; the exit status."""
    counts, slowest = collections.Counter(), (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        for name, path in cases(pathlib.Path(folder)):
            started = time.monotonic()
            kind, why = limited(path)
            slowest = max(slowest, (time.monotonic() - started, name))
            counts[kind] += 1
            if kind == "violation":
                print(f"{printable(name)}: {printable(why)}", flush=True)
    print(f"{sum(counts.values())} files: {dict(counts)}")
    print(f"The slowest: {slowest[0]:.1f} s, {printable(slowest[1])}")
    return int(counts["violation"] > 0)


if __name__ == "__main__":
    sys.exit(main())
