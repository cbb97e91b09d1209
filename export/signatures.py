"""What the SavedModel offers: its functions, each for arrays and for PNG files.

Every input has a first dimension of rows. A row of an answer is computed alone, one
after the other, so that it is bit for bit what it would be in a batch of its own, and
so that memory is bounded by one row. An input of one row serves all rows, which is
how the defaults, stored with one row, fit every batch.
"""

import inspect
from typing import Any, Callable, NamedTuple, Optional

import tensorflow as tf

from export.codecs import Arrays, Codec, Png, Size
from export.inputs import MAX_FACTOR, Input, Limits, inputs, least_sides
from export.rows import Rows, after, checked, outside, refuse
from singan_tf.config import MAX_NOISE_SCALE
from singan_tf.model.singan import SinGAN
from singan_tf.tasks import masks, super_resolution

_OUTPUTS = {
    "image": "The images.",
    "image_bytes": "The images, as PNG files.",
}
DOCS = {
    "serving_default": "The same as sample.",
    "sample": "New images in the texture and layout of the photograph.",
    "super_resolve": "An image enlarged, with details in the photograph's texture.",
    "edit": "An image redrawn in the photograph's texture, where a mask says so.",
    "reconstruct": "The photograph, as the model remembers it.",
}


# Inputs that must be the same in all rows of an answer of arrays, of the tasks that
# compute a row after the other: there a row may also be a request of its own.
_EQUAL = {"sample": ["height", "width"], "super_resolve": ["factor"], "edit": []}


class _Model(NamedTuple):
    """What the checks of all tasks look at.

    Attributes:
        singan: The trained pyramid.
        limits: The limits of a request.
        known: All inputs, by name.
    """

    singan: SinGAN
    limits: Limits
    known: dict[str, Input]


class _Task(NamedTuple):
    """A task, whatever form its images have.

    Attributes:
        inputs: The default of each input, by its name in arrays; None where a value is
            required. That of a mask is the codec's.
        compute: Takes the codec and rows with checked shapes; gives the output by
            name.
    """

    inputs: dict[str, Optional[tf.Tensor]]
    compute: Callable[[Codec, Rows], Rows]


def build(singan: SinGAN, limits: Limits) -> dict[str, Callable]:
    """Makes the functions of the SavedModel.

    Args:
        singan: A trained pyramid; the functions read its variables.
        limits: The limits of a request.

    Returns:
        tf.functions by name. The defaults of their optional inputs are tensors,
        which is what has them stored. A pyramid of one scale takes no image, so it
        has no edit.
    """
    model = _Model(singan, limits, inputs(singan, limits))
    codecs = [codec(model.known, singan.channels) for codec in (Arrays, Png)]
    draw = singan.sampler()
    tasks = {
        "sample": _sample(model, draw),
        "super_resolve": _super_resolve(model),
        "reconstruct": _reconstruct(model, draw),
    }
    if len(singan.stages) > 1:
        tasks["edit"] = _edit(model)
    functions = {
        f"{name}{codec.suffix}": _function(model, f"{name}{codec.suffix}", task, codec)
        for name, task in tasks.items()
        for codec in codecs
    }
    return {"serving_default": functions["sample"], **functions}


def _function(model: _Model, name: str, task: _Task, codec: Codec) -> Callable:
    """A task for images of one form, as a tf.function with its inputs' names."""
    names = {"image": codec.image, "mask": codec.mask}
    parameters = []
    for key, default in task.inputs.items():
        if key == "mask":
            default = codec.everywhere
        parameters.append(
            inspect.Parameter(
                names.get(key, key),
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if default is None else default,
            )
        )
    signature = inspect.Signature(parameters)

    def function(*args: tf.Tensor, **kwargs: tf.Tensor) -> Rows:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        rows = checked(model.known, model.limits, given.arguments)
        return task.compute(codec, rows)

    function.__name__ = name
    function.__signature__ = signature
    known = [model.known[parameter] for parameter in signature.parameters]
    specs = [
        tf.TensorSpec(each.shape, each.dtype, parameter)
        for parameter, each in zip(signature.parameters, known)
    ]
    return tf.function(function, input_signature=specs, autograph=False)


def describe(
    functions: dict[str, Callable], singan: SinGAN, limits: Limits
) -> dict[str, Any]:
    """What `build` made, as JSON values: docs, inputs and outputs by signature."""
    known = inputs(singan, limits)
    return {
        name: _describe(name, function, known) for name, function in functions.items()
    }


