"""The versions of an exported model: found, loaded, swapped and let go.

Does to a folder of SavedModels what TensorFlow Serving does to it; servable.py answers
for one version, and local_server.py puts gRPC in front.
"""

import contextlib
import gc
import logging
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import Callable, NamedTuple, Optional

import grpc
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from export import layout
from export.servable import CODES, Refused, Servable, first_sentence, invalid

logger = logging.getLogger(__name__)

State = get_model_status_pb2.ModelVersionStatus.State

# TensorFlow Serving's --load_retry_interval_micros.
_RETRY_SECONDS = 60.0


class Status(NamedTuple):
    """What GetModelStatus says of a version.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        code: The grpc.StatusCode; OK, or why it could not be loaded.
        message: One sentence, or empty.
    """

    state: int
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""


class _Failure(NamedTuple):
    """An attempt to load: which files it saw, and when."""

    files: tuple
    when: float


class Versions:
    """Serves the highest version in a folder that can be loaded.

    A version whose folder is incomplete or damaged is tried again when its files
    change, and after a minute; meanwhile the one below it serves. A folder that
    becomes empty changes nothing.
    """

    def __init__(self, name: str, base_path: pathlib.Path):
        """Loads nothing yet.

        Args:
            name: The model's.
            base_path: Holds folders named by integers; other names are ignored.
        """
        self.name = name
        self.base_path = base_path
        self._lock = threading.Lock()
        self._current: Optional[Servable] = None
        self._users: dict[Servable, int] = {}
        self._statuses: dict[int, Status] = {}
        self._failures: dict[int, _Failure] = {}

    @property
    def current(self) -> Optional[int]:
        """The version that serves, or None."""
        servable = self._current
        return servable.version if servable else None

    def statuses(self) -> dict[int, Status]:
        """Every version seen, in ascending order."""
        with self._lock:
            return dict(sorted(self._statuses.items()))

    def poll(
        self,
        loading: Callable[
            [], contextlib.AbstractContextManager
        ] = contextlib.nullcontext,
    ) -> None:
        """Looks for a better version; loads it, and lets the old one go.

        Args:
            loading: Makes a context, in which a version is loaded and warmed up.
        """
        folders = layout.versions(self.base_path)
        for version in sorted(folders, reverse=True):
            if version == self.current:
                break
            if self._try(version, folders[version], loading):
                break

    @contextlib.contextmanager
    def lease(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """The version that a request asks for, which stays loaded meanwhile.

        Args:
            spec: Of a request.

        Yields:
            The servable.

        Raises:
            Refused: There is none.
        """
        with self._lock:
            servable = self._find(spec)
            self._users[servable] += 1
        try:
            yield servable
        finally:
            self._release(servable)

    def close(self) -> None:
        """Lets the current version go; what still runs in any of them is cancelled."""
        with self._lock:
            self._current = None
            servables = list(self._users)
            self._users.clear()
        for servable in servables:
            servable.close()

    def _find(self, spec: model_pb2.ModelSpec) -> Servable:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        version = spec.version.value if choice else None
        if spec.name == self.name and self._current is not None:
            if version in (None, self._current.version):
                return self._current
        request = (
            f"Latest({spec.name})"
            if version is None
            else f"Specific({spec.name}, {version})"
        )
        raise Refused(
            grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request}"
        )

    def _try(
        self,
        version: int,
        path: pathlib.Path,
        loading: Callable[[], contextlib.AbstractContextManager],
    ) -> bool:
        """Loads a version and swaps it in, unless nothing speaks for success."""
        if not layout.holds_model(path):
            # Still being copied, perhaps.
            self._set(version, Status(State.START))
            return False
        files = _files(path)
        failure = self._failures.get(version)
        if failure and failure.files == files:
            if time.monotonic() < failure.when + _RETRY_SECONDS:
                return False
        self._set(version, Status(State.START))
        self._set(version, Status(State.LOADING))
        try:
            with loading():
                servable = Servable(path, self.name, version)
        except Exception as error:  # A damaged file surfaces as anything.
            status = _load_status(error)
            self._failures[version] = _Failure(files, time.monotonic())
            self._set(version, status)
            logger.warning(
                "Version %d cannot be loaded yet: %s", version, status.message
            )
            return False
        self._failures.pop(version, None)
        self._swap_in(servable)
        return True

    def _swap_in(self, servable: Servable) -> None:
        with self._lock:
            old, self._current = self._current, servable
            # The manager itself uses the current one.
            self._users[servable] = 1
            self._statuses[servable.version] = Status(State.AVAILABLE)
            if old:
                self._statuses[old.version] = Status(State.UNLOADING)
        logger.info("Serving version %d of %s.", servable.version, self.name)
        if old:
            self._release(old)

    def _release(self, servable: Servable) -> None:
        with self._lock:
            if servable not in self._users:
                return
            self._users[servable] -= 1
            if self._users[servable]:
                return
            del self._users[servable]
        servable.close()
        gc.collect()
        with self._lock:
            if self.current != servable.version:
                self._statuses[servable.version] = Status(State.END)
        logger.info("Unloaded version %d of %s.", servable.version, self.name)

    def _set(self, version: int, status: Status) -> None:
        with self._lock:
            self._statuses[version] = status


def _files(path: pathlib.Path) -> tuple:
    """What changes when anything in a folder does."""
    found = []
    for file in sorted(path.rglob("*")):
        with contextlib.suppress(OSError):
            facts = file.stat()
            found.append((str(file), facts.st_size, facts.st_mtime_ns))
    return tuple(found)


def _load_status(error: Exception) -> Status:
    if isinstance(error, Refused):
        return Status(
            State.END,
            error.code,
            f"A warm-up request fails: {first_sentence(str(error))}",
        )
    if isinstance(error, tf.errors.OpError):
        code = CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)
        return Status(State.END, code, first_sentence(error.message))
    return Status(State.END, grpc.StatusCode.UNKNOWN, first_sentence(str(error)))
