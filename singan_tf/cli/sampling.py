"""The commands that draw by a run alone: sample, super_resolve, animate."""

import functools
from typing import Any, Callable

import numpy as np
from absl import flags

from singan_tf.cli import command_line, results, sizes
from singan_tf.cli import flags as shared
from singan_tf.cli.commands import Call, Command
from singan_tf.errors import UsageError, UserError

_SHEET_SAMPLES = 49
_SAMPLES_OF_ALL = 3
_SHEET_FRAMES = 11


def _define_sample(values: flags.FlagValues) -> None:
    shared.define_task(values)
    shared.define_num_samples(
        values,
        f"The number of samples; {_SAMPLES_OF_ALL} if it is not given with "
        "--start_scale=all.",
    )
    shared.define_seed(
        values, "The seed of the first sample; the next ones count on from it."
    )
    shared.define_start_scale(
        values,
        0,
        "The scale at which noise starts: scales below it reproduce the photograph; "
        "the higher, the less changes; or all, for the same seeds at each of them.",
        or_all=True,
    )
    sizes.define_size(values, "a sample")
    flags.DEFINE_boolean(
        "retarget",
        False,
        "At another size what the photograph shows keeps its own: its layout is carved "
        "in place of stretched, and drawn from --start_scale on, 1 if it is not given.",
        flag_values=values,
    )
    shared.define_noise_scale(values)
    command_line.define_path(
        "keep",
        None,
        "What stays of the photograph, an image, bright or painted there: the rest is "
        "drawn anew and fits to it.",
        values,
    )


def _check_sample(call: Call) -> None:
    every = call.values.start_scale == shared.ALL_SCALES
    if every and not call.values["num_samples"].present:
        call.values["num_samples"].value = _SAMPLES_OF_ALL
    given = [name for name in sizes.NAMES if call.values[name].value is not None]
    if call.values.keep and given:
        raise UsageError(
            f"--keep={call.values.keep} keeps a part of the photograph at its own "
            f"size; leave out --{given[0]} (outpaint grows a picture)."
        )
    if call.values.retarget:
        _check_retarget(call, given)


def _check_retarget(call: Call, given: list[str]) -> None:
    """Refuses what does not go with --retarget, and sets what it starts at."""
    if call.values.keep:
        raise UsageError("--keep keeps the photograph's size; leave out --retarget.")
    if not given:
        raise UsageError(
            "--retarget is for another size: add --scale_h or --scale_v, or --width or "
            "--height."
        )
    if call.values["noise_scale"].present:
        raise UsageError("--retarget has no --noise_scale; leave one of them out.")
    start_scale = call.values["start_scale"]
    if not start_scale.present:
        start_scale.value = 1
    elif start_scale.value == 0:
        raise UsageError(
            "--start_scale=0 draws a layout of its own; with --retarget it is at least "
            "1."
        )


def _sample(call: Call) -> None:
    values = call.values
    task = results.open_task(call, "sample")
    from singan_tf import images

    if values.retarget and task.last == 0:
        raise UserError(
            f"The run in {task.run.path} has one scale, and --retarget needs two."
        )
    results.check_start_scale(values, task)
    height, width = sizes.output_size(
        values, task.singan.sizes, proportional=not values.retarget
    )
    cells = {"photograph": task.photograph}
    draw = _drawer(values, task, (height, width), cells)
    results.make_output_dir(task.output_dir)
    columns = 0
    if values.start_scale == shared.ALL_SCALES:
        cells, columns = _draw_across_scales(values, task, draw, cells)
    else:
        at_scale = functools.partial(draw, start_scale=values.start_scale)
        for seed, image in results.draw_each(values, task, "sample", at_scale):
            if seed < values.seed + _SHEET_SAMPLES:
                cells[f"seed {seed}"] = images.thumbnail(image)
    print(f"{values.num_samples} samples of {width}x{height} pixels.")
    if values.noise_scale == 0 and values.num_samples > 1:
        task.note("They are all alike: --noise_scale=0 leaves no noise to differ by.")
    results.finish_task(call, task, "sample", cells, columns=columns)


