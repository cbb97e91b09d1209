"""The command line of singan_tf: `python main.py COMMAND --flag=value ...`.

Reads top to bottom: the commands, then their flags, then the errors' way out. The
flags that configure a run are made from singan_tf.config, which documents them.
"""

import sys

if not (3, 9) <= sys.version_info[:2] <= (3, 11):
    sys.exit(
        "singan_tf needs Python 3.9 to 3.11, because tensorflow-addons ends at "
        "TensorFlow 2.15; this is Python {}.{}: make the virtual environment with "
        "python3.11.".format(*sys.version_info[:2])
    )

import contextlib
import difflib
import logging
import os
import pathlib
import shlex
import signal
import textwrap
from collections.abc import Sequence
from typing import Callable, NamedTuple

import numpy as np
from absl import flags

from singan_tf import config as config_lib
from singan_tf import errors, files
from singan_tf.cli import command_line
from singan_tf.errors import UsageError, UserError

_HERE = pathlib.Path(__file__).resolve().parent
_DEMO_IMAGE = "rocket"
_SHEET_SAMPLES = 49
_SHEET_FRAMES = 11
# Of training, in hours, to be told of beforehand.
_LONG = 0.5


def train(values: flags.FlagValues) -> None:
    """Train on one photograph, or resume."""
    _require(values, "image")
    run_dir = values.run_dir or f"runs/{pathlib.Path(values.image).stem}"
    _train(values.image, pathlib.Path(run_dir), _config(values), values.overwrite)


def demo(values: flags.FlagValues) -> None:
    """Train on a photograph of a rocket in a few minutes."""
    recipe = flags.FlagValues()
    _define_train(recipe)
    recipe([sys.argv[0], f"--flagfile={_HERE / 'configs' / 'quick.flags'}"])
    recipe.image = _DEMO_IMAGE
    recipe.run_dir = values.run_dir
    train(recipe)


def sample(values: flags.FlagValues) -> None:
    """Make new images of any size from a trained run."""
    task = _open_task(values, "sample")
    import tqdm

    from singan_tf import images

    _check_start_scale(values, task)
    height, width = _output_size(values, task.singan.sizes)
    _make_output_dir(task.output_dir)
    cells = {"photograph": task.photograph}
    draw = task.singan.sampler()
    for index in tqdm.trange(values.num_samples, unit="sample", disable=None):
        seed = values.seed + index
        image = draw(
            [seed], values.start_scale, height, width, values.noise_scale
        ).numpy()
        task.write(f"seed_{seed:06d}.png", image)
        if index < _SHEET_SAMPLES:
            cells[f"seed {seed}"] = images.thumbnail(image)
    print(f"{values.num_samples} samples of {width}x{height} pixels.")
    if values.noise_scale == 0 and values.num_samples > 1:
        task.note("They are all alike: --noise_scale=0 leaves no noise to differ by.")
    _finish_task(values, task, "sample", cells)


def super_resolve(values: flags.FlagValues) -> None:
    """Enlarge an image, with details in the photograph's texture."""
    task = _open_task(values, "super_resolve")
    import tqdm

    from singan_tf.measure import quality
    from singan_tf.tasks import inputs, super_resolution

    image = task.photograph
    if values.input:
        image = inputs.read_input(task, values.input, keep_size=True)
    sizes = super_resolution.super_resolution_sizes(*image.shape[1:3], values.factor)
    size = sizes[-1]
    super_resolution.check_area(size, f"--factor={values.factor:g}")
    reference = None
    if values.reference:
        reference = super_resolution.read_reference(task, values.reference, size)
    _make_output_dir(task.output_dir)
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
    results = {}
    for name, made in (("super_resolved", result), ("bicubic", bicubic)):
        results[name] = quality.quality(made, reference)
        print(f"{name}: {quality.quality_text(results[name])}")
    print(f"{size[1]}x{size[0]} pixels from {image.shape[2]}x{image.shape[1]}.")
    _finish_task(values, task, "super_resolve", cells, results)


def paint(values: flags.FlagValues) -> None:
    """Turn a painting into an image with the photograph's textures."""
    if values.quantize and values.sketch:
        raise UsageError(
            "--quantize is for blots of colour, --sketch for lines: choose one."
        )
    if not values.sketch:
        _require(values, "input")
    task = _open_task(values, "paint")
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
    _make_output_dir(task.output_dir)
    task.write("input.png", image)
    cells = {"photograph": task.photograph, "painting": image}
    cells.update(painting.redraw_each(task, image, scales, values.seed))
    if values.quantize:
        cells.update(painting.paint_quantized(task, image, scales[0], values.seed))
    if values.sketch:
        cells.update(_paint_sketch(task, image, scales[0], values.seed))
    _finish_task(values, task, "paint", cells)


