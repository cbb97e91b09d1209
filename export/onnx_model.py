"""The signatures as ONNX files, which onnxruntime answers without TensorFlow.

One file for each signature that takes arrays, for images of the photograph's size and
one row at a time: `onnx/sample.onnx` in the folder of a version. The inputs and the
output have the names, types and meanings that they have in the SavedModel, seeds among
them; `onnx/signatures.json` tells them. Nothing refuses a value out of its range.

Not among them are the signatures of PNG files: ONNX has no operation that reads or
writes them.
"""

import functools
import importlib.util
import logging
import pathlib
from typing import Any, Callable, Optional

import numpy as np
import tensorflow as tf

from export import onnx_handlers
from export.codecs import Arrays
from export.inputs import Limits, inputs
from export.signatures import DOCS, to_uint8
from singan_tf import files
from singan_tf.errors import UserError
from singan_tf.model import portable
from singan_tf.model.singan import SinGAN
from singan_tf.model.stage import Stage
from singan_tf.tasks import masks, super_resolution

FOLDER = "onnx"
# How much super_resolve enlarges: a graph written out has one factor, the default one.
FACTOR = 4
# The first in which integers are combined bit by bit, which seeds need.
_OPSET = 18
# Not "image": that is an input, and names in a graph of ONNX are its own.
_OUTPUT = "result"
_PACKAGES = ("onnx", "tf2onnx", "onnxruntime")


def require_packages() -> None:
    """Looks whether the packages of requirements-onnx.txt are installed.

    Raises:
        UserError: if one is not.
    """
    for name in _PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"{name} is missing; pip install -r requirements-onnx.txt.")


def write(folder: pathlib.Path, singan: SinGAN, limits: Limits) -> None:
    """Writes an ONNX file for each signature that can have one, and what they mean.

    Args:
        folder: Of the files; it does not exist yet.
        singan: A trained pyramid.
        limits: Of a request. Where an enlarged photograph is above them, there is no
            super_resolve.

    Raises:
        UserError: if a package is missing, or a converter gives up.
        OSError: if the files cannot be written.
    """
    require_packages()
    folder.mkdir()
    functions = build(singan, limits)
    for name, function in functions.items():
        model = _convert(name, function)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    files.write_json(
        folder / "signatures.json",
        {
            "opset": _OPSET,
            "size": list(singan.sizes[-1]),
            "factor": FACTOR,
            "signatures": {
                name: _describe(name, function, singan, limits)
                for name, function in functions.items()
            },
        },
    )


def build(singan: SinGAN, limits: Limits) -> dict[str, Callable]:
    """Makes the functions that become ONNX files.

    Args:
        singan: A trained pyramid.
        limits: See `write`.

    Returns:
        tf.functions of one row and of images of the photograph's size, by name; they
        are not traced yet, and have to be within `portable.graphs`.
    """
    kept = _remembering(singan)
    height, width = singan.sizes[-1]
    codec = Arrays({}, singan.channels)

    def sample(seed, start_scale, noise_scale):
        return kept.sample(seed, start_scale[0], height, width, noise_scale)

    def reconstruct(seed):
        return kept.reconstruct()

    sizes = super_resolution.super_resolution_sizes(height, width, FACTOR)

    def super_resolve(image, seed):
        image = codec.read_image({"image": image[0]})
        return super_resolution.written_out(kept, image, sizes, seed)

    def edit(image, injection_scale, mask, seed):
        image = codec.read_image({"image": image[0]})
        mask = codec.read_mask({"mask": mask[0]})
        redrawn = kept.inject(image, injection_scale[0], seed)
        return masks.blend(image, redrawn, mask[:, :, 0])

    functions = {
        "sample": _function(sample, singan, limits),
        "reconstruct": _function(reconstruct, singan, limits),
    }
    if height * width * FACTOR**2 <= limits.max_pixels:
        functions["super_resolve"] = _function(super_resolve, singan, limits)
    if len(singan.stages) > 1:
        functions["edit"] = _function(edit, singan, limits)
    return functions


def _function(compute: Callable, singan: SinGAN, limits: Limits) -> Callable:
    """A computation of float32 [1, H, W, C] as a tf.function that answers uint8."""
    code = compute.__code__
    names = code.co_varnames[: code.co_argcount]
    known = inputs(singan, limits)
    fixed = [1, *singan.sizes[-1]]
    specs = [
        tf.TensorSpec(
            [
                side if side is not None else fixed[axis]
                for axis, side in enumerate(known[name].shape)
            ],
            known[name].dtype,
            name,
        )
        for name in names
    ]

    @functools.wraps(compute)
    def answer(*arguments):
        return {_OUTPUT: to_uint8(compute(*arguments))[tf.newaxis]}

    return tf.function(answer, input_signature=specs, autograph=False)


class _Remembering(Stage):
    """A stage that knows what it restores: a graph need not run its network for it."""

    def __init__(self, stage: Stage, restored: tf.Tensor):
        super().__init__()
        self.trained = stage.trained
        self._stage = stage
        self._restored = restored.numpy()

    def noise(self, seeds: tf.Tensor, stream: int, height, width) -> tf.Tensor:
        return self._stage.noise(seeds, stream, height, width)

    def __call__(
        self, noise_map: Optional[tf.Tensor], previous: tf.Tensor
    ) -> tf.Tensor:
        return self._stage(noise_map, previous)

    def restore(self, noise_map: Optional[tf.Tensor], previous: tf.Tensor) -> tf.Tensor:
        return tf.constant(self._restored)


def _remembering(singan: SinGAN) -> SinGAN:
    kept = SinGAN(singan.sizes, singan.channels)
    restored = singan.reconstructions(len(singan.stages))
    for stage, image in zip(singan.stages, restored):
        kept.append(_Remembering(stage, image), singan.reconstruction_noise)
    return kept


def _describe(
    name: str, function: Callable, singan: SinGAN, limits: Limits
) -> dict[str, Any]:
    """What a file takes and gives, as JSON values."""
    known = inputs(singan, limits)
    height, width = singan.sizes[-1]
    scale = FACTOR if name == "super_resolve" else 1
    return {
        "doc": DOCS[name],
        "inputs": {
            spec.name: {
                "dtype": spec.dtype.name,
                "shape": spec.shape.as_list(),
                "range": known[spec.name].range,
                "doc": known[spec.name].doc,
            }
            for spec in function.input_signature
        },
        "outputs": {
            _OUTPUT: {
                "dtype": "uint8",
                "shape": [1, height * scale, width * scale, singan.channels],
            }
        },
    }


def _convert(name: str, function: Callable) -> Any:
    """The ModelProto of a function."""
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    from tf2onnx import optimizer, tf_loader, tfonnx

    with portable.graphs():
        concrete = function.get_concrete_function()
    ins = [spec.name for spec in function.input_signature]
    tensors = [f"{each}:0" for each in ins], [concrete.outputs[0].name]
    try:
        frozen = tf_loader.from_function(concrete, *tensors)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(frozen, name="")
            converted = tfonnx.process_tf_graph(
                graph,
                opset=_OPSET,
                custom_op_handlers=onnx_handlers.HANDLERS,
                input_names=tensors[0],
                output_names=tensors[1],
                tensors_to_rename=dict(zip(sum(tensors, []), [*ins, _OUTPUT])),
            )
        return optimizer.optimize_graph(converted, catch_errors=False).make_model(name)
    # Whatever an operation lacks, tf2onnx tells it by errors of any type.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name} cannot be written as ONNX ({reason}); export without it."
        ) from error