def _describe(name: str, function: Callable, known: dict[str, Input]) -> dict[str, Any]:
    task = name.removesuffix(Png.suffix)
    doc = DOCS[task] + (" PNG files in and out." if task != name else "")
    parameters = inspect.signature(function.python_function).parameters.values()
    described = {
        parameter.name: {
            "dtype": known[parameter.name].dtype.name,
            "shape": known[parameter.name].shape,
            "range": known[parameter.name].range,
            "default": _default(parameter),
            "doc": known[parameter.name].doc,
        }
        for parameter in parameters
    }
    outputs = function.get_concrete_function().structured_outputs
    alone = _EQUAL.get("sample" if name == "serving_default" else task)
    if alone is not None and name != task:
        alone = []  # Files may differ.
    return {
        "doc": doc,
        **({"same_as": "sample"} if name == "serving_default" else {}),
        **({} if alone is None else {"rows_alone": {"equal": alone}}),
        "inputs": described,
        "outputs": {
            output: {
                "dtype": spec.dtype.name,
                "shape": spec.shape.as_list(),
                "doc": _OUTPUTS[output],
            }
            for output, spec in outputs.items()
        },
    }


def _default(parameter: inspect.Parameter) -> Any:
    """A JSON value; None if the input is required."""
    if parameter.default is parameter.empty:
        return None
    value = parameter.default.numpy().flat[0]
    return value.decode() if isinstance(value, bytes) else value.item()


def _sample(model: _Model, draw: Callable) -> _Task:
    singan, limits, known = model
    full_height, full_width = singan.sizes[-1]

    def check(rows: Rows) -> Rows:
        last = len(singan.stages) - 1
        sizes = [tf.cast(rows[side], tf.int64) for side in ("height", "width")]
        small = [side < least for side, least in zip(sizes, least_sides(singan))]
        large = sizes[0] * sizes[1] > limits.max_pixels
        noise_scale = rows["noise_scale"]
        return after(
            rows,
            refuse(known, "start_scale", outside(rows["start_scale"], 0, last), rows),
            refuse(known, "height", small[0] | large, rows),
            refuse(known, "width", small[1] | large, rows),
            refuse(
                known, "noise_scale", outside(noise_scale, 0, MAX_NOISE_SCALE), rows
            ),
        )

    def size(rows: Rows) -> Size:
        return [tf.cast(rows[side][0], tf.int64) for side in ("height", "width")]

    def draw_row(row: Rows) -> tf.Tensor:
        return to_uint8(
            draw(
                row["seed"][tf.newaxis],
                row["start_scale"],
                row["height"],
                row["width"],
                row["noise_scale"],
            )
        )

    def compute(codec: Codec, rows: Rows) -> Rows:
        rows = codec.fitting(check(rows), _EQUAL["sample"], size)
        return codec.answer(draw_row, rows)

    defaults = {
        "seed": None,
        "start_scale": tf.constant([0], tf.int32),
        "height": tf.constant([full_height], tf.int32),
        "width": tf.constant([full_width], tf.int32),
        "noise_scale": tf.constant([1], tf.float32),
    }
    return _Task(defaults, compute)


def _super_resolve(model: _Model) -> _Task:
    singan, limits, known = model
    enlarge = super_resolution.super_resolver(singan)

    def check(name: str, sizes: tf.Tensor, rows: Rows) -> Rows:
        factor = tf.cast(rows["factor"], tf.float64)
        rows = after(
            rows,
            _refuse_sizes(model, name, sizes),
            refuse(known, "factor", outside(factor, 1, MAX_FACTOR), rows),
        )
        factor = tf.cast(rows["factor"], tf.float64)
        made = tf.round(tf.cast(sizes, tf.float64) * factor[:, tf.newaxis])
        area = made[:, 0] * made[:, 1]
        return after(rows, refuse(known, "factor", area > limits.max_pixels, rows))

    def compute(codec: Codec, rows: Rows) -> Rows:
        def size(rows: Rows) -> Size:
            _, sizes = codec.sized(rows)
            made = tf.cast(sizes[0], tf.float64)
            made = tf.round(made * tf.cast(rows["factor"][0], tf.float64))
            return tf.unstack(tf.cast(made, tf.int64))

        def enlarge_row(row: Rows) -> tf.Tensor:
            image = codec.read_image(row)
            factor = tf.cast(row["factor"], tf.float64)
            return to_uint8(enlarge(image, factor, row["seed"][tf.newaxis]))

        rows, sizes = codec.sized(rows)
        rows = check(codec.image, sizes, rows)
        rows = codec.fitting(rows, _EQUAL["super_resolve"], size)
        return codec.answer(enlarge_row, rows)

    defaults = {
        "image": None,
        "factor": tf.constant([4], tf.float32),
        "seed": tf.constant([0], tf.int64),
    }
    return _Task(defaults, compute)