def _paint_sketch(task, drawing: np.ndarray, scale: int, seed: int) -> dict:
    from singan_tf.tasks import sketching
    from singan_tf.training import loop as training

    try:
        with _signals_asked_about() as should_stop:
            return sketching.paint_sketch(task, drawing, scale, seed, should_stop)
    except training.Interrupted:
        arguments = [arg for arg in sys.argv if arg != "--overwrite"]
        command = shlex.join([*arguments, "--overwrite"])
        raise KeyboardInterrupt(f"all is saved; go on with: python {command}") from None


def harmonize(values: flags.FlagValues) -> None:
    """Give a pasted object the texture of the picture it was pasted into."""
    _blend_in(values, "harmonize")


def edit(values: flags.FlagValues) -> None:
    """Make an edit, such as patches moved by hand, look like a photograph."""
    _blend_in(values, "edit")


def inpaint(values: flags.FlagValues) -> None:
    """Fill a hole with the photograph's texture."""
    _require(values, "mask")
    _blend_in(values, "inpaint")


def animate(values: flags.FlagValues) -> None:
    """Set the photograph in motion by a walk through noise."""
    if values.loop and values.alpha == 0:
        raise UsageError("--alpha=0 never comes back, as --loop needs; choose more.")
    task = _open_task(values, "animate")
    import tqdm

    from singan_tf import images
    from singan_tf.tasks import animation

    _check_start_scale(values, task)
    walk = animation.Walk(*(values[name].value for name in animation.Walk._fields))
    _make_output_dir(task.output_dir)
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
    results = {"mean_difference": mean, "largest_over_median": largest}
    _finish_task(values, task, "animate", cells, results)


def _livelier(values: flags.FlagValues) -> str:
    """Flags that let more of an animation move."""
    # At 1, either of them lets nothing move, whatever the others are.
    still = [
        f"--{name} below 1" for name in ("alpha", "beta") if values[name].value == 1
    ]
    return " and ".join(still) or "a lower --start_scale, --alpha or --beta"


def evaluate(values: flags.FlagValues) -> None:
    """Measure samples: SIFID, diversity, patch distances, shares that are copies."""
    if bool(values.run_dir) == bool(values.samples or values.image):
        raise UsageError(
            "--run_dir evaluates a run, --samples and --image any folder of images "
            "with their photograph: choose one way."
        )
    if values.run_dir:
        task = _open_task(values, "evaluate")
        _check_start_scale(values, task)
        output_dir = task.output_dir
    else:
        _require(values, "samples")
        _require(values, "image")
        folder = pathlib.Path(values.samples)
        output_dir = _output_dir(values, "evaluate", folder)
    import tqdm

    from singan_tf.measure import inception
    from singan_tf.reports import evaluation

    if values.run_dir:
        subject = evaluation.of_run(
            task, values.num_samples, values.seed, values.start_scale
        )
    else:
        subject = evaluation.of_folder(values.image, folder)
    network = None
    if values.inception_weights:
        network = inception.load(values.inception_weights, int(values.sifid_features))
    _make_output_dir(output_dir)
    progress = tqdm.tqdm(
        subject.samples, total=subject.count, unit="sample", disable=None
    )
    found = evaluation.evaluate(subject._replace(samples=progress), network)
    if network is None:
        found.notes.append(inception.NO_WEIGHTS)
    results = evaluation.summary(found)
    evaluation.write(found, results, output_dir)
    height, width = subject.photograph.shape[1:3]
    print(f"{subject.count} samples of a photograph of {width}x{height} pixels.")
    print(evaluation.table(results))
    for note in found.notes:
        command_line.say(note)
    call = {
        "run" if values.run_dir else "images": subject.source,
        "notes": found.notes,
        "results": results,
    }
    _write_results(values, output_dir, "evaluate", found.cells, call)


def shrink_inception(values: flags.FlagValues) -> None:
    """Make a small weights file for SIFID from Keras' own."""
    _require(values, "inception_weights")
    from singan_tf.measure import inception

    features = int(values.sifid_features)
    output = pathlib.Path(values.output or f"inception_{features}.npz")
    if output.suffix != ".npz":
        raise UsageError(f"--output={output} must end in .npz.")
    if output.exists() and not values.overwrite:
        raise UserError(f"--output={output} exists; pass --overwrite to replace it.")
    inception.save(output, inception.read(values.inception_weights, features))
    command_line.say(
        f"Wrote {output}: pass --inception_weights={shlex.quote(str(output))}"
    )


def report(values: flags.FlagValues) -> None:
    """Write a finished run's report anew: one page, as training leaves it."""
    _require(values, "run_dir")
    from singan_tf.reports import report as reports

    command_line.say(f"Wrote {reports.write(pathlib.Path(values.run_dir))}")