def _draw_across_scales(
    values: flags.FlagValues, task: Any, draw: Callable, beside: dict[str, Any]
) -> tuple[dict[str, Any], int]:
    """Draws each seed at every start scale: the sheet's cells, and how many a row."""
    import tqdm

    from singan_tf import images

    cells: dict[str, Any] = {}
    scales = range(1 if values.retarget else 0, task.last + 1)
    columns = len(beside) + len(scales)
    for index in tqdm.trange(values.num_samples, unit="seed", disable=None):
        seed = values.seed + index
        row = {f"{caption}, seed {seed}": image for caption, image in beside.items()}
        for scale in scales:
            image = draw(seed, scale)
            task.write(f"{results.seed_name(seed)}_scale_{scale:02d}.png", image)
            row[f"seed {seed}, start {scale:02d}"] = images.thumbnail(image)
        if index == 0 or len(cells) + columns <= _SHEET_SAMPLES:
            cells.update(row)
    return cells, columns


def _drawer(
    values: flags.FlagValues, task: Any, size: tuple[int, int], cells: dict[str, Any]
) -> Callable[..., np.ndarray]:
    """What draws a sample of a `seed` from a `start_scale` on.

    What it keeps is added to the sheet's cells.
    """
    if values.retarget:
        from singan_tf.tasks import retargeting

        return lambda seed, start_scale: retargeting.retarget(
            task.singan, task.photograph, *size, seed, start_scale
        )
    if not values.keep:
        sample = task.singan.sampler()
        return lambda seed, start_scale: sample(
            [seed], start_scale, *size, values.noise_scale
        ).numpy()
    from singan_tf.tasks import keeping

    kept = keeping.read_kept(task, values.keep)
    photograph = task.photograph
    # Grey, the middle of the range, is to be drawn.
    cells["kept"] = np.where(kept[np.newaxis, :, :, np.newaxis], photograph, 0)
    return lambda seed, start_scale: keeping.draw_around(
        task.singan, photograph, kept, seed, start_scale, values.noise_scale
    )


def _define_super_resolve(values: flags.FlagValues) -> None:
    shared.define_task(values)
    shared.define_seed(values)
    flags.DEFINE_float(
        "factor",
        4.0,
        "The factor by which the image is enlarged, from 1 to 16.",
        1,
        16,
        flag_values=values,
    )
    command_line.define_path(
        "input",
        None,
        "The image to enlarge, at its own size; by default the run's photograph.",
        values,
    )
    command_line.define_path(
        "reference",
        None,
        "The true image at the result's size, for PSNR and SSIM against it, beside "
        "those of bicubic interpolation.",
        values,
    )
    flags.DEFINE_float(
        "strength",
        0.8,
        "The share that each step takes of what the generator adds: the higher, the "
        "sharper and the further from the truth. The paper takes all, 1.",
        0,
        1,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "back_projection",
        True,
        "After each step, bring back what the image has and the result, shrunk to its "
        "size, has not. The paper does without.",
        flag_values=values,
    )


def _super_resolve(call: Call) -> None:
    values = call.values
    task = results.open_task(call, "super_resolve")
    import tqdm

    from singan_tf.measure import quality
    from singan_tf.tasks import inputs, super_resolution

    image = task.photograph
    if values.input:
        image = inputs.read_input(task, values.input, keep_size=True)
    height, width = image.shape[1:3]
    sizes = super_resolution.super_resolution_sizes(height, width, values.factor)
    size = sizes[-1]
    super_resolution.check_area(size, f"--factor={values.factor:g}")
    reference = None
    if values.reference:
        reference = super_resolution.read_reference(task, values.reference, size)
    results.make_output_dir(task.output_dir)
    steps = super_resolution.super_resolution(
        task.singan,
        image,
        values.factor,
        values.seed,
        values.strength,
        values.back_projection,
    )
    *_, result = tqdm.tqdm(steps, total=len(sizes), unit="step", disable=None)
    bicubic = super_resolution.enlarge(image, size)
    task.write("super_resolved.png", result)
    task.write("bicubic.png", bicubic)
    cells = {
        "input": image,
        "bicubic": bicubic,
        "super-resolved": result,
        "bicubic, middle": super_resolution.detail(bicubic),
        "super-resolved, middle": super_resolution.detail(result),
    }
    if reference is not None:
        cells["reference, middle"] = super_resolution.detail(reference)
    measured = {}
    for name, made in (("super_resolved", result), ("bicubic", bicubic)):
        measured[name] = quality.quality(made, reference)
        print(f"{name}: {quality.quality_text(measured[name])}")
    print(f"{size[1]}x{size[0]} pixels from {image.shape[2]}x{image.shape[1]}.")
    results.finish_task(call, task, "super_resolve", cells, measured)


