"""Trainings that the studio starts: each a process of its own, seen by its run folder.

What a page shows of a training is read from the run folder and its log, so a page that
is closed, or a studio that is started again, loses nothing.
"""

import pathlib
import threading
from typing import Callable, NamedTuple, Optional

import numpy as np

from singan_tf import files, images
from singan_tf.errors import UserError
from singan_tf.fleet.processes import Pool, error_path, last_line, log_path
from singan_tf.runs.folder import RunFolder, run_scales


class Progress(NamedTuple):
    """How far a training is.

    Attributes:
        running: Whether its process lives.
        finished: Whether all scales are trained, and nothing failed since.
        text: What it said last, or the error that ended it.
        pictures: The fake and the reconstruction of each scale so far, uint8 [H, W, 3],
            with captions.
    """

    running: bool
    finished: bool
    text: str
    pictures: list[tuple[np.ndarray, str]]


class Trainings:
    """The trainings in one folder of runs."""

    def __init__(
        self,
        runs_dir: pathlib.Path,
        command: Callable[[str, pathlib.Path, str], list[str]],
    ):
        """Starts nothing.

        Args:
            runs_dir: Where runs are kept.
            command: Gives the words that train an image, in a run folder, by a preset.
        """
        self._runs_dir, self._command = runs_dir, command
        self._pools: dict[str, tuple[Pool, threading.Thread]] = {}

    def names(self) -> list[str]:
        """The finished runs, the one trained last first."""
        found = [path.parent for path in self._runs_dir.glob("*/config.json")]
        finished = [path for path in found if _is_finished(path)]
        by_age = sorted(
            finished, key=lambda path: -(path / "config.json").stat().st_mtime
        )
        return [path.name for path in by_age]

    def path(self, name: str) -> pathlib.Path:
        """The folder of a run.

        Raises:
            UserError: if the name leads elsewhere.
        """
        if not name or name in (".", "..") or pathlib.PurePath(name).name != name:
            raise UserError(f"{name!r} is no name for a run: leave out slashes.")
        return self._runs_dir / name

    def check(self, image: str, name: str, preset: str) -> None:
        """Refuses a name that has a run already, but for the call that began that run.

        Args:
            image: As for `start`; the file need not be there yet.
            name: The run's.
            preset: How to train.

        Raises:
            UserError: if the name is none, or has another run.
        """
        path = self.path(name)
        if not (path.exists() or self.is_running(name)):
            return
        if files.read_json(_call_path(path)) != _call(image, preset):
            raise UserError(
                f"There is a run named {name} already, of another photograph or preset "
                "or begun elsewhere; choose another name."
            )

    def start(self, image: str, name: str, preset: str) -> None:
        """Trains a run, or goes on with it; does nothing while it trains.

        Waits for one that is stopping.

        Args:
            image: A file, or the name of a photograph in scikit-image.
            name: The run's.
            preset: How to train.

        Raises:
            UserError: if the name is none, or has another run.
        """
        self.check(image, name, preset)
        path = self.path(name)
        if self.is_running(name):
            pool, thread = self._pools[name]
            if not pool.is_stopped:
                return
            # It has said that it stopped, and is about to end.
            thread.join()
        self._runs_dir.mkdir(parents=True, exist_ok=True)
        files.write_json(_call_path(path), _call(image, preset))
        error_path(path).unlink(missing_ok=True)
        pool = Pool(1)
        words = self._command(image, path, preset)
        thread = threading.Thread(target=pool.run, args=(str(path), words), daemon=True)
        self._pools[name] = pool, thread
        thread.start()

    def go_on(self, name: str) -> None:
        """Goes on with a run that was started here, perhaps by an earlier studio.

        Raises:
            UserError: if the name is none, or no run of that name was started.
        """
        call = files.read_json(_call_path(self.path(name)))
        if call is None:
            raise UserError(f"No run named {name} was begun here: train it first.")
        self.start(name=name, **call)

    def is_running(self, name: str) -> bool:
        """Whether a run is trained here now."""
        return name in self._pools and self._pools[name][1].is_alive()

    def stop(self, name: str) -> None:
        """Ends a training, which saves what it has; waits for it."""
        if self.is_running(name):
            pool, thread = self._pools[name]
            pool.stop()
            thread.join()

    def close(self) -> None:
        """Ends all trainings."""
        for name in list(self._pools):
            self.stop(name)

    def progress(self, name: str) -> Optional[Progress]:
        """How far a run is; None where there is no run of that name.

        Raises:
            UserError: if the name is none.
        """
        path = self.path(name)
        running, failed = self.is_running(name), error_path(path).exists()
        finished = _is_finished(path) and not failed
        if not (running or path.exists() or failed):
            return None
        log = log_path(path)
        text = last_line(log) if log.exists() and log.stat().st_size else "Starting."
        if not running and failed:
            text = error_path(path).read_text(encoding="utf-8")
        elif not running and not finished:
            text = "Stopped; it can go on."
        return Progress(running, finished, text, _pictures(RunFolder(path)))


def _call_path(path: pathlib.Path) -> pathlib.Path:
    """Where it stands how a run was started, beside its folder."""
    return path.with_name(f"{path.name}.studio.json")


def _call(image: str, preset: str) -> dict[str, str]:
    """What is kept of how a run was started: the arguments of `Trainings.start`."""
    return {"image": image, "preset": preset}


def _is_finished(path: pathlib.Path) -> bool:
    run = RunFolder(path)
    try:
        config, photograph = run.read()
        return run.is_finished(len(run_scales(config, photograph).sizes))
    except UserError:
        # It has only just begun, or is none.
        return False


def _pictures(run: RunFolder) -> list[tuple[np.ndarray, str]]:
    found = []
    for folder in sorted(run.path.glob("scales/[0-9][0-9]")):
        scale = int(folder.name)
        for path, caption in (
            (run.fake(scale), f"scale {scale}, a sample"),
            (run.reconstruction(scale), f"scale {scale}, reconstruction"),
        ):
            if path.exists():
                levels = images.to_uint8(images.read(path)[0])
                found.append((images.thumbnail(levels), caption))
    return found