def study(values: flags.FlagValues) -> None:
    """Carry out one of the seed reports' experiments, or go on with it."""
    _require(values, "name")
    _require(values, "image")
    _require_no_cluster(values)
    budget = BUDGETS[values.budget]
    settings = _budget_settings(values, budget)
    folder = pathlib.Path(
        values.study_dir
        or f"outputs/studies/{pathlib.Path(values.image).stem}-{values.budget}"
    )
    from singan_tf.reports import studies, study_runs

    if values.name not in studies.STUDIES:
        near = difflib.get_close_matches(values.name, studies.STUDIES, 1)
        hint = f"did you mean {near[0]}?" if near else "one of "
        hint += "" if near else ", ".join(studies.STUDIES) + "."
        raise UsageError(f"There is no study --name={values.name}: {hint}")
    plan = studies.Plan(
        values.image,
        settings,
        values.num_samples or budget.num_samples,
        folder,
        [sys.executable, str(_HERE / "main.py")],
        values.workers,
        values.beam_flags,
        _call(values, "study", leave_out="study_dir"),
    )
    with _resumable() as should_stop:
        results = study_runs.run(values.name, plan, should_stop)
    page = folder / values.name / "index.html"
    command_line.say(f"Wrote {page} and {page.parent / values.name}.csv")
    failed = [result.row.caption for result in results if result.error]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(results)} rows could not be trained "
            f"({', '.join(failed)}); {page} says why, and the same command tries again."
        )


def fleet(values: flags.FlagValues) -> None:
    """Train on many photographs, a run each, by Apache Beam; or go on with them."""
    _require(values, "images")
    _require(values, "runs_dir")
    _require_no_cluster(values)
    given = [field for field in config_lib.settings() if values[field.name].present]
    command = [values[field.name].serialize() for field in given]
    from singan_tf.fleet import fleet as fleets

    plan = fleets.Plan(
        values.images,
        pathlib.Path(values.runs_dir),
        _config(values),
        [sys.executable, str(_HERE / "main.py"), "train", *command],
        values.workers,
        values.beam_flags,
    )
    with _resumable() as should_stop:
        found = fleets.run(plan, should_stop)
    command_line.say(
        f"{found.trained} trained in {plan.runs_dir}, {len(found.failed)} failed."
    )
    for photograph, error in found.failed.items():
        command_line.say(f"  {photograph}: {error}")
    if found.failed:
        count = len(found.failed) + found.trained + found.finished
        raise UserError(
            f"{len(found.failed)} of {count} photographs could not be trained; the "
            "lines above say why, and the same command tries them again."
        )


def _require_no_cluster(values: flags.FlagValues) -> None:
    if values.strategy == "multi_worker":
        raise UsageError(
            "--strategy=multi_worker is for one run on several machines; --beam_flags "
            "brings many runs to them."
        )


def _call(values: flags.FlagValues, command: str, leave_out: str) -> str:
    """The command line of the flags that were given, but for one."""
    given = [name for name in values if values[name].present and name != leave_out]
    return shlex.join(
        ["python", "main.py", command, *(values[name].serialize() for name in given)]
    )


def _budget_settings(values: flags.FlagValues, budget: "Budget") -> dict:
    """A budget's settings, but for those that the command line gives."""
    recipe = flags.FlagValues()
    _define_train(recipe)
    recipe([sys.argv[0], f"--flagfile={_HERE / 'configs' / budget.flag_file}"])
    settings = {}
    for field in config_lib.settings():
        given = values[field.name].present
        settings[field.name] = (values if given else recipe)[field.name].value
    return settings


def export(values: flags.FlagValues) -> None:
    """Write a SavedModel for TensorFlow Serving and pipelines."""
    _require(values, "run_dir")
    from export import saved_model, signatures

    limits = signatures.Limits(values.max_pixels, values.max_batch)
    folder = saved_model.export(pathlib.Path(values.run_dir), values.version, limits)
    command_line.say(f"Wrote {folder}")


def verify(values: flags.FlagValues) -> None:
    """Load an export as a server does, and compare its answers."""
    _require(values, "run_dir")
    from export import verify as verification

    base = pathlib.Path(values.run_dir) / "saved_model"
    there = verification.versions(base)
    if not there or values.version not in (None, *there):
        version = f"version {values.version}" if values.version else "export"
        raise UserError(
            f"There is no {version} in {base}; python main.py export makes one."
        )
    folder = base / str(values.version or there[-1])
    try:
        verification.verify(folder)
    except verification.Failed as error:
        raise UserError(str(error)) from None
    command_line.say(f"{folder} is as it was exported.")


def serve(values: flags.FlagValues) -> None:
    """Answer requests for an exported run over gRPC, as TensorFlow Serving does."""
    _require(values, "run_dir")
    from export import serving

    serving.serve(
        serving.Options(*(values[name].value for name in serving.Options._fields))
    )


def _blend_in(values: flags.FlagValues, command: str) -> None:
    """Redraws an image and shows the result inside a softened mask."""
    if command != "inpaint":
        _require(values, "input")
    task = _open_task(values, command)
    from singan_tf.tasks import blending, inputs, masks, painting

    scales = inputs.injection_scales(task, values.injection_scale)
    if values.mask:
        masking = blending.Masking(
            values.mask_radius, values.mask_sigma, fill=command == "inpaint"
        )
        image, mask = blending.read_masked(
            task, values.input or None, values.mask, values.keep_size, masking
        )
    else:
        image, mask = inputs.read_input(task, values.input, values.keep_size), None
    _make_output_dir(task.output_dir)
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
    _finish_task(values, task, command, cells)


