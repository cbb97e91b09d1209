"""What a person sees of a run while it trains.

A progress bar where there is a terminal, plain lines where there is none, and
TensorBoard scalars and images in the run folder in both cases. Now and then a sample
is measured; scales/NN/metrics.csv keeps what was found, and timings.csv the pace.
"""

import contextlib
import csv
import datetime
import io
import logging
import math
import pathlib
import re
import statistics
import sys
import time
from typing import Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf
import tqdm

from singan_tf import files
from singan_tf.config import Config
from singan_tf.errors import UserError
from singan_tf.measure import metrics
from singan_tf.measure.inception import Inception
from singan_tf.model.networks import scale_width
from singan_tf.runs import checkpoint
from singan_tf.runs.checkpoint import LOSS_COLUMNS

logger = logging.getLogger(__name__)

# A step's fixed cost as if it were arithmetic, in pixels x channels^2; measured: a
# step at 25x34 and 32 channels is mostly overhead.
_OVERHEAD = 4e6
# Operations of a pass, for each pixel and each channel squared: three of its five
# convolutions have as many channels on both sides.
_OPERATIONS = 3 * 2 * 9
# Measured of steps (docs/training.md): their pace as a share of a convolution's, and
# what each takes besides its operations, in seconds.
_STEP_PACE = 0.65
_STEP_SECONDS = 0.015

_METRICS = ("sifid", "patch_frechet")
_STATUS = pathlib.Path("/proc/self/status")


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


class Metric(NamedTuple):
    """How far samples were from the photograph while a scale trained.

    Attributes:
        name: "sifid" or "patch_frechet".
        points: Pairs of the steps done and the value.
    """

    name: str
    points: list[tuple[int, float]]


