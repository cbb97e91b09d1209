"""The commands that redraw a picture by a run.

They are paint, transfer, harmonize, edit and inpaint.
"""

from typing import Any, Optional

import numpy as np
from absl import flags

from singan_tf.cli import command_line, interruption, results
from singan_tf.cli import flags as shared
from singan_tf.cli.commands import Call, Command
from singan_tf.config import MAX_COLOURS
from singan_tf.errors import UsageError
from singan_tf.tasks.maskings import MASKINGS

_EACH = "all, for a strip to choose from"


def _define_redraw(
    values: flags.FlagValues,
    input_help: str,
    injection_scale: Optional[str] = "all",
    otherwise: str = _EACH,
) -> None:
    shared.define_task(values)
    shared.define_seed(values)
    command_line.define_path("input", None, input_help, values)
    flags.DEFINE_boolean(
        "keep_size",
        False,
        "Keep the size of --input, rather than resize it to the run's finest scale.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "injection_scale",
        injection_scale,
        "The scale at which the image enters, from 1: the lower, the more changes; or "
        f"{otherwise}.",
        flag_values=values,
    )


def _define_mask(values: flags.FlagValues, mask_help: str, command: str) -> None:
    command_line.define_path("mask", None, mask_help, values)
    flags.DEFINE_integer(
        "mask_radius",
        MASKINGS[command].radius,
        "The number of pixels by which the mask is widened, after it was cut at half.",
        0,
        1000,
        flag_values=values,
    )
    flags.DEFINE_float(
        "mask_sigma",
        MASKINGS[command].sigma,
        "The standard deviation in pixels of the Gaussian that blurs the mask then. "
        "With both 0 the mask is used as it is, greys included.",
        0,
        1000,
        flag_values=values,
    )


def _define_paint(values: flags.FlagValues) -> None:
    _define_redraw(
        values,
        "The painting: blots of colour in the layout to make. With --sketch a drawing, "
        "dark lines on white; by default the photograph's own sketch, mirrored.",
    )
    flags.DEFINE_boolean(
        "quantize",
        False,
        "Map the painting to the photograph's 5 main colours, and train the injection "
        "scale again on images in them, beside the run's own.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "palette",
        0,
        "The number of the photograph's main colours that the painting's are snapped "
        "to, each to the nearest; 0 leaves them as they are.",
        0,
        MAX_COLOURS,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "sketch",
        False,
        "Paint a drawing: train the scales from the injection scale on again, beside "
        "the run's own, on sketches of the photograph and of samples as input.",
        flag_values=values,
    )


def _check_paint(call: Call) -> None:
    if call.values.quantize and call.values.sketch:
        raise UsageError(
            "--quantize is for blots of colour, --sketch for lines: choose one."
        )
    for name in ("quantize", "sketch"):
        if call.values.palette and call.values[name].value:
            raise UsageError(
                f"--{name} has colours of its own; leave out it or --palette."
            )
    if not call.values.sketch:
        call.require("input")


def _paint(call: Call) -> None:
    values = call.values
    task = results.open_task(call, "paint")
    from singan_tf.tasks import inputs, painting, sketching

    scales = inputs.injection_scales(task, values.injection_scale)
    for flag in ("quantize", "sketch"):
        if values[flag].value and len(scales) > 1:
            raise UsageError(
                f"--{flag} trains for one injection scale: name it by "
                f"--injection_scale, after a look at the strip of all without --{flag}."
            )
        if values[flag].value:
            inputs.check_trained(task, scales[0], flag)
    read = sketching.read_drawing if values.sketch else inputs.read_input
    image = read(task, values.input, values.keep_size)
    results.make_output_dir(task.output_dir)
    task.write("input.png", image)
    cells = {"photograph": task.photograph, "painting": image}
    if values.palette:
        image, more = painting.in_palette(task, image, values.palette)
        cells.update(more)
    cells.update(painting.redraw_each(task, image, scales, values.seed))
    if values.quantize:
        cells.update(painting.paint_quantized(task, image, scales[0], values.seed))
    if values.sketch:
        cells.update(_paint_sketch(call, task, image, scales[0]))
    results.finish_task(call, task, "paint", cells)


def _paint_sketch(
    call: Call, task: Any, drawing: np.ndarray, scale: int
) -> dict[str, np.ndarray]:
    from singan_tf.tasks import sketching
    from singan_tf.training.loop import Interrupted

    command = call.again(leave_out="overwrite", add=["--overwrite"])
    with interruption.resumable(Interrupted, command) as should_stop:
        return sketching.paint_sketch(
            task, drawing, scale, call.values.seed, should_stop
        )