def _config(values: flags.FlagValues) -> config_lib.Config:
    """The configuration of a run, from the flags of its settings."""
    return config_lib.from_settings(
        {field.name: values[field.name].value for field in config_lib.settings()}
    )


def _train(
    image: str, run_dir: pathlib.Path, config: config_lib.Config, overwrite: bool
) -> None:
    from singan_tf import images
    from singan_tf.measure import inception
    from singan_tf.reports import report
    from singan_tf.runs import checkpoint, monitor
    from singan_tf.training import distribution

    path = images.resolve(image)
    photograph = images.read(path, config.network.channels)
    images.check_photograph(path, photograph)
    facts = checkpoint.Photograph(
        path.name, *photograph.shape[1:3], images.sha256(path)
    )
    try:
        sizes = checkpoint.run_scales(config, facts).sizes
        config = config_lib.settle(config, sizes)
    except UserError as error:
        raise type(error)(f"{path}: {error}") from None
    cluster = config.runtime.strategy == "multi_worker"
    if cluster and overwrite:
        raise UsageError(
            "--overwrite does not go with --strategy=multi_worker: a worker that is "
            f"started again would delete what was saved; delete {run_dir} yourself."
        )
    finished = not overwrite and checkpoint.is_finished(run_dir, len(sizes))
    strategy = None
    # After the end, a worker that is started again would wait for others in vain.
    if cluster and not finished:
        strategy = distribution.make_strategy(config.runtime.strategy)
    if cluster and not distribution.leads_cluster():
        if finished:
            command_line.say(f"The run in {run_dir} is finished.")
        else:
            _train_opened(photograph, config, run_dir, monitor.Silent(), strategy)
            command_line.say(f"Helped to write {run_dir}")
        return
    weights = config.runtime.inception_weights
    network = inception.load(weights) if weights else None
    with checkpoint.open_run(run_dir, config, facts, overwrite):
        if finished:
            command_line.say(f"The run in {run_dir} is finished.")
        else:
            if not cluster:
                _foretell(config, sizes, run_dir)
            shown = monitor.Monitor(config, sizes, run_dir, network)
            _train_opened(photograph, config, run_dir, shown, strategy)
            command_line.say(f"Wrote {run_dir}")
        # Also after a kill between the samples, which end a run, and its report.
        if not (run_dir / checkpoint.REPORT_NAME).exists():
            report.write(run_dir)
    command_line.say(f"Report: {run_dir / checkpoint.REPORT_NAME}")
    command_line.say(f"Samples: {run_dir / checkpoint.SAMPLES_NAME}")
    command_line.say(
        f"More samples: python main.py sample --run_dir={shlex.quote(str(run_dir))}"
    )


def _foretell(config: config_lib.Config, sizes: list, run_dir: pathlib.Path) -> None:
    """Says at once that a run will take hours, and what would not."""
    import tensorflow as tf

    from singan_tf.runs import monitor

    if tf.config.list_physical_devices("GPU"):
        return
    hours = monitor.hours_left(config, sizes, run_dir)
    if hours < _LONG:
        return
    text = "an hour" if round(hours) <= 1 else f"{hours:.0f} hours"
    text = f"Without a GPU, this will take about {text} on this machine"
    if not config.layout.patch_scales:
        text += "; --flagfile=configs/quick.flags takes some minutes"
    print(f"{text}.", file=sys.stderr)


def _train_opened(photograph, config, run_dir, shown, strategy) -> None:
    import tensorflow as tf

    from singan_tf.training import loop as training

    # The same weights from the same command, also after an interruption.
    tf.config.experimental.enable_op_determinism()
    try:
        with _signals_asked_about() as should_stop:
            training.train(photograph, config, run_dir, shown, should_stop, strategy)
    except training.Interrupted:
        # Given again in any spelling, --overwrite would delete what was saved.
        command = shlex.join(
            arg for arg in sys.argv if not arg.lstrip("-").startswith("overwrite")
        )
        raise KeyboardInterrupt(f"all is saved; go on with: python {command}") from None
    finally:
        shown.close()


@contextlib.contextmanager
def _resumable():
    """`_signals_asked_about` for what starts other processes."""
    from singan_tf.fleet import processes

    try:
        with _signals_asked_about() as should_stop:
            yield should_stop
    except processes.Interrupted:
        command = shlex.join(sys.argv)
        raise KeyboardInterrupt(f"all is saved; go on with: python {command}") from None


