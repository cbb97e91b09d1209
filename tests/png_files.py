"""PNG files made of chunks, for those that no library writes."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def header(width, height, depth, colour_type):
    """The first chunk."""
    return chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    )


def png(width, height, depth, colour_type, data, extra=b""):
    """A file of these rows, each after its filter's byte, with more chunks before."""
    return (
        SIGNATURE
        + header(width, height, depth, colour_type)
        + extra
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def grey_png(height, width, rows=None):
    """A file of black pixels; with fewer rows than it says it is a bomb or broken."""
    rows = height if rows is None else rows
    return png(width, height, 8, 0, bytes((1 + width) * rows))
