"""Studies carried out, or gone on with: rows trained, painted and measured.

Rows of the same settings are one run, whichever studies they are in, so all studies of
a photograph share their baseline. A seed is a setting like others. Each run is trained
in a process of its own, which the same command resumes; what is finished, or measured,
is not done again.

    STUDY_DIR/
      study.json                the photograph and the budget's settings
      runs/NAME/, NAME.log      a run folder for each row, and what its training said
      painted/NAME/, NAME.log   of a row that paints a sketch: what `paint` made
      measured/NAME/            its metrics and pictures
      STUDY/index.html, STUDY.csv, contact_sheet.png
      STUDY/STUDY.md, contact_sheet.webp   a small page of the same

Of several photographs, all but the last two lines are in STUDY_DIR/photographs/NAME,
where a study of that photograph alone goes on with them.
"""

import math
import pathlib
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional

import numpy as np

from singan_tf import config as config_lib
from singan_tf import files, images
from singan_tf.config import Config
from singan_tf.errors import Damaged, UsageError, UserError, printable
from singan_tf.fleet import processes
from singan_tf.measure import inception
from singan_tf.reports import evaluation, report, study_pages
from singan_tf.reports.studies import BASELINE, STUDIES, Plan, Result, Row, Times
from singan_tf.runs.folder import Photograph, RunFolder, run_scales
from singan_tf.tasks import sketching
from singan_tf.tasks.task import Task, open_task


def run(
    name: str, plan: Plan, should_stop: Callable[[], bool] = lambda: False
) -> list[Result]:
    """Carries out a study, or goes on with it, and writes its page and tables.

    Args:
        name: Of the study, a key of `STUDIES`.
        plan: On what, and how.
        should_stop: Asked now and then.

    Returns:
        What came of each row.

    Raises:
        processes.Interrupted: if `should_stop` said so; the study can be resumed.
        UserError: if the photograph or the settings do not fit, or the folder is
            another study's or cannot be written.
    """
    study = STUDIES[name]
    configs = [resolve(row, plan.settings) for row in study.rows]
    paths = {image: images.resolve(image) for image in plan.images}
    rows = {
        image: dict(_possible(study.rows, configs, path))
        for image, path in paths.items()
    }
    for image, path in paths.items():
        if not rows[image]:
            raise UserError(
                f"{path} has too few scales with these settings for any row of the "
                f"study {name}; choose a larger max_size or a smaller min_size."
            )
    weights = plan.settings["inception_weights"]
    network = inception.load(weights) if weights else None
    first = plan.settings["seed"]
    results = [
        _unmeasured(row, image, seed, plan)
        for number in range(len(study.rows))
        for image in plan.images
        for seed in range(first, first + plan.seeds)
        if (row := rows[image].get(number))
    ]
    _claim(plan, paths)
    for carry_out in (_train, _paint):
        errors = carry_out(results, plan, should_stop)
        for index, each in enumerate(results):
            error = errors.get(each.run_dir) or errors.get(each.painted, "")
            results[index] = each._replace(error=each.error or error)
    for index, each in enumerate(results):
        if each.error:
            continue
        if should_stop():
            raise processes.Interrupted()
        results[index] = each._replace(values=_measured(each, plan, network))
    study_pages.write(name, study, results, plan)
    return results


def _unmeasured(row: Row, image: str, seed: int, plan: Plan) -> Result:
    """A row of which nothing is known yet but where everything goes."""
    config = resolve(row, {**plan.settings, "seed": seed})
    folder = plan.place(image)
    its_run = run_name(config, plan.settings)
    name = f"{its_run}-from-{row.start_scale}"
    if row.sketch:
        name += "-sketched"
    return Result(
        row,
        image,
        folder / "runs" / its_run,
        folder / "painted" / name,
        config,
        None,
        folder / "measured" / name,
        "",
    )


def resolve(row: Row, base: dict[str, Any]) -> Config:
    """A row's configuration.

    Args:
        row: The row.
        base: The budget's settings, every one by name.

    Raises:
        UsageError: if they cannot be, with the row's caption.
    """
    try:
        settings = {
            name: value.of(name, base[name]) if isinstance(value, Times) else value
            for name, value in row.settings.items()
        }
        return config_lib.from_settings({**base, **settings})
    except UserError as error:
        raise UsageError(f"The row «{row.caption}»: {error}") from None


def _possible(
    rows: Sequence[Row], configs: Sequence[Config], path: pathlib.Path
) -> Iterator[tuple[int, Row]]:
    """The rows whose start scale the run has, by number, scales counted from 0.

    Refuses an image that does not fit.
    """
    facts_read: dict[int, Photograph] = {}
    for number, (row, config) in enumerate(zip(rows, configs)):
        channels = config.network.channels
        if channels not in facts_read:
            photograph = images.read(path, channels)
            images.check_photograph(path, photograph)
            _, height, width, _ = photograph.shape
            facts_read[channels] = Photograph(path.name, height, width, "")
        try:
            sizes = run_scales(config, facts_read[channels]).sizes
            config_lib.settle(config, sizes)
        except UserError as error:
            raise type(error)(f"{path}, row «{row.caption}»: {error}") from None
        start = row.start_scale + (len(sizes) if row.start_scale < 0 else 0)
        # A sketch has to be brought up from the scale below.
        if (1 if row.sketch else 0) <= start < len(sizes):
            yield number, row._replace(start_scale=start)


