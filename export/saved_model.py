"""A finished run as a SavedModel: RUN/saved_model/VERSION, as TensorFlow Serving wants.

A version is written under a hidden name, which a server that polls the folder does
not see, and renamed when it is whole. Beside what TensorFlow writes it holds

    assets.extra/tf_serving_warmup_requests   a request or more for each signature
    signatures.json                           what the signatures mean, for people
    golden.npz                                the warm-up requests with their answers
    onnx                                      if asked for, see `onnx_model`
"""

import fcntl
import pathlib
import shutil
from typing import Any, Callable, Optional

import numpy as np
import tensorflow as tf

from export import layout, onnx_model, signatures
from singan_tf import errors, files, stack
from singan_tf.errors import UserError
from singan_tf.model.singan import SinGAN
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder


def export(
    run: RunFolder,
    version: Optional[int],
    limits: signatures.Limits,
    onnx: bool = False,
) -> pathlib.Path:
    """Writes a version of a run's SavedModel, whole or not at all.

    Args:
        run: The run.
        version: Its number, at least 1; None for one more than the highest there.
        limits: Of a request.
        onnx: Whether it gets ONNX files as well.

    Returns:
        The version's folder.

    Raises:
        UserError: if the run is not finished, the version exists, the limits leave
            no room for the photograph's own size, the folder cannot be written, or
            ONNX files are asked for and cannot be made.
    """
    if onnx:
        onnx_model.require_packages()
    singan, _ = loading.load(run)
    height, width = singan.sizes[-1]
    if height * width > limits.max_pixels:
        raise UserError(
            f"max_pixels={limits.max_pixels} must be at least {height * width}, the "
            "photograph's own pixels."
        )
    base = run.exports
    try:
        files.make_folder(base)
        with open(base / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Requests hold no name that is not UTF-8.
            name = errors.printable(run.path.resolve().name)
            return _export_locked(base, singan, name, version, limits, onnx)
    except (OSError, tf.errors.OpError) as error:
        way_out: Optional[str] = "mend that and export again"
        if isinstance(error, OSError):
            way_out = errors.way_out(error)
        if way_out is None:
            raise
        reason = errors.reason_of(error)
        raise UserError(f"{base} cannot be written ({reason}); {way_out}.") from None


def _export_locked(
    base: pathlib.Path,
    singan: SinGAN,
    name: str,
    version: Optional[int],
    limits: signatures.Limits,
    onnx: bool,
) -> pathlib.Path:
    taken = layout.taken(base)
    following = max(taken, default=0) + 1
    version = version or following
    folder = base / str(version)
    if version in taken:
        raise UserError(
            f"Version {version} is already in {base}; choose a number that is not, "
            f"or leave it out for {following}."
        )
    with files.plain_path(base) as plain:
        # What a killed export left behind goes, too.
        temporary = pathlib.Path(plain, f".{version}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            _write(temporary, singan, name, limits)
            if onnx:
                onnx_model.write(temporary / onnx_model.FOLDER, singan, limits)
            files.sync_tree(temporary)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    files.sync(base)
    return folder


def _write(
    folder: pathlib.Path, singan: SinGAN, name: str, limits: signatures.Limits
) -> None:
    functions = signatures.build(singan, limits)
    # Nothing but variables hangs on the root: neither Keras' layers nor the run.
    root = tf.Module()
    root.weights = [_plain(variable) for variable in singan.variables]
    tf.saved_model.save(root, str(folder), signatures=functions)
    requests = [
        layout.Request(signature, inputs, _answer(functions[signature], inputs))
        for signature, inputs in _warmup_inputs(singan, functions)
    ]
    _write_warmup(folder / layout.WARMUP, name, requests)
    layout.write_golden(folder, requests)
    files.write_json(
        folder / layout.DESCRIPTION,
        {
            "format": layout.FORMAT,
            "stack": stack.versions(),
            "model": name,
            "size": list(singan.sizes[-1]),
            "channels": singan.channels,
            "scales": len(singan.stages),
            "limits": limits._asdict(),
            "signatures": signatures.describe(functions, singan, limits),
        },
    )


def _plain(variable: tf.Variable) -> tf.Variable:
    """A variable without the wrapper that mixed precision puts around it."""
    return getattr(variable, "_variable", variable)


def _warmup_inputs(
    singan: SinGAN, functions: dict[str, Callable]
) -> list[tuple[str, dict[str, Any]]]:
    """Requests that touch every signature, and what is optional in it."""
    height, width = singan.sizes[-1]
    last = len(singan.stages) - 1
    photograph = np.asarray(
        functions["reconstruct"](tf.constant([0], tf.int64))["image"]
    )
    png = _png(photograph[0])
    # Half of it, or super-resolution is most of the time that loading takes.
    least = signatures.least_sides(singan)
    small = photograph[:, : max(least[0], height // 2), : max(least[1], width // 2)]
    mask = np.zeros([1, height, width, 1], np.uint8)
    mask[:, height // 3 :, width // 3 :] = 255
    one_seed = np.array([0], np.int64)
    one = {
        "seed": one_seed,
        "start_scale": np.array([0], np.int32),
        "height": np.array([height], np.int32),
        "width": np.array([width], np.int32),
        "noise_scale": np.array([1], np.float32),
    }
    two = {
        "seed": np.array([-5, 2**40], np.int64),
        "start_scale": np.array([last, 0], np.int32),
        "height": np.array([height + 3] * 2, np.int32),
        "width": np.array([least[1]] * 2, np.int32),
        "noise_scale": np.array([1, 0.5], np.float32),
    }
    enlarging = {"factor": np.array([1.6], np.float32), "seed": one_seed}
    editing = {"injection_scale": np.array([last], np.int32), "seed": one_seed}
    which = {}
    if singan.num_photographs > 1:
        which["photograph"] = np.array([singan.num_photographs - 1], np.int32)
    inputs = [
        ("serving_default", one),
        ("sample", two),
        ("sample_png", two),
        ("super_resolve", {"image": small, **enlarging}),
        ("super_resolve_png", {"image_bytes": _strings(_png(small[0])), **enlarging}),
        ("edit", {"image": photograph, "mask": mask, **editing}),
        ("edit", {"image": photograph, "mask": np.full([1] * 4, 255, "u1"), **editing}),
        (
            "edit_png",
            {
                "image_bytes": _strings(png, png),
                "mask_bytes": _strings(_png(mask[0]), b""),
                **editing,
            },
        ),
        ("reconstruct", {"seed": one_seed, **which}),
        ("reconstruct_png", {"seed": one_seed, **which}),
    ]
    return [(name, values) for name, values in inputs if name in functions]


def _answer(function: Callable, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    answer = function(**{name: tf.constant(array) for name, array in inputs.items()})
    return {
        name: _strings(*tensor.numpy()) if tensor.dtype == tf.string else tensor.numpy()
        for name, tensor in answer.items()
    }


def _png(image: np.ndarray) -> bytes:
    return tf.io.encode_png(image).numpy()


def _strings(*values: bytes) -> np.ndarray:
    # Dtype S drops zeros at the end; a PNG file never ends in one.
    return np.array(values, "S")


def _write_warmup(
    path: pathlib.Path, model: str, requests: list[layout.Request]
) -> None:
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            message = predict_pb2.PredictRequest()
            message.model_spec.name = model
            message.model_spec.signature_name = request.signature
            for name, array in request.inputs.items():
                message.inputs[name].CopyFrom(tf.make_tensor_proto(array))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=message)
            )
            writer.write(log.SerializeToString())
