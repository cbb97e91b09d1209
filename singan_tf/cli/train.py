"""The commands that train one run: train, and demo with all chosen."""

import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

from absl import flags

from singan_tf import config as config_lib
from singan_tf.cli import command_line, interruption
from singan_tf.cli import flags as shared
from singan_tf.cli.commands import Call, Command
from singan_tf.errors import UsageError

# Of training, in hours, to be told of beforehand.
_LONG = 0.5
_DEMO_PRESET = "quick"


class _Job(NamedTuple):
    """A run to train.

    Attributes:
        call: The command's.
        run: Where the run is kept.
        config: Of the run, settled.
        found: The photographs, what of them counts and their scales, a `Together`.
        overwrite: Whether a run that is there is deleted first.
        begun: The configuration of the run that is there, where this one goes on from
            it with more steps.
    """

    call: Call
    run: Any
    config: config_lib.Config
    found: Any
    overwrite: bool
    begun: Optional[config_lib.Config] = None

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of the scales of the first photograph, coarse to fine."""
        return self.found.sizes[0]

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        goes_on = self.overwrite or self.begun is not None
        return not goes_on and self.run.is_finished(len(self.sizes))


def _define_train(values: flags.FlagValues) -> None:
    shared.define_images(values)
    command_line.define_path(
        "train_mask",
        None,
        "A mask of the photograph, as large as it: only what is inside is learned, "
        "which is what is bright, or painted on a transparent layer.",
        values,
    )
    shared.define_transparent(values)
    command_line.define_path(
        "run_dir", None, "The run folder; runs/NAME by default.", values
    )
    flags.DEFINE_boolean(
        "overwrite", False, "Delete the run in --run_dir first.", flag_values=values
    )
    flags.DEFINE_integer(
        "continue_steps",
        0,
        "The number of steps to add at the finest scale, also when the run has ended; "
        "with the run's other flags as they were.",
        0,
        flag_values=values,
    )
    _define_dry_run(values)
    shared.define_settings(values)


def _define_demo(values: flags.FlagValues) -> None:
    command_line.define_path("run_dir", "runs/demo", "The run folder.", values)
    _define_dry_run(values)


def _define_dry_run(values: flags.FlagValues) -> None:
    flags.DEFINE_boolean(
        "dry_run",
        False,
        "Print the settings of the run, as a file of flags, its scales and the time "
        "that training will take, and stop.",
        flag_values=values,
    )


def _check_train(call: Call) -> None:
    call.require("image")
    shared.apply_presets(call.values)


def _train(call: Call) -> None:
    from singan_tf.runs import together

    values = call.values
    run_dir = values.run_dir or f"runs/{_name(values.image)}"
    paths, config = together.find(values.image), shared.read_config(values)
    found = together.read(paths, config, values.train_mask, values.transparent)
    job = _prepare(call, found, run_dir, values.overwrite)
    if values.continue_steps:
        job = _with_more_steps(job, values.continue_steps)
    _carry_out(job)


def _demo(call: Call) -> None:
    from singan_tf.runs import together

    config = shared.read_config(shared.read_presets([_DEMO_PRESET]))
    found = together.read(together.find([shared.DEMO_IMAGE]), config)
    _carry_out(_prepare(call, found, call.values.run_dir, overwrite=False))


def _name(images: Sequence[str]) -> str:
    """What a run of photographs is called, by what --image names."""
    names = [each for image in images for each in image.split(",") if each]
    # Of a list that is too long for a name, pathlib would not say that there is none.
    if len(images) == 1 and (len(names) < 2 or os.path.exists(images[0])):
        names = list(images)
    # Where "." and ".." lead has a name, too.
    stems = [pathlib.Path(os.path.abspath(name)).stem for name in names]
    if not all(stems):
        given = ",".join(images)
        raise UsageError(
            f"--image={given} gives the run no name; add --run_dir=runs/NAME."
        )
    more = f"-and-{len(stems) - 3}-more" if len(stems) > 3 else ""
    return "-".join(stems[:3]) + more


def _prepare(call: Call, found: Any, run_dir: str, overwrite: bool) -> _Job:
    """The job of photographs that were read; writes nothing."""
    from singan_tf.runs.folder import RunFolder

    run = RunFolder(pathlib.Path(run_dir))
    if found.config.runtime.strategy == "multi_worker" and overwrite:
        raise UsageError(
            "--overwrite does not go with --strategy=multi_worker: a worker that is "
            f"started again would delete what was saved; delete {run.path} yourself."
        )
    return _Job(call, run, found.config, found, overwrite)


def _with_more_steps(job: _Job, more: int) -> _Job:
    """The job with more steps at its finest scale; writes nothing."""
    from singan_tf.training import continuation

    if job.config.runtime.strategy == "multi_worker":
        raise UsageError(
            "--continue_steps does not go with --strategy=multi_worker: workers find "
            "the run finished before one of them has opened it again; go on with it on "
            "one machine, with --global_batch_size as it was."
        )
    finest = len(job.sizes) - 1
    config = continuation.with_more_steps(job.config, finest, more)
    begun = None
    if not job.overwrite:
        begun = continuation.begun(job.run, config, finest)
    return job._replace(config=config, begun=begun)


def _carry_out(job: _Job) -> None:
    from singan_tf.runs.display import Silent
    from singan_tf.training import distribution

    if job.call.values.dry_run:
        _show(job)
        return
    cluster = job.config.runtime.strategy == "multi_worker"
    finished = job.finished
    strategy = None
    # After the end, a worker that is started again would wait for others in vain.
    if not (cluster and finished):
        batch = job.config.training.global_batch_size
        strategy = distribution.make_strategy(job.config.runtime.strategy, batch)
    if not cluster or distribution.leads_cluster():
        _lead(job, finished, strategy)
    elif finished:
        command_line.say(f"The run in {job.run.path} is finished.")
    else:
        _train_opened(job, Silent(), strategy)
        command_line.say(f"Helped to write {job.run.path}")


def _lead(job: _Job, finished: bool, strategy: Any) -> None:
    """Trains as the one process that writes, and says what it wrote."""
    from singan_tf.measure import inception
    from singan_tf.reports import report
    from singan_tf.runs.display import Monitor
    from singan_tf.training import circumstances

    run = job.run
    weights = job.config.runtime.inception_weights
    network = inception.load(weights) if weights else None
    around = circumstances.find(job.config, strategy)
    with run.open(job.begun or job.config, job.found.facts, job.overwrite, around):
        if job.begun:
            run.extend(job.config, len(job.sizes) - 1)
        samples = None
        if finished:
            command_line.say(f"The run in {run.path} is finished.")
        else:
            if job.begun:
                command_line.say(_how_it_goes_on(job))
            if job.config.runtime.strategy != "multi_worker":
                _foretell(job)
            shown = Monitor(job.config, job.sizes, run, network)
            samples = _train_opened(job, shown, strategy)
            command_line.say(f"Wrote {run.path}")
        # Also after a kill between the samples, which end a run, and its report.
        if not run.report.exists():
            report.write(run, samples)
    command_line.say(f"Report: {run.report}")
    command_line.say(f"Samples: {run.samples}")
    sample = job.call.other("sample", f"--run_dir={run.path}")
    command_line.say(f"More samples: {sample}")


def _how_it_goes_on(job: _Job) -> str:
    """What a run that is there is to get more of, in sentences."""
    from singan_tf.training import continuation

    finest = len(job.sizes) - 1
    had, gets = (each.training.at(finest).steps for each in (job.begun, job.config))
    return continuation.explain(job.begun, finest, gets - had)


def _foretell(job: _Job) -> None:
    """Says at once that a run will take hours, and what would not."""
    import tensorflow as tf

    from singan_tf.runs import pace

    if tf.config.list_physical_devices("GPU"):
        return
    hours = pace.hours_left(job.config, job.sizes, job.run)
    if hours < _LONG:
        return
    text = f"Without a GPU, this will take about {_duration(hours)} on this machine"
    if not job.config.layout.patch_scales:
        text += "; --preset=quick takes some minutes"
    print(f"{text}.", file=sys.stderr)


def _duration(hours: float) -> str:
    if hours < _LONG:
        minutes = round(60 * hours)
        return "a minute" if minutes <= 1 else f"{minutes} minutes"
    return "an hour" if round(hours) <= 1 else f"{hours:.0f} hours"


def _show(job: _Job) -> None:
    """Prints what would be trained; all of it together is a file of flags."""
    from singan_tf.runs import pace

    for flag in shared.settings_as_flags(job.config):
        command_line.say(flag)
    print()
    for scale, (height, width) in enumerate(job.sizes):
        print(f"# scale {scale}: {width}x{height}, {_how(job.config, scale)}")
    if job.begun:
        command_line.say(f"# {_how_it_goes_on(job)}")
    if job.finished:
        command_line.say(f"# The run in {job.run.path} is finished.")
        return
    started = None if job.overwrite else job.run
    hours = pace.hours_left(job.config, job.sizes, started)
    print(f"# About {_duration(hours)} on the processors of this machine.")


def _how(config: config_lib.Config, scale: int) -> str:
    """How a scale comes about, in a few words."""
    from singan_tf.model import networks

    steps = config.steps_at(scale)
    if not steps:
        return "made of patches, without training"
    channels = networks.scale_width(config.network, scale)
    return f"{channels} channels, {config.adversary.at(scale)}, {steps} steps"


def _train_opened(job: _Job, shown: Any, strategy: Any) -> Any:
    """Trains what `_carry_out` prepared, and closes `shown`, a `display.Monitor`.

    Returns:
        Samples, as `training.loop.Trained` has them.
    """
    import tensorflow as tf

    from singan_tf.training import loop as training

    # The same weights from the same command, also after an interruption.
    tf.config.experimental.enable_op_determinism()
    # Given again in any spelling, --overwrite would delete what was saved.
    in_a_file = job.overwrite and any("flagfile" in word for word in job.call.argv)
    add = ["--nooverwrite"] if in_a_file else []
    command = job.call.again(leave_out="overwrite", add=add)
    try:
        with interruption.resumable(training.Interrupted, command) as should_stop:
            return training.train(
                job.found.arrays,
                job.config,
                job.run,
                shown,
                should_stop,
                strategy,
                job.found.insides,
            ).samples
    finally:
        shown.close()


TRAIN = Command(
    "train",
    "Train on one photograph, or on several, or resume.",
    _define_train,
    _train,
    _check_train,
)
DEMO = Command(
    "demo",
    "Train on a photograph of a rocket in a few minutes.",
    _define_demo,
    _demo,
)
