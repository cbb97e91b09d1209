"""What the SavedModel offers: its functions, their inputs and the checks before them.

Every input has a first dimension of rows. A row of an answer is computed alone, one
after the other, so that it is bit for bit what it would be in a batch of its own, and
so that memory is bounded by one row. An input of one row serves all rows, which is
how the defaults, stored with one row, fit every batch.

Nothing is trusted: a graph in a server has no Python around it, so the ranges of the
inputs are checked by operations in the graph that every result depends on. Shapes are
checked, too, because a C++ session takes a tensor of any shape for any input.
"""

import inspect
from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf

from singan_tf.config import MAX_NOISE_SCALE
from singan_tf.model.singan import SinGAN
from singan_tf.tasks import masks, super_resolution
from singan_tf.tasks.inputs import least_side

MAX_FACTOR = 16
# A message of gRPC has less than 2 GiB; this leaves room for what is around an answer.
MAX_ANSWER_BYTES = 2**31 - 2**16

_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_HEAD = len(_PNG_START) + 8  # and the width and the height
# 8-bit levels as `images.read` gives them. A table, because a graph may turn the
# division into a multiplication, which rounds differently.
_LEVELS = np.arange(256, dtype=np.float32) / 255

_OUTPUTS = {
    "image": "The images.",
    "image_bytes": "The images, as PNG files.",
}
_DOCS = {
    "serving_default": "The same as sample.",
    "sample": "New images in the texture and layout of the photograph.",
    "super_resolve": "An image enlarged, with details in the photograph's texture.",
    "edit": "An image redrawn in the photograph's texture, where a mask says so.",
    "reconstruct": "The photograph, as the model remembers it.",
}


# Inputs that must be the same in all rows, of the tasks that compute a row after the
# other: there a row may also be a request of its own.
_EQUAL = {
    "sample": ["height", "width"],
    "sample_png": [],
    "super_resolve": ["factor"],
    "super_resolve_png": [],
    "edit": [],
    "edit_png": [],
}


class Limits(NamedTuple):
    """What a request may ask for.

    Attributes:
        max_pixels: Of one image, given or made.
        max_batch: Rows of a request.
    """

    max_pixels: int
    max_batch: int


class Input(NamedTuple):
    """What an input means, wherever it occurs.

    Attributes:
        dtype: Its type.
        shape: Its shape; None is any size.
        range: Its range, as it follows "must be" in an error's sentence.
        doc: What it is.
    """

    dtype: tf.DType
    shape: list
    range: str
    doc: str


def inputs(singan: SinGAN, limits: Limits) -> dict[str, Input]:
    """All inputs of all signatures, by name."""
    last = len(singan.stages) - 1
    least_height, least_width = least_sides(singan)
    channels = singan.channels
    area = f"with height x width at most {limits.max_pixels}"
    sides = f"at least {least_height} pixels high and {least_width} wide, {area}"
    return {
        "seed": Input(
            tf.int64,
            [None],
            "any 64-bit integer",
            "The noise: the same seed gives the same image.",
        ),
        "start_scale": Input(
            tf.int32,
            [None],
            f"from 0 to {last}",
            "Scales below it reproduce the photograph: the higher, the less changes.",
        ),
        "height": Input(
            tf.int32,
            [None],
            f"at least {least_height}, {area}",
            "Of the image to make, in pixels; the same in all rows, but for PNG.",
        ),
        "width": Input(
            tf.int32,
            [None],
            f"at least {least_width}, {area}",
            "Of the image to make, in pixels; the same in all rows, but for PNG.",
        ),
        "noise_scale": Input(
            tf.float32,
            [None],
            f"from 0 to {MAX_NOISE_SCALE}",
            "Multiplies the noise of every scale: the higher, the more changes.",
        ),
        "image": Input(tf.uint8, [None, None, None, channels], sides, "The images."),
        "image_bytes": Input(
            tf.string,
            [None],
            f"a PNG file in every row, {sides}",
            "The images, as PNG files; transparent parts are shown on white.",
        ),
        "factor": Input(
            tf.float32,
            [None],
            f"from 1 to {MAX_FACTOR}, and the result at most {limits.max_pixels} "
            "pixels",
            "The result's sides are round(factor x the image's); the same in all "
            "rows, but for PNG.",
        ),
        "injection_scale": Input(
            tf.int32,
            [None],
            f"from 1 to {last}",
            "The scale at which the image enters: the lower, the more changes.",
        ),
        "mask": Input(
            tf.uint8,
            [None, None, None, 1],
            "of the height and width of the image, or 1 x 1",
            "255 where the image is redrawn, 0 where it stays exactly as it is, a "
            "blend of both between.",
        ),
        "mask_bytes": Input(
            tf.string,
            [None],
            "a PNG file of the height and width of the image, or empty, in every row",
            "As mask; colours count as bright as they are, and empty is 255.",
        ),
    }


