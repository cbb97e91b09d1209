"""What a person sees of a run while it trains.

A progress bar where there is a terminal, plain lines where there is none, and
TensorBoard scalars and images in the run folder in both cases. Now and then a sample
is measured; the run folder keeps what was found, and the pace.
"""

import contextlib
import datetime
import logging
import math
import pathlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Callable, Optional

import numpy as np
import tensorflow as tf
import tqdm

from singan_tf import files
from singan_tf import inside as inside_lib
from singan_tf.config import Config
from singan_tf.errors import printable, reason_of
from singan_tf.measure import metrics, spectrum
from singan_tf.measure.inception import Inception
from singan_tf.runs.folder import RunFolder
from singan_tf.runs.pace import step_cost
from singan_tf.runs.tables import LOSS_COLUMNS, METRICS, Metric, Point, Timing

logger = logging.getLogger(__name__)

_STATUS = pathlib.Path("/proc/self/status")


class Monitor:
    """Shows a run's progress and writes its TensorBoard events."""

    def __init__(
        self,
        config: Config,
        sizes: list[tuple[int, int]],
        run: RunFolder,
        inception: Optional[Inception] = None,
    ):
        """Opens the events folder.

        Args:
            config: Of the run.
            sizes: (height, width) of each scale.
            run: Its folder.
            inception: For SIFID; without it, samples are measured by their patches.
        """
        self._metric_steps = config.runtime.metric_steps
        self._inception = inception
        self._run = run
        self._measured: dict[int, Point] = {}
        self._timings: list[Timing] = []
        self._config = config
        self._steps = [config.steps_at(scale) for scale in range(len(sizes))]
        self._log_steps = config.runtime.log_steps
        self._sizes = sizes
        self._costs = [step_cost(config, n, size) for n, size in enumerate(sizes)]
        self._open = contextlib.ExitStack()
        files.make_folder(run.events)
        plain = self._open.enter_context(files.plain_path(run.events))
        self._writer = tf.summary.create_noop_writer()
        try:
            self._writer = tf.summary.create_file_writer(plain)
        except tf.errors.OpError as error:
            self._give_up_events(error)
        self._bar = None
        self._started = 0.0
        self._first_step = 0
        self._timed_at = 0.0
        self._timed_step = 0

    def start_scale(self, scale: int, first_step: int) -> None:
        """Announces a scale that starts, or goes on, at `first_step`."""
        height, width = self._sizes[scale]
        title = f"scale {scale}/{len(self._sizes) - 1} {width}x{height}"
        if not self._steps[scale]:
            logger.info("%s: made of patches, without training", title)
        elif sys.stderr.isatty():
            self._bar = tqdm.tqdm(
                total=self._steps[scale], initial=first_step, desc=title, unit="step"
            )
        else:
            logger.info("%s: step %d of %d", title, first_step, self._steps[scale])
        self._started = self._timed_at = time.monotonic()
        self._first_step = self._timed_step = first_step
        # As for what was measured: later steps will be timed again.
        self._timings = [
            each for each in self._run.timings(scale) if each.step <= first_step
        ]
        # What was measured after the checkpoint will be measured again.
        kept = self._run.metric(scale)
        self._measured = {
            point.step: point
            for point in (kept.points if kept and kept.name == self._metric else ())
            if point.step <= first_step
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
        if done % self._log_steps and done != self._steps[scale]:
            return
        values = dict(zip(LOSS_COLUMNS, losses.numpy().tolist()))
        self._keep_timing(scale, done)
        with self._events(step):
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
                self._steps[scale],
                rate,
                left,
                text,
            )

    def measure(
        self,
        scale: int,
        step: int,
        reals: Sequence[tf.Tensor],
        draw: Callable[[], tf.Tensor],
        insides: Sequence[Optional[np.ndarray]] = (),
    ) -> None:
        """Measures a sample after a step, if it is time to.

        Args:
            scale: The scale.
            step: Its number, from 0. After the last, `finish_scale` measures.
            reals: The photographs there, each float32 [1, H, W, C] in [-1, 1]; the
                sample is compared with the one whose patches it is nearest to.
            draw: Makes the sample, likewise, and changes nothing.
            insides: What of each photograph counts, bool [H, W], or None for all; none
                where all of all does.
        """
        done = step + 1
        due = self._metric_steps and done % self._metric_steps == 0
        if due and done < self._steps[scale]:
            self._keep_measured(scale, done, reals, draw(), insides)

    def finish_scale(
        self,
        scale: int,
        reals: Sequence[tf.Tensor],
        fake: tf.Tensor,
        reconstruction: tf.Tensor,
        insides: Sequence[Optional[np.ndarray]] = (),
    ) -> None:
        """Closes a scale's bar and shows its images, float32 [1, H, W, C].

        What of the photographs counts, `insides`, is as for `measure`.
        """
        steps = self._steps[scale]
        with self._events(steps):
            for name, image in (
                ("real", reals[0]),
                ("fake", fake),
                ("reconstruction", reconstruction),
            ):
                tf.summary.image(f"scale_{scale:02d}/{name}", (image + 1) / 2)
        self._keep_measured(scale, steps, reals, fake, insides)
        self._close_bar()

    def close(self) -> None:
        """Writes what is buffered; call it however the run ends."""
        self._close_bar()
        with self._open:
            try:
                self._writer.close()
            except tf.errors.OpError as error:
                self._give_up_events(error)

    @property
    def _metric(self) -> str:
        return METRICS[0 if self._inception else 1]

    @contextlib.contextmanager
    def _events(self, step: int) -> Iterator[None]:
        """Sends a block's summaries to TensorBoard, as of a step.

        They are shown only: where they cannot be written, the run does without.
        """
        writer = self._writer
        with writer.as_default(step):
            try:
                yield
                writer.flush()
            except tf.errors.OpError as error:
                self._give_up_events(error)

    def _give_up_events(self, error: tf.errors.OpError) -> None:
        logger.warning(
            "%s cannot be written (%s); the run does without, and TensorBoard shows no "
            "more of it.",
            printable(self._run.events),
            reason_of(error),
        )
        failed, self._writer = self._writer, tf.summary.create_noop_writer()
        # One that is not closed writes once more where its block ends: it fails there
        # again, and stays the writer of all that follow.
        with contextlib.suppress(tf.errors.OpError):
            failed.close()

    def _keep_measured(
        self,
        scale: int,
        done: int,
        reals: Sequence[tf.Tensor],
        sample: tf.Tensor,
        insides: Sequence[Optional[np.ndarray]],
    ) -> None:
        """Measures a sample, and writes the scale's table anew."""
        image = sample.numpy()
        if not np.isfinite(image).all():
            return  # Training itself tells that it has diverged.
        photographs = [each.numpy() for each in reals]
        nearest = metrics.nearest_photograph(image, photographs, insides)
        real = photographs[nearest]
        inside = inside_lib.of_each(insides, len(reals))[nearest]
        found = self._distance(image, real, inside)
        if found is None:
            return
        values = {self._metric: found}
        bands = spectrum.compare([image], real, inside)
        if bands:
            values.update(spectrum_rms=bands.rms, spectrum_worst=bands.worst)
        with self._events(done):
            for name, value in values.items():
                tf.summary.scalar(f"scale_{scale:02d}/{name}", value)
        self._measured[done] = Point(done, *values.values())
        points = [point for _, point in sorted(self._measured.items())]
        self._run.write_metric(scale, Metric(self._metric, points))

    def _keep_timing(self, scale: int, done: int) -> None:
        """Notes the pace since the last time, and writes the scale's table anew."""
        now = time.monotonic()
        self._timings.append(
            Timing(done, done - self._timed_step, now - self._timed_at, _peak_mib())
        )
        self._timed_at, self._timed_step = now, done
        # To wait for the disk every few steps would slow training down.
        last = done == self._steps[scale]
        self._run.write_timings(scale, self._timings, durable=last)

    def _distance(
        self, sample: np.ndarray, real: np.ndarray, inside: Optional[np.ndarray]
    ) -> Optional[float]:
        if self._inception:
            return metrics.sifid(self._inception, sample, real, inside)
        return metrics.patch_frechet(sample, real, inside)

    def _close_bar(self) -> None:
        if self._bar:
            self._bar.close()
            self._bar = None

    def _time_left(self, scale: int, done: int, rate: float) -> str:
        """Of the whole run: the other scales' steps by their arithmetic."""
        whole = [steps * cost for steps, cost in zip(self._steps, self._costs)]
        ahead = sum(whole[scale + 1 :]) / self._costs[scale]
        left = self._steps[scale] - done + ahead
        return str(datetime.timedelta(seconds=round(left / rate)))


class Silent:
    """In place of a `Monitor` where nothing is to be shown or written."""

    def start_scale(self, *arguments) -> None:
        """Shows nothing."""

    step = measure = finish_scale = start_scale

    def close(self) -> None:
        """Has nothing to close."""


def _peak_mib() -> float:
    """Of this process; getrusage would count what its parent held as well."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    except OSError:
        found = None
    return int(found[1]) / 1024 if found else math.nan