@contextlib.contextmanager
def _signals_asked_about():
    """Turns Ctrl-C and SIGTERM into a question to ask between two steps."""
    asked = []

    def stop(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print("\nStopping after this step (again to stop at once).", file=sys.stderr)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


def _define_train(values: flags.FlagValues) -> None:
    _define_image(values)
    command_line.define_path(
        "run_dir", None, "The run folder; runs/NAME by default.", values
    )
    flags.DEFINE_boolean(
        "overwrite", False, "Delete the run in --run_dir first.", flag_values=values
    )
    for field in config_lib.settings():
        _define_setting(values, field)


def _define_image(values: flags.FlagValues) -> None:
    command_line.define_path(
        "image",
        None,
        f"The photograph: a path, or a name that scikit-image carries, such as "
        f"{_DEMO_IMAGE}.",
        values,
    )


def _define_setting(values: flags.FlagValues, field) -> None:
    meaning = field.metadata["help"]
    if field.metadata["path"]:
        command_line.define_path(field.name, field.default, meaning, values)
        return
    define = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }[field.type]
    if field.metadata["choices"]:
        meaning = f"{' | '.join(field.metadata['choices'])}. {meaning}"
    define(field.name, field.default, meaning, flag_values=values)


def _define_demo(values: flags.FlagValues) -> None:
    command_line.define_path("run_dir", "runs/demo", "The run folder.", values)


def _define_sample(values: flags.FlagValues) -> None:
    _define_task(values)
    flags.DEFINE_integer("num_samples", 50, "How many.", 1, 10**6, flag_values=values)
    _define_seed(values, "Of the first sample; the next ones count on from it.")
    _define_start_scale(
        values,
        0,
        "Scales below it reproduce the photograph: the higher, the less changes.",
    )
    for side in ("height", "width"):
        flags.DEFINE_integer(
            side,
            None,
            "Of a sample, in pixels; by default the photograph's, or what keeps its "
            "aspect ratio.",
            1,
            config_lib.MAX_PIXELS,
            flag_values=values,
        )
    for flag, side in (("scale_h", "width"), ("scale_v", "height")):
        flags.DEFINE_float(
            flag,
            None,
            f"The {side} of a sample as a multiple of the photograph's, in place of "
            "--height and --width.",
            0,
            config_lib.MAX_PIXELS,
            flag_values=values,
        )
    flags.DEFINE_float(
        "noise_scale",
        1.0,
        "Multiplies the noise of every scale: the higher, the more changes.",
        0,
        config_lib.MAX_NOISE_SCALE,
        flag_values=values,
    )


