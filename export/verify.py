"""Checks an export by loading it as TensorFlow Serving does.

    python -m export.verify RUN/saved_model/VERSION

needs nothing of this program but the export: neither singan_tf nor Keras is imported.
The warm-up requests are answered twice, through a V1 session and, in a process that
imports no TensorFlow for Python, through the C API of TensorFlow's own library, whose
loader is the server's. Both must give the answers stored at export, bit for bit.
"""

import ctypes
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

# Of signatures.json; 0 is that of version 0.1.0, which has no number. A change that
# older programs would misread raises it.
FORMAT = 1
WARMUP_PATH = pathlib.Path("assets.extra", "tf_serving_warmup_requests")
FILES = (
    "saved_model.pb",
    "variables/variables.index",
    "signatures.json",
    "golden.npz",
    WARMUP_PATH,
)
_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
# TF_DataType, in tf_datatype.h.
_C_TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10}
_C_STRING = 7
_C_TSTRING_SIZE = 24


class Failed(Exception):
    """A check that failed; the message is one sentence that says which."""


class SessionError(Exception):
    """An error of TensorFlow's, with its code: 3 is INVALID_ARGUMENT."""

    def __init__(self, code: int, message: str):
        """Keeps both."""
        super().__init__(message)
        self.code = code


def versions(base: pathlib.Path) -> list[int]:
    """The versions in a saved_model folder, ascending; hidden folders are none."""
    if not base.is_dir():
        return []
    return sorted(int(p.name) for p in base.iterdir() if p.name.isdecimal())


def require_format(path: os.PathLike[str], described: dict) -> None:
    """Refuses an export that a newer version of the program made.

    Args:
        path: Of its signatures.json.
        described: What is in it.

    Raises:
        Failed: if its format is newer, or no number.
    """
    found = described.get("format", 0)
    if type(found) is not int or found < 0:
        raise Failed(f"{path} is damaged: its format is no number.")
    if found > FORMAT:
        raise Failed(f"{path} was made by a newer version of the program; update it.")


def verify(folder: pathlib.Path) -> None:
    """Checks an export in a fresh process; prints a line for each check.

    Args:
        folder: The version's folder.

    Raises:
        Failed: if a check fails.
    """
    command = [sys.executable, __file__, str(folder)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=_quiet())
    if done.returncode:
        raise Failed(_last_line(done, "The checks ended"))


def check(folder: pathlib.Path) -> None:
    """The same, in this process."""
    for name in FILES:
        if not (folder / name).is_file():
            raise Failed(f"{folder} is not a whole export: {name} is missing.")
    signatures, requests = _read_description(folder)
    meta_graph = read_meta_graph(folder)
    try:
        _say(_check_signatures(signatures, meta_graph))
    except (LookupError, TypeError, AttributeError) as error:
        raise Failed(
            f"{folder} is damaged: signatures.json describes no signatures "
            f"({type(error).__name__}: {error})."
        ) from None
    _say(check_operations(meta_graph))
    with tempfile.TemporaryDirectory() as place:
        # TensorFlow takes brackets and backslashes in a path for a pattern.
        link = pathlib.Path(place, "export")
        link.symlink_to(folder.absolute(), target_is_directory=True)
        try:
            _say(_check_warmup(link, signatures, requests))
            _say(_check_v1_session(link, requests))
            _say(_check_c_api(link, requests, _tensor_names(meta_graph)))
        except Failed as error:
            raise Failed(str(error).replace(str(link), str(folder))) from None