def _edit(model: _Model) -> _Task:
    singan, _, known = model
    last = len(singan.stages) - 1

    @tf.function(
        input_signature=[
            tf.TensorSpec([1, None, None, singan.channels], tf.float32, "image"),
            tf.TensorSpec([], tf.int32, "scale"),
            tf.TensorSpec([1], tf.int64, "seeds"),
        ],
        autograph=False,
    )
    def inject(image: tf.Tensor, scale: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        return singan.inject(image, scale, seeds)

    def check(name: str, sizes: tf.Tensor, rows: Rows) -> Rows:
        scale = rows["injection_scale"]
        return after(
            rows,
            _refuse_sizes(model, name, sizes),
            refuse(known, "injection_scale", outside(scale, 1, last), rows),
        )

    def compute(codec: Codec, rows: Rows) -> Rows:
        def edit_row(row: Rows) -> tf.Tensor:
            image, mask = codec.read_image(row), codec.read_mask(row)
            redrawn = inject(image, row["injection_scale"], row["seed"][tf.newaxis])
            return to_uint8(masks.blend(image, redrawn, mask[:, :, 0]))

        rows, sizes = codec.sized(rows)
        rows = check(codec.image, sizes, rows)
        rows = codec.fitting(rows, _EQUAL["edit"], lambda rows: tf.unstack(sizes[0]))
        return codec.answer(edit_row, codec.with_masks(rows, sizes))

    zero = tf.constant([0], tf.int64)
    return _Task(
        {"image": None, "injection_scale": None, "mask": None, "seed": zero}, compute
    )


def _reconstruct(model: _Model, draw: Callable) -> _Task:
    singan = model.singan
    if singan.num_photographs > 1:
        return _reconstruct_one_of(model)

    def compute(codec: Codec, rows: Rows) -> Rows:
        rows = codec.fitting(rows, [], lambda rows: singan.sizes[-1])
        # No scale is drawn anew when the first to be is beyond the last.
        start = tf.constant(len(singan.stages))
        size = [tf.constant(side) for side in singan.sizes[-1]]
        image = draw(tf.constant([0], tf.int64), start, *size, tf.constant(0.0))
        return codec.repeated(to_uint8(image), tf.shape(rows["seed"])[0])

    return _Task({"seed": None}, compute)


def _reconstruct_one_of(model: _Model) -> _Task:
    """`_reconstruct` of several photographs: an input says of which."""
    singan, _, known = model
    pyramids = singan.each()
    sizes = tf.constant(singan.sizes_at(len(singan.sizes) - 1))

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)], autograph=False)
    def reconstruct(photograph: tf.Tensor) -> tf.Tensor:
        return tf.switch_case(photograph, [each.reconstruct for each in pyramids])

    def compute(codec: Codec, rows: Rows) -> Rows:
        chosen = rows["photograph"]
        wrong = outside(chosen, 0, len(pyramids) - 1)
        rows = after(rows, refuse(known, "photograph", wrong, rows))
        rows = codec.fitting(
            rows,
            ["photograph"],
            lambda rows: tf.unstack(
                tf.cast(tf.gather(sizes, rows["photograph"][0]), tf.int64)
            ),
        )
        return codec.answer(lambda row: to_uint8(reconstruct(row["photograph"])), rows)

    return _Task({"seed": None, "photograph": tf.constant([0], tf.int32)}, compute)


def _refuse_sizes(model: _Model, name: str, sizes: tf.Tensor) -> tf.Operation:
    """Refuses (height, width) of given images, int64 [rows, 2], out of range."""
    least = tf.constant(least_sides(model.singan), tf.int64)
    wrong = tf.reduce_any(sizes < least, axis=1)
    wrong |= sizes[:, 0] * sizes[:, 1] > model.limits.max_pixels
    return refuse(model.known, name, wrong, {name: sizes})


def to_uint8(images: tf.Tensor) -> tf.Tensor:
    """`images.to_uint8` of a batch of one, in the graph: uint8 [H, W, C]."""
    levels = tf.floor((tf.clip_by_value(images[0], -1, 1) + 1) * 127.5 + 0.5)
    return tf.cast(levels, tf.uint8)
