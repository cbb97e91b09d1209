"""The versions of an exported model: loaded, warmed up, called, swapped and let go.

Does to a folder of SavedModels what TensorFlow Serving does to it, with the same
checks and the same error codes; local_server.py puts gRPC in front.
"""

import contextlib
import gc
import json
import logging
import math
import pathlib
import re
import threading
import time
from collections.abc import Iterator
from typing import Callable, NamedTuple, Optional

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from export import verify
from singan_tf.files import plain_path

logger = logging.getLogger(__name__)

State = get_model_status_pb2.ModelVersionStatus.State

# A tensor whose list of values is short is filled with the last one, so that a few
# bytes may ask for any amount of memory.
_MAX_FILLED_BYTES = 1 << 26
# As in export.signatures, which this does not import: it would bring the model's code.
_MAX_ANSWER_BYTES = 2**31 - 2**16
# TensorFlow Serving's --load_retry_interval_micros.
_RETRY_SECONDS = 60.0
# An error's text travels in a header of 8 KiB, in which a character takes 12 bytes.
_MAX_DETAILS = 500
_WARM_UP = "assets.extra/tf_serving_warmup_requests"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        code: The grpc.StatusCode.
    """

    def __init__(self, code: grpc.StatusCode, sentence: str):
        """Keeps both for whoever answers.

        Args:
            code: gRPC's.
            sentence: Names that clients chose may be in it, of any length.
        """
        super().__init__(" ".join(sentence.split())[:_MAX_DETAILS])
        self.code = code


class Servable:
    """One version of a model in a V1 session, as the C++ server holds it."""

    def __init__(self, path: pathlib.Path, name: str, version: int):
        """Loads a SavedModel, and calls it with its warm-up records.

        Args:
            path: The version's folder.
            name: The model's.
            version: The folder's number.

        Raises:
            Exception: Of any type, where the folder is damaged or incomplete.
            Refused: Where a warm-up record fails.
        """
        self.name = name
        self.version = version
        self._closed = False
        self._described, self._max_batch = _described(path)
        graph = tf.Graph()
        # Allowed any number of threads, it uses every core.
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with plain_path(path) as plain:
                meta = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], plain
                )
            # Without them the loader goes on, with variables that have no value.
            if (
                meta.HasField("saver_def")
                and not (path / "variables" / "variables.index").exists()
            ):
                raise FileNotFoundError(f"{path / 'variables'} is not complete.")
            graph.finalize()
            self.signatures = meta.signature_def
            with plain_path(path) as plain:
                self._warm_up(pathlib.Path(plain, _WARM_UP))
        except BaseException:
            self._session.close()
            raise

    def predict(
        self,
        request: predict_pb2.PredictRequest,
        timeout: Optional[float] = None,
        is_awaited: Callable[[], bool] = lambda: True,
    ) -> predict_pb2.PredictResponse:
        """Calls a signature.

        Args:
            request: Of any content; its model's name and version are not looked at.
            timeout: In seconds, for all rows; the run is cancelled then.
            is_awaited: Whether anybody still waits for the answer. It is asked before
                each row where rows are computed alone, and before the answer is put
                together.

        Returns:
            Tensors by the names of the signature's outputs.

        Raises:
            Refused: The request does not fit, TensorFlow says why not, or nobody
                waits any more.
        """
        name = request.model_spec.signature_name or "serving_default"
        # A name looked up by [] would appear in the map.
        signature = self.signatures[name] if name in self.signatures else None
        if signature is None or not signature.method_name:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name}" not found.',
            )
        end = None if timeout is None else time.monotonic() + timeout
        # A signature of its own would be optimized once more, which takes seconds.
        same = self._described.get(name, {}).get("same_as", name)
        call = _Call(
            self.signatures[same] if same in self.signatures else signature,
            _arrays(signature, request.inputs),
            _outputs(signature, request.output_filter),
        )
        if self._has_rows_alone(name, call.arrays):
            results = self._run_by_rows(call, end, is_awaited)
        else:
            results = self._run(call, end)
        _require_awaited(is_awaited)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = self.version
        response.model_spec.signature_name = name
        for alias, value in results.items():
            response.outputs[alias].CopyFrom(tf.make_tensor_proto(value))
        return response

    def close(self) -> None:
        """Frees the session; what still runs in it is cancelled."""
        self._closed = True
        self._session.close()

    def _has_rows_alone(self, name: str, arrays: dict) -> bool:
        """Whether each of several rows may be a call of its own.

        What the model would refuse for how its rows go together is left to it.
        """
        alone = self._described.get(name, {}).get("rows_alone")
        if alone is None:
            return False
        counts = {len(array) for array in arrays.values()}
        most = max(counts)
        return (
            1 < most <= self._max_batch
            and counts <= {1, most}
            and all(
                (arrays[equal] == arrays[equal][:1]).all() for equal in alone["equal"]
            )
        )

    def _run_by_rows(
        self, call: "_Call", end: Optional[float], is_awaited: Callable[[], bool]
    ) -> dict:
        """What `_run` gives, unless nobody waits for it any more.

        A session cannot be told to stop, other than by its deadline, so it is given
        one row at a time.
        """
        answers = []
        count = max(map(len, call.arrays.values()))
        for row in range(count):
            _require_awaited(is_awaited)
            part = {
                alias: array if len(array) == 1 else array[row : row + 1]
                for alias, array in call.arrays.items()
            }
            try:
                answers.append(self._run(call._replace(arrays=part), end))
            except Refused as refused:
                if not str(refused).startswith("assertion failed"):
                    raise
                # The model checks all rows before it computes one, and its sentence
                # tells of all.
                return self._run(call, end)
            made = sum(array.nbytes for array in answers[-1].values())
            if made * count > _MAX_ANSWER_BYTES:
                # No message would hold it: the model refuses all rows together.
                return self._run(call, end)
        return {
            alias: np.concatenate([answer[alias] for answer in answers])
            for alias in call.outputs
        }

    def _run(self, call: "_Call", end: Optional[float]) -> dict[str, np.ndarray]:
        """Runs the session until a time of time.monotonic; arrays by output."""
        options = None
        if end is not None:
            # 0 would mean no limit.
            milliseconds = int((end - time.monotonic()) * 1000)
            milliseconds = min(max(1, milliseconds), 2**31)
            options = tf.compat.v1.RunOptions(timeout_in_ms=milliseconds)
        fetches = {alias: call.signature.outputs[alias].name for alias in call.outputs}
        feeds = {
            call.signature.inputs[alias].name: array
            for alias, array in call.arrays.items()
        }
        try:
            return self._session.run(fetches, feeds, options=options)
        except tf.errors.OpError as error:
            raise _refusal(error) from None
        except RuntimeError:
            if not self._closed:
                raise
            raise _stopping() from None

    def _warm_up(self, path: pathlib.Path) -> None:
        if not path.exists():
            return
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if not log.HasField("predict_log"):
                raise Refused(
                    grpc.StatusCode.UNIMPLEMENTED,
                    f"{path} holds a {log.WhichOneof('log_type')}, where the local "
                    "server replays predict_log only.",
                )
            self.predict(log.predict_log.request)


class _Call(NamedTuple):
    """A signature, the arrays of its inputs, and the names of the outputs asked for."""

    signature: meta_graph_pb2.SignatureDef
    arrays: dict[str, np.ndarray]
    outputs: list[str]


def _described(path: pathlib.Path) -> tuple[dict, int]:
    """What an export tells of its signatures, and the most rows of a request.

    Models of others tell nothing, nor do exports from before this was told.

    Raises:
        verify.Failed: if a newer version of the program made the export.
    """
    described = path / "signatures.json"
    try:
        told = json.loads(described.read_text(encoding="utf-8"))
        verify.require_format(described, dict(told))
        return dict(told["signatures"]), int(told["limits"]["max_batch"])
    except (OSError, ValueError, LookupError, TypeError):
        return {}, 0


def _arrays(signature, inputs) -> dict[str, np.ndarray]:
    """Arrays by input, defaults included."""
    wanted, sent = set(signature.inputs), set(inputs)
    if len(sent) > len(wanted) or (len(sent) < len(wanted) and not signature.defaults):
        raise _invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({_listed(sent)}) != len({_listed(wanted)}). "
            f"Sent extra: {_listed(sent - wanted)}. "
            f"Missing but required: {_listed(wanted - sent)}."
        )
    missing = wanted - sent - set(signature.defaults)
    if missing:
        raise _invalid(
            f"Signature input alias: {min(missing)} not found in request and no "
            f"default value provided. Inputs expected to be in the request "
            f"{_listed(sent)}, or default input alias set: "
            f"{_listed(signature.defaults)}."
        )
    if not sent <= wanted:
        raise _invalid(
            "Inputs contains invalid name. Used request inputs: "
            f"{_listed(sent & wanted)}, request input: {_listed(sent)}."
        )
    return {
        alias: _decode(
            alias, inputs[alias] if alias in sent else signature.defaults[alias], info
        )
        for alias, info in signature.inputs.items()
    }


def _outputs(signature, output_filter) -> list[str]:
    """Names of the outputs asked for."""
    known = set(signature.outputs)
    for index, alias in enumerate(output_filter):
        if alias not in known:
            raise _invalid(
                f"output tensor alias not found in signature: {alias} Outputs "
                f"expected to be in the set {_listed(known)}."
            )
        if alias in output_filter[:index]:
            raise _invalid(f"duplicate output tensor alias: {alias}")
    return list(output_filter or known)


def _decode(alias: str, proto, info) -> np.ndarray:
    """The array of a TensorProto, in bounded memory."""
    if proto.dtype != info.dtype:
        raise _invalid(
            f"Input {alias} must be {_dtype_name(info.dtype)}, not "
            f"{_dtype_name(proto.dtype)}."
        )
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise _invalid(f"tensor parsing error: {alias} has no definite shape.")
    if not _fits(shape, info.tensor_shape):
        wanted = [dim.size for dim in info.tensor_shape.dim]
        raise _invalid(
            f"Input {alias} must have the shape {_shape_name(wanted)}, not "
            f"{_shape_name(shape)}."
        )
    dtype = tf.as_dtype(proto.dtype)
    count = math.prod(shape)
    held = [len(v) for f, v in proto.ListFields() if f.name.endswith("_val")]
    if dtype == tf.string:
        size = max(map(len, proto.string_val), default=0) + 64
    else:
        size = dtype.size
        held.append(len(proto.tensor_content) // size)
    if count > max(held, default=0) and count * size > _MAX_FILLED_BYTES:
        raise _invalid(
            f"tensor parsing error: {alias} of shape {_shape_name(shape)} holds fewer "
            "values than that."
        )
    try:
        return tf.make_ndarray(proto)
    except (ValueError, TypeError, OverflowError):
        raise _invalid(
            f"tensor parsing error: {alias} of shape {_shape_name(shape)} holds "
            "another number of values."
        ) from None


def _fits(shape: list, wanted) -> bool:
    if wanted.unknown_rank:
        return True
    sizes = [dim.size for dim in wanted.dim]
    return len(shape) == len(sizes) and all(
        size in (-1, side) for side, size in zip(shape, sizes)
    )


def _dtype_name(number: int) -> str:
    try:
        return tf.as_dtype(number).name
    except TypeError:
        return f"of unknown type {number}"


def _shape_name(shape: list) -> str:
    return "[" + ",".join("?" if side < 0 else str(side) for side in shape) + "]"


def _listed(names) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _invalid(sentence: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, sentence)


def _refusal(error: tf.errors.OpError) -> Refused:
    """What TensorFlow says, less where in the graph it says it."""
    code = _CODES.get(error.error_code, grpc.StatusCode.INTERNAL)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return Refused(code, "The deadline passed while the request ran.")
    if code == grpc.StatusCode.CANCELLED:
        # Nobody but the server cancels a run: a client that leaves is not heard.
        return _stopping()
    return Refused(code, first_sentence(error.message))


def _stopping() -> Refused:
    return Refused(grpc.StatusCode.UNAVAILABLE, "The server is stopping.")


def _require_awaited(is_awaited: Callable[[], bool]) -> None:
    if not is_awaited():
        # Nobody hears it.
        raise Refused(grpc.StatusCode.CANCELLED, "The request ended while it ran.")


def first_sentence(message: str) -> str:
    """A TensorFlow error message without its graph nodes and stack traces.

    Args:
        message: Such as tf.errors.OpError.message.

    Returns:
        One line.
    """
    # Several nodes that fail at once are numbered: the first says enough.
    message = re.sub(r"^\d+ root error\(s\) found\.\s*\(0\) [A-Z_ ]+: ", "", message)
    message = re.sub(r"^Graph execution error:\s*", "", message)
    message = re.split(r"\s*\[\[\{\{|\n\s*\n|\n\s*\(1\) ", message.strip(), maxsplit=1)[
        0
    ]
    return " ".join(message.split()) or "The call failed."


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
        folders = _version_folders(self.base_path)
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
            raise _invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            raise _invalid(f"Unrecognized servable version label: {spec.version_label}")
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
        if not (path / "saved_model.pb").exists():
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


def _version_folders(base_path: pathlib.Path) -> dict[int, pathlib.Path]:
    try:
        paths = list(base_path.iterdir())
    except OSError:
        return {}
    return {
        int(path.name): path
        for path in paths
        if re.fullmatch("[0-9]{1,18}", path.name) and path.is_dir()
    }


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
        code = _CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)
        return Status(State.END, code, first_sentence(error.message))
    return Status(State.END, grpc.StatusCode.UNKNOWN, first_sentence(str(error)))
