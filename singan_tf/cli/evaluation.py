"""The commands that measure: evaluate, shrink_inception for its weights, and report."""

import pathlib
import shlex
from typing import Any

from absl import flags

from singan_tf.cli import command_line, results
from singan_tf.cli import flags as shared
from singan_tf.cli.commands import Call, Command
from singan_tf.errors import UsageError, UserError


def _define_evaluate(values: flags.FlagValues) -> None:
    shared.define_task(values)
    shared.define_num_samples(values, "The number of samples of a run.")
    shared.define_seed(
        values, "The seed of a run's first sample; the next ones count on from it."
    )
    shared.define_start_scale(
        values,
        0,
        "The scale at which a run's samples start: scales below it reproduce the "
        "photograph.",
    )
    command_line.define_path(
        "samples", None, "A folder of images to evaluate in place of a run's.", values
    )
    shared.define_image(
        values,
        "The photograph that --samples were made from: a path, or a name that "
        "scikit-image carries.",
    )
    _define_inception(
        values,
        "The weights for SIFID: a path of Keras' Inception V3 without top in .h5, or "
        "of a .npz made from it by the command shrink_inception, or download.",
    )


def _define_inception(values: flags.FlagValues, weights_help: str) -> None:
    command_line.define_path("inception_weights", None, weights_help, values)
    flags.DEFINE_enum(
        "sifid_features",
        "64",
        ["64", "192", "768", "2048"],
        "The number of features, which names their layer: 64 before the first max "
        "pool, as the paper's code; 192 before the second; 768 before the auxiliary "
        "classifier; 2048 before the last average pool.",
        flag_values=values,
    )


def _check_evaluate(call: Call) -> None:
    values = call.values
    if bool(values.run_dir) == bool(values.samples or values.image):
        raise UsageError(
            "--run_dir evaluates a run, --samples and --image any folder of images "
            "with their photograph: choose one way."
        )
    if not values.run_dir:
        call.require("samples", "image")


def _evaluate(call: Call) -> None:
    values = call.values
    subject, output_dir = _find_subject(call)
    import tqdm

    from singan_tf.measure import inception
    from singan_tf.reports import evaluation

    network = None
    if values.inception_weights:
        network = inception.load(values.inception_weights, int(values.sifid_features))
    results.make_output_dir(output_dir)
    progress = tqdm.tqdm(
        subject.samples, total=subject.num_samples, unit="sample", disable=None
    )
    found = evaluation.evaluate_against_each(
        subject._replace(samples=progress), network
    )
    if network is None:
        found[0].notes.append(inception.NO_WEIGHTS)
    summary = evaluation.summary_of_all(found)
    evaluation.write(found, summary, output_dir)
    photographs = [subject.photograph, *(each for each, *_ in subject.further)]
    for photograph, each in zip(photographs, found):
        height, width = photograph.shape[1:3]
        print(
            f"{subject.num_samples} samples of a photograph of {width}x{height} pixels."
        )
        print(evaluation.table(evaluation.summary(each)))
    notes = list(dict.fromkeys(note for each in found for note in each.notes))
    for note in notes:
        command_line.say(note)
    facts = {
        "run" if values.run_dir else "images": subject.source,
        "notes": notes,
        "results": summary,
    }
    cells = dict(found[0].cells)
    for number, pair in enumerate(subject.further, start=2):
        names = (f"photograph {number}", f"reconstruction {number}")
        cells.update(zip(names, pair))
    results.write_results(call, output_dir, "evaluate", cells, facts)


def _find_subject(call: Call) -> tuple[Any, pathlib.Path]:
    """What is evaluated, an `evaluation.Subject`, and where results go."""
    values = call.values
    if values.run_dir:
        task = results.open_task(call, "evaluate")
        results.check_start_scale(values, task)
        from singan_tf.reports import evaluation

        subject = evaluation.of_run(
            task, values.num_samples, values.seed, values.start_scale
        )
        return subject, task.output_dir
    folder = pathlib.Path(values.samples)
    output_dir = results.find_output_dir(values, "evaluate", folder)
    from singan_tf.reports import evaluation

    return evaluation.of_folder(values.image, folder), output_dir


def _define_shrink_inception(values: flags.FlagValues) -> None:
    _define_inception(
        values,
        "The weights to shrink: a path of Keras' Inception V3 without top in .h5, or "
        "download.",
    )
    command_line.define_path(
        "output", None, "The file to make; inception_FEATURES.npz by default.", values
    )
    flags.DEFINE_boolean(
        "overwrite", False, "Replace the file --output.", flag_values=values
    )


def _shrink_inception(call: Call) -> None:
    values = call.values
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


def _define_report(values: flags.FlagValues) -> None:
    command_line.define_path("run_dir", None, "The folder of a finished run.", values)


def _report(call: Call) -> None:
    from singan_tf.reports import report
    from singan_tf.runs.folder import RunFolder

    run = RunFolder(pathlib.Path(call.values.run_dir))
    command_line.say(f"Wrote {report.write(run)}")


EVALUATE = Command(
    "evaluate",
    "Measure samples: SIFID, diversity, patch distances, spectrum, shares of copies.",
    _define_evaluate,
    _evaluate,
    _check_evaluate,
)
SHRINK_INCEPTION = Command(
    "shrink_inception",
    "Make a small weights file for SIFID from Keras' own.",
    _define_shrink_inception,
    _shrink_inception,
    lambda call: call.require("inception_weights"),
)
REPORT = Command(
    "report",
    "Write a finished run's report anew: one page, as training leaves it.",
    _define_report,
    _report,
    lambda call: call.require("run_dir"),
)
