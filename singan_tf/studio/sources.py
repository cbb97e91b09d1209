"""Where the studio's models come from: one that is given, or a folder of runs."""

import functools
import pathlib
import threading
from typing import Callable, Optional

from singan_tf.errors import UserError
from singan_tf.runs.folder import RunFolder
from singan_tf.studio import models
from singan_tf.studio.models import Model
from singan_tf.studio.trainings import Trainings

_MOST_LOADED = 4


class One:
    """One model, and no training; see `session.Source`."""

    trainings: Optional[Trainings] = None

    def __init__(self, model: Model):
        """Keeps it."""
        self._model = model

    def names(self) -> list[str]:
        """Its name."""
        return [self._model.name]

    def open(self, name: str) -> Model:
        """The model, whatever the name."""
        return self._model


class Runs:
    """The runs in a folder, and those that are trained there; see `session.Source`."""

    def __init__(
        self,
        runs_dir: pathlib.Path,
        command: Callable[[str, pathlib.Path, str], list[str]],
        line: Callable[..., str],
    ):
        """Starts nothing.

        Args:
            runs_dir: As for `Trainings`.
            command: Likewise.
            line: As for `models.RunModel`.
        """
        self.trainings = Trainings(runs_dir, command)

        # By when its settings were written: a run that was trained anew is loaded anew.
        @functools.lru_cache(maxsize=_MOST_LOADED)
        def load(path: pathlib.Path, changed: int) -> Model:
            return models.RunModel(RunFolder(path), line)

        self._load = load
        # Without it, two who open a run together would load it twice.
        self._loading = threading.Lock()

    def names(self) -> list[str]:
        """The finished runs, the one trained last first."""
        return self.trainings.names()

    def open(self, name: str) -> Model:
        """The model of a run.

        Raises:
            UserError: if there is no such run, or it is not finished.
        """
        path = self.trainings.path(name)
        settings = RunFolder(path).config
        if not settings.exists():
            raise UserError(f"There is no run in {path} any more; choose another.")
        with self._loading:
            return self._load(path, settings.stat().st_mtime_ns)