def least_sides(singan: SinGAN) -> list[int]:
    """The least height and width of an image, given or made."""
    return [least_side(*pair) for pair in zip(singan.sizes[-1], singan.sizes[0])]


def build(singan: SinGAN, limits: Limits) -> dict[str, Callable]:
    """Makes the functions of the SavedModel.

    Args:
        singan: A trained pyramid; the functions read its variables.
        limits: Of a request.

    Returns:
        tf.functions by name. The defaults of their optional inputs are tensors,
        which is what has them stored. A pyramid of one scale takes no image, so it
        has no edit.
    """
    known = inputs(singan, limits)
    draw = singan.sampler()
    functions = {
        **_sample(singan, draw, limits, known),
        **_super_resolve(singan, limits, known),
        **_reconstruct(singan, draw, limits, known),
    }
    if len(singan.stages) > 1:
        functions.update(_edit(singan, limits, known))
    return {"serving_default": functions["sample"], **functions}


def describe(
    functions: dict[str, Callable], singan: SinGAN, limits: Limits
) -> dict[str, Any]:
    """What `build` made, as JSON values: docs, inputs and outputs by signature."""
    known = inputs(singan, limits)
    return {
        name: _describe(name, function, known) for name, function in functions.items()
    }


def _describe(name: str, function: Callable, known: dict[str, Input]) -> dict[str, Any]:
    task = name[: -len("_png")] if name.endswith("_png") else name
    doc = _DOCS[task] + (" PNG files in and out." if task != name else "")
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
    alone = _EQUAL.get("sample" if name == "serving_default" else name)
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


def _sample(singan: SinGAN, draw: Callable, limits: Limits, known) -> dict:
    full_height, full_width = singan.sizes[-1]
    default = {
        "start_scale": tf.constant([0], tf.int32),
        "height": tf.constant([full_height], tf.int32),
        "width": tf.constant([full_width], tf.int32),
        "noise_scale": tf.constant([1], tf.float32),
    }

    def checked(**rows):
        rows = _checked_rows(known, limits, rows)
        last = len(singan.stages) - 1
        sizes = [tf.cast(rows[side], tf.int64) for side in ("height", "width")]
        small = [side < least for side, least in zip(sizes, least_sides(singan))]
        large = sizes[0] * sizes[1] > limits.max_pixels
        noise_scale = rows["noise_scale"]
        return _after(
            rows,
            _refuse(known, "start_scale", _outside(rows["start_scale"], 0, last), rows),
            _refuse(known, "height", small[0] | large, rows),
            _refuse(known, "width", small[1] | large, rows),
            _refuse(
                known, "noise_scale", _outside(noise_scale, 0, MAX_NOISE_SCALE), rows
            ),
        )

    def draw_row(row):
        return _to_uint8(
            draw(
                row["seed"][tf.newaxis],
                row["start_scale"],
                row["height"],
                row["width"],
                row["noise_scale"],
            )
        )

    def sample(
        seed,
        start_scale=default["start_scale"],
        height=default["height"],
        width=default["width"],
        noise_scale=default["noise_scale"],
    ):
        rows = checked(
            seed=seed,
            start_scale=start_scale,
            height=height,
            width=width,
            noise_scale=noise_scale,
        )
        rows = _equal(rows, *_EQUAL["sample"])
        size = [tf.cast(rows[side][0], tf.int64) for side in ("height", "width")]
        rows = _fitting(rows, size, singan.channels)
        return {"image": _map(draw_row, rows, _image_spec(singan))}

    def sample_png(
        seed,
        start_scale=default["start_scale"],
        height=default["height"],
        width=default["width"],
        noise_scale=default["noise_scale"],
    ):
        rows = checked(
            seed=seed,
            start_scale=start_scale,
            height=height,
            width=width,
            noise_scale=noise_scale,
        )
        return {"image_bytes": _map_png(draw_row, rows)}

    return _functions(known, sample, sample_png)