class CSession:
    """An export in TensorFlow's C API, as a C++ program such as the server has it."""

    def __init__(self, folder: pathlib.Path):
        """Loads an export.

        Args:
            folder: The version's folder.

        Raises:
            SessionError: if it cannot be loaded.
        """
        self._library = _load_library()
        self._status = self._library.TF_NewStatus()
        self._graph = self._library.TF_NewGraph()
        self._session = self._library.TF_LoadSessionFromSavedModel(
            self._library.TF_NewSessionOptions(),
            None,
            os.fsencode(folder),
            (ctypes.c_char_p * 1)(b"serve"),
            1,
            self._graph,
            None,
            self._status,
        )
        self._raise_error()

    def run(self, feeds: dict[str, np.ndarray], fetches: list[str]) -> list[np.ndarray]:
        """Runs the graph.

        Args:
            feeds: Arrays by tensor name; strings are of dtype S.
            fetches: Tensor names.

        Returns:
            The tensors' values.

        Raises:
            SessionError: if TensorFlow refuses.
        """
        library = self._library
        inputs = (_COutput * len(feeds))(*map(self._output, feeds))
        values = (ctypes.c_void_p * len(feeds))(*map(self._tensor, feeds.values()))
        outputs = (_COutput * len(fetches))(*map(self._output, fetches))
        results = (ctypes.c_void_p * len(fetches))()
        library.TF_SessionRun(
            self._session,
            None,
            inputs,
            values,
            len(feeds),
            outputs,
            results,
            len(fetches),
            None,
            0,
            None,
            self._status,
        )
        for value in values:
            library.TF_DeleteTensor(value)
        self._raise_error()
        return [self._take(result) for result in results]

    def _output(self, name: str) -> "_COutput":
        operation, _, index = name.partition(":")
        found = self._library.TF_GraphOperationByName(self._graph, operation.encode())
        if not found:
            raise SessionError(5, f"there is no operation {operation}")
        return _COutput(found, int(index))

    def _tensor(self, array: np.ndarray) -> int:
        """A TF_Tensor with an array's contents."""
        library = self._library
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        if array.dtype.kind != "S":
            data = np.ascontiguousarray(array).tobytes()
            kind = _C_TYPES[array.dtype.name]
            tensor = library.TF_AllocateTensor(kind, dims, array.ndim, len(data))
            ctypes.memmove(library.TF_TensorData(tensor), data, len(data))
            return tensor
        size = _C_TSTRING_SIZE * array.size
        tensor = library.TF_AllocateTensor(_C_STRING, dims, array.ndim, size)
        start = library.TF_TensorData(tensor)
        for index, value in enumerate(array.ravel().tolist()):
            place = start + index * _C_TSTRING_SIZE
            library.TF_StringInit(place)
            library.TF_StringCopy(place, value, len(value))
        return tensor

    def _take(self, tensor: int) -> np.ndarray:
        """The contents of a TF_Tensor, which is deleted."""
        library = self._library
        shape = [library.TF_Dim(tensor, i) for i in range(library.TF_NumDims(tensor))]
        kind = library.TF_TensorType(tensor)
        data = library.TF_TensorData(tensor)
        if kind == _C_STRING:
            places = [data + i * _C_TSTRING_SIZE for i in range(int(np.prod(shape)))]
            values = [
                ctypes.string_at(
                    library.TF_StringGetDataPointer(place),
                    library.TF_StringGetSize(place),
                )
                for place in places
            ]
            array = np.array(values, "S").reshape(shape)
        else:
            dtype = next(name for name, value in _C_TYPES.items() if value == kind)
            size = library.TF_TensorByteSize(tensor)
            array = np.frombuffer(ctypes.string_at(data, size), dtype).reshape(shape)
        library.TF_DeleteTensor(tensor)
        return array

    def _raise_error(self) -> None:
        code = self._library.TF_GetCode(self._status)
        if code:
            message = self._library.TF_Message(self._status)
            raise SessionError(code, message.decode(errors="replace"))