def run_name(config: Config, base: dict[str, Any]) -> str:
    """A run's folder, from what differs from the budget; equal runs are one."""
    changes = []
    for entry in config_lib.differences(config_lib.from_settings(base), config):
        setting, _, values = entry.removeprefix("--").partition(": ")
        changes.append(f"{setting}={values.rpartition(' -> ')[2]}")
    name = ",".join(changes) or BASELINE
    return re.sub(r"[^\w.,=+-]", "_", name)


def _claim(plan: Plan, paths: dict[str, pathlib.Path]) -> None:
    """Notes whose the folders are, or refuses another's before anything is written."""
    settings = config_lib.to_json(config_lib.from_settings(plan.settings))
    # May change between a run and its resumption.
    del settings["runtime"]
    # Of several photographs, each has a folder of its own, which says whose it is.
    claims: dict[pathlib.Path, Any] = {plan.folder: {"settings": settings}}
    for image, path in paths.items():
        mine = {"image_sha256": images.sha256(path), "settings": settings}
        claims[plan.place(image)] = mine
    for folder, mine in claims.items():
        file = folder / "study.json"
        if file.exists():
            if files.read_json(file) != mine:
                raise UserError(
                    f"{folder} holds studies of another photograph or "
                    "with other settings; name another folder."
                )
        elif folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                f"{folder} exists and holds no study; name a new or an empty folder."
            )
    for folder, mine in claims.items():
        if not (folder / "study.json").exists():
            files.write_json(folder / "study.json", mine)


def _train(
    results: list[Result], plan: Plan, should_stop: Callable[[], bool]
) -> dict[pathlib.Path, str]:
    """Trains the rows' runs; the error of each that failed, by its folder."""
    commands = {
        each.run_dir: plan.commands.train(each.image, each.run_dir, each.config)
        for each in results
        if not _is_trained(RunFolder(each.run_dir))
    }
    return processes.carry_out(commands, plan.workers, should_stop, plan.beam_flags)


def _paint(
    results: list[Result], plan: Plan, should_stop: Callable[[], bool]
) -> dict[pathlib.Path, str]:
    """Paints a drawing for the rows that ask for it; errors as in `_train`."""
    commands = {
        each.painted: plan.commands.paint(
            each.run_dir, each.row.start_scale, each.painted
        )
        for each in results
        if each.row.sketch
        and not each.error
        # The last file that `paint` writes.
        and not (each.painted / "call.json").exists()
    }
    return processes.carry_out(commands, plan.workers, should_stop, plan.beam_flags)


def _is_trained(run: RunFolder) -> bool:
    if not run.config.exists():
        return False
    config, photograph = run.read()
    count = len(run_scales(config, photograph).sizes)
    return run.is_finished(count)


def _measured(
    result: Result, plan: Plan, network: Optional[inception.Inception]
) -> dict[str, Any]:
    """What a row is worth, as kept in its folder of measurements, or measured now."""
    folder = result.folder
    path = folder / "measured.json"
    weights = plan.settings["inception_weights"]
    asked = {"samples": plan.num_samples, "inception_weights": weights}
    try:
        found = files.read_json(path)
    except Damaged:
        found = None  # It is measured again.
    if found and found.get("asked") == asked and "values" in found:
        return found["values"]
    print(printable(f"Measuring {folder.name}."), flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    task = open_task(RunFolder(result.run_dir), folder)
    subject = _subject(result, task, plan.num_samples)
    samples = []

    def kept() -> Iterator[tuple[str, np.ndarray]]:
        for name, sample in subject.samples:
            samples.append(sample)
            yield name, sample

    found = evaluation.evaluate(subject._replace(samples=kept()), network)
    summary = evaluation.summary(found)
    evaluation.write([found], summary, folder)
    for index, sample in enumerate(samples[: study_pages.SHOWN]):
        task.write(f"sample_{index}.png", sample)
    task.write("photograph.png", task.photograph)
    task.write("reconstruction.png", subject.reconstruction)
    trained = (
        result.painted / sketching.SKETCHED if result.row.sketch else result.run_dir
    )
    values = _values(RunFolder(trained), len(task.singan.sizes), summary)
    variation = report.variance(samples, task.photograph, task.inside)
    if variation is not None:
        heat, values["variance"] = variation
        task.write("variance.png", heat)
    files.write_json(path, {"asked": asked, "values": values})
    return values


def _subject(result: Result, task: Task, count: int) -> evaluation.Subject:
    """What is measured of a row: samples, or a drawing painted again and again."""
    start = result.row.start_scale
    if not result.row.sketch:
        return evaluation.of_run(task, count, 0, start)
    painter = sketching.sketch_painter(task, result.painted / sketching.SKETCHED, start)
    drawing = images.read(result.painted / "input.png", task.singan.channels)
    task.write("sketch.png", sketching.photograph_sketch(task))
    task.write("drawing.png", drawing)
    return evaluation.of_drawing(task, painter, drawing, start, count)


def _values(run: RunFolder, num_scales: int, summary: dict[str, Any]) -> dict[str, Any]:
    """The columns of a row, JSON values by name."""
    paces = [report.pace(run, scale) for scale in range(num_scales)]
    known = [each for each in paces if each]
    peak = max((each.peak_mib for each in known), default=math.nan)
    reconstruction = summary["reconstruction"]
    return {
        "scales": num_scales,
        "seconds": sum(each.seconds for each in known),
        "peak_mib": None if math.isnan(peak) else peak,
        **{
            name: summary[name] and summary[name]["mean"] for name in evaluation.COLUMNS
        },
        "diversity": summary["diversity"],
        **{f"reconstruction_{key}": reconstruction[key] for key in ("rmse", "psnr")},
        "seconds_per_step": [each and each.step_seconds for each in paces],
    }