def _super_resolve(singan: SinGAN, limits: Limits, known) -> dict:
    default_factor = tf.constant([4], tf.float32)
    default_seed = tf.constant([0], tf.int64)
    enlarge = super_resolution.super_resolver(singan)

    def checked(name, sizes, rows):
        factor = tf.cast(rows["factor"], tf.float64)
        rows = _after(
            rows,
            *_refuse_sizes(singan, limits, known, name, sizes),
            _refuse(known, "factor", _outside(factor, 1, MAX_FACTOR), rows),
        )
        factor = tf.cast(rows["factor"], tf.float64)
        made = tf.round(tf.cast(sizes, tf.float64) * factor[:, tf.newaxis])
        area = made[:, 0] * made[:, 1]
        return _after(rows, _refuse(known, "factor", area > limits.max_pixels, rows))

    def enlarge_row(image, row):
        factor = tf.cast(row["factor"], tf.float64)
        return _to_uint8(enlarge(image, factor, row["seed"][tf.newaxis]))

    def super_resolve(image, factor=default_factor, seed=default_seed):
        rows = _checked_rows(
            known, limits, {"image": image, "factor": factor, "seed": seed}
        )
        rows = checked("image", _sizes(rows["image"]), rows)
        rows = _equal(rows, *_EQUAL["super_resolve"])
        size = tf.cast(_sizes(rows["image"])[0], tf.float64)
        size = tf.round(size * tf.cast(rows["factor"][0], tf.float64))
        rows = _fitting(rows, tf.unstack(tf.cast(size, tf.int64)), singan.channels)

        def row_function(row):
            return enlarge_row(_from_uint8(row["image"]), row)

        return {"image": _map(row_function, rows, _image_spec(singan))}

    def super_resolve_png(image_bytes, factor=default_factor, seed=default_seed):
        rows = _checked_rows(
            known, limits, {"image_bytes": image_bytes, "factor": factor, "seed": seed}
        )
        rows, sizes = _checked_png(known, rows, "image_bytes")
        rows = checked("image_bytes", sizes, rows)

        def row_function(row):
            image = _decode(row, "image_bytes", singan.channels)
            return enlarge_row(_normalized(image), row)

        return {"image_bytes": _map_png(row_function, rows)}

    return _functions(known, super_resolve, super_resolve_png)