def _define_transfer(values: flags.FlagValues) -> None:
    _define_redraw(
        values,
        "The picture whose layout is to be seen in the photograph's textures.",
        None,
        f"{_EACH}. By default the last but one, which keeps outlines",
    )
    flags.DEFINE_boolean(
        "match_colours",
        True,
        "Give --input the mean and the covariance of the photograph's colours before "
        "it enters.",
        flag_values=values,
    )


def _transfer(call: Call) -> None:
    values = call.values
    task = results.open_task(call, "transfer")
    from singan_tf.tasks import inputs, painting, transfer

    chosen = values.injection_scale or str(transfer.injection_scale(task.singan))
    scales = inputs.injection_scales(task, chosen)
    image = transfer.read_layout(task, values.input, values.keep_size)
    results.make_output_dir(task.output_dir)
    task.write("input.png", image)
    cells = {"photograph": task.photograph, "input": image}
    if values.match_colours:
        image = transfer.match_colours(image, task.photograph)
        task.write("input_matched.png", image)
        cells["input, colours matched"] = image
    cells.update(painting.redraw_each(task, image, scales, values.seed))
    results.finish_task(call, task, "transfer", cells)


def _define_harmonize(values: flags.FlagValues) -> None:
    _define_redraw(values, "The picture, with the object pasted into it.")
    _define_mask(
        values,
        "The place of the object: an image, bright or painted there.",
        "harmonize",
    )


def _harmonize(call: Call) -> None:
    _blend_in(call, "harmonize")


def _define_edit(values: flags.FlagValues) -> None:
    _define_redraw(values, "The edited picture.")
    _define_mask(
        values, "The place of the edit: an image, bright or painted there.", "edit"
    )


def _edit(call: Call) -> None:
    _blend_in(call, "edit")


def _define_inpaint(values: flags.FlagValues) -> None:
    _define_redraw(
        values, "The picture with the hole; by default the run's photograph."
    )
    _define_mask(values, "The hole: an image, bright or painted there.", "inpaint")


def _inpaint(call: Call) -> None:
    _blend_in(call, "inpaint")


def _blend_in(call: Call, command: str) -> None:
    """Redraws an image and shows the result inside a softened mask."""
    values = call.values
    task = results.open_task(call, command)
    from singan_tf.tasks import blending, inputs, masks, painting

    scales = inputs.injection_scales(task, values.injection_scale)
    if values.mask:
        masking = MASKINGS[command]._replace(
            radius=values.mask_radius, sigma=values.mask_sigma
        )
        image, mask = blending.read_masked(
            task, values.input or None, values.mask, values.keep_size, masking
        )
    else:
        image, mask = inputs.read_input(task, values.input, values.keep_size), None
    results.make_output_dir(task.output_dir)
    task.write("input.png", image)
    cells = {"photograph": task.photograph, "input": image}
    redrawn = painting.redraw_each(task, image, scales, values.seed)
    if mask is None:
        cells.update(redrawn)
    else:
        soft_picture = 2 * mask[..., np.newaxis] - 1
        task.write("mask.png", soft_picture)
        cells["softened mask"] = soft_picture
        for caption, result in redrawn.items():
            blended = masks.blend(image, result, mask)
            task.write(f"{caption.replace(' ', '_')}_blended.png", blended)
            cells[caption] = result
            cells[f"{caption}, blended"] = blended
    results.finish_task(call, task, command, cells)


PAINT = Command(
    "paint",
    "Turn a painting into an image with the photograph's textures.",
    _define_paint,
    _paint,
    _check_paint,
)
TRANSFER = Command(
    "transfer",
    "Show the layout of another picture in the photograph's textures.",
    _define_transfer,
    _transfer,
    lambda call: call.require("input"),
)
HARMONIZE = Command(
    "harmonize",
    "Give a pasted object the texture of the picture it was pasted into.",
    _define_harmonize,
    _harmonize,
    lambda call: call.require("input"),
)
EDIT = Command(
    "edit",
    "Make an edit, such as patches moved by hand, look like a photograph.",
    _define_edit,
    _edit,
    lambda call: call.require("input"),
)
INPAINT = Command(
    "inpaint",
    "Fill a hole with the photograph's texture.",
    _define_inpaint,
    _inpaint,
    lambda call: call.require("mask"),
)