def _define_super_resolve(values: flags.FlagValues) -> None:
    _define_task(values)
    _define_seed(values)
    flags.DEFINE_float(
        "factor",
        4.0,
        "How much larger it gets, from 1 to 16.",
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
        "The true image at the result's size: reports PSNR and SSIM against it, "
        "beside those of bicubic interpolation.",
        values,
    )
    flags.DEFINE_float(
        "strength",
        0.8,
        "How much each step takes of what the generator adds: the higher, the sharper "
        "and the further from the truth. The paper takes all, 1.",
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
    flags.DEFINE_boolean(
        "sketch",
        False,
        "Paint a drawing: train the scales from the injection scale on again, beside "
        "the run's own, on sketches of the photograph and of samples as input.",
        flag_values=values,
    )


def _define_harmonize(values: flags.FlagValues) -> None:
    _define_redraw(values, "The picture, with the object pasted into it.")
    _define_mask(values, "What was pasted: an image, bright or painted there.", 7, 5.0)


def _define_edit(values: flags.FlagValues) -> None:
    _define_redraw(values, "The edited picture.")
    _define_mask(values, "What was edited: an image, bright or painted there.", 20, 5.0)


def _define_inpaint(values: flags.FlagValues) -> None:
    _define_redraw(
        values, "The picture with the hole; by default the run's photograph."
    )
    # A blur narrow beside the radius: next to nothing of the fill shows through.
    _define_mask(values, "The hole: an image, bright or painted there.", 7, 3.0)


def _define_animate(values: flags.FlagValues) -> None:
    _define_task(values)
    _define_seed(values)
    _define_start_scale(
        values, 1, "Scales below it stand still: the higher, the less moves."
    )
    flags.DEFINE_float(
        "alpha",
        0.1,
        "Pull back to the photograph: the higher, the closer to it.",
        0,
        1,
        flag_values=values,
    )
    flags.DEFINE_float(
        "beta",
        0.9,
        "Inertia: the higher, the smoother and slower.",
        0,
        1,
        flag_values=values,
    )
    flags.DEFINE_integer("frames", 100, "How many.", 2, 1000, flag_values=values)
    flags.DEFINE_float("fps", 10.0, "Frames a second.", 1, 50, flag_values=values)
    flags.DEFINE_boolean(
        "loop", False, "Let the last frame flow into the first.", flag_values=values
    )


def _define_evaluate(values: flags.FlagValues) -> None:
    _define_task(values)
    flags.DEFINE_integer(
        "num_samples", 50, "How many, of a run.", 1, 10**6, flag_values=values
    )
    _define_seed(values, "Of a run's first sample; the next ones count on from it.")
    _define_start_scale(
        values,
        0,
        "Of a run's samples: scales below it reproduce the photograph.",
    )
    command_line.define_path(
        "samples", None, "A folder of images to evaluate in place of a run's.", values
    )
    command_line.define_path(
        "image",
        None,
        "The photograph that --samples were made from: a path, or a name that "
        "scikit-image carries.",
        values,
    )
    _define_inception(
        values,
        "For SIFID: a path of Keras' Inception V3 without top in .h5, or of a .npz "
        "made from it by the command shrink_inception, or download.",
    )


def _define_shrink_inception(values: flags.FlagValues) -> None:
    _define_inception(values, "Keras' Inception V3 without top in .h5, or download.")
    command_line.define_path(
        "output", None, "The file to make; inception_FEATURES.npz by default.", values
    )
    flags.DEFINE_boolean("overwrite", False, "Replace --output.", flag_values=values)


def _define_inception(values: flags.FlagValues, weights_help: str) -> None:
    command_line.define_path("inception_weights", None, weights_help, values)
    flags.DEFINE_enum(
        "sifid_features",
        "64",
        ["64", "192", "768", "2048"],
        "Of which layer: 64 before the first max pool, as the paper's code; 192 before "
        "the second; 768 before the auxiliary classifier; 2048 before the last "
        "average pool.",
        flag_values=values,
    )


def _define_report(values: flags.FlagValues) -> None:
    command_line.define_path("run_dir", None, "A finished run.", values)


def _define_study(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "name", None, "Of the study; docs/studies.md lists them.", flag_values=values
    )
    _define_image(values)
    flags.DEFINE_enum(
        "budget",
        "quick",
        list(BUDGETS),
        "The settings that rows differ from: smoke shows that it runs, quick takes "
        "minutes a row, paper many hours. Flags of `train` change them further.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_samples",
        None,
        "Measured of each row; by default as many as suit the budget.",
        2,
        10**6,
        flag_values=values,
    )
    _define_workers(values, "Rows")
    _define_beam_flags(values, None, "Trains by Apache Beam")
    command_line.define_path(
        "study_dir",
        None,
        "The folder of all studies of a photograph; outputs/studies/IMAGE-BUDGET by "
        "default.",
        values,
    )
    for field in config_lib.settings():
        _define_setting(values, field)


def _define_fleet(values: flags.FlagValues) -> None:
    for name, meaning in (
        ("images", "The photographs' paths: a quoted pattern such as 'photos/*.jpg'."),
        ("runs_dir", "The folder of the runs, which has a run for each photograph."),
    ):
        command_line.define_path(name, None, meaning, values)
    _define_workers(values, "Photographs")
    _define_beam_flags(values, "", "For another runner of Beam")
    for field in config_lib.settings():
        _define_setting(values, field)


def _define_workers(values: flags.FlagValues, what: str) -> None:
    flags.DEFINE_integer(
        "workers",
        1,
        f"{what} that are trained at a time, each with its share of the cores.",
        1,
        256,
        flag_values=values,
    )


def _define_beam_flags(values: flags.FlagValues, default, use: str) -> None:
    flags.DEFINE_string(
        "beam_flags",
        default,
        f"{use}: flags of its pipeline, such as '--runner=FlinkRunner "
        "--flink_master=HOST:8081'; without --runner, this machine.",
        flag_values=values,
    )


def _define_export(values: flags.FlagValues) -> None:
    _define_version(values, "Of the SavedModel; by default one more than the highest.")
    flags.DEFINE_integer(
        "max_pixels",
        2**22,
        "The most pixels of an image that a request may give or ask for.",
        1,
        config_lib.MAX_PIXELS,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_batch", 32, "The most rows of a request.", 1, 1024, flag_values=values
    )


def _define_verify(values: flags.FlagValues) -> None:
    _define_version(values, "Of the SavedModel; by default the highest.")


def _define_version(values: flags.FlagValues, meaning: str) -> None:
    command_line.define_path("run_dir", None, "A finished run.", values)
    flags.DEFINE_integer("version", None, meaning, 1, 2**31 - 1, flag_values=values)


def _define_serve(values: flags.FlagValues) -> None:
    for name, meaning in (
        ("run_dir", "An exported run."),
        ("tls_cert", "PEM file of a certificate chain, to encrypt; or none."),
        ("tls_key", "PEM file of its private key."),
        ("config_dir", "For the server's files; RUN/serving by default."),
    ):
        command_line.define_path(name, None, meaning, values)
    for name, default, meaning in (
        ("model_name", None, "What clients call it; by default as the run."),
        ("host", "127.0.0.1", "Where to listen; 0.0.0.0 for every interface."),
    ):
        flags.DEFINE_string(name, default, meaning, flag_values=values)
    flags.DEFINE_integer(
        "port", 8500, "0 for any that is free.", 0, 65535, flag_values=values
    )
    flags.DEFINE_integer(
        "workers",
        None,
        "Requests that the local server runs at a time; by default one a core.",
        1,
        256,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_message_mb",
        2047,
        "The local server's limit for a request and for an answer.",
        1,
        2047,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "write_only",
        False,
        "Write the files and print the docker line; run no server.",
        flag_values=values,
    )


def _define_redraw(values: flags.FlagValues, input_help: str) -> None:
    _define_task(values)
    _define_seed(values)
    command_line.define_path("input", None, input_help, values)
    flags.DEFINE_boolean(
        "keep_size",
        False,
        "Keep the size of --input, rather than resize it to the run's finest scale.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "injection_scale",
        "all",
        "The scale at which the image enters, from 1: the lower, the more changes; or "
        "all, for a strip to choose from.",
        flag_values=values,
    )


def _define_mask(
    values: flags.FlagValues, mask_help: str, radius: int, sigma: float
) -> None:
    command_line.define_path("mask", None, mask_help, values)
    flags.DEFINE_integer(
        "mask_radius",
        radius,
        "Cuts the mask at half, and widens it by so many pixels.",
        0,
        1000,
        flag_values=values,
    )
    flags.DEFINE_float(
        "mask_sigma",
        sigma,
        "Then blurs it by a Gaussian of so many pixels. With both 0 the mask is used "
        "as it is, greys included.",
        0,
        1000,
        flag_values=values,
    )


def _define_seed(values: flags.FlagValues, meaning: str = "Of the noise.") -> None:
    flags.DEFINE_integer("seed", 0, meaning, 0, 2**62, flag_values=values)


def _define_start_scale(values: flags.FlagValues, default: int, meaning: str) -> None:
    flags.DEFINE_integer("start_scale", default, meaning, 0, flag_values=values)


def _define_task(values: flags.FlagValues) -> None:
    command_line.define_path("run_dir", None, "A finished run.", values)
    command_line.define_path(
        "output_dir", None, "Where results go; outputs/RUN/COMMAND by default.", values
    )
    flags.DEFINE_boolean(
        "overwrite", False, "Replace files in --output_dir.", flag_values=values
    )


class Budget(NamedTuple):
    """What a study spends on a row."""

    flag_file: str
    num_samples: int


BUDGETS = {
    "smoke": Budget("study_smoke.flags", 3),
    "quick": Budget("study_quick.flags", 20),
    "paper": Budget("paper.flags", 50),
}


class Command(NamedTuple):
    """A command: what it runs and which flags it takes."""

    run: Callable[[flags.FlagValues], None]
    define: Callable[[flags.FlagValues], None]


COMMANDS = {
    "train": Command(train, _define_train),
    "sample": Command(sample, _define_sample),
    "super_resolve": Command(super_resolve, _define_super_resolve),
    "paint": Command(paint, _define_paint),
    "harmonize": Command(harmonize, _define_harmonize),
    "edit": Command(edit, _define_edit),
    "inpaint": Command(inpaint, _define_inpaint),
    "animate": Command(animate, _define_animate),
    "evaluate": Command(evaluate, _define_evaluate),
    "shrink_inception": Command(shrink_inception, _define_shrink_inception),
    "report": Command(report, _define_report),
    "study": Command(study, _define_study),
    "fleet": Command(fleet, _define_fleet),
    "export": Command(export, _define_export),
    "verify": Command(verify, _define_verify),
    "serve": Command(serve, _define_serve),
    "demo": Command(demo, _define_demo),
}


def _require(values: flags.FlagValues, name: str) -> None:
    if not values[name].value:
        raise UsageError(f"--{name} is missing: {values[name].help}")


def _open_task(values: flags.FlagValues, command: str):
    run_dir, output_dir = _task_folders(values, command)
    from singan_tf.tasks.task import open_task

    return open_task(run_dir, output_dir)


def _finish_task(
    values: flags.FlagValues, task, command: str, cells: dict, results=None
) -> None:
    """Leaves the contact sheet and call.json, and says where."""
    call = {"run": task.source(), "notes": task.notes, "results": results or {}}
    _write_results(values, task.output_dir, command, cells, call)


def _write_results(
    values: flags.FlagValues, output_dir: pathlib.Path, command: str, cells, call
) -> None:
    from singan_tf.tasks.task import write_results

    arguments = {name: values[name].value for name in values}
    arguments["output_dir"] = str(output_dir)
    call = {"command": command, "arguments": arguments, **call}
    sheet = write_results(output_dir, cells, call)
    command_line.say(f"Wrote {output_dir}; see {sheet}")


def _check_start_scale(values: flags.FlagValues, task) -> None:
    if values.start_scale > task.last:
        raise UsageError(
            f"--start_scale={values.start_scale} must be from 0 to {task.last}, the "
            f"scales of the run in {task.run_dir}."
        )


def _task_folders(values: flags.FlagValues, command: str):
    """Checks the folders of a command on a finished run, before anything slow."""
    _require(values, "run_dir")
    run_dir = pathlib.Path(values.run_dir)
    return run_dir, _output_dir(values, command, run_dir)


def _output_dir(
    values: flags.FlagValues, command: str, source: pathlib.Path
) -> pathlib.Path:
    """Checks where results go; not into `source`, which they are made from."""
    name = source.resolve().name
    output_dir = pathlib.Path(values.output_dir or f"outputs/{name}/{command}")
    if source.resolve() in (output_dir.resolve(), *output_dir.resolve().parents):
        where = "run" if values.run_dir else "folder of --samples"
        raise UserError(
            f"--output_dir={output_dir} is in the {where}, which stays as it is; name "
            "another folder."
        )
    if output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"--output_dir={output_dir} is a file; name a folder.")
    if output_dir.is_dir() and any(output_dir.iterdir()) and not values.overwrite:
        raise UserError(
            f"--output_dir={output_dir} is not empty; name another folder, or pass "
            "--overwrite to replace files in it."
        )
    return output_dir