def _define_animate(values: flags.FlagValues) -> None:
    shared.define_task(values)
    shared.define_seed(values)
    shared.define_start_scale(
        values,
        1,
        "The scale at which motion starts: scales below it stand still; the higher, "
        "the less moves.",
    )
    flags.DEFINE_float(
        "alpha",
        0.1,
        "The pull back to the photograph: the higher, the closer to it.",
        0,
        1,
        flag_values=values,
    )
    flags.DEFINE_float(
        "beta",
        0.9,
        "The inertia of the walk: the higher, the smoother and slower.",
        0,
        1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "frames", 100, "The number of frames.", 2, 1000, flag_values=values
    )
    flags.DEFINE_float(
        "fps", 10.0, "The number of frames a second.", 1, 50, flag_values=values
    )
    flags.DEFINE_boolean(
        "loop", False, "Let the last frame flow into the first.", flag_values=values
    )


def _check_animate(call: Call) -> None:
    if call.values.loop and call.values.alpha == 0:
        raise UsageError("--alpha=0 never comes back, as --loop needs; choose more.")


def _animate(call: Call) -> None:
    values = call.values
    task = results.open_task(call, "animate")
    import tqdm

    from singan_tf import images
    from singan_tf.tasks import animation

    results.check_start_scale(values, task)
    walk = animation.Walk._make(values[n].value for n in animation.Walk._fields)
    results.make_output_dir(task.output_dir)
    moving = animation.animate(task.singan, walk)
    progress = tqdm.tqdm(moving, total=walk.frames, unit="frame", disable=None)
    frames = [images.to_uint8(frame[0]) for frame in progress]
    suffixes = ["webp", "gif"]
    if images.can_write_films():
        suffixes.append("mp4")
    else:
        task.note(
            "No animation.mp4, which needs a codec: pip install imageio-ffmpeg brings "
            "one."
        )
    for suffix in suffixes:
        path = task.output_dir / f"animation.{suffix}"
        images.write_animation(path, frames, values.fps)
    cells = {"photograph": task.photograph}
    for index in range(0, walk.frames, -(-walk.frames // _SHEET_FRAMES)):
        cells[f"frame {index}"] = frames[index]
    differences = animation.frame_differences(frames, walk.loop)
    mean, median = float(differences.mean()), float(np.median(differences))
    largest = float(differences.max()) / median if median else None
    print(
        f"{walk.frames} frames; from one to the next {mean:.2f} of 255 levels on "
        f"average, at most {largest:.2f} times the median."
        if largest
        else f"{walk.frames} frames that hardly move; choose {_livelier(values)}."
    )
    measured = {"mean_difference": mean, "largest_over_median": largest}
    results.finish_task(call, task, "animate", cells, measured)


def _livelier(values: flags.FlagValues) -> str:
    """Flags that let more of an animation move."""
    # At 1, either of them lets nothing move, whatever the others are.
    still = [
        f"--{name} below 1" for name in ("alpha", "beta") if values[name].value == 1
    ]
    return " and ".join(still) or "a lower --start_scale, --alpha or --beta"


SAMPLE = Command(
    "sample",
    "Make new images of any size from a trained run.",
    _define_sample,
    _sample,
    _check_sample,
)
SUPER_RESOLVE = Command(
    "super_resolve",
    "Enlarge an image, with details in the photograph's texture.",
    _define_super_resolve,
    _super_resolve,
)
ANIMATE = Command(
    "animate",
    "Set the photograph in motion by a walk through noise.",
    _define_animate,
    _animate,
    _check_animate,
)
