"""The run folder: what a run leaves on disk, and how it is found again.

Every file is written whole, under a temporary name that is then changed, so a
process killed at any moment leaves a folder that the same command continues. The
truth about a scale is its state.json, written last: the step it has reached, the
checkpoint that holds it, and whether the scale is finished.
"""

import csv
import fcntl
import io
import json
import pathlib
import re
import shutil
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorflow as tf

import singan_tf
from singan_tf import config as config_lib
from singan_tf import errors, files, images, stages
from singan_tf.config import Config
from singan_tf.errors import UserError
from singan_tf.pyramid import Scales, plan_scales
from singan_tf.singan import SinGAN

# The contact sheet of samples, the last file that a run writes.
SAMPLES_NAME = "samples.png"

LOSS_COLUMNS = (
    "critic_real",
    "critic_fake",
    "gradient_penalty",
    "adversarial",
    "reconstruction",
)


class Photograph(NamedTuple):
    """What a run folder remembers of its photograph.

    Attributes:
        name: File name.
        height: In pixels, as read.
        width: In pixels, as read.
        sha256: Of the file.
    """

    name: str
    height: int
    width: int
    sha256: str


class ScaleState(NamedTuple):
    """How far the training of a scale has come.

    Attributes:
        step: Steps done.
        finished: Whether the scale is.
        checkpoint: Name of the checkpoint that holds it, in the scale's folder.
    """

    step: int
    finished: bool
    checkpoint: str

    @classmethod
    def at(cls, step: int, finished: bool) -> "ScaleState":
        """A state as `save` leaves it."""
        return cls(step, finished, f"step-{step:06d}" + "-finished" * finished)


def open_run(
    run_dir: pathlib.Path, config: Config, photograph: Photograph, overwrite: bool
) -> io.TextIOBase:
    """Starts a run folder, or checks that an existing one is the same run.

    Args:
        run_dir: The folder; made if missing.
        config: Of the run.
        photograph: That it trains on.
        overwrite: Deletes an existing run first.

    Returns:
        An open file that keeps other processes from training in the folder, as
        long as it is open.

    Raises:
        UserError: if the folder holds another run or something else, cannot be
            written, or another process is training in it.
    """
    path = run_dir / "config.json"
    if run_dir.exists() and not run_dir.is_dir():
        raise UserError(f"--run_dir={run_dir} is a file; name a folder.")
    if path.exists() and not overwrite:
        _refuse_other_run(run_dir, config, photograph)
    elif run_dir.exists() and not path.exists():
        # What a killed start left behind is hidden and does not count.
        if any(not entry.name.startswith(".") for entry in run_dir.iterdir()):
            raise UserError(
                f"--run_dir={run_dir} exists and holds no run; name a new or an empty "
                "folder."
            )
    held = _lock(run_dir)
    if overwrite:
        _clear(run_dir)
    if not path.exists():
        write_json(
            path,
            {
                "version": singan_tf.__version__,
                "image": photograph._asdict(),
                "config": config_lib.to_json(config),
            },
        )
    return held


def _refuse_other_run(run_dir, config: Config, photograph: Photograph) -> None:
    stored_config, stored_photograph = read_run(run_dir)
    found = config_lib.differences(stored_config, config)
    if stored_photograph.sha256 != photograph.sha256:
        change = f"{stored_photograph.name} -> {photograph.name}"
        if stored_photograph.name == photograph.name:
            change = f"another photograph that is named {photograph.name}, too"
        found.insert(0, f"--image: {change}")
    if found:
        raise UserError(
            f"--run_dir={run_dir} holds another run "
            f"({'; '.join(found)}); use another --run_dir, the same settings, or "
            "--overwrite to delete that run."
        )


