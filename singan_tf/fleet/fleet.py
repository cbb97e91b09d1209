"""Many photographs: a run for each, by Apache Beam.

A run is known by its photograph's path below the part of the pattern without
wildcards, so that two photographs of one name do not meet, and more photographs
change nothing about those before:

    photos/a/cat.jpg, photos/b/cat.jpg  images="photos/**/*.jpg"
    RUNS_DIR/a/cat.jpg/, cat.jpg.log    the run folder, and what its training said
    RUNS_DIR/a/cat.jpg.error            why it failed, if it did
"""

import datetime
import glob
import logging
import os
import pathlib
import shlex
import time
from typing import Callable, NamedTuple, Optional

from PIL import Image

from singan_tf import config, images, photographs
from singan_tf.config import Config
from singan_tf.errors import UserError
from singan_tf.files import open_to_read
from singan_tf.fleet import processes
from singan_tf.runs import pace
from singan_tf.runs.facts import inside_sha256
from singan_tf.runs.folder import Circumstances, RunFolder, run_scales
from singan_tf.training import circumstances

# Seconds between two lines of progress, while no run ends.
_SAY_EVERY = 60.0
# Looking is to take at most so large a share of the time.
_LOOKING_SHARE = 0.05


class Plan(NamedTuple):
    """What is to be trained, and how.

    Attributes:
        images: Pattern of the photographs' paths; ** is any folders.
        runs_dir: Where the runs go.
        config: Of every run.
        train: The command line that trains a photograph in a folder.
        workers: Runs that are trained at a time.
        beam_flags: See `processes.carry_out`.
        transparent: What `train` makes of transparent parts, as `photographs.read`
            takes it.
    """

    images: str
    runs_dir: pathlib.Path
    config: Config
    train: Callable[[pathlib.Path, pathlib.Path], list[str]]
    workers: int
    beam_flags: str
    transparent: str = "outside"


class Outcome(NamedTuple):
    """What came of the photographs.

    Attributes:
        finished: How many were finished already.
        trained: How many are now.
        failed: Why, by the path of each that is not.
    """

    finished: int
    trained: int
    failed: dict[pathlib.Path, str]


def run(plan: Plan, should_stop: Callable[[], bool] = lambda: False) -> Outcome:
    """Trains a run on each photograph that has none yet, or goes on with it.

    Args:
        plan: What, and how.
        should_stop: Asked now and then.

    Raises:
        processes.Interrupted: if `should_stop` said so; another call goes on.
        UserError: if there are no photographs, there is no place for runs, the weights
            of the texture loss cannot be had, or Beam is missing or fails.
    """
    if plan.runs_dir.exists() and not plan.runs_dir.is_dir():
        raise UserError(f"{plan.runs_dir} is a file; name a folder for the runs.")
    folders = _folders(plan)
    around = circumstances.find(plan.config, strategy=None)
    waiting = {}
    for photograph, folder in folders.items():
        if should_stop():
            raise processes.Interrupted()
        if not _is_done(folder, photograph, plan, around):
            waiting[folder] = photograph
    finished = len(folders) - len(waiting)
    print(f"{len(folders)} photographs, of which {finished} are finished.", flush=True)
    if not waiting:
        return Outcome(finished, 0, {})
    commands = {
        folder: plan.train(photograph, folder) for folder, photograph in waiting.items()
    }
    errors = processes.carry_out(
        commands, plan.workers, should_stop, plan.beam_flags, _Progress(list(waiting))
    )
    failed = {waiting[folder]: error for folder, error in errors.items()}
    return Outcome(finished, len(waiting) - len(failed), failed)


def _folders(plan: Plan) -> dict[pathlib.Path, pathlib.Path]:
    """The run folder of each photograph."""
    given = pathlib.Path(plan.images)
    # A file's own name may look like a pattern.
    if given.is_file():
        return {given: plan.runs_dir / given.name}
    photographs = _found(plan.images)
    if not photographs:
        raise UserError(f"images={plan.images} finds no file; {_hint(plan.images)}.")
    root = given.parent
    while glob.has_magic(str(root)):
        root = root.parent
    return {each: plan.runs_dir / each.relative_to(root) for each in photographs}