def _edit(singan: SinGAN, limits: Limits, known) -> dict:
    default_mask = tf.constant(255, tf.uint8, [1, 1, 1, 1])
    default_mask_bytes = tf.constant([""])
    default_seed = tf.constant([0], tf.int64)
    last = len(singan.stages) - 1

    @tf.function(
        input_signature=[
            tf.TensorSpec([1, None, None, singan.channels], tf.float32, "image"),
            tf.TensorSpec([], tf.int32, "scale"),
            tf.TensorSpec([1], tf.int64, "seeds"),
        ],
        autograph=False,
    )
    def inject(image, scale, seeds):
        return singan.inject(image, scale, seeds)

    def checked(name, sizes, rows):
        injection_scale = rows["injection_scale"]
        return _after(
            rows,
            *_refuse_sizes(singan, limits, known, name, sizes),
            _refuse(known, "injection_scale", _outside(injection_scale, 1, last), rows),
        )

    def edit_row(image, mask, row):
        redrawn = inject(image, row["injection_scale"], row["seed"][tf.newaxis])
        return _to_uint8(masks.blend(image, redrawn, mask[:, :, 0]))

    def edit(image, injection_scale, mask=default_mask, seed=default_seed):
        rows = _checked_rows(
            known,
            limits,
            {
                "image": image,
                "injection_scale": injection_scale,
                "mask": mask,
                "seed": seed,
            },
        )
        rows = checked("image", _sizes(rows["image"]), rows)
        size = tf.shape(rows["mask"])[1:3]
        fits = tf.reduce_all(size == tf.shape(rows["image"])[1:3])
        fits |= tf.reduce_all(size == 1)
        rows = _after(rows, _refuse(known, "mask", ~fits, {"mask": size}))

        def row_function(row):
            mask = tf.gather(_LEVELS, tf.cast(row["mask"], tf.int32))
            return edit_row(_from_uint8(row["image"]), mask, row)

        return {"image": _map(row_function, rows, _image_spec(singan))}

    def edit_png(
        image_bytes,
        injection_scale,
        mask_bytes=default_mask_bytes,
        seed=default_seed,
    ):
        rows = _checked_rows(
            known,
            limits,
            {
                "image_bytes": image_bytes,
                "injection_scale": injection_scale,
                "mask_bytes": mask_bytes,
                "seed": seed,
            },
        )
        rows, sizes = _checked_png(known, rows, "image_bytes")
        rows = checked("image_bytes", sizes, rows)
        empty = rows["mask_bytes"] == ""
        stand_in = tf.where(empty, _PNG_START + bytes(8), rows["mask_bytes"])
        checked_masks, mask_sizes = _checked_png(
            known, {**rows, "mask_bytes": stand_in}, "mask_bytes"
        )
        fits = tf.reduce_all(mask_sizes == sizes, axis=1) | empty
        rows = _after(
            {**checked_masks, "mask_bytes": rows["mask_bytes"]},
            _refuse(known, "mask_bytes", ~fits, {"mask_bytes": mask_sizes}),
        )

        def row_function(row):
            image = _normalized(_decode(row, "image_bytes", singan.channels))
            mask = tf.cond(
                row["mask_bytes"] == "",
                lambda: tf.ones([1, 1, 1]),
                lambda: _decode(row, "mask_bytes", 1),
            )
            return edit_row(image, mask, row)

        return {"image_bytes": _map_png(row_function, rows)}

    return _functions(known, edit, edit_png)


def _reconstruct(singan: SinGAN, draw: Callable, limits: Limits, known) -> dict:
    def once(rows):
        """The number of rows and the photograph, which is the same in all of them."""
        # No scale is drawn anew when the first to be is beyond the last.
        start = tf.constant(len(singan.stages))
        size = [tf.constant(side) for side in singan.sizes[-1]]
        image = draw(tf.constant([0], tf.int64), start, *size, tf.constant(0.0))
        return tf.shape(rows["seed"])[0], _to_uint8(image)

    def reconstruct(seed):
        rows = _checked_rows(known, limits, {"seed": seed})
        count, image = once(_fitting(rows, singan.sizes[-1], singan.channels))
        return {"image": tf.repeat(image[tf.newaxis], count, axis=0)}

    def reconstruct_png(seed):
        count, image = once(_checked_rows(known, limits, {"seed": seed}))
        return {"image_bytes": tf.fill([count], tf.io.encode_png(image))}

    return _functions(known, reconstruct, reconstruct_png)