def _lock(run_dir: pathlib.Path) -> io.TextIOBase:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        file = open(run_dir / ".lock", "w")
    except OSError as error:
        raise UserError(
            f"--run_dir={run_dir} cannot be written ({error.strerror}); "
            f"{errors.way_out(error) or 'name another folder'}."
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if not isinstance(error, BlockingIOError):
            raise UserError(
                f"--run_dir={run_dir} cannot be kept from other processes "
                f"({error.strerror}); name a folder on another disk."
            ) from None
        raise UserError(
            f"Another process is training in --run_dir={run_dir}; wait for it or name "
            "another folder."
        ) from None
    return file


def _clear(run_dir: pathlib.Path) -> None:
    """Deletes a run, config.json last: a run cut short here is still known as one."""
    kept = {".lock", "config.json"}
    for entry in [e for e in run_dir.iterdir() if e.name not in kept]:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    (run_dir / "config.json").unlink(missing_ok=True)


def read_run(run_dir: pathlib.Path) -> tuple[Config, Photograph]:
    """Reads the configuration and the photograph's facts of a run.

    Raises:
        UserError: if there is no run, or its config.json is damaged.
    """
    data = read_json(run_dir / "config.json")
    if data is None:
        raise UserError(
            f"There is no run in --run_dir={run_dir} (no config.json); train one first."
        )
    try:
        return config_lib.from_json(data["config"]), Photograph(**data["image"])
    except (KeyError, TypeError, UserError) as error:
        raise UserError(
            f"{run_dir / 'config.json'} is damaged or from another version of the "
            f"program ({error}); train again with another --run_dir."
        ) from None


def scale_dir(run_dir: pathlib.Path, scale: int) -> pathlib.Path:
    """The folder of a scale."""
    return run_dir / "scales" / f"{scale:02d}"


def read_state(run_dir: pathlib.Path, scale: int) -> Optional[ScaleState]:
    """How far a scale has come; None before its first checkpoint.

    Raises:
        UserError: if the scale's state is damaged.
    """
    folder = scale_dir(run_dir, scale)
    data = read_json(folder / "state.json")
    if data is None:
        return None
    try:
        state = ScaleState(**data)
    except TypeError:
        raise _damaged(folder, "its state.json is not one of this program") from None
    if not (folder / f"{state.checkpoint}.index").exists():
        raise _damaged(folder, f"its checkpoint {state.checkpoint} is missing")
    return state


def is_finished(run_dir: pathlib.Path, num_scales: int) -> bool:
    """Whether every scale is, and the contact sheet that ends a run is there."""
    states = (read_state(run_dir, scale) for scale in range(num_scales))
    scales_finished = all(state is not None and state.finished for state in states)
    return scales_finished and (run_dir / SAMPLES_NAME).exists()


def save(
    run_dir: pathlib.Path,
    scale: int,
    objects: dict[str, Any],
    losses: np.ndarray,
    finished: bool,
) -> None:
    """Stores the training state of a scale.

    Args:
        run_dir: The run.
        scale: The scale.
        objects: What a tf.train.Checkpoint holds, by name.
        losses: One row for each step so far, float32 [steps, len(LOSS_COLUMNS)].
        finished: Whether the scale is.

    Raises:
        UserError: if the folder cannot be written; the last state stays valid.
    """
    folder = scale_dir(run_dir, scale)
    folder.mkdir(parents=True, exist_ok=True)
    _write_losses(folder / "losses.csv", losses)
    state = ScaleState.at(len(losses), finished)
    name = state.checkpoint
    try:
        tf.train.Checkpoint(**objects).write(str(folder / name))
    except tf.errors.OpError as error:
        reason = "no space left" if "No space left" in error.message else error.message
        raise UserError(
            f"{folder} cannot be written ({reason}); free some space and run the same "
            "command again: it goes on from the last checkpoint."
        ) from None
    write_json(folder / "state.json", state._asdict())
    for entry in folder.glob("step-*"):
        if not re.fullmatch(re.escape(name) + r"\.(index|data-.*)", entry.name):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def restore(
    run_dir: pathlib.Path, scale: int, state: ScaleState, objects: dict[str, Any]
) -> None:
    """Gives objects the values that `save` stored, or some of them.

    Raises:
        UserError: if the checkpoint is damaged or does not hold the objects.
    """
    folder = scale_dir(run_dir, scale)
    try:
        status = tf.train.Checkpoint(**objects).read(str(folder / state.checkpoint))
        status.assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, AssertionError, IndexError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise _damaged(folder, f"{state.checkpoint} cannot be read: {reason}") from None


def read_losses(run_dir: pathlib.Path, scale: int, state: ScaleState) -> np.ndarray:
    """The losses of the steps that `state` covers, float32 [steps, columns].

    Raises:
        UserError: if the file is damaged.
    """
    path = scale_dir(run_dir, scale) / "losses.csv"
    try:
        with open(path, newline="") as file:
            rows = [row[1:] for row in csv.reader(file)][1:]
        losses = np.array(rows[: state.step], np.float32)
        losses = losses.reshape(-1, len(LOSS_COLUMNS))
    except (OSError, ValueError) as error:
        raise _damaged(path.parent, f"losses.csv cannot be read: {error}") from None
    if len(losses) != state.step:
        raise _damaged(path.parent, f"losses.csv has {len(losses)} steps")
    return losses


def load(run_dir: pathlib.Path) -> tuple[SinGAN, Config]:
    """Loads a finished run for use.

    Args:
        run_dir: The run.

    Returns:
        The trained pyramid and the run's configuration.

    Raises:
        UserError: if there is no run, it is damaged or it is not finished.
    """
    config, photograph = read_run(run_dir)
    scales = run_scales(config, photograph)
    singan = SinGAN(scales.sizes, config.network.channels)
    for scale, size in enumerate(scales.sizes):
        state = read_state(run_dir, scale)
        if state is None or not state.finished:
            raise UserError(
                f"The run in --run_dir={run_dir} is not finished: {scale} of "
                f"{len(scales.sizes)} scales are; run its train command again to go on."
            )
        singan.stages.append(stages.build_stage(config, scale, size))
        if scale == 0:
            singan.set_reconstruction_noise(0)
        restore(run_dir, scale, state, model_objects(singan, scale))
    return singan, config


def model_objects(singan: SinGAN, scale: int) -> dict[str, Any]:
    """What the checkpoint of a scale holds of the model itself."""
    objects = {"stage": singan.stages[scale]}
    if scale == 0:
        objects["reconstruction_noise"] = singan.reconstruction_noise
    return objects


def run_scales(config: Config, photograph: Photograph) -> Scales:
    """The scales of a run."""
    return plan_scales(photograph.height, photograph.width, config.pyramid)


def write_pyramid(run_dir: pathlib.Path, reals: list[tf.Tensor]) -> None:
    """Writes the reals as pictures."""
    for scale, real in enumerate(reals):
        images.write(run_dir / "pyramid" / f"{scale:02d}.png", real.numpy())


def _write_losses(path: pathlib.Path, losses: np.ndarray) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("step", *LOSS_COLUMNS))
    # Nine digits bring a float32 back exactly, so a resumed file equals an
    # uninterrupted one.
    for step, row in enumerate(losses):
        writer.writerow([step, *(f"{value:.9g}" for value in row)])
    files.write_text(path, text.getvalue())


def write_json(path: pathlib.Path, data: dict[str, Any]) -> None:
    """Writes a JSON file whole."""
    files.write_text(path, json.dumps(data, indent=2) + "\n")


def read_json(path: pathlib.Path) -> Optional[dict[str, Any]]:
    """The contents of a JSON file; None if there is no such file.

    Raises:
        UserError: if it is damaged.
    """
    try:
        data = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}).") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} is damaged (not a JSON object).")
    return data


def _damaged(folder: pathlib.Path, reason: str) -> UserError:
    return UserError(
        f"{folder} is damaged: {reason}; delete {folder} and the finer scales to "
        "train them again."
    )