def _make_output_dir(output_dir: pathlib.Path) -> None:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        # It speaks of the results that are about to be replaced.
        (output_dir / "call.json").unlink(missing_ok=True)
        # Or a power cut could bring it back beside new results.
        files.sync(output_dir)
    except OSError as error:
        raise UserError(
            f"--output_dir={output_dir} cannot be made ({error.strerror}); name "
            "another folder."
        ) from None


def _output_size(values: flags.FlagValues, sizes) -> tuple:
    """The size of a sample: as asked, or with the photograph's aspect ratio."""
    from singan_tf import images
    from singan_tf.tasks.inputs import least_side

    full_height, full_width = sizes[-1]
    height, width = values.height, values.width
    if values.scale_h is not None or values.scale_v is not None:
        if height or width:
            raise UsageError(
                "--height and --width in pixels, or --scale_h and --scale_v as "
                "multiples of the photograph's: choose one way."
            )
        height, width = (
            round(full * (1 if scale is None else scale))
            for full, scale in (
                (full_height, values.scale_v),
                (full_width, values.scale_h),
            )
        )
    if height is None:
        height = round(full_height * width / full_width) if width else full_height
    if width is None:
        width = round(full_width * height / full_height)
    for name, multiple, side, full, coarsest in (
        ("height", "scale_v", height, full_height, sizes[0][0]),
        ("width", "scale_h", width, full_width, sizes[0][1]),
    ):
        least = least_side(full, coarsest)
        if side < least:
            raise UsageError(
                f"--{name}={side} must be at least {least} for this run (--{multiple} "
                f"at least {least / full:.2g})."
            )
    if height * width > images.MAX_PIXELS:
        raise UsageError(
            f"--height={height} x --width={width} must be at most "
            f"{images.MAX_PIXELS // 10**6} megapixels; choose a smaller size, or a "
            "smaller --scale_v or --scale_h."
        )
    return height, width