class _COutput(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def _load_library() -> ctypes.CDLL:
    """TensorFlow's library, found without importing TensorFlow."""
    package = pathlib.Path(importlib.util.find_spec("tensorflow").origin).parent
    mode = ctypes.RTLD_GLOBAL
    ctypes.CDLL(str(package / "libtensorflow_framework.so.2"), mode)
    library = ctypes.CDLL(str(package / "libtensorflow_cc.so.2"), mode)
    pointer, integer, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
    text, sizes = ctypes.c_char_p, ctypes.POINTER(ctypes.c_int64)
    outputs, pointers = ctypes.POINTER(_COutput), ctypes.POINTER(pointer)
    for name, result, arguments in (
        ("TF_NewStatus", pointer, []),
        ("TF_GetCode", integer, [pointer]),
        ("TF_Message", text, [pointer]),
        ("TF_NewGraph", pointer, []),
        ("TF_NewSessionOptions", pointer, []),
        (
            "TF_LoadSessionFromSavedModel",
            pointer,
            [pointer, pointer, text, ctypes.POINTER(text), integer]
            + [pointer, pointer, pointer],
        ),
        ("TF_GraphOperationByName", pointer, [pointer, text]),
        (
            "TF_SessionRun",
            None,
            [pointer, pointer, outputs, pointers, integer, outputs, pointers, integer]
            + [pointer, integer, pointer, pointer],
        ),
        ("TF_AllocateTensor", pointer, [integer, sizes, integer, size]),
        ("TF_DeleteTensor", None, [pointer]),
        ("TF_TensorData", pointer, [pointer]),
        ("TF_TensorByteSize", size, [pointer]),
        ("TF_TensorType", integer, [pointer]),
        ("TF_NumDims", integer, [pointer]),
        ("TF_Dim", ctypes.c_int64, [pointer, integer]),
        ("TF_StringInit", None, [pointer]),
        ("TF_StringCopy", None, [pointer, text, size]),
        ("TF_StringGetDataPointer", pointer, [pointer]),
        ("TF_StringGetSize", size, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _read_description(folder: pathlib.Path) -> tuple[dict, list]:
    """The signatures by name, and (signature, inputs, outputs) of each request."""
    path = folder / "signatures.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        require_format(path, described)
        signatures = described["signatures"]
        requests = read_golden(folder)
    except Failed:
        raise
    # JSON, zipfile, zlib and NumPy have errors of their own; the system's have numbers.
    except Exception as error:
        if getattr(error, "errno", None):
            raise Failed(
                f"{error.filename or folder} cannot be read ({error.strerror})."
            ) from None
        raise Failed(
            f"{folder} is damaged: signatures.json or golden.npz cannot be read "
            f"({_first_line(error)})."
        ) from None
    return signatures, requests


def read_golden(folder: pathlib.Path) -> list[tuple[str, dict, dict]]:
    """The warm-up requests and the answers stored at export.

    Args:
        folder: The version's folder.

    Returns:
        (signature, inputs, outputs) of each request; arrays by name, strings of
        dtype S.
    """
    with np.load(folder / "golden.npz", allow_pickle=False) as file:
        arrays = dict(file)
    requests = [(name, {}, {}) for name in json.loads(str(arrays.pop("signatures")))]
    for key, array in arrays.items():
        index, kind, name = key.split("/")
        requests[int(index)][1 if kind == "inputs" else 2][name] = array
    return requests


def read_meta_graph(folder: pathlib.Path):
    """The MetaGraphDef of an export.

    Args:
        folder: The version's folder.

    Raises:
        Failed: if it is no SavedModel with one graph, for serving.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString((folder / "saved_model.pb").read_bytes())
        (meta_graph,) = saved_model.meta_graphs
    except (DecodeError, ValueError):
        raise Failed(f"{folder} is damaged: saved_model.pb is no SavedModel.") from None
    if list(meta_graph.meta_info_def.tags) != ["serve"]:
        raise Failed(f"{folder} has no graph with the tag serve.")
    return meta_graph


def _check_signatures(signatures: dict, meta_graph) -> str:
    import tensorflow as tf

    # What is not a signature of ours is what initialises the graph.
    found = {
        name: definition
        for name, definition in meta_graph.signature_def.items()
        if not name.startswith("__")
    }
    if set(found) != set(signatures):
        raise Failed(
            f"The signatures are {', '.join(sorted(found))}, but signatures.json has "
            f"{', '.join(sorted(signatures))}."
        )
    defaults = 0
    for name, definition in found.items():
        described = signatures[name]["inputs"]
        dtypes = {k: tf.as_dtype(v.dtype).name for k, v in definition.inputs.items()}
        if dtypes != {key: value["dtype"] for key, value in described.items()}:
            raise Failed(f"Signature {name} has other inputs than signatures.json.")
        stored = {k: tf.make_ndarray(v) for k, v in definition.defaults.items()}
        for key, value in described.items():
            default = value["default"]
            if (default is None) != (key not in stored):
                raise Failed(f"Signature {name} does not store the default of {key}.")
            if default is not None:
                _check_default(name, key, stored[key], default)
                defaults += 1
    return f"{len(found)} signatures and {defaults} stored defaults"


def _check_default(signature: str, name: str, stored: np.ndarray, expected) -> None:
    if isinstance(expected, str):
        expected = expected.encode()
    if stored.size != 1 or stored.flat[0] != expected:
        raise Failed(
            f"Signature {signature} stores another default of {name} than "
            "signatures.json."
        )


def check_operations(meta_graph) -> str:
    """Checks that a server has all operations of a graph.

    Args:
        meta_graph: A MetaGraphDef.

    Returns:
        What was found, in words.

    Raises:
        Failed: if some are of another package, call Python or need XLA.
    """
    import tensorflow as tf

    library = meta_graph.graph_def.library.function
    nodes = [*meta_graph.graph_def.node]
    for function in library:
        nodes += function.node_def
    known = {function.signature.name for function in library}
    kinds = {node.op for node in nodes} - known
    python = sorted(kinds & _PYTHON_OPS)
    if python:
        raise Failed(f"The graph calls Python functions: {', '.join(python)}.")
    foreign = sorted(kind for kind in kinds if not hasattr(tf.raw_ops, kind))
    if foreign:
        raise Failed(
            f"The graph has operations that are not TensorFlow's: {', '.join(foreign)}."
        )
    if any(holder.attr["_XlaMustCompile"].b for holder in [*nodes, *library]):
        raise Failed("The graph has functions that must be compiled by XLA.")
    return f"{len(kinds)} kinds of operations, all of TensorFlow's core"


def _check_warmup(folder: pathlib.Path, signatures: dict, requests: list) -> str:
    logs = _read_warmup(folder)
    missing = sorted(set(signatures) - {log.model_spec.signature_name for log in logs})
    if missing:
        raise Failed(f"There is no warm-up request for {', '.join(missing)}.")
    recorded = [(log.model_spec.signature_name, _arrays(log)) for log in logs]
    stored = [(signature, inputs) for signature, inputs, _ in requests]
    if len(recorded) != len(stored) or not all(
        a[0] == b[0] and _equal(a[1], b[1]) for a, b in zip(recorded, stored)
    ):
        raise Failed("The warm-up requests are not those in golden.npz.")
    return f"{len(logs)} warm-up requests, for every signature"


def _read_warmup(folder: pathlib.Path) -> list:
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    logs = []
    try:
        for record in tf.data.TFRecordDataset(str(folder / WARMUP_PATH)):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            logs.append(log.predict_log.request)
    except (tf.errors.OpError, DecodeError) as error:
        raise Failed(
            f"{folder / WARMUP_PATH} cannot be read ({_first_line(error)})."
        ) from None
    return logs


def _arrays(request) -> dict[str, np.ndarray]:
    import tensorflow as tf

    arrays = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
    return {n: a.astype("S") if a.dtype == object else a for n, a in arrays.items()}


def _check_v1_session(folder: pathlib.Path, requests: list) -> str:
    import tensorflow as tf

    # The function's deprecation is about Python programs; servers load like this.
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        try:
            loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        except (tf.errors.OpError, OSError, ValueError) as error:
            raise Failed(
                f"A V1 session cannot load {folder} ({_first_line(error)})."
            ) from None

        def run(signature, inputs):
            definition = loaded.signature_def[signature]
            outputs = {name: info.name for name, info in definition.outputs.items()}
            feeds = {definition.inputs[name].name: a for name, a in inputs.items()}
            try:
                answer = session.run(outputs, feeds)
            except tf.errors.OpError as error:
                raise SessionError(error.error_code, error.message) from None
            return {
                name: a.astype("S") if a.dtype == object else a
                for name, a in answer.items()
            }

        _compare("V1 session", run, requests)
    return f"V1 session: {len(requests)} requests answered as at export"


def _tensor_names(meta_graph) -> dict[str, dict[str, dict[str, str]]]:
    """Tensor names of inputs and outputs by signature."""
    return {
        name: {
            "inputs": {key: info.name for key, info in definition.inputs.items()},
            "outputs": {key: info.name for key, info in definition.outputs.items()},
        }
        for name, definition in meta_graph.signature_def.items()
    }


def _check_c_api(folder: pathlib.Path, requests: list, names: dict) -> str:
    done = subprocess.run(
        [sys.executable, __file__, "--c_api", str(folder)],
        input=json.dumps(names),
        stderr=subprocess.PIPE,
        text=True,
        env=_quiet(),
    )
    if done.returncode:
        raise Failed(_last_line(done, "The process of the C API ended"))
    return f"C API: {len(requests)} requests answered as at export"


def _replay_in_c_api(folder: pathlib.Path, names: dict) -> None:
    try:
        session = CSession(folder)
    except SessionError as error:
        raise Failed(
            f"The C API cannot load {folder} ({_first_line(error)})."
        ) from None

    def run(signature, inputs):
        given, made = names[signature]["inputs"], names[signature]["outputs"]
        feeds = {given[name]: array for name, array in inputs.items()}
        return dict(zip(made, session.run(feeds, list(made.values()))))

    _compare("C API", run, read_golden(folder))
    if "tensorflow" in sys.modules:
        raise Failed("The process of the C API has imported TensorFlow for Python.")


def _compare(way: str, run, requests: list) -> None:
    for index, (signature, inputs, outputs) in enumerate(requests):
        try:
            answer = run(signature, inputs)
        except SessionError as error:
            raise Failed(
                f"{way}: warm-up request {index}, of {signature}, fails "
                f"({_first_line(error)})."
            ) from None
        if not _equal(answer, outputs):
            raise Failed(
                f"{way}: warm-up request {index}, of {signature}, is answered "
                "otherwise than at export; another processor or version of "
                "TensorFlow rounds differently: export where it will run."
            )


def _equal(some: dict, others: dict) -> bool:
    return some.keys() == others.keys() and all(
        some[name].dtype.kind == others[name].dtype.kind
        and np.array_equal(some[name], others[name])
        for name in some
    )


def _quiet() -> dict[str, str]:
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _last_line(done: subprocess.CompletedProcess, subject: str) -> str:
    lines = done.stderr.strip().splitlines()
    if done.returncode == 1 and lines:
        return lines[-1][len("error: ") :]
    return f"{subject} with status {done.returncode}: {' '.join(lines[-1:])}"


def _say(result: str) -> None:
    try:
        print(f"ok: {result}", flush=True)
    except BrokenPipeError:
        # Who reads has left, but the checks go on: their status counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: list) -> int:
    """Checks the export in the folder that is the last argument; 0 or 1."""
    if len(argv) not in (2, 3) or argv[1:-1] not in ([], ["--c_api"]):
        print("Usage: python -m export.verify RUN/saved_model/VERSION", file=sys.stderr)
        return 2
    folder = pathlib.Path(argv[-1])
    try:
        if argv[1] == "--c_api":
            _replay_in_c_api(folder, json.load(sys.stdin))
        else:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            check(folder)
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