class Monitor:
    """Shows a run's progress and writes its TensorBoard events."""

    def __init__(
        self,
        config: Config,
        sizes: list[tuple[int, int]],
        run_dir: pathlib.Path,
        inception: Optional[Inception] = None,
    ):
        """Opens the events folder.

        Args:
            config: Of the run.
            sizes: (height, width) of each scale.
            run_dir: The run folder.
            inception: For SIFID; without it, samples are measured by their patches.
        """
        self._metric_steps = config.runtime.metric_steps
        self._inception = inception
        self._run_dir = run_dir
        self._measured = {}
        self._timings = []
        self._config = config
        self._steps = config.training.steps
        self._log_steps = config.runtime.log_steps
        self._sizes = sizes
        self._costs = [_step_cost(config, n, size) for n, size in enumerate(sizes)]
        self._open = contextlib.ExitStack()
        events = run_dir / "events"
        files.make_folder(events)
        plain = self._open.enter_context(files.plain_path(events))
        self._writer = tf.summary.create_file_writer(plain)
        self._bar = None
        self._started = 0.0
        self._first_step = 0
        self._timed_at = 0.0
        self._timed_step = 0

    def start_scale(self, scale: int, first_step: int) -> None:
        """Announces a scale that starts, or goes on, at `first_step`."""
        height, width = self._sizes[scale]
        title = f"scale {scale}/{len(self._sizes) - 1} {width}x{height}"
        if not self._config.steps_at(scale):
            logger.info("%s: made of patches, without training", title)
        elif sys.stderr.isatty():
            self._bar = tqdm.tqdm(
                total=self._steps, initial=first_step, desc=title, unit="step"
            )
        else:
            logger.info("%s: step %d of %d", title, first_step, self._steps)
        self._started = self._timed_at = time.monotonic()
        self._first_step = self._timed_step = first_step
        # As for what was measured: later steps will be timed again.
        self._timings = [
            each
            for each in read_timings(self._run_dir, scale)
            if each.step <= first_step
        ]
        # What was measured after the checkpoint will be measured again.
        kept = read_metric(self._run_dir, scale)
        self._measured = {
            step: value
            for step, value in (kept.points if kept else ())
            if step <= first_step and kept.name == self._metric
        }

    def step(self, scale: int, step: int, losses: tf.Tensor) -> None:
        """Counts a step done.

        Args:
            scale: The scale.
            step: Its number, from 0.
            losses: float32 [len(LOSS_COLUMNS)]; read every few steps only, because
                reading waits for the device.
        """
        if self._bar:
            self._bar.update()
        done = step + 1
        if done % self._log_steps and done != self._steps:
            return
        values = dict(zip(LOSS_COLUMNS, losses.numpy().tolist()))
        self._keep_timing(scale, done)
        with self._writer.as_default(step):
            for name, value in values.items():
                tf.summary.scalar(f"scale_{scale:02d}/{name}", value)
        rate = (done - self._first_step) / (time.monotonic() - self._started)
        text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        left = self._time_left(scale, done, rate)
        if self._bar:
            self._bar.set_postfix_str(f"{text}; whole run {left} left")
        else:
            logger.info(
                "scale %d step %d/%d, %.3g steps/s, whole run %s left: %s",
                scale,
                done,
                self._steps,
                rate,
                left,
                text,
            )

    def measure(
        self,
        scale: int,
        step: int,
        real: tf.Tensor,
        draw: Callable[[], tf.Tensor],
    ) -> None:
        """Measures a sample after a step, if it is time to.

        Args:
            scale: The scale.
            step: Its number, from 0. After the last, `finish_scale` measures.
            real: The photograph there, float32 [1, H, W, C] in [-1, 1].
            draw: Makes the sample, likewise, and changes nothing.
        """
        done = step + 1
        if self._metric_steps and done % self._metric_steps == 0 and done < self._steps:
            self._keep_measured(scale, done, real, draw())

    def finish_scale(
        self, scale: int, real: tf.Tensor, fake: tf.Tensor, reconstruction: tf.Tensor
    ) -> None:
        """Closes a scale's bar and shows its images, float32 [1, H, W, C]."""
        steps = self._config.steps_at(scale)
        with self._writer.as_default(steps):
            for name, image in (
                ("real", real),
                ("fake", fake),
                ("reconstruction", reconstruction),
            ):
                tf.summary.image(f"scale_{scale:02d}/{name}", (image + 1) / 2)
        self._keep_measured(scale, steps, real, fake)
        self._close_bar()

    def close(self) -> None:
        """Writes what is buffered; call it however the run ends."""
        self._close_bar()
        self._writer.close()
        self._open.close()

    @property
    def _metric(self) -> str:
        return _METRICS[0 if self._inception else 1]

    def _keep_measured(
        self, scale: int, done: int, real: tf.Tensor, sample: tf.Tensor
    ) -> None:
        """Measures a sample, and writes the scale's table anew."""
        found = self._distance(sample.numpy(), real.numpy())
        if found is None:
            return
        self._measured[done] = found
        with self._writer.as_default(done):
            tf.summary.scalar(f"scale_{scale:02d}/{self._metric}", found)
        rows = ((n, f"{self._measured[n]:.9g}") for n in sorted(self._measured))
        _write_table(_metrics_path(self._run_dir, scale), ("step", self._metric), rows)

    def _keep_timing(self, scale: int, done: int) -> None:
        """Notes the pace since the last time, and writes the scale's table anew."""
        now = time.monotonic()
        self._timings.append(
            Timing(done, done - self._timed_step, now - self._timed_at, _peak_mib())
        )
        self._timed_at, self._timed_step = now, done
        rows = ((t.step, t.steps, *(f"{x:.9g}" for x in t[2:])) for t in self._timings)
        # To wait for the disk every few steps would slow training down.
        path, durable = _timings_path(self._run_dir, scale), done == self._steps
        _write_table(path, Timing._fields, rows, durable)

    def _distance(self, sample: np.ndarray, real: np.ndarray) -> Optional[float]:
        if not np.isfinite(sample).all():
            return None  # Training itself tells that it has diverged.
        if self._inception:
            return metrics.sifid(self._inception, sample, real)
        return metrics.patch_frechet(sample, real)

    def _close_bar(self) -> None:
        if self._bar:
            self._bar.close()
            self._bar = None

    def _time_left(self, scale: int, done: int, rate: float) -> str:
        """Of the whole run: the other scales' steps by their arithmetic."""
        steps = self._steps - done
        ahead = self._steps * sum(self._costs[scale + 1 :]) / self._costs[scale]
        return str(datetime.timedelta(seconds=round((steps + ahead) / rate)))


def share_done(run_dir: pathlib.Path) -> float:
    """How far a run has come, from 0 to 1, by the arithmetic of its steps."""
    try:
        config, photograph = checkpoint.read_run(run_dir)
        sizes = checkpoint.run_scales(config, photograph).sizes
        states = [checkpoint.read_state(run_dir, n) for n in range(len(sizes))]
    except UserError:
        # It has not begun, or its own process tells what is wrong.
        return 0.0
    if checkpoint.has_ended(run_dir, states):
        return 1.0
    costs = [_step_cost(config, n, size) for n, size in enumerate(sizes)]
    done = sum(cost * state.step for cost, state in zip(costs, states) if state)
    wanted = sum(cost * config.steps_at(n) for n, cost in enumerate(costs))
    # The pictures and the samples that a run ends with are still to come.
    return min(done / wanted, 0.99) if wanted else 0.0


