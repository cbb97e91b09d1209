"""The signatures as ONNX files, which onnxruntime answers without TensorFlow.

One file for each signature that takes arrays, for images of the photograph's size and
one row at a time: `onnx/sample.onnx` in the folder of a version. The inputs have the
names, types and meanings that they have in the SavedModel, seeds among them; the output
is `result`. `onnx/signatures.json` tells all of it, and what is left out and why.
Nothing refuses a value that is out of its range.
"""

import importlib.util
import inspect
import logging
import pathlib
from typing import Any, Callable, Optional

import tensorflow as tf

from export import onnx_handlers
from export.codecs import Arrays, Png
from export.inputs import Limits, inputs
from export.signatures import DOCS, to_uint8
from singan_tf import files
from singan_tf.errors import UserError
from singan_tf.model import portable
from singan_tf.model.singan import SinGAN
from singan_tf.model.stage import Stage
from singan_tf.tasks import masks, super_resolution

FOLDER = "onnx"
DESCRIPTION = "signatures.json"
# How much super_resolve enlarges: a graph written out has one factor, the default one.
FACTOR = 4
# The first in which integers are combined bit by bit, which seeds need.
_OPSET = 18
# Not "image": that is an input, and a name stands for one thing in a graph of ONNX.
_OUTPUT = "result"
_PACKAGES = ("onnx", "tf2onnx")


def require_packages() -> None:
    """Looks whether the packages that write ONNX files are installed.

    Raises:
        UserError: if one is not.
    """
    for name in _PACKAGES:
        if importlib.util.find_spec(name) is None:
            way_out = "pip install -r requirements-onnx.txt, with Python 3.10 or later"
            raise UserError(f"{name} is missing; {way_out}.")


def write(folder: pathlib.Path, singan: SinGAN, limits: Limits) -> None:
    """Writes an ONNX file for each signature that can have one, and what they mean.

    Args:
        folder: Of the files; it does not exist yet.
        singan: A trained pyramid.
        limits: Of a request.

    Raises:
        UserError: if the converter gives up.
        OSError: if the files cannot be written.
    """
    folder.mkdir()
    functions = build(singan, limits)
    for name, function in functions.items():
        model = _convert(name, function)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    files.write_json(
        folder / DESCRIPTION,
        {
            "opset": _OPSET,
            "size": list(singan.sizes[-1]),
            "factor": FACTOR,
            "signatures": {
                name: _describe(name, function, singan, limits)
                for name, function in functions.items()
            },
            "left_out": left_out(singan, limits),
        },
    )


def left_out(singan: SinGAN, limits: Limits) -> dict[str, str]:
    """Which signatures of the SavedModel have no file, and why.

    Args:
        singan: A trained pyramid.
        limits: Of a request.

    Returns:
        Reasons, in words without a full stop, by the signatures' names.
    """
    missing = {f"*{Png.suffix}": "ONNX has no operation that reads or writes PNG files"}
    height, width = singan.sizes[-1]
    if height * width * FACTOR**2 > limits.max_pixels:
        missing["super_resolve"] = (
            f"the photograph's size times {FACTOR} is more than the limit of "
            f"{limits.max_pixels} pixels"
        )
    if singan.num_photographs > 1:
        missing["reconstruct"] = (
            "of several photographs each has a size of its own, and a file has one"
        )
    return missing


def build(singan: SinGAN, limits: Limits) -> dict[str, Callable]:
    """Makes the functions that become ONNX files.

    Args:
        singan: A trained pyramid.
        limits: Of a request.

    Returns:
        tf.functions of one row and of images of the photograph's size, by name. They
        are not traced yet, which has to happen within `portable.graphs`.
    """
    missing = left_out(singan, limits)
    singan = _remembering(singan)
    height, width = singan.sizes[-1]
    codec = Arrays({}, singan.channels)
    enlarged = super_resolution.super_resolution_sizes(height, width, FACTOR)

    def sample(seed, start_scale, noise_scale):
        return singan.sample(seed, start_scale[0], height, width, noise_scale)

    def reconstruct(seed):
        return singan.reconstruct()

    def super_resolve(image, seed):
        image = codec.read_image({"image": image[0]})
        return super_resolution.written_out(singan, image, enlarged, seed)

    def edit(image, injection_scale, mask, seed):
        image = codec.read_image({"image": image[0]})
        mask = codec.read_mask({"mask": mask[0]})
        redrawn = singan.inject(image, injection_scale[0], seed)
        return masks.blend(image, redrawn, mask[:, :, 0])

    tasks: list[Callable] = [sample, reconstruct, super_resolve]
    if len(singan.stages) > 1:
        tasks.append(edit)
    return {
        task.__name__: _function(task, singan, limits)
        for task in tasks
        if task.__name__ not in missing
    }


def _function(compute: Callable, singan: SinGAN, limits: Limits) -> Callable:
    """A computation of float32 [1, H, W, C] as a tf.function that answers uint8."""
    known = inputs(singan, limits)
    fixed = [1, *singan.sizes[-1]]
    specs = []
    for name in inspect.signature(compute).parameters:
        shape = known[name].shape
        shape = [
            fixed[axis] if side is None else side for axis, side in enumerate(shape)
        ]
        specs.append(tf.TensorSpec(shape, known[name].dtype, name))

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

    def restore(
        self,
        noise_map: Optional[tf.Tensor],
        previous: tf.Tensor,
        photograph: int = 0,
    ) -> tf.Tensor:
        return tf.constant(self._restored)


def _remembering(singan: SinGAN) -> SinGAN:
    remembering = SinGAN(singan.sizes, singan.channels)
    restored = singan.reconstructions(len(singan.stages))
    for stage, image in zip(singan.stages, restored):
        remembering.append(_Remembering(stage, image), singan.reconstruction_noise)
    return remembering


def _describe(
    name: str,
    function: tf.types.experimental.PolymorphicFunction,
    singan: SinGAN,
    limits: Limits,
) -> dict[str, Any]:
    """What a file takes and gives, as JSON values."""
    known = inputs(singan, limits)
    scale = FACTOR if name == "super_resolve" else 1
    sides = [side * scale for side in singan.sizes[-1]]
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
        "outputs": {_OUTPUT: {"dtype": "uint8", "shape": [1, *sides, singan.channels]}},
    }


def _convert(name: str, function: tf.types.experimental.PolymorphicFunction) -> Any:
    """The ModelProto of a function."""
    # What the converter has no translation for, the checker finds.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    import onnx
    import tf2onnx

    try:
        with portable.graphs():
            model, _ = tf2onnx.convert.from_function(
                function,
                function.input_signature,
                opset=_OPSET,
                custom_op_handlers=onnx_handlers.HANDLERS,
            )
        onnx.checker.check_model(model)
    # The converter lets errors of any type through.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name} cannot be written as ONNX ({reason}); export without it."
        ) from error
    return model