def _functions(known: dict[str, Input], *functions: Callable) -> dict[str, Callable]:
    made = {}
    for function in functions:
        specs = [
            tf.TensorSpec(known[name].shape, known[name].dtype, name)
            for name in inspect.signature(function).parameters
        ]
        made[function.__name__] = tf.function(
            function, input_signature=specs, autograph=False
        )
    return made


def _checked_rows(known: dict[str, Input], limits: Limits, rows: dict) -> dict:
    """Checks ranks and numbers of rows."""
    rows = {
        name: tf.ensure_shape(tensor, known[name].shape, name=f"{name}_shape")
        for name, tensor in rows.items()
    }
    counts = {name: tf.shape(tensor)[0] for name, tensor in rows.items()}
    most = tf.reduce_max(tf.stack(list(counts.values())))
    rules = []
    for name, count in counts.items():
        sentence = f"{name} must have from 1 to {limits.max_batch} rows, not {{}}"
        refused = _outside(count, 1, limits.max_batch)
        rules.append(_assert(~refused, sentence, count))
        sentence = (
            f"{name} must have 1 row or as many as the other inputs, {{}}, not {{}}"
        )
        rules.append(_assert((count == 1) | (count == most), sentence, most, count))
    return _after(rows, *rules)


def _refuse_sizes(singan: SinGAN, limits: Limits, known, name: str, sizes) -> list:
    """Checks (height, width) of given images, int64 [rows, 2]."""
    wrong = tf.reduce_any(sizes < tf.constant(least_sides(singan), tf.int64), axis=1)
    wrong |= sizes[:, 0] * sizes[:, 1] > limits.max_pixels
    return [_refuse(known, name, wrong, {name: sizes})]


def _checked_png(known: dict[str, Input], rows: dict, name: str) -> tuple:
    """Checks that files begin as PNG; reads their sizes, int64 [rows, 2].

    A decoder takes the memory that the file's first bytes ask for, so they are read
    here before it sees them.
    """
    heads = tf.strings.substr(rows[name], 0, _PNG_HEAD)
    is_png = tf.strings.substr(heads, 0, len(_PNG_START)) == _PNG_START
    is_png &= tf.strings.length(heads) == _PNG_HEAD
    sentence = f"{name} must be {known[name].range}; something else was given"
    rows = _after(rows, _assert(is_png, sentence))
    heads = tf.strings.substr(rows[name], len(_PNG_START), 8)
    sizes = tf.io.decode_raw(heads, tf.int32, little_endian=False)
    # The first bit of a length is never set; int32 would make it a sign.
    sizes = tf.cast(sizes, tf.int64)[:, ::-1]
    return rows, tf.where(sizes < 0, tf.constant(2**31 - 1, tf.int64), sizes)


def _equal(rows: dict, *names: str) -> dict:
    return _after(
        rows,
        *(
            _assert(
                rows[name] == rows[name][:1],
                f"{name} must be the same in all rows, not {{}}",
                rows[name],
            )
            for name in names
        ),
    )


def _fitting(rows: dict, size, channels: int) -> dict:
    """Checks that an answer of arrays fits into a message, before it is computed."""
    counts = [tf.shape(tensor, tf.int64)[0] for tensor in rows.values()]
    made = tf.reduce_max(tf.stack(counts)) * size[0] * size[1] * channels
    sentence = (
        "rows x height x width x channels of an answer must be at most "
        f"{MAX_ANSWER_BYTES}, not {{}}; ask for fewer rows at a time, or for PNG"
    )
    return _after(rows, _assert(made <= MAX_ANSWER_BYTES, sentence, made))


def _outside(values: tf.Tensor, least, most) -> tf.Tensor:
    # Negated so that NaN, which compares false, is outside.
    return ~((values >= least) & (values <= most))


