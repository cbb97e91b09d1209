"""Commands in processes of their own, some at a time: here, or by Apache Beam.

A command makes a folder. What it says goes to FOLDER.log, and if it fails, its last
line to FOLDER.error, so that the outcome is known wherever a runner of Beam has
carried it out.
"""

import concurrent.futures
import importlib.util
import io
import logging
import os
import pathlib
import queue
import shlex
import signal
import subprocess
import threading
from typing import Callable, Optional

from singan_tf import files
from singan_tf.errors import UserError, printable

# Seconds between two looks at a process.
_POLL = 0.2
# Beam deals commands out to its workers beforehand. With more of them than run at a
# time, none waits long for one that was dealt the long commands.
_SHARES = 8
_GPUS = "CUDA_VISIBLE_DEVICES"
# Where one process had nearly all of a GPU's memory, a second would find none.
_GPU_MEMORY_AS_NEEDED = "TF_FORCE_GPU_ALLOW_GROWTH"


class Interrupted(Exception):
    """The commands were asked to stop; given again, they go on.

    With words where what runs elsewhere was not stopped.
    """


class Pool:
    """Runs commands, each with its share of the cores and of the GPUs."""

    def __init__(self, workers: int):
        """Starts nothing.

        Args:
            workers: Commands that run at a time.
        """
        self.workers = workers
        self._places: queue.Queue[int] = queue.Queue()
        for place in range(workers):
            self._places.put(place)
        self._stopped = threading.Event()
        self._used = threading.Event()

    @property
    def is_used(self) -> bool:
        """Whether it was ever asked to run a command."""
        return self._used.is_set()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called; what runs may not have ended yet."""
        return self._stopped.is_set()

    def run(self, folder: str, command: list[str]) -> None:
        """Waits for its turn, then for the command; returns at once after `stop`.

        Args:
            folder: What the command makes.
            command: Its words.
        """
        self._used.set()
        place = self._places.get()
        try:
            if not self._stopped.is_set():
                self._run(pathlib.Path(folder), command, place)
        finally:
            self._places.put(place)

    def stop(self) -> None:
        """Ends what runs, which saves what it has; nothing else is started."""
        self._stopped.set()

    def _run(self, folder: pathlib.Path, command: list[str], place: int) -> None:
        print(printable(f"Started {folder}."), flush=True)
        log = log_path(folder)
        # What earlier attempts said is no reason of this one.
        before = log.stat().st_size if log.exists() else 0
        process = _start(command, log, self._environment(place))
        try:
            while process.poll() is None:
                if self._stopped.wait(_POLL):
                    return
        finally:
            process.terminate()
            process.wait()
        if not process.returncode:
            # Of an earlier attempt, where Beam makes another one.
            error_path(folder).unlink(missing_ok=True)
            return
        error = _killed_by(process.returncode) or last_line(log, before)
        files.write_text(error_path(folder), error)
        print(printable(f"{folder} failed: {error}"), flush=True)

    def _environment(self, place: int) -> dict[str, str]:
        """A process's share of the cores, and of the GPUs that are named."""
        affinity = getattr(os, "sched_getaffinity", None)
        cores = len(affinity(0)) if affinity else os.cpu_count() or 1
        threads = str(max(1, cores // self.workers))
        limits = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        environment = {**os.environ, **{limit: threads for limit in limits}}
        environment.setdefault(_GPU_MEMORY_AS_NEEDED, "true")
        gpus = [each for each in environment.get(_GPUS, "").split(",") if each]
        if gpus:
            share = gpus[place :: self.workers] or [gpus[place % len(gpus)]]
            environment[_GPUS] = ",".join(share)
        return environment


def carry_out(
    commands: dict[pathlib.Path, list[str]],
    workers: int,
    should_stop: Callable[[], bool],
    beam_flags: Optional[str] = None,
    watch: Callable[[], None] = lambda: None,
) -> dict[pathlib.Path, str]:
    """Runs commands.

    Args:
        commands: By the folder that each makes.
        workers: How many at a time; on a cluster, in a process of a Beam worker.
        should_stop: Asked now and then.
        beam_flags: Of Beam's pipeline; those that name no runner are for this machine.
            None runs the commands without Beam.
        watch: Called now and then.

    Returns:
        The error of each that failed, by its folder.

    Raises:
        Interrupted: if `should_stop` said so.
        UserError: if Beam is missing, or cannot do it.
    """
    if beam_flags is not None and importlib.util.find_spec("apache_beam") is None:
        raise UserError("Beam is missing; pip install -r requirements-beam.txt.")
    paths = {folder: error_path(folder) for folder in commands}
    for path in paths.values():
        path.unlink(missing_ok=True)
    pool = Pool(workers)
    words = {str(folder): command for folder, command in commands.items()}
    if beam_flags is None:
        running = _begin(_run_here, pool, words)
    else:
        running = _begin(_run_on_beam, pool, words, beam_flags)
    try:
        while not running.done():
            if should_stop():
                raise Interrupted(*_what_goes_on(pool, beam_flags))
            watch()
            concurrent.futures.wait([running], _POLL)
    finally:
        pool.stop()
        # Whatever runs in this process is to save before it ends.
        if pool.is_used:
            concurrent.futures.wait([running])
    running.result()
    return {
        folder: path.read_text(encoding="utf-8")
        for folder, path in paths.items()
        if path.exists()
    }


def _what_goes_on(pool: Pool, beam_flags: Optional[str]) -> list[str]:
    """What to say of a job that does not end with this process; nothing if none."""
    if not beam_flags or pool.is_used:
        return []
    return [
        "the job that Beam was given goes on; cancel it by its runner's own means "
        "before you give the command again."
    ]


def _begin(function: Callable[..., None], *arguments) -> concurrent.futures.Future:
    """Calls a function in a thread that this process does not wait for at its end.

    As an executor's it would: for a cluster's job, which may take days.
    """
    running: concurrent.futures.Future[None] = concurrent.futures.Future()

    def run() -> None:
        try:
            function(*arguments)
            running.set_result(None)
        except BaseException as error:
            running.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return running


def _run_here(pool: Pool, commands: dict[str, list[str]]) -> None:
    with concurrent.futures.ThreadPoolExecutor(pool.workers) as executor:
        for done in [executor.submit(pool.run, *each) for each in commands.items()]:
            done.result()


def _run_on_beam(pool: Pool, commands: dict[str, list[str]], flags: str) -> None:
    # It says at length which optional parts it lacks, some of it in nobody's name;
    # errors arrive as exceptions.
    logging.getLogger().setLevel(logging.CRITICAL)
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.utils.shared import Shared

    given = shlex.split(flags)
    options = PipelineOptions(given)
    if options.view_as(StandardOptions).runner is None:
        shares = max(1, min(len(commands), _SHARES * pool.workers))
        # Beam's own default would first try to download another one.
        options = PipelineOptions(
            given,
            runner="FnApiRunner",
            direct_running_mode="multi_threading",
            direct_num_workers=shares,
        )
    # In this process, Beam's workers find this pool.
    handle = Shared()
    handle.acquire(lambda: pool)
    try:
        pipeline = beam.Pipeline(options=options)
        _ = (
            pipeline
            | beam.Create(list(commands.items()))
            # Or a runner would give all that it creates to the worker that created it.
            | beam.Reshuffle()
            | beam.Map(_run_in_pool, handle, pool.workers)
        )
        pipeline.run().wait_until_finish()
    except Exception as error:
        reason = str(error).strip().split("\n")[-1].rstrip(".")
        raise UserError(f"Beam cannot go on: {reason}; see its flags.") from error


def _run_in_pool(each: tuple[str, list[str]], handle, workers: int) -> None:
    handle.acquire(lambda: Pool(workers)).run(*each)


def _start(
    command: list[str], log_path: pathlib.Path, environment: dict[str, str]
) -> subprocess.Popen:
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("a") as log:
        # In a session of its own: Ctrl-C reaches this process, which tells it to
        # stop, once.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def log_path(folder: pathlib.Path) -> pathlib.Path:
    """Where what a command said about a folder stands."""
    return folder.with_name(f"{folder.name}.log")


def error_path(folder: pathlib.Path) -> pathlib.Path:
    """Where a command that failed to make a folder says why."""
    return folder.with_name(f"{folder.name}.error")


def _killed_by(status: int) -> str:
    """What to say of a process that a signal has ended; empty of any other."""
    if status >= 0:
        return ""
    name = signal.strsignal(-status) or "unknown"
    why = ""
    if -status == signal.SIGKILL:
        why = ", perhaps because memory is short: fewer at a time need less"
    return f"It was ended by signal {-status} ({name}){why}."


def last_line(path: pathlib.Path, start: int = 0) -> str:
    """The last line of a log that says something.

    Args:
        path: Of the log.
        start: The number of bytes at its beginning that do not count.
    """
    with path.open("rb") as file:
        file.seek(start)
        lines = io.TextIOWrapper(file, "utf-8", "replace").read().split("\n")
    found = next((line for line in reversed(lines) if line.strip()), "no word of why")
    return found.removeprefix("error: ")
