"""The names of functions that `display`, `pace` and `folder` replace.

# until every caller asks the run folder
"""

import pathlib
from typing import Optional

from singan_tf.config import Config
from singan_tf.measure.inception import Inception
from singan_tf.runs import display, pace
from singan_tf.runs.display import Silent
from singan_tf.runs.folder import RunFolder
from singan_tf.runs.tables import Metric, Timing

__all__ = ["Metric", "Silent", "Timing"]


class Monitor(display.Monitor):
    """`display.Monitor` by a path."""

    def __init__(
        self,
        config: Config,
        sizes: list[tuple[int, int]],
        run_dir: pathlib.Path,
        inception: Optional[Inception] = None,
    ):
        """Opens the events folder."""
        super().__init__(config, sizes, RunFolder(run_dir), inception)


def share_done(run_dir: pathlib.Path) -> float:
    """`pace.share_done`."""
    return pace.share_done(RunFolder(run_dir))


def hours_left(
    config: Config, sizes: list[tuple[int, int]], run_dir: Optional[pathlib.Path]
) -> float:
    """`pace.hours_left`."""
    return pace.hours_left(config, sizes, run_dir and RunFolder(run_dir))


def read_timings(run_dir: pathlib.Path, scale: int) -> list[Timing]:
    """`RunFolder.timings`."""
    return RunFolder(run_dir).timings(scale)


def read_metric(run_dir: pathlib.Path, scale: int) -> Optional[Metric]:
    """`RunFolder.metric`."""
    return RunFolder(run_dir).metric(scale)