class Silent:
    """In place of a `Monitor` where nothing is to be shown or written."""

    def start_scale(self, *arguments) -> None:
        """Shows nothing."""

    step = measure = finish_scale = start_scale

    def close(self) -> None:
        """Has nothing to close."""


def read_timings(run_dir: pathlib.Path, scale: int) -> list[Timing]:
    """The pace of a scale; empty if it was not kept."""
    try:
        text = _timings_path(run_dir, scale).read_text(encoding="utf-8")
        rows = list(csv.reader(text.splitlines()))
        if rows[:1] != [list(Timing._fields)]:
            return []
        return [Timing(int(a), int(b), float(c), float(d)) for a, b, c, d in rows[1:]]
    except (OSError, ValueError):
        # Only shown: a table that cannot be read is begun again.
        return []


def read_metric(run_dir: pathlib.Path, scale: int) -> Optional[Metric]:
    """What was measured while a scale trained; None if that was not kept."""
    try:
        text = _metrics_path(run_dir, scale).read_text(encoding="utf-8")
        rows = list(csv.reader(text.splitlines()))
        step, name = rows[0]
        points = [(int(done), float(value)) for done, value in rows[1:]]
    except (OSError, ValueError, IndexError):
        return None
    known = step == "step" and name in _METRICS and points
    return Metric(name, points) if known else None


def _metrics_path(run_dir: pathlib.Path, scale: int) -> pathlib.Path:
    return checkpoint.scale_dir(run_dir, scale) / "metrics.csv"


def _timings_path(run_dir: pathlib.Path, scale: int) -> pathlib.Path:
    return checkpoint.scale_dir(run_dir, scale) / "timings.csv"


def _write_table(path: pathlib.Path, header, rows, durable: bool = True) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    files.write_text(path, text.getvalue(), durable=durable)


def _peak_mib() -> float:
    """Of this process; getrusage would count what its parent held as well."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    except OSError:
        found = None
    return int(found[1]) / 1024 if found else math.nan


def hours_left(
    config: Config, sizes: list[tuple[int, int]], run_dir: Optional[pathlib.Path]
) -> float:
    """Roughly how long the rest of a run will take on this machine's processors.

    By the arithmetic of its steps, at the pace of a convolution that is timed here;
    what distances of patches and measurements take is not in it.

    Args:
        config: Of the run, its number of patch scales settled.
        sizes: (height, width) of each scale.
        run_dir: The run folder, which need not be there; None from the start.
    """
    batch = max(config.training.global_batch_size, 1)
    operations = sum(
        config.steps_at(scale) * _OPERATIONS * _passes(config, scale) * pixels_channels
        for scale, pixels_channels in (
            (n, _pixels(config, size) * scale_width(config.network, n) ** 2)
            for n, size in enumerate(sizes)
        )
    )
    seconds = batch * operations / (_STEP_PACE * _convolution_pace())
    seconds += _STEP_SECONDS * sum(config.steps_at(n) for n in range(len(sizes)))
    done = share_done(run_dir) if run_dir else 0
    return seconds * (1 - done) / 3600


def _convolution_pace() -> float:
    """Operations in a second of a convolution with 64 channels, about 0.1 s long."""
    image = tf.zeros([1, 96, 96, 64])
    kernel = tf.zeros([3, 3, 64, 64])
    times = []
    for _ in range(20):
        started = time.perf_counter()
        tf.nn.conv2d(image, kernel, 1, "SAME").numpy()
        times.append(time.perf_counter() - started)
    return 2 * 9 * 64**2 * 96**2 / statistics.median(times)


def _step_cost(config: Config, scale: int, size: tuple[int, int]) -> float:
    share = _passes(config, scale) / _passes_with_critic(config)
    channels = scale_width(config.network, scale)
    return share * (_pixels(config, size) * channels**2 + _OVERHEAD)


def _pixels(config: Config, size: tuple[int, int]) -> int:
    """Those of an image that a step sees."""
    return math.prod(min(config.training.crop_size or side, side) for side in size)


def _passes(config: Config, scale: int) -> int:
    """Passes of a step through a network, forwards or backwards."""
    if config.adversary.has_critic(scale):
        return _passes_with_critic(config)
    return 6


def _passes_with_critic(config: Config) -> int:
    training = config.training
    # 13 in an update of the critic, and 8 in the generator's.
    return 13 * training.critic_updates + 8 * training.generator_updates
