"""One version of an exported model: loaded, warmed up and called.

Answers as TensorFlow Serving does, with the same checks and the same error codes.
"""

import math
import pathlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Callable, NamedTuple, Optional

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from export import layout
from singan_tf.files import plain_path

# A tensor whose list of values is short is filled with the last one, so that a few
# bytes may ask for any amount of memory.
_MAX_FILLED_BYTES = 1 << 26
# As in export.rows, which this does not import: it would bring the model's code.
_MAX_ANSWER_BYTES = 2**31 - 2**16
# An error's text travels in a header of 8 KiB, in which a character takes 12 bytes.
_MAX_DETAILS = 500
CODES = {code.value[0]: code for code in grpc.StatusCode}


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
        self._told = layout.description(path)
        graph = tf.Graph()
        # Allowed any number of threads, it uses every core.
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with plain_path(path) as plain:
                meta = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], plain
                )
            # Without them the loader goes on, with variables that have no value.
            if meta.HasField("saver_def") and not (path / layout.VARIABLES).exists():
                raise FileNotFoundError(f"{path / 'variables'} is not complete.")
            graph.finalize()
            self.signatures = meta.signature_def
            with plain_path(path) as plain:
                self._warm_up(pathlib.Path(plain, layout.WARMUP))
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
        same = self._told.signatures.get(name, {}).get("same_as", name)
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
        alone = self._told.signatures.get(name, {}).get("rows_alone")
        if alone is None:
            return False
        counts = {len(array) for array in arrays.values()}
        most = max(counts)
        return (
            1 < most <= (self._told.max_batch or 0)
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


def _arrays(
    signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, tensor_pb2.TensorProto]
) -> dict[str, np.ndarray]:
    """Arrays by input, defaults included."""
    wanted, sent = set(signature.inputs), set(inputs)
    if len(sent) > len(wanted) or (len(sent) < len(wanted) and not signature.defaults):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({_listed(sent)}) != len({_listed(wanted)}). "
            f"Sent extra: {_listed(sent - wanted)}. "
            f"Missing but required: {_listed(wanted - sent)}."
        )
    missing = wanted - sent - set(signature.defaults)
    if missing:
        raise invalid(
            f"Signature input alias: {min(missing)} not found in request and no "
            f"default value provided. Inputs expected to be in the request "
            f"{_listed(sent)}, or default input alias set: "
            f"{_listed(signature.defaults)}."
        )
    if not sent <= wanted:
        raise invalid(
            "Inputs contains invalid name. Used request inputs: "
            f"{_listed(sent & wanted)}, request input: {_listed(sent)}."
        )
    return {
        alias: _decode(
            alias, inputs[alias] if alias in sent else signature.defaults[alias], info
        )
        for alias, info in signature.inputs.items()
    }


def _outputs(
    signature: meta_graph_pb2.SignatureDef, output_filter: Sequence[str]
) -> list[str]:
    """Names of the outputs asked for."""
    known = set(signature.outputs)
    for index, alias in enumerate(output_filter):
        if alias not in known:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs "
                f"expected to be in the set {_listed(known)}."
            )
        if alias in output_filter[:index]:
            raise invalid(f"duplicate output tensor alias: {alias}")
    return list(output_filter or known)


def _decode(
    alias: str, proto: tensor_pb2.TensorProto, info: meta_graph_pb2.TensorInfo
) -> np.ndarray:
    """The array of a TensorProto, in bounded memory."""
    if proto.dtype != info.dtype:
        raise invalid(
            f"Input {alias} must be {_dtype_name(info.dtype)}, not "
            f"{_dtype_name(proto.dtype)}."
        )
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise invalid(f"tensor parsing error: {alias} has no definite shape.")
    if not _fits(shape, info.tensor_shape):
        wanted = [dim.size for dim in info.tensor_shape.dim]
        raise invalid(
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
        raise invalid(
            f"tensor parsing error: {alias} of shape {_shape_name(shape)} holds fewer "
            "values than that."
        )
    try:
        return tf.make_ndarray(proto)
    except (ValueError, TypeError, OverflowError):
        raise invalid(
            f"tensor parsing error: {alias} of shape {_shape_name(shape)} holds "
            "another number of values."
        ) from None


def _fits(shape: list[int], wanted: tensor_shape_pb2.TensorShapeProto) -> bool:
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


def _shape_name(shape: list[int]) -> str:
    return "[" + ",".join("?" if side < 0 else str(side) for side in shape) + "]"


def _listed(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def invalid(sentence: str) -> Refused:
    """The refusal of a request that fits no model."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, sentence)


def _refusal(error: tf.errors.OpError) -> Refused:
    """What TensorFlow says, less where in the graph it says it."""
    code = CODES.get(error.error_code, grpc.StatusCode.INTERNAL)
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
