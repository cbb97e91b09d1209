"""The command that grows a picture beyond its borders: outpaint."""

from absl import flags

from singan_tf import config as config_lib
from singan_tf.cli import flags as shared
from singan_tf.cli import results
from singan_tf.cli.commands import Call, Command
from singan_tf.errors import UsageError

_SIDES = ("left", "right", "top", "bottom")
_SHEET_SAMPLES = 11


def _define_outpaint(values: flags.FlagValues) -> None:
    shared.define_task(values)
    for side in _SIDES:
        flags.DEFINE_integer(
            side,
            0,
            f"The number of pixels that the photograph grows at its {side}.",
            0,
            config_lib.MAX_PIXELS,
            flag_values=values,
        )
    shared.define_num_samples(values, "The number of results.", default=5)
    shared.define_seed(
        values, "The seed of the first result; the next ones count on from it."
    )
    shared.define_noise_scale(values)


def _check_outpaint(call: Call) -> None:
    if not any(call.values[side].value for side in _SIDES):
        raise UsageError(
            "The photograph grows nowhere: give pixels to --left, --right, --top or "
            "--bottom."
        )


def _outpaint(call: Call) -> None:
    values = call.values
    task = results.open_task(call, "outpaint")
    from singan_tf import images
    from singan_tf.tasks import keeping

    margins = keeping.Margins._make(values[side].value for side in _SIDES)
    height, width = keeping.grown_size(task.singan.sizes[-1], margins)
    if height * width > images.MAX_PIXELS:
        raise UsageError(
            f"The photograph would grow to {width}x{height} pixels, but the most is "
            f"{images.MAX_PIXELS // 10**6} megapixels; ask for less."
        )
    layout, kept = keeping.grown(task.photograph, margins)
    results.make_output_dir(task.output_dir)
    cells = {"photograph": task.photograph}

    def draw(seed):
        return keeping.draw_around(
            task.singan, layout, kept, seed, noise_scale=values.noise_scale
        )

    for seed, image in results.draw_each(values, task, "result", draw):
        if seed < values.seed + _SHEET_SAMPLES:
            cells[f"seed {seed}"] = images.thumbnail(image)
    print(f"{values.num_samples} results of {width}x{height} pixels.")
    results.finish_task(call, task, "outpaint", cells)


OUTPAINT = Command(
    "outpaint",
    "Grow the photograph beyond its borders.",
    _define_outpaint,
    _outpaint,
    _check_outpaint,
)
