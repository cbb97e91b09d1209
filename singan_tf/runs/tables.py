"""The tables in a scale's folder: losses, measurements and the pace, as CSV.

They are only shown: one that cannot be read is begun again and never costs a run.
"""

import csv
import io
import logging
import pathlib
from typing import NamedTuple, Optional

import numpy as np

from singan_tf import files

logger = logging.getLogger(__name__)

LOSS_COLUMNS = (
    "critic_real",
    "critic_fake",
    "gradient_penalty",
    "adversarial",
    "reconstruction",
)

# What samples are measured by, with Inception's weights and without.
METRICS = ("sifid", "patch_frechet")
# Beside it; tables of earlier versions lack these.
_SPECTRUM_COLUMNS = ("spectrum_rms", "spectrum_worst")


class Timing(NamedTuple):
    """The pace of some steps of a scale.

    Attributes:
        step: Steps done at their end.
        steps: How many they are.
        seconds: They took, with what was measured and saved between them; the first
            ones of a process also build the graph.
        peak_mib: The most memory that the process has held up to then; NaN where
            the system does not tell.
    """

    step: int
    steps: int
    seconds: float
    peak_mib: float


class Point(NamedTuple):
    """How far a sample was from the photograph.

    Attributes:
        step: Steps done.
        value: By the metric.
        spectrum_rms: Of `spectrum.Spectrum`, in dB; None where it is undefined or was
            not kept.
        spectrum_worst: Likewise.
    """

    step: int
    value: float
    spectrum_rms: Optional[float] = None
    spectrum_worst: Optional[float] = None


class Metric(NamedTuple):
    """How far samples were from the photograph while a scale trained.

    Attributes:
        name: "sifid" or "patch_frechet".
        points: What was measured, by steps done.
    """

    name: str
    points: list[Point]


def write_losses(path: pathlib.Path, losses: np.ndarray) -> None:
    """Writes the losses of every step so far, float32 [steps, len(LOSS_COLUMNS)]."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("step", *LOSS_COLUMNS))
    # Nine digits bring a float32 back exactly, so a resumed file equals an
    # uninterrupted one.
    for step, row in enumerate(losses):
        writer.writerow([step, *(f"{value:.9g}" for value in row)])
    files.write_text(path, text.getvalue())


def read_losses(path: pathlib.Path, steps: int) -> np.ndarray:
    """The losses of the first steps, float32 [steps, len(LOSS_COLUMNS)].

    Where the file lacks steps or is damaged, which is told, they are NaN.
    """
    losses = np.full([steps, len(LOSS_COLUMNS)], np.nan, np.float32)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row[1:] for row in csv.reader(file)][1:]
        found = np.array(rows[:steps], np.float32)
        found = found.reshape(-1, len(LOSS_COLUMNS))
    except (OSError, ValueError, csv.Error) as error:
        logger.warning("%s cannot be read (%s); what it showed is lost.", path, error)
        return losses
    if len(found) < steps:
        logger.warning("%s has %d of %d steps.", path, len(found), steps)
    losses[: len(found)] = found
    return losses


def read_timings(path: pathlib.Path) -> list[Timing]:
    """The pace of a scale; empty if it was not kept."""
    try:
        text = path.read_text(encoding="utf-8")
        rows = list(csv.reader(text.splitlines()))
        if rows[:1] != [list(Timing._fields)]:
            return []
        return [Timing(int(a), int(b), float(c), float(d)) for a, b, c, d in rows[1:]]
    except (OSError, ValueError):
        return []


def read_metric(path: pathlib.Path) -> Optional[Metric]:
    """What was measured while a scale trained; None if that was not kept."""
    try:
        text = path.read_text(encoding="utf-8")
        header, *rows = csv.reader(text.splitlines())
        step, name, *others = header
        points = [
            Point(int(row[0]), float(row[1]), *map(_float, row[2:])) for row in rows
        ]
    except (OSError, ValueError, IndexError, TypeError):
        return None
    known = step == "step" and name in METRICS and bool(points)
    known = known and tuple(others) in ((), _SPECTRUM_COLUMNS)
    known = known and all(len(row) == len(header) for row in rows)
    return Metric(name, points) if known else None


def write_timings(path: pathlib.Path, timings: list[Timing], durable: bool) -> None:
    """Writes the pace of a scale.

    Args:
        path: Of the table.
        timings: All of them so far.
        durable: Whether to wait until they are on the disk.
    """
    rows = ((t.step, t.steps, *(f"{x:.9g}" for x in t[2:])) for t in timings)
    _write_table(path, Timing._fields, rows, durable)


def write_metric(path: pathlib.Path, metric: Metric) -> None:
    """Writes what was measured of a scale so far."""
    rows = ((each.step, *map(_cell, each[1:])) for each in metric.points)
    _write_table(path, ("step", metric.name, *_SPECTRUM_COLUMNS), rows)


def _float(cell: str) -> Optional[float]:
    return float(cell) if cell else None


def _cell(value: Optional[float]) -> str:
    return "" if value is None else f"{value:.9g}"


def _write_table(path: pathlib.Path, header, rows, durable: bool = True) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    files.write_text(path, text.getvalue(), durable=durable)
