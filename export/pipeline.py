"""The SavedModel inside Python programs: NumPy, tf.data, Keras, and what maps batches.

Loading in Python ignores the defaults that a SavedModel stores for optional inputs, so
they are read from saved_model.pb and filled in here. `export.beam_sample` has the
handler for Apache Beam.
"""

import json
import os
import re
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from export import layout
from singan_tf.files import plain_path

_loaded: dict[str, Any] = {}
_loading = threading.Lock()


class Input(NamedTuple):
    """An input of a signature.

    Attributes:
        dtype: Of NumPy; object for strings.
        rank: With the batch dimension.
        default: [1, ...], or None where a value is required.
    """

    dtype: np.dtype
    rank: int
    default: Optional[np.ndarray]


class Pipeline:
    """An exported model: mappings of arrays in, dicts of arrays out.

    Every input has a batch dimension B; one that is given without it, or with B = 1,
    serves all rows. Inputs with a default may be left out.

        pipeline = Pipeline("runs/coffee/saved_model", "sample")
        images = pipeline({"seed": [1, 2, 3], "height": 96})["image"]

    The model is loaded once in a process, however many pipelines there are on it. A
    pipeline pickles as its path, so Spark, Ray and multiprocessing may send it to
    their workers; any number of threads may call it.

    Attributes:
        path: The folder of the version.
        signature: What it calls unless told otherwise.
        signatures: Name to inputs, name to `Input`, of all signatures.
        model: What tf.saved_model.load returned.
    """

    def __init__(self, path: str, signature: str = "serving_default"):
        """Loads the model, unless this process has.

        Args:
            path: The folder of the versions, of which the highest is taken, or of a
                version; anything that TensorFlow can read.
            signature: Of those in docs/serving.md.

        Raises:
            FileNotFoundError: if there is no exported model.
            ValueError: if it has no such signature, a newer version of the program
                made it, or it is damaged.
        """
        self.path = find_version(path)
        self.signatures = read_signatures(self.path)
        self.signature = self._known(signature)
        with _loading:
            if self.path not in _loaded:
                with plain_path(self.path) as plain:
                    _loaded[self.path] = tf.saved_model.load(plain)
        self.model = _loaded[self.path]

    def __reduce__(self) -> tuple:
        """Pickles as the path and the signature."""
        return Pipeline, (self.path, self.signature)

    def __call__(
        self, inputs: Mapping[str, Any], signature: Optional[str] = None
    ) -> dict[str, np.ndarray]:
        """Calls a signature.

        Args:
            inputs: Name to what np.asarray takes; numbers are converted to the
                input's type where that keeps their values.
            signature: Another one than the pipeline's.

        Returns:
            Name to array; PNG files are an object array of bytes.

        Raises:
            ValueError: if inputs are missing, unknown, of another rank or type, or
                refused by the model; with the model's sentence then.
        """
        name = self._known(signature or self.signature)
        arrays = {
            key: _to_array(key, value, self._input(name, key))
            for key, value in inputs.items()
        }
        try:
            outputs = self._call(name, arrays)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(_sentence(error.message)) from error
        return {key: value.numpy() for key, value in outputs.items()}

    def tensors(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Calls the pipeline's signature on tensors, as in `dataset.map(...)`.

        Args:
            inputs: Name to a tensor of exactly the input's type, with its batch
                dimension.

        Returns:
            Name to tensor.

        Raises:
            ValueError: if inputs are missing, unknown, or of another type.
            tf.errors.InvalidArgumentError: if the model refuses them.
        """
        name = self.signature
        for key, value in inputs.items():
            dtype = self._input(name, key).dtype
            if value.dtype.as_numpy_dtype != dtype:
                wanted = tf.as_dtype(dtype).name
                raise ValueError(f"{key} must be {wanted}, not {value.dtype.name}")
        return self._call(name, inputs)

    def _call(self, name: str, inputs: Mapping) -> dict[str, tf.Tensor]:
        values = {
            key: spec.default
            for key, spec in self.signatures[name].items()
            if spec.default is not None
        }
        values.update(inputs)
        missing = sorted(set(self.signatures[name]) - set(values))
        if missing:
            raise ValueError(f"{name} needs {', '.join(missing)}")
        tensors = {key: tf.convert_to_tensor(value) for key, value in values.items()}
        return self.model.signatures[name](**tensors)

    def _known(self, name: str) -> str:
        if name not in self.signatures:
            known = ", ".join(sorted(self.signatures))
            raise ValueError(f"there is no signature {name}; choose from {known}")
        return name

    def _input(self, name: str, key: str) -> Input:
        if key not in self.signatures[name]:
            known = ", ".join(sorted(self.signatures[name]))
            raise ValueError(f"{name} has no input {key}; it takes {known}")
        return self.signatures[name][key]


class SignatureLayer(tf.keras.layers.Layer):
    """A signature as a Keras layer, for use inside other models.

    It maps a dict of tensors, each with its batch dimension and exactly the input's
    type, to a dict of tensors. It has no weights to train and no gradient: images are
    whole numbers. A model that contains it can be saved in the .keras format, which
    keeps the path of the export, and by its `export` as a SavedModel, which keeps the
    export itself. It is a layer of TensorFlow's own Keras: Keras 3 from TensorFlow
    2.16 on, where tf.saved_model.save writes models that cannot be called.
    """

    def __init__(self, path: str, signature: str = "serving_default", **kwargs: Any):
        """Loads the model, unless this process has.

        Args:
            path: As in `Pipeline`.
            signature: Likewise.
            **kwargs: Of every Keras layer.
        """
        # Keras would bring floating-point inputs to the type of its policy.
        super().__init__(autocast=False, **kwargs)
        # Keras 3 has a _path of its own.
        self._export_path, self._signature = path, signature
        self._pipeline = Pipeline(path, signature)
        # Tracked, so that a SavedModel of the outer model holds its variables.
        self._model = self._pipeline.model

    def call(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """As `Pipeline.tensors`."""
        return self._pipeline.tensors(inputs)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        kept = {"path": self._export_path, "signature": self._signature}
        return {**super().get_config(), **kept}


def find_version(path: str) -> str:
    """Finds an exported model.

    Args:
        path: The folder of the versions, or of a version.

    Returns:
        The folder of the highest version, or of the one that was given.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = os.fspath(path).rstrip("/")
    if tf.io.gfile.exists(f"{path}/{layout.MODEL}"):
        return path
    names = tf.io.gfile.listdir(path) if tf.io.gfile.isdir(path) else []
    versions = layout.by_number(name.rstrip("/") for name in names)
    for version in reversed(versions.values()):
        if tf.io.gfile.exists(f"{path}/{version}/{layout.MODEL}"):
            return f"{path}/{version}"
    raise FileNotFoundError(f"{path} holds no exported model")


def read_signatures(path: str) -> dict[str, dict[str, Input]]:
    """Reads a model's signatures without loading it.

    Args:
        path: The folder of a version.

    Returns:
        Name to inputs, name to `Input`.

    Raises:
        ValueError: if a newer version of the program made it, or it is damaged.
    """
    _require_format(path)
    with tf.io.gfile.GFile(f"{path}/{layout.MODEL}", "rb") as file:
        content = file.read()
    try:
        (graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    except (DecodeError, ValueError):
        raise ValueError(
            f"{path} is damaged: {layout.MODEL} is no SavedModel"
        ) from None
    return {
        name: {
            key: _input_of(info, key, signature)
            for key, info in signature.inputs.items()
        }
        for name, signature in graph.signature_def.items()
        # Python's own: it restores variables and takes nothing.
        if not name.startswith("__")
    }


def _require_format(path: str) -> None:
    described = f"{path}/{layout.DESCRIPTION}"
    # Models of others have none.
    if tf.io.gfile.exists(described):
        with tf.io.gfile.GFile(described) as file:
            layout.require_format(described, json.loads(file.read()))


def _input_of(
    info: meta_graph_pb2.TensorInfo, key: str, signature: meta_graph_pb2.SignatureDef
) -> Input:
    default = None
    if key in signature.defaults:
        default = tf.make_ndarray(signature.defaults[key])
    dtype = np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype)
    return Input(dtype, len(info.tensor_shape.dim), default)


def _sentence(message: str) -> str:
    """The model's own words of what TensorFlow tells around them."""
    asserted = re.search(r"assertion failed: \[(.*)\]", message)
    if asserted:
        return asserted[1]
    around = ("Graph execution error", "Detected at node", "<stack traces", "[[", "\t")
    lines = [line for line in message.splitlines() if not line.startswith(around)]
    return " ".join(filter(None, map(str.strip, lines)))


def _to_array(name: str, value: Any, spec: Input) -> np.ndarray:
    given = np.asarray(value)
    if spec.dtype == object:
        # NumPy's own strings drop zero bytes at the end.
        given = np.asarray(value, object)
        fits = all(isinstance(item, bytes) for item in given.flat)
    else:
        kinds = "iuf" if spec.dtype.kind == "f" else "iu"
        fits = given.dtype.kind in kinds
        if fits and spec.dtype.kind in "iu":
            limits = np.iinfo(spec.dtype)
            fits = bool(((given >= limits.min) & (given <= limits.max)).all())
    if not fits:
        wanted = "bytes" if spec.dtype == object else spec.dtype.name
        raise ValueError(f"{name} must be {wanted}, not {given.dtype}")
    if given.ndim not in (spec.rank, spec.rank - 1):
        raise ValueError(f"{name} must have {spec.rank} dimensions, not {given.ndim}")
    array = given.astype(spec.dtype)
    return array if array.ndim == spec.rank else array[np.newaxis]
