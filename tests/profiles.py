"""Colour profiles, written by hand, and the formulas that they stand for."""

import struct

import numpy as np

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


def grey_profile():
    """One of gamma 1.8."""
    tags = {"desc": text("Gamma 1.8"), "kTRC": curve(gamma(1.8))}
    return profile(b"GRAY", b"mntr", tags)


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
