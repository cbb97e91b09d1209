"""The run folder: what a run leaves on disk, and how it is found again.

Every file is written whole and synced, under a temporary name that is then changed, so
a process killed at any moment, or a power cut, leaves a folder that the same command
continues. The truth about a scale is its state.json, written last: the step it has
reached, the checkpoint that holds it, and whether the scale is finished. The checkpoint
before that one stays until the next, for the case that a file is damaged all the same.
"""

import contextlib
import csv
import errno
import fcntl
import io
import json
import logging
import os
import pathlib
import re
import shutil
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorflow as tf

import singan_tf
from singan_tf import config as config_lib
from singan_tf import errors, files, images
from singan_tf.config import Config
from singan_tf.errors import UserError
from singan_tf.model import stages
from singan_tf.model.pyramid import Scales, plan_scales
from singan_tf.model.singan import SinGAN

logger = logging.getLogger(__name__)

# The contact sheet of samples, the last file that a run writes.
SAMPLES_NAME = "samples.png"
# The page of a finished run.
REPORT_NAME = pathlib.Path("report", "index.html")

LOSS_COLUMNS = (
    "critic_real",
    "critic_fake",
    "gradient_penalty",
    "adversarial",
    "reconstruction",
)

# Photographs have fewer pixels, and TensorFlow counts no further.
_MOST_SIDE = 2**31
_COPY = "bring back a copy of it; nothing else has to go"
_SUFFIXES = (".index", ".data-00000-of-00001")
_CHECKPOINT = re.compile(r"step-(\d{6,})(-finished)?\.index")


class Damaged(UserError):
    """A file of a run that is not as it was written: too short, or other bytes.

    Attributes:
        what: Which one and how, without a full stop.
    """

    def __init__(self, what: str, way_out: str):
        """Makes one sentence of both."""
        super().__init__(f"{what}; {way_out}.")
        self.what = what


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

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ScaleState":
        """A state from what state.json holds.

        Raises:
            TypeError: if that is no state, or one that `save` does not leave.
        """
        state = cls(**data)
        if type(state.step) is not int or type(state.finished) is not bool:
            raise TypeError("a step must be a whole number and finished true or false")
        if state.step < 0 or state != cls.at(state.step, state.finished):
            raise TypeError(f"no checkpoint of step {state.step} has its name")
        return state


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
        _delete(entry)
    files.sync(run_dir)
    (run_dir / "config.json").unlink(missing_ok=True)