def _print_commands() -> None:
    print(
        "Usage: python main.py COMMAND [--flagfile=configs/NAME.flags] [--flag ...]\n"
    )
    for name, command in COMMANDS.items():
        print(f"  {name:18}{command.run.__doc__.splitlines()[0]}")
    print("\npython main.py COMMAND --help shows a command's flags.")


def _print_flags(name: str, values: flags.FlagValues) -> None:
    print(f"python main.py {name}: {COMMANDS[name].run.__doc__.splitlines()[0]}\n")
    for flag in (values[flag_name] for flag_name in values):
        print(f"  --{flag.name}={flag.default}")
        print(textwrap.indent(textwrap.fill(flag.help, 74), "      "))
    print("  --flagfile=FILE\n      Reads flags from a file.")


def _parse(argv: list) -> tuple:
    """The command and its parsed flags; None and None after printing help."""
    if len(argv) < 2 or argv[1] in ("-h", "--help", "-help", "help"):
        _print_commands()
        return None, None
    name = argv[1]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(COMMANDS)}."
        raise UsageError(f"There is no command {name}: {hint}")
    values = flags.FlagValues()
    COMMANDS[name].define(values)
    if {"-h", "--help", "-help", "--helpfull"} & set(argv[2:]):
        _print_flags(name, values)
        return None, None
    rest = command_line.parse(values, [argv[0], *argv[2:]])
    if rest:
        raise UsageError(f"{rest[0]} is not a flag; flags look like --name=value.")
    return COMMANDS[name], values


def _set_up_process() -> None:
    """Shows the libraries' notices as plain lines, and hides TensorFlow's."""
    command_line.set_up_streams()
    handler = logging.StreamHandler()
    handler.setFormatter(command_line.Formatter("%(message)s"))
    for name in ("singan_tf", "export"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    # TensorFlow 2.15 reports its own duplicate CUDA plugins as errors at every
    # import; real errors arrive as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # It warns of graphs made again, which each of a study's runs needs.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def main(argv: list) -> int:
    """Runs one command.

    Args:
        argv: As sys.argv.

    Returns:
        The exit status: 0, 1 for bad input, 2 for bad usage, 75 when a worker of a
        cluster is lost, 130 after Ctrl-C.
    """
    return command_line.run(_run, argv)


def _run(argv: Sequence[str]) -> None:
    command, values = _parse(argv)
    if not command:
        return
    if errors.working_folder_is_gone():
        raise UserError("The working folder was removed; change to another.")
    command.run(values)


if __name__ == "__main__":
    _set_up_process()
    sys.exit(main(sys.argv))