def _found(pattern: str) -> list[pathlib.Path]:
    found = map(pathlib.Path, sorted(glob.glob(pattern, recursive=True)))
    return [path for path in found if path.is_file()]


def _hint(pattern: str) -> str:
    """What to give in place of a pattern that finds nothing."""
    if os.path.isdir(pattern):
        inside = os.path.join(glob.escape(pattern), "*")
        return f"it is a folder: images={shlex.quote(inside)} takes all files in it"
    literal = pattern.replace("[", "[[]")
    if literal != pattern and _found(literal):
        return (
            "brackets stand for one of the letters in them, and [[] for a bracket: "
            f"images={shlex.quote(literal)}"
        )
    return (
        "give a quoted pattern such as 'photos/*.jpg', or 'photos/**/*.jpg' for those "
        "in folders, too"
    )


def _is_done(
    folder: pathlib.Path, photograph: pathlib.Path, plan: Plan, around: Circumstances
) -> bool:
    """Whether there is nothing to do, not even to complain."""
    there = RunFolder(folder)
    if not there.report.exists():
        return False
    try:
        found, facts = there.read()
        sizes = run_scales(found, facts).sizes
        if not there.is_finished(len(sizes)):
            return False
        if facts.sha256 != images.sha256(photograph):
            return False
        inside = _inside_sha256(photograph, plan)
        now = facts._replace(inside_sha256=inside)
        there.refuse_another(config.settle(plan.config, sizes), [now], around)
        return True
    except UserError:
        # Training itself tells what is wrong.
        return False


def _inside_sha256(photograph: pathlib.Path, plan: Plan) -> Optional[str]:
    """What training would know the part by that it learns; None for all."""
    # To read a large one takes seconds.
    if plan.transparent == "white" or _is_opaque(photograph):
        return None
    logger = logging.getLogger("singan_tf")
    level = logger.level
    # What there is to know of it was said when it was trained on.
    logger.setLevel(logging.WARNING)
    try:
        channels = plan.config.network.channels
        found = photographs.read(photograph, channels, transparent=plan.transparent)
    finally:
        logger.setLevel(level)
    return inside_sha256(found.inside)


def _is_opaque(photograph: pathlib.Path) -> bool:
    """Whether the beginning of a file says that nothing of it is transparent."""
    with open_to_read(photograph) as file:
        try:
            with Image.open(file) as picture:
                return not picture.has_transparency_data
        except Exception:
            # Pillow raises nearly anything, and there are files that it cannot read.
            return False


class _Progress:
    """Says now and then how many runs are done, and how long the others take."""

    def __init__(self, folders: list[pathlib.Path]):
        self._shares = dict.fromkeys(folders, 0.0)
        # The work done so far that says nothing of the pace.
        self._before = 0.0
        self._looked = False
        self._started = self._said_at = self._look_at = time.monotonic()
        self._ended = 0

    def __call__(self) -> None:
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look()
        if not self._looked:
            self._before, self._looked = self._sum(), True
        looked = time.monotonic()
        self._look_at = looked + (looked - now) / _LOOKING_SHARE
        ended = sum(share == 1 for share in self._shares.values())
        if ended == self._ended and now - self._said_at < _SAY_EVERY:
            return
        self._ended, self._said_at = ended, now
        print(f"{ended} of {len(self._shares)} done{self._left(now)}.", flush=True)

    def _look(self) -> None:
        for folder, share in self._shares.items():
            if share < 1:
                failed = processes.error_path(folder).exists()
                done = 1.0 if failed else pace.share_done(RunFolder(folder))
                self._shares[folder] = done
                # It tells nothing of how long a run takes.
                self._before += (1.0 - share) * failed

    def _sum(self) -> float:
        return sum(self._shares.values())

    def _left(self, now: float) -> str:
        total = self._sum()
        if total <= self._before:
            return ""
        pace = (now - self._started) / (total - self._before)
        seconds = round(pace * (len(self._shares) - total))
        return f", {datetime.timedelta(seconds=seconds)} left"
