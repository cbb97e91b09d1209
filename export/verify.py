"""Checks an export by loading it as TensorFlow Serving does.

    python -m export.verify RUN/saved_model/VERSION

needs nothing of this program but the export: neither singan_tf nor Keras is imported.
The warm-up requests are answered twice, through a V1 session and, in a process that
imports no TensorFlow for Python, through the C API of TensorFlow's own library, whose
loader is the server's. Both must give the answers stored at export, bit for bit.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import numpy as np

if __name__ == "__main__" and not __package__:
    # Run by its path, of which Python knows this folder, not the one it lies in.
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from export import c_api, layout
from export.replay import Failed, SessionError, compare, equal, first_line

if TYPE_CHECKING:
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import predict_pb2

FILES = (
    layout.MODEL,
    layout.VARIABLES,
    layout.DESCRIPTION,
    layout.GOLDEN,
    layout.WARMUP,
)
_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


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
    signatures, requests = _read(folder)
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


def _read(folder: pathlib.Path) -> tuple[dict, list[layout.Request]]:
    """The described signatures by name, and the stored requests."""
    try:
        signatures = layout.read_description(folder).signatures
        requests = layout.read_golden(folder)
    except layout.WrongFormat as error:
        raise Failed(str(error)) from None
    # JSON, zipfile, zlib and NumPy have errors of their own; the system's have numbers.
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise Failed(
                f"{error.filename or folder} cannot be read ({error.strerror})."
            ) from None
        raise Failed(
            f"{folder} is damaged: signatures.json or golden.npz cannot be read "
            f"({first_line(error)})."
        ) from None
    return signatures, requests


def read_meta_graph(folder: pathlib.Path) -> "meta_graph_pb2.MetaGraphDef":
    """The MetaGraphDef of an export.

    Args:
        folder: The version's folder.

    Raises:
        Failed: if it cannot be read, or is no SavedModel with one graph, for serving.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString((folder / layout.MODEL).read_bytes())
        (meta_graph,) = saved_model.meta_graphs
    except OSError as error:
        raise Failed(
            f"{folder / layout.MODEL} cannot be read ({error.strerror})."
        ) from None
    except (DecodeError, ValueError):
        raise Failed(f"{folder} is damaged: saved_model.pb is no SavedModel.") from None
    if list(meta_graph.meta_info_def.tags) != ["serve"]:
        raise Failed(f"{folder} has no graph with the tag serve.")
    return meta_graph


def _check_signatures(
    signatures: dict, meta_graph: "meta_graph_pb2.MetaGraphDef"
) -> str:
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


def _check_default(
    signature: str, name: str, stored: np.ndarray, expected: object
) -> None:
    if isinstance(expected, str):
        expected = expected.encode()
    if stored.size != 1 or stored.flat[0] != expected:
        raise Failed(
            f"Signature {signature} stores another default of {name} than "
            "signatures.json."
        )


def check_operations(meta_graph: "meta_graph_pb2.MetaGraphDef") -> str:
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


def _check_warmup(
    folder: pathlib.Path, signatures: dict, requests: list[layout.Request]
) -> str:
    logs = _read_warmup(folder)
    missing = sorted(set(signatures) - {log.model_spec.signature_name for log in logs})
    if missing:
        raise Failed(f"There is no warm-up request for {', '.join(missing)}.")
    recorded = [(log.model_spec.signature_name, _arrays(log)) for log in logs]
    stored = [(signature, inputs) for signature, inputs, _ in requests]
    if len(recorded) != len(stored) or not all(
        a[0] == b[0] and equal(a[1], b[1]) for a, b in zip(recorded, stored)
    ):
        raise Failed("The warm-up requests are not those in golden.npz.")
    return f"{len(logs)} warm-up requests, for every signature"


def _read_warmup(folder: pathlib.Path) -> list["predict_pb2.PredictRequest"]:
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    logs = []
    try:
        for record in tf.data.TFRecordDataset(str(folder / layout.WARMUP)):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            logs.append(log.predict_log.request)
    except (tf.errors.OpError, DecodeError) as error:
        raise Failed(
            f"{folder / layout.WARMUP} cannot be read ({first_line(error)})."
        ) from None
    return logs


def _arrays(request: "predict_pb2.PredictRequest") -> dict[str, np.ndarray]:
    import tensorflow as tf

    arrays = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
    return {n: a.astype("S") if a.dtype == object else a for n, a in arrays.items()}


def _check_v1_session(folder: pathlib.Path, requests: list[layout.Request]) -> str:
    import tensorflow as tf

    # The function's deprecation is about Python programs; servers load like this.
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        try:
            loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        except (tf.errors.OpError, OSError, ValueError) as error:
            raise Failed(
                f"A V1 session cannot load {folder} ({first_line(error)})."
            ) from None

        def run(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
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

        compare("V1 session", run, requests)
    return f"V1 session: {len(requests)} requests answered as at export"


def _tensor_names(
    meta_graph: "meta_graph_pb2.MetaGraphDef",
) -> dict[str, dict[str, dict[str, str]]]:
    """Tensor names of inputs and outputs by signature."""
    return {
        name: {
            "inputs": {key: info.name for key, info in definition.inputs.items()},
            "outputs": {key: info.name for key, info in definition.outputs.items()},
        }
        for name, definition in meta_graph.signature_def.items()
    }


def _check_c_api(
    folder: pathlib.Path, requests: list[layout.Request], names: dict
) -> str:
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


def _quiet() -> dict[str, str]:
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def _last_line(done: subprocess.CompletedProcess, subject: str) -> str:
    last = "".join(done.stderr.strip().splitlines()[-1:])
    if done.returncode == 1 and last.startswith("error: "):
        return last.removeprefix("error: ")
    return f"{subject} with status {done.returncode}: {last}"


def _say(result: str) -> None:
    try:
        print(f"ok: {result}", flush=True)
    except BrokenPipeError:
        # Who reads has left, but the checks go on: their status counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: list[str]) -> int:
    """Checks the export in the folder that is the last argument; 0 or 1."""
    if len(argv) not in (2, 3) or argv[1:-1] not in ([], ["--c_api"]):
        print("Usage: python -m export.verify RUN/saved_model/VERSION", file=sys.stderr)
        return 2
    folder = pathlib.Path(argv[-1])
    try:
        if argv[1] == "--c_api":
            c_api.replay(folder, json.load(sys.stdin))
        else:
            from singan_tf.cli import quiet

            quiet.hush()
            check(folder)
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