def _refuse(known: dict[str, Input], name: str, refused: tf.Tensor, shown: dict):
    sentence = f"{name} must be {known[name].range}, not {{}}"
    return _assert(~refused, sentence, shown[name])


def _assert(condition: tf.Tensor, sentence: str, *values: tf.Tensor) -> tf.Operation:
    message = tf.strings.format(sentence, values)
    return tf.debugging.Assert(tf.reduce_all(condition), [message])


def _after(rows: dict, *checks: tf.Operation) -> dict:
    """The same tensors, for whom nobody can ask without the checks being made."""
    with tf.control_dependencies(checks):
        return {name: tf.identity(tensor) for name, tensor in rows.items()}


def _map(function: Callable, rows: dict, spec: tf.TensorSpec) -> tf.Tensor:
    """Calls a function with one row after the other, and stacks what it gives."""
    counts = {name: tf.shape(tensor)[0] for name, tensor in rows.items()}
    batch = tf.reduce_max(tf.stack(list(counts.values())))

    def call(index):
        row = {
            name: tensor[tf.minimum(index, counts[name] - 1)]
            for name, tensor in rows.items()
        }
        return function(row)

    return tf.map_fn(
        call, tf.range(batch), parallel_iterations=1, fn_output_signature=spec
    )


def _map_png(function: Callable, rows: dict) -> tf.Tensor:
    return _map(
        lambda row: tf.io.encode_png(function(row)), rows, tf.TensorSpec([], tf.string)
    )


def _image_spec(singan: SinGAN) -> tf.TensorSpec:
    return tf.TensorSpec([None, None, singan.channels], tf.uint8)


def _sizes(images: tf.Tensor) -> tf.Tensor:
    """(height, width) of images, int64 [1, 2]."""
    return tf.shape(images, tf.int64)[tf.newaxis, 1:3]


def _decode(row: dict, name: str, channels: int) -> tf.Tensor:
    """A PNG file as `images.read` reads it, float32 [H, W, channels] in [0, 1].

    All kinds of PNG are decoded as 8-bit colour with transparency. That a file is
    damaged is told by the operation, which therefore has the input's name.
    """
    pixels = tf.io.decode_png(row[name], channels=4, name=f"{name}_decoded")
    # Where a file has no transparency, the decoder puts the highest level there is
    # before it makes 8 bits of fewer.
    depth = tf.io.decode_raw(tf.strings.substr(row[name], _PNG_HEAD, 1), tf.uint8)
    highest = tf.bitwise.left_shift(1, tf.minimum(tf.cast(depth, tf.int32), 8)) - 1
    opaque = tf.reduce_all(tf.cast(pixels[:, :, 3], tf.int32) == highest)
    pixels = tf.gather(_LEVELS, tf.cast(pixels, tf.int32))
    colour, alpha = pixels[:, :, :3], pixels[:, :, 3:]
    colour = tf.where(opaque, colour, colour * alpha + (1 - alpha))
    if channels == 3:
        return colour
    red, green, blue = tf.split(colour, 3, axis=-1)
    # ITU-R 601 luma, written so that grey stays exactly as it is.
    return red + 0.587 * (green - red) + 0.114 * (blue - red)


def _from_uint8(image: tf.Tensor) -> tf.Tensor:
    return _normalized(tf.gather(_LEVELS, tf.cast(image, tf.int32)))


def _normalized(image: tf.Tensor) -> tf.Tensor:
    """[H, W, C] in [0, 1] as what the model takes: [1, H, W, C] in [-1, 1]."""
    return image[tf.newaxis] * 2 - 1


def _to_uint8(images: tf.Tensor) -> tf.Tensor:
    """`images.to_uint8` of a batch of one, in the graph: uint8 [H, W, C]."""
    levels = tf.floor((tf.clip_by_value(images[0], -1, 1) + 1) * 127.5 + 0.5)
    return tf.cast(levels, tf.uint8)
