"""The names of functions that `folder` and its neighbours replace.

# until every caller asks the run folder
"""

import io
import pathlib
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from singan_tf.config import Config
from singan_tf.errors import Damaged, reason_of
from singan_tf.files import read_json, write_json
from singan_tf.model.singan import SinGAN
from singan_tf.runs import loading
from singan_tf.runs.checkpoints import ScaleState
from singan_tf.runs.folder import (
    Circumstances,
    Photograph,
    RunFolder,
    model_objects,
    run_scales,
)
from singan_tf.runs.tables import LOSS_COLUMNS

__all__ = [
    "LOSS_COLUMNS",
    "Circumstances",
    "Damaged",
    "Photograph",
    "ScaleState",
    "model_objects",
    "read_json",
    "reason_of",
    "run_scales",
    "write_json",
]

SAMPLES_NAME = RunFolder(pathlib.Path()).samples
REPORT_NAME = RunFolder(pathlib.Path()).report


def open_run(
    run_dir: pathlib.Path,
    config: Config,
    photograph: Photograph,
    overwrite: bool,
    circumstances: Circumstances = Circumstances(),  # noqa: B008
) -> io.TextIOBase:
    """`RunFolder.open`."""
    return RunFolder(run_dir).open(config, photograph, overwrite, circumstances)


def read_run(run_dir: pathlib.Path) -> tuple[Config, Photograph]:
    """`RunFolder.read`."""
    return RunFolder(run_dir).read()


def scale_dir(run_dir: pathlib.Path, scale: int) -> pathlib.Path:
    """`RunFolder.scale`."""
    return RunFolder(run_dir).scale(scale)


def read_state(run_dir: pathlib.Path, scale: int) -> Optional[ScaleState]:
    """`RunFolder.state`."""
    return RunFolder(run_dir).state(scale)


def sound_state(run_dir: pathlib.Path, scale: int) -> Optional[ScaleState]:
    """`RunFolder.sound_state`."""
    return RunFolder(run_dir).sound_state(scale)


def is_finished(run_dir: pathlib.Path, num_scales: int) -> bool:
    """`RunFolder.is_finished`."""
    return RunFolder(run_dir).is_finished(num_scales)


def save(
    run_dir: pathlib.Path,
    scale: int,
    objects: dict[str, Any],
    losses: np.ndarray,
    finished: bool,
) -> None:
    """`RunFolder.save`."""
    RunFolder(run_dir).save(scale, objects, losses, finished)


def restore(
    run_dir: pathlib.Path, scale: int, state: ScaleState, objects: dict[str, Any]
) -> None:
    """`RunFolder.restore`."""
    RunFolder(run_dir).restore(scale, state, objects)


def read_losses(run_dir: pathlib.Path, scale: int, state: ScaleState) -> np.ndarray:
    """`RunFolder.losses`."""
    return RunFolder(run_dir).losses(scale, state)


def load(run_dir: pathlib.Path) -> tuple[SinGAN, Config]:
    """`loading.load`."""
    return loading.load(RunFolder(run_dir))


def write_pyramid(run_dir: pathlib.Path, reals: list[tf.Tensor]) -> None:
    """`RunFolder.write_pyramid`."""
    RunFolder(run_dir).write_pyramid(reals)
