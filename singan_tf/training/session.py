"""What stays the same from scale to scale, and what the workers of a run agree on."""

import hashlib
import json
from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from singan_tf import config as config_lib
from singan_tf import inside as inside_lib
from singan_tf.config import Config
from singan_tf.errors import UserError
from singan_tf.runs.checkpoints import ScaleState
from singan_tf.runs.display import Monitor
from singan_tf.runs.folder import RunFolder
from singan_tf.training import distribution


class Interrupted(Exception):
    """Training was asked to stop; everything up to then is saved."""


class Run(NamedTuple):
    """What stays the same from scale to scale.

    Attributes:
        config: Every setting.
        strategy: Where variables live and steps run.
        folder: Where the run is kept.
        monitor: Shows the progress.
        should_stop: Asked after every step.
        insides: Of each photograph, what of it counts at each scale, bool [H, W], or
            None for all; empty where all of all does.
    """

    config: Config
    strategy: tf.distribute.Strategy
    folder: RunFolder
    monitor: Monitor
    should_stop: Callable[[], bool]
    insides: Sequence[Optional[Sequence[np.ndarray]]] = ()

    def insides_at(self, scale: int, count: int) -> list[Optional[np.ndarray]]:
        """What of each photograph counts at a scale, bool [H, W]; None for all."""
        here = [None if each is None else each[scale] for each in self.insides]
        return inside_lib.of_each(here, count)

    @property
    def chief(self) -> bool:
        """Whether this process writes; there is one that does."""
        return distribution.is_chief(self.strategy)


def require_same_task(run: Run, photographs: Sequence[np.ndarray]) -> None:
    """Refuses workers of one cluster that were given different things to do.

    Raises:
        UserError: if they were.
    """
    # Even how often they agree, by `log_steps`, has to be the same.
    settings = json.dumps(config_lib.to_json(run.config))
    arrays = [*photographs, *(x for each in run.insides for x in each or ())]
    text = settings.encode() + b"".join(each.tobytes() for each in arrays)
    mine = int(hashlib.sha256(text).hexdigest()[:12], 16)
    (chiefs,) = distribution.from_chief(run.strategy, [mine])
    if distribution.any_worker(run.strategy, mine != chiefs):
        raise UserError(
            "The workers of the cluster were given different settings or photographs; "
            "start all of them with the same command."
        )


def agreed_state(run: Run, scale: int) -> Optional[ScaleState]:
    """How far a scale has come, as the chief reads it; None before its start."""
    state = run.folder.sound_state(scale) if run.chief else None
    numbers = (-1, 0, 0)
    if state is not None:
        numbers = (state.step, int(state.finished), int(state.patches))
    step, finished, patches = distribution.from_chief(run.strategy, numbers)
    return None if step < 0 else ScaleState.at(step, bool(finished), bool(patches))


def should_stop(run: Run, scale: int, step: int) -> bool:
    """Whether to stop after a step; the workers of a cluster stop at the same one."""
    if not distribution.is_cluster(run.strategy):
        return run.should_stop()
    # To agree, all wait for each other's devices: as often as losses are read.
    done = step + 1
    last = run.config.training.at(scale).steps
    if done % run.config.runtime.log_steps and done != last:
        return False
    return distribution.any_worker(run.strategy, run.should_stop())
