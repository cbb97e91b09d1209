"""An export in TensorFlow's C API: a session whose loader is the server's own.

Needs NumPy and the files of the tensorflow package, which is not imported.
"""

import ctypes
import importlib.util
import os
import pathlib
import sys

import numpy as np

from export import layout
from export.replay import Failed, SessionError, compare, first_line

# TF_DataType, in tf_datatype.h.
_C_TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10}
_C_STRING = 7
_C_TSTRING_SIZE = 24


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


_POINTER, _INTEGER, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
_TEXT, _SIZES = ctypes.c_char_p, ctypes.POINTER(ctypes.c_int64)
_OUTPUTS, _POINTERS = ctypes.POINTER(_COutput), ctypes.POINTER(_POINTER)
# Name, type of the result, and types of the arguments, from c_api.h and tf_tensor.h.
_FUNCTIONS = (
    ("TF_NewStatus", _POINTER, []),
    ("TF_GetCode", _INTEGER, [_POINTER]),
    ("TF_Message", _TEXT, [_POINTER]),
    ("TF_NewGraph", _POINTER, []),
    ("TF_NewSessionOptions", _POINTER, []),
    (
        "TF_LoadSessionFromSavedModel",
        _POINTER,
        [_POINTER, _POINTER, _TEXT, ctypes.POINTER(_TEXT), _INTEGER]
        + [_POINTER, _POINTER, _POINTER],
    ),
    ("TF_GraphOperationByName", _POINTER, [_POINTER, _TEXT]),
    (
        "TF_SessionRun",
        None,
        [
            _POINTER,
            _POINTER,
            _OUTPUTS,
            _POINTERS,
            _INTEGER,
            _OUTPUTS,
            _POINTERS,
            _INTEGER,
        ]
        + [_POINTER, _INTEGER, _POINTER, _POINTER],
    ),
    ("TF_AllocateTensor", _POINTER, [_INTEGER, _SIZES, _INTEGER, _SIZE]),
    ("TF_DeleteTensor", None, [_POINTER]),
    ("TF_TensorData", _POINTER, [_POINTER]),
    ("TF_TensorByteSize", _SIZE, [_POINTER]),
    ("TF_TensorType", _INTEGER, [_POINTER]),
    ("TF_NumDims", _INTEGER, [_POINTER]),
    ("TF_Dim", ctypes.c_int64, [_POINTER, _INTEGER]),
    ("TF_StringInit", None, [_POINTER]),
    ("TF_StringCopy", None, [_POINTER, _TEXT, _SIZE]),
    ("TF_StringGetDataPointer", _POINTER, [_POINTER]),
    ("TF_StringGetSize", _SIZE, [_POINTER]),
)


def _load_library() -> ctypes.CDLL:
    """TensorFlow's library, found without importing TensorFlow."""
    package = pathlib.Path(importlib.util.find_spec("tensorflow").origin).parent
    mode = ctypes.RTLD_GLOBAL
    ctypes.CDLL(str(package / "libtensorflow_framework.so.2"), mode)
    library = ctypes.CDLL(str(package / "libtensorflow_cc.so.2"), mode)
    for name, result, arguments in _FUNCTIONS:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def replay(folder: pathlib.Path, names: dict[str, dict[str, dict[str, str]]]) -> None:
    """Asks the stored requests through the C API, in a process without TensorFlow.

    Args:
        folder: The version's folder.
        names: Tensor names by "inputs" and "outputs", by signature: to read them from
            the export takes TensorFlow for Python.

    Raises:
        Failed: if the export cannot be loaded, or answers otherwise than at export.
    """
    try:
        session = CSession(folder)
    except SessionError as error:
        raise Failed(f"The C API cannot load {folder} ({first_line(error)}).") from None

    def run(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given, made = names[signature]["inputs"], names[signature]["outputs"]
        feeds = {given[name]: array for name, array in inputs.items()}
        return dict(zip(made, session.run(feeds, list(made.values()))))

    compare("C API", run, layout.read_golden(folder))
    if "tensorflow" in sys.modules:
        raise Failed("The process of the C API has imported TensorFlow for Python.")