def _delete(path: pathlib.Path) -> None:
    """Deletes a file, a link or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


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
        photograph = Photograph(**data["image"])
        sides = (photograph.height, photograph.width)
        texts = (photograph.name, photograph.sha256)
        if not all(type(side) is int and 0 < side < _MOST_SIDE for side in sides):
            raise TypeError("the sides of its image are no numbers of pixels")
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("the name or the checksum of its image is no text")
        return config_lib.from_json(data["config"]), photograph
    except (KeyError, TypeError, UserError) as error:
        raise UserError(
            f"{run_dir / 'config.json'} is damaged or from another version of the "
            f"program ({error}); bring back a copy of it, or train with another "
            "--run_dir."
        ) from None


def scale_dir(run_dir: pathlib.Path, scale: int) -> pathlib.Path:
    """The folder of a scale."""
    return run_dir / "scales" / f"{scale:02d}"


def read_state(run_dir: pathlib.Path, scale: int) -> Optional[ScaleState]:
    """How far a scale has come, by its state.json; None before its first checkpoint.

    Raises:
        Damaged: if the state is damaged, or a file of its checkpoint is not there.
    """
    folder = scale_dir(run_dir, scale)
    try:
        data = read_json(folder / "state.json")
        state = None if data is None else ScaleState.from_json(data)
    except (Damaged, TypeError) as error:
        reason = getattr(error, "what", f"its state.json is of no scale ({error})")
        raise _damaged(folder, reason) from None
    if state is not None:
        _require_files(folder, state)
    return state


def sound_state(run_dir: pathlib.Path, scale: int) -> Optional[ScaleState]:
    """The state to go on from; None before a scale's first checkpoint.

    It is that of state.json, unless that or its checkpoint is damaged and an older
    checkpoint is whole: then it is the older one's, which is told, and noted in
    state.json.

    Raises:
        Damaged: if no checkpoint is whole.
        UserError: if one cannot be read for another reason.
    """
    folder = scale_dir(run_dir, scale)
    try:
        state = read_state(run_dir, scale)
        if state is not None:
            _require_whole(folder, state)
        return state
    except Damaged as error:
        older = _sound_checkpoint(folder)
        if older is None:
            raise Damaged(
                error.what,
                f"move {folder} away and give the same command again: this scale is "
                "trained anew then, and no other",
            ) from None
        damage = error.what
    logger.warning("%s; going on from the checkpoint of step %d.", damage, older.step)
    write_json(folder / "state.json", older._asdict())
    return older


def is_finished(run_dir: pathlib.Path, num_scales: int) -> bool:
    """Whether every scale is, and whole, and the sheet that ends a run is there.

    Raises:
        UserError: if a checkpoint cannot be read for a reason other than damage.
    """
    try:
        states = [read_state(run_dir, scale) for scale in range(num_scales)]
        if not has_ended(run_dir, states):
            return False
        for scale, state in enumerate(states):
            _require_whole(scale_dir(run_dir, scale), state)
    except Damaged:
        return False
    return True


def has_ended(run_dir: pathlib.Path, states: list[Optional[ScaleState]]) -> bool:
    """Whether a run says so of itself: quick, as no checkpoint is read."""
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

    Everything is on the disk before state.json names it. The checkpoint that
    state.json named until then stays as well; those before it go.

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
    _write_losses(folder / "losses.csv", losses)
    before = None
    # What else could be damaged by now must not keep this from being stored.
    with contextlib.suppress(Damaged):
        before = read_state(run_dir, scale)
    state = ScaleState.at(len(losses), finished)
    try:
        with files.plain_path(folder) as plain:
            tf.train.Checkpoint(**objects).write(f"{plain}/{state.checkpoint}")
        for suffix in _SUFFIXES:
            files.sync(folder / f"{state.checkpoint}{suffix}")
        files.sync(folder)
    except (OSError, tf.errors.OpError) as error:
        raise UserError(
            f"{folder} cannot be written ({reason_of(error)}); mend that and run the "
            "same command again: it goes on from the last checkpoint."
        ) from None
    kept = {
        f"{each.checkpoint}{suffix}"
        for each in (state, before or state)
        for suffix in _SUFFIXES
    }
    # Before state.json is written, or a process killed after it would leave them.
    for entry in folder.glob("step-*"):
        if entry.name not in kept:
            _delete(entry)
    write_json(folder / "state.json", state._asdict())


def restore(
    run_dir: pathlib.Path, scale: int, state: ScaleState, objects: dict[str, Any]
) -> None:
    """Gives objects the values that `save` stored, or some of them.

    Raises:
        Damaged: if the checkpoint is damaged.
        UserError: if it does not hold the objects, or cannot be read.
    """
    folder = scale_dir(run_dir, scale)
    _require_whole(folder, state)
    try:
        with files.plain_path(folder) as plain:
            prefix = f"{plain}/{state.checkpoint}"
            status = tf.train.Checkpoint(**objects).read(prefix)
        status.assert_existing_objects_matched().expect_partial()
    except (OSError, tf.errors.OpError) as error:
        raise _unreadable(folder, state, error) from None
    except (AssertionError, ValueError) as error:
        raise UserError(
            f"{folder / state.checkpoint} is whole but not of the networks that "
            f"{run_dir / 'config.json'} describes ({reason_of(error)}); bring back the "
            "config.json that it was trained with, or the version of the program."
        ) from None


def _require_whole(folder: pathlib.Path, state: ScaleState) -> None:
    """Reads all of a checkpoint.

    Raises:
        Damaged: if something is missing from it, or a checksum is wrong.
        UserError: if it cannot be read for another reason.
    """
    _require_files(folder, state)
    try:
        # TensorFlow's errors do not tell one reason from another; the system's do.
        for suffix in _SUFFIXES:
            (folder / f"{state.checkpoint}{suffix}").open("rb").close()
        with files.plain_path(folder) as plain:
            reader = tf.train.load_checkpoint(f"{plain}/{state.checkpoint}")
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
    except (OSError, tf.errors.ResourceExhaustedError) as error:
        raise _unreadable(folder, state, error) from None
    # A file that ends too early is an IndexError.
    except (tf.errors.OpError, IndexError) as error:
        if _system_reason(error):
            raise _unreadable(folder, state, error) from None
        reason = f"{state.checkpoint} is not as it was written ({reason_of(error)})"
        raise _damaged(folder, reason) from None


def _require_files(folder: pathlib.Path, state: ScaleState) -> None:
    """Looks whether a checkpoint has its files, whatever is in them.

    Raises:
        Damaged: if one is missing. A link counts as there, wherever it leads: its
            disk may not be mounted.
    """
    for suffix in _SUFFIXES:
        name = f"{state.checkpoint}{suffix}"
        if not os.path.lexists(folder / name):
            raise _damaged(folder, f"{name} is missing")


def _sound_checkpoint(folder: pathlib.Path) -> Optional[ScaleState]:
    """The state of the newest checkpoint in a folder that is whole, if there is one."""
    found = []
    for entry in folder.iterdir():
        match = _CHECKPOINT.fullmatch(entry.name)
        if match:
            found.append(ScaleState.at(int(match[1]), bool(match[2])))
    for state in sorted(found, reverse=True):
        try:
            _require_whole(folder, state)
            return state
        except Damaged:
            continue
    return None


def read_losses(run_dir: pathlib.Path, scale: int, state: ScaleState) -> np.ndarray:
    """The losses of the steps that `state` covers, float32 [steps, columns].

    They are only shown: where the file lacks steps or is damaged, which is told, they
    are NaN.
    """
    path = scale_dir(run_dir, scale) / "losses.csv"
    losses = np.full([state.step, len(LOSS_COLUMNS)], np.nan, np.float32)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row[1:] for row in csv.reader(file)][1:]
        found = np.array(rows[: state.step], np.float32)
        found = found.reshape(-1, len(LOSS_COLUMNS))
    except (OSError, ValueError, csv.Error) as error:
        logger.warning("%s cannot be read (%s); what it showed is lost.", path, error)
        return losses
    if len(found) < state.step:
        logger.warning("%s has %d of %d steps.", path, len(found), state.step)
    losses[: len(found)] = found
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
        Damaged: if it is not one JSON object.
        UserError: if it cannot be read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}).") from None
    # Brackets in brackets, thousands deep, are no object of ours either.
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path} is damaged ({error})", _COPY) from None
    if not isinstance(data, dict):
        raise Damaged(f"{path} is damaged (not a JSON object)", _COPY)
    return data


def _damaged(folder: pathlib.Path, reason: str) -> Damaged:
    return Damaged(
        f"{folder} is damaged: {reason}",
        "give the run's train command again, which goes on from the checkpoint before "
        "that one, or says what is left to do",
    )


def _unreadable(folder: pathlib.Path, state: ScaleState, error: Exception) -> UserError:
    path = pathlib.Path(getattr(error, "filename", None) or folder / state.checkpoint)
    link = f", a link to {os.readlink(path)}," if path.is_symlink() else ""
    return UserError(
        f"{path}{link} cannot be read ({reason_of(error)}); nothing of it is known to "
        "be damaged: mend that and try again."
    )


def reason_of(error: Exception) -> str:
    """What an error says, in one line and without the names of a graph's nodes."""
    text = re.sub(r"\{\{.*?\}\}|\[Op:\w+\]", "", getattr(error, "message", str(error)))
    lines = text.strip().splitlines() or [type(error).__name__]
    return getattr(error, "strerror", None) or _system_reason(error) or lines[0].strip()


def _system_reason(error: Exception) -> str:
    """The operating system's reason in an error of TensorFlow's; empty if none."""
    text = str(error)
    known = (os.strerror(number) for number in errno.errorcode)
    return next((reason for reason in known if f"; {reason}" in text), "")
