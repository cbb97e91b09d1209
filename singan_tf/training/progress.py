"""How far a scale has come: what its steps have lost, and the checkpoints of it."""

import time
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from singan_tf.errors import UserError
from singan_tf.training.session import Run, agreed_state


class Progress:
    """The steps of one scale, from the last checkpoint on.

    Attributes:
        finished: Whether nothing is left to do at this scale.
    """

    def __init__(self, run: Run, scale: int, objects: dict[str, Any]):
        """Goes on from what an earlier process left, if it left something.

        Args:
            run: What stays the same from scale to scale.
            scale: The scale.
            objects: What a checkpoint of it holds, by name; they get the values of
                the last one, if there is one.

        Raises:
            UserError: if the run folder is damaged.
        """
        self._run, self._scale, self._objects = run, scale, objects
        self._saved_rows: list[np.ndarray] = []
        self._fresh_rows: list[tf.Tensor] = []
        self.finished = False
        state = agreed_state(run, scale)
        if state is not None:
            run.folder.restore(scale, state, objects)
            self.finished = state.finished
            if not state.finished:
                rows = run.folder.losses(scale, state)
                self._saved_rows.extend(rows)
        self._last_saved = time.monotonic()

    @property
    def steps(self) -> int:
        """The number of steps done."""
        return len(self._saved_rows) + len(self._fresh_rows)

    @property
    def unsaved(self) -> bool:
        """Whether there are steps that no checkpoint holds."""
        return bool(self._fresh_rows)

    @property
    def seconds_since_save(self) -> float:
        """The time since the last checkpoint, or since the scale was taken up."""
        return time.monotonic() - self._last_saved

    def add(self, losses: tf.Tensor) -> None:
        """Counts a step, with its losses, float32 [len(LOSS_COLUMNS)]."""
        self._fresh_rows.append(losses)

    def save(self, finished: bool, patches: Optional[dict[str, Any]] = None) -> None:
        """Writes a checkpoint.

        Args:
            finished: Whether the scale is.
            patches: What it holds instead if the scale is made of patches though it
                was trained.

        Raises:
            UserError: if training has diverged, or the folder cannot be written.
        """
        self._saved_rows.extend(_finite_rows(self._fresh_rows, self._scale))
        self._fresh_rows.clear()
        if self._run.chief:
            losses = np.stack(self._saved_rows)
            objects = patches or self._objects
            self._run.folder.save(
                self._scale, objects, losses, finished, patches is not None
            )
        self._last_saved = time.monotonic()


def _finite_rows(rows: list[tf.Tensor], scale: int) -> list[np.ndarray]:
    """The losses of some steps; refuses to go on, and to save, after divergence."""
    rows = [row.numpy() for row in rows]
    if not np.isfinite(rows).all():
        raise UserError(
            f"Training diverged at scale {scale}: a loss is not a number; begin it "
            "anew with a lower learning rate of the generator and of the critic."
        )
    return rows
