"""The state of a scale's training, in its folder, and the checkpoints that hold it.

Every file is written whole and synced, under a temporary name that is then changed, so
a process killed at any moment, or a power cut, leaves a folder that the same command
continues. The truth about a scale is its state.json, written last: the step it has
reached, the checkpoint that holds it, and whether the scale is finished. The checkpoint
before that one stays until the next, for the case that a file is damaged all the same.
"""

import contextlib
import logging
import os
import pathlib
import re
from typing import Any, NamedTuple, Optional

import tensorflow as tf

from singan_tf import files
from singan_tf.errors import Damaged, UserError, reason_of, system_reason

logger = logging.getLogger(__name__)

_STATE_NAME = "state.json"
_SUFFIXES = (".index", ".data-00000-of-00001")
_CHECKPOINT = re.compile(r"step-(\d{6,})(-finished|-patches)?\.index")


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
    def at(cls, step: int, finished: bool, patches: bool = False) -> "ScaleState":
        """A state as `save` leaves it."""
        ending = "-patches" if patches else "-finished" * finished
        return cls(step, finished, f"step-{step:06d}{ending}")

    @property
    def patches(self) -> bool:
        """Whether patches won against what the scale had trained."""
        return self.checkpoint.endswith("-patches")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ScaleState":
        """A state from what state.json holds.

        Raises:
            TypeError: if that is no state, or one that `save` does not leave.
        """
        state = cls(**data)
        if type(state.step) is not int or type(state.finished) is not bool:
            raise TypeError("a step must be a whole number and finished true or false")
        possible = [cls.at(state.step, state.finished)]
        if state.finished:
            possible.append(cls.at(state.step, True, patches=True))
        if state.step < 0 or state not in possible:
            raise TypeError(f"no checkpoint of step {state.step} has its name")
        return state


def read_state(folder: pathlib.Path) -> Optional[ScaleState]:
    """How far a scale has come, by its state.json; None before its first checkpoint.

    Raises:
        Damaged: if the state is damaged, or a file of its checkpoint is not there.
    """
    try:
        data = files.read_json(folder / _STATE_NAME)
        state = None if data is None else ScaleState.from_json(data)
    except (Damaged, TypeError) as error:
        reason = getattr(error, "what", f"its state.json is of no scale ({error})")
        raise _damaged(folder, reason) from None
    if state is not None:
        _require_files(folder, state)
    return state


def sound_state(folder: pathlib.Path) -> Optional[ScaleState]:
    """The state to go on from; None before a scale's first checkpoint.

    It is that of state.json, unless that or its checkpoint is damaged and an older
    checkpoint is whole: then it is the older one's, which is told, and noted in
    state.json.

    Raises:
        Damaged: if no checkpoint is whole.
        UserError: if one cannot be read for another reason.
    """
    try:
        state = read_state(folder)
        if state is not None:
            require_whole(folder, state)
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
    files.write_json(folder / _STATE_NAME, older._asdict())
    return older


def reopen(folder: pathlib.Path) -> None:
    """Makes a finished scale one that has done all its steps and waits for more.

    That is the checkpoint that training leaves before it ends a scale: with the
    weights of the last step, not their average or the best, and the optimizers.

    Raises:
        UserError: if that checkpoint is missing or damaged; the scale stays finished.
    """
    state = read_state(folder)
    if state is None or not state.finished:
        return
    waiting = ScaleState.at(state.step, finished=False)
    try:
        require_whole(folder, waiting)
    except Damaged as error:
        raise UserError(
            f"{error.what}: without it the scale cannot go on after its end; train in "
            "another folder, with as many steps from the start."
        ) from None
    files.write_json(folder / _STATE_NAME, waiting._asdict())
    # One that is newer by its name would be gone on from, were this one damaged.
    for suffix in _SUFFIXES:
        files.delete(folder / f"{state.checkpoint}{suffix}")


def save(
    folder: pathlib.Path,
    step: int,
    objects: dict[str, Any],
    finished: bool,
    patches: bool = False,
) -> None:
    """Stores the training state of a scale.

    Everything is on the disk before state.json names it. The checkpoint that
    state.json named until then stays as well; those before it go.

    Args:
        folder: Of the scale.
        step: The number of steps done.
        objects: What a tf.train.Checkpoint holds, by name.
        finished: Whether the scale is.
        patches: Whether it is made of patches though it was trained.

    Raises:
        UserError: if the folder cannot be written; the last state stays valid.
    """
    before = None
    # What else could be damaged by now must not keep this from being stored.
    with contextlib.suppress(Damaged):
        before = read_state(folder)
    state = ScaleState.at(step, finished, patches)
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
            files.delete(entry)
    files.write_json(folder / _STATE_NAME, state._asdict())


def restore(folder: pathlib.Path, state: ScaleState, objects: dict[str, Any]) -> None:
    """Gives objects the values that `save` stored, or some of them.

    Raises:
        Damaged: if the checkpoint is damaged.
        UserError: if it does not hold the objects, or cannot be read.
    """
    require_whole(folder, state)
    try:
        with files.plain_path(folder) as plain:
            prefix = f"{plain}/{state.checkpoint}"
            status = tf.train.Checkpoint(**objects).read(prefix)
        status.assert_existing_objects_matched().expect_partial()
    except (OSError, tf.errors.OpError) as error:
        raise _unreadable(folder, state, error) from None
    except (AssertionError, ValueError) as error:
        raise UserError(
            f"{folder / state.checkpoint} is whole but not of the networks that the "
            f"run's config.json describes ({reason_of(error)}); bring back the "
            "config.json that it was trained with, or the version of the program."
        ) from None


def require_whole(folder: pathlib.Path, state: ScaleState) -> None:
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
        if system_reason(error):
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
            ended = bool(match[2])
            patches = match[2] == "-patches"
            found.append(ScaleState.at(int(match[1]), ended, patches))
    for state in sorted(found, reverse=True):
        try:
            require_whole(folder, state)
            return state
        except Damaged:
            continue
    return None


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
