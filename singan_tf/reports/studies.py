"""The seed reports' experiments: each a table of rows, a page and a CSV file.

A row is an ordinary run: settings that differ from the budget's. Rows of the same
settings are one run, whichever studies they are in, so all studies of a photograph
share their baseline. Each run is trained in a process of its own, which the same
command resumes; what is finished, or measured, is not done again.

    STUDY_DIR/
      study.json                the photograph and the budget's settings
      runs/NAME/, NAME.log      a run folder for each row, and what its training said
      painted/NAME/, NAME.log   of a row that paints a sketch: what `paint` made
      measured/NAME/            its metrics and pictures
      STUDY/index.html, STUDY.csv, contact_sheet.png
      STUDY/STUDY.md, contact_sheet.webp   a small page of the same
"""

import csv
import io
import math
import pathlib
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from singan_tf import config as config_lib
from singan_tf import files, images
from singan_tf.config import Config
from singan_tf.errors import UsageError, UserError, printable
from singan_tf.fleet import processes
from singan_tf.measure import inception
from singan_tf.reports import evaluation, page, report
from singan_tf.runs import checkpoint
from singan_tf.tasks import tasks

# Samples of a row on the page and on the contact sheet.
_SHOWN = 4
# Of twice the size, where a study asks for them.
_TWICE = 2
# Pixels of a picture's side on the contact sheet of the small page.
_SMALL_CELL = 128
_BASELINE = "baseline"


# Of a row that paints, before the drawing painted again and again.
_PAINTED_PICTURES = {
    "sketch": "photograph's sketch",
    "reconstruction": "its sketch, painted",
    "drawing": "drawing",
}


class Times(NamedTuple):
    """A multiple of the budget's value of a setting."""

    factor: float

    def of(self, value: Any) -> Any:
        """The multiple, a whole number where the value is one."""
        if isinstance(value, int):
            return max(1, round(value * self.factor))
        return value * self.factor


class Row(NamedTuple):
    """A run of a study, and how it is sampled.

    Attributes:
        caption: What it is, in a few words.
        settings: What differs from the budget's settings: values, or `Times`.
        start_scale: Of its samples; below 0 it counts from the end.
        sketch: In place of samples, a drawing is painted: scales from the start scale
            on are trained again on sketches.
    """

    caption: str
    settings: dict[str, Any] = {}
    start_scale: int = 0
    sketch: bool = False


class Study(NamedTuple):
    """An experiment.

    Attributes:
        title: What is compared.
        found: What the seed report found.
        rows: In the order of the page.
        show: What the page has beside samples: "twice", samples of twice the size;
            "losses", their curves.
    """

    title: str
    found: str
    rows: Sequence[Row]
    show: tuple[str, ...] = ()


class Plan(NamedTuple):
    """What a study is carried out on.

    Attributes:
        image: The photograph, a path or a name that scikit-image carries.
        settings: Of the budget, every one by name.
        num_samples: Measured of each row.
        folder: STUDY_DIR.
        program: The command line that runs main.py.
        workers: Rows that are trained at a time.
        beam_flags: See `processes.carry_out`.
        command: What a person calls to carry out the study.
    """

    image: str
    settings: dict[str, Any]
    num_samples: int
    folder: pathlib.Path
    program: Sequence[str]
    workers: int
    beam_flags: Optional[str]
    command: str


class Result(NamedTuple):
    """A row and what came of it.

    Attributes:
        row: The row.
        run_dir: Its run.
        painted: Where a drawing is painted, if the row asks for it.
        config: Of the run.
        values: What was measured, JSON values by name; None if training failed.
        folder: With its metrics and pictures.
        error: Why training failed; empty if it did not.
    """

    row: Row
    run_dir: pathlib.Path
    painted: pathlib.Path
    config: Config
    values: Optional[dict[str, Any]]
    folder: pathlib.Path
    error: str


_AS_IT_IS = Row("the budget's own settings")


STUDIES = {
    "residual": Study(
        "Residual connection in the generator",
        "Report A, 1: no faster convergence with it, but a little more variation.",
        [
            Row("with", {"residual": True}),
            Row("without", {"residual": False}),
            Row("with, half the steps", {"residual": True, "steps": Times(0.5)}),
            Row("without, half the steps", {"residual": False, "steps": Times(0.5)}),
        ],
    ),
    "reconstruction_weight": Study(
        "Weight of the reconstruction loss",
        "Report A, 2: without it the contrast is off.",
        [
            Row(f"weight {weight:g}", {"reconstruction_weight": float(weight)})
            for weight in (0, 0.1, 1, 10)
        ],
    ),
    "texture": Study(
        "Texture loss on activations of VGG16",
        "Report A, 3: it does not help, and spoils samples where it dominates.",
        [
            Row(f"weight {weight:g}", {"texture_weight": float(weight)})
            for weight in (0, 0.01, 0.1, 1)
        ],
    ),
    "sketch_to_paint": Study(
        "Sketch to paint",
        "Report A, 4: the last 3 scales trained with sketches as input, to turn a "
        "sketch into a painting.",
        [
            Row("the last scale", start_scale=-1, sketch=True),
            Row("the last 2 scales", start_scale=-2, sketch=True),
            Row("the last 3 scales", start_scale=-3, sketch=True),
        ],
    ),
    "variation": Study(
        "Where in the image samples vary",
        "Report A, 5: a map of the variance of each pixel over samples.",
        [Row(f"from scale {scale} on", {}, scale) for scale in range(3)],
    ),
    "scale_factor": Study(
        "Scale factor, and with it the number of scales",
        "Report A, 6: 0.75 was chosen.",
        [
            Row(f"factor {factor}", {"scale_factor": factor})
            for factor in (0.5, 0.65, 0.75, 0.85)
        ],
    ),
    "pyramid_limits": Study(
        "Limits of the pyramid",
        "Report A, 7: a longest side of 520 in place of 250 made 12 scales of 25 to "
        "520 pixels, a coarsest side of 12 in place of 25 made 13; they looked at "
        "samples of twice the size.",
        [
            _AS_IT_IS,
            Row("twice the finest size", {"max_size": Times(2.08)}),
            Row("half the coarsest size", {"min_size": Times(0.48)}),
        ],
        ("twice",),
    ),
    "losses": Study(
        "Losses over steps",
        "Report A, 8: the critic on the photograph and on fakes, the critic's loss, "
        "the reconstruction's and the generator's.",
        [_AS_IT_IS],
        ("losses",),
    ),
    "padding": Study(
        "What surrounds the image",
        "Report B, 2: circular padding keeps the elements and loses their order, as "
        "zeros tell the network where the borders are.",
        [
            Row(padding, {"padding": padding})
            for padding in ("zeros", "circular", "reflect", "noise")
        ],
    ),
    "adversaries": Study(
        "A critic, or a distance of patches in its place",
        "Report B, 3 to 5: Frechet far faster and poor; nearest neighbour of good "
        "structure and texture; aligned nearest neighbour unstable.",
        [
            Row("critic", {"adversary": "critic"}),
            # Their step is one update: they take more steps in a critic's time.
            *(
                Row(name.replace("_", " "), {"adversary": name, "steps": Times(3)})
                for name in config_lib.ADVERSARIES[1:]
            ),
            Row(
                "critic to scale 2, then sliced wasserstein",
                {"adversary": "0-2:critic,3-:sliced_wasserstein"},
            ),
        ],
    ),
    "hyperparameters": Study(
        "Quality against time",
        "Report B, 1: their SIFID at the end was 0.1 to 0.5 at the finest of 9 "
        "scales, with 2000 iterations a scale.",
        [
            _AS_IT_IS,
            Row("half the channels", {"width": Times(0.5), "max_width": Times(0.5)}),
            Row("twice the channels", {"width": Times(2), "max_width": Times(2)}),
            Row("half the steps", {"steps": Times(0.5)}),
            Row("twice the steps", {"steps": Times(2)}),
            *(
                Row(
                    f"learning rates {caption}",
                    {
                        "critic_learning_rate": Times(factor),
                        "generator_learning_rate": Times(factor),
                    },
                )
                for caption, factor in (("a fifth", 0.2), ("doubled", 2.0))
            ),
            Row("1 critic update", {"critic_updates": 1}),
            Row("5 critic updates", {"critic_updates": 5}),
            Row("1 generator update", {"generator_updates": 1}),
            Row("5 generator updates", {"generator_updates": 5}),
        ],
    ),
    "reconstruction_noise": Study(
        "Reconstruction noise redrawn or fixed",
        "The paper fixes it; the reference code redraws it at every step of the "
        "coarsest scale.",
        [
            Row("redrawn", {"reconstruction_noise": "redrawn"}),
            Row("fixed", {"reconstruction_noise": "fixed"}),
        ],
    ),
}


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
    path = images.resolve(plan.image)
    configs = [_resolve(row, plan.settings) for row in study.rows]
    rows = list(_possible(zip(study.rows, configs), path))
    if not rows:
        raise UserError(
            f"{path} has too few scales with these settings for any row of "
            f"--name={name}; choose a larger --max_size or a smaller --min_size."
        )
    weights = plan.settings["inception_weights"]
    network = inception.load(weights) if weights else None
    _claim(plan, path)
    results = [_unmeasured(row, config, plan) for row, config in rows]
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
    _write(name, study, results, plan)
    return results


def _unmeasured(row: Row, config: Config, plan: Plan) -> Result:
    """A row of which nothing is known yet but where everything goes."""
    run_name = _run_name(config, plan.settings)
    name = f"{run_name}-from-{row.start_scale}"
    if row.sketch:
        name += "-sketched"
    return Result(
        row,
        plan.folder / "runs" / run_name,
        plan.folder / "painted" / name,
        config,
        None,
        plan.folder / "measured" / name,
        "",
    )


def _resolve(row: Row, base: dict[str, Any]) -> Config:
    """A row's configuration."""
    settings = {
        name: value.of(base[name]) if isinstance(value, Times) else value
        for name, value in row.settings.items()
    }
    try:
        return config_lib.from_settings({**base, **settings})
    except UserError as error:
        raise UsageError(f"The row «{row.caption}»: {error}") from None


def _possible(
    rows: Iterator[tuple[Row, Config]], path: pathlib.Path
) -> Iterator[tuple[Row, Config]]:
    """The rows whose start scale the run has, counted from 0.

    Refuses an image that does not fit.
    """
    sizes_read = {}
    for row, config in rows:
        channels = config.network.channels
        if channels not in sizes_read:
            photograph = images.read(path, channels)
            images.check_photograph(path, photograph)
            sizes_read[channels] = photograph.shape[1:3]
        facts = checkpoint.Photograph(path.name, *sizes_read[channels], "")
        try:
            sizes = checkpoint.run_scales(config, facts).sizes
            config_lib.settle(config, sizes)
        except UserError as error:
            raise type(error)(f"{path}, row «{row.caption}»: {error}") from None
        start = row.start_scale + (len(sizes) if row.start_scale < 0 else 0)
        # A sketch has to be brought up from the scale below.
        if (1 if row.sketch else 0) <= start < len(sizes):
            yield row._replace(start_scale=start), config


def _run_name(config: Config, base: dict[str, Any]) -> str:
    """A run's folder, from what differs from the budget; equal runs are one."""
    changes = []
    for entry in config_lib.differences(config_lib.from_settings(base), config):
        setting, _, values = entry.removeprefix("--").partition(": ")
        changes.append(f"{setting}={values.rpartition(' -> ')[2]}")
    name = ",".join(changes) or _BASELINE
    return re.sub(r"[^\w.,=+-]", "_", name)


def _claim(plan: Plan, path: pathlib.Path) -> None:
    """Notes whose folder it is, or refuses another's."""
    settings = config_lib.to_json(config_lib.from_settings(plan.settings))
    # May change between a run and its resumption.
    del settings["runtime"]
    mine = {"image_sha256": images.sha256(path), "settings": settings}
    file = plan.folder / "study.json"
    if file.exists():
        if checkpoint.read_json(file) != mine:
            raise UserError(
                f"--study_dir={plan.folder} holds studies of another photograph or "
                "with other settings; name another folder."
            )
        return
    if plan.folder.is_dir() and any(plan.folder.iterdir()):
        raise UserError(
            f"--study_dir={plan.folder} exists and holds no study; name a new or an "
            "empty folder."
        )
    checkpoint.write_json(file, mine)


def _train(
    results: list[Result], plan: Plan, should_stop: Callable[[], bool]
) -> dict[pathlib.Path, str]:
    """Trains the rows' runs; the error of each that failed, by its folder."""
    commands = {
        each.run_dir: _train_command(each, plan)
        for each in results
        if not _is_trained(each.run_dir)
    }
    return processes.carry_out(commands, plan.workers, should_stop, plan.beam_flags)


def _paint(
    results: list[Result], plan: Plan, should_stop: Callable[[], bool]
) -> dict[pathlib.Path, str]:
    """Paints a drawing for the rows that ask for it; errors as in `_train`."""
    commands = {
        each.painted: _paint_command(each, plan)
        for each in results
        if each.row.sketch
        and not each.error
        # The last file that `paint` writes.
        and not (each.painted / "call.json").exists()
    }
    return processes.carry_out(commands, plan.workers, should_stop, plan.beam_flags)


def _is_trained(run_dir: pathlib.Path) -> bool:
    if not (run_dir / "config.json").exists():
        return False
    config, photograph = checkpoint.read_run(run_dir)
    count = len(checkpoint.run_scales(config, photograph).sizes)
    return checkpoint.is_finished(run_dir, count)


def _train_command(result: Result, plan: Plan) -> list[str]:
    command = [*plan.program, "train", f"--image={plan.image}"]
    command.append(f"--run_dir={result.run_dir}")
    for section in config_lib.to_json(result.config).values():
        # Absl reads --flag=true and --flag=false, in either case.
        command += [f"--{key}={value}" for key, value in section.items()]
    return command


def _paint_command(result: Result, plan: Plan) -> list[str]:
    return [
        *plan.program,
        "paint",
        "--sketch",
        f"--run_dir={result.run_dir}",
        f"--injection_scale={result.row.start_scale}",
        f"--output_dir={result.painted}",
        # What an interrupted one left, it goes on with.
        "--overwrite",
    ]


def _measured(
    result: Result, plan: Plan, network: Optional[inception.Inception]
) -> dict[str, Any]:
    """What a row is worth, as kept in its folder of measurements, or measured now."""
    folder = result.folder
    path = folder / "measured.json"
    weights = plan.settings["inception_weights"]
    asked = {"samples": plan.num_samples, "inception_weights": weights}
    try:
        found = checkpoint.read_json(path)
    except checkpoint.Damaged:
        found = None  # It is measured again.
    if found and found.get("asked") == asked and "values" in found:
        return found["values"]
    print(printable(f"Measuring {folder.name}."), flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    task = tasks.open_task(result.run_dir, folder)
    subject = _subject(result, task, plan.num_samples)
    samples = []

    def kept() -> Iterator[tuple[str, np.ndarray]]:
        for name, sample in subject.samples:
            samples.append(sample)
            yield name, sample

    found = evaluation.evaluate(subject._replace(samples=kept()), network)
    summary = evaluation.summary(found)
    evaluation.write(found, summary, folder)
    for index, sample in enumerate(samples[:_SHOWN]):
        task.write(f"sample_{index}.png", sample)
    task.write("photograph.png", task.photograph)
    task.write("reconstruction.png", subject.reconstruction)
    trained = result.painted / tasks.SKETCHED if result.row.sketch else result.run_dir
    values = _values(trained, len(task.singan.sizes), summary)
    variation = report.variance(samples, task.photograph)
    if variation is not None:
        heat, values["variance"] = variation
        task.write("variance.png", heat)
    checkpoint.write_json(path, {"asked": asked, "values": values})
    return values


def _subject(result: Result, task: tasks.Task, count: int) -> evaluation.Subject:
    """What is measured of a row: samples, or a drawing painted again and again."""
    start = result.row.start_scale
    if not result.row.sketch:
        return evaluation.of_run(task, count, 0, start)
    painter = tasks.sketch_painter(task, result.painted / tasks.SKETCHED, start)
    drawing = images.read(result.painted / "input.png", task.singan.channels)
    task.write("sketch.png", tasks.photograph_sketch(task))
    task.write("drawing.png", drawing)
    return evaluation.of_drawing(task, painter, drawing, start, count)


def _values(
    run_dir: pathlib.Path, num_scales: int, summary: dict[str, Any]
) -> dict[str, Any]:
    """The columns of a row, JSON values by name."""
    paces = [report.pace(run_dir, scale) for scale in range(num_scales)]
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


# Of the table on the page; the CSV file has every value.
_COLUMNS = {
    "scales": "scales",
    "seconds": "seconds",
    "peak_mib": "peak MiB",
    "sifid": "SIFID",
    "diversity": "diversity",
    "patch_frechet": "patch Frechet",
    "sliced_wasserstein": "sliced Wasserstein",
    "plausibility": "plausibility",
    "coverage": "coverage",
    "copied": "copied",
    "reconstruction_rmse": "reconstruction RMSE",
    "reconstruction_psnr": "PSNR, dB",
}


def _write(name: str, study: Study, results: list[Result], plan: Plan) -> None:
    """The study's CSV file, contact sheets and pages."""
    folder = plan.folder / name
    files.write_text(folder / f"{name}.csv", _csv(results))
    done = [each for each in results if each.values is not None]
    if done:
        images.write(folder / "contact_sheet.png", _sheet(done))
        small = _sheet(done, max_side=_SMALL_CELL)
        images.write(folder / "contact_sheet.webp", small)
    files.write_text(folder / "STUDY.md", _small_page(name, study, results, plan))
    body = [
        f"<p>{page.text(study.found)}</p>",
        f'<p class="soft">{page.text(_about(results, plan))} {report.VARIANCE}</p>',
        "<h2>Measured</h2>",
        page.table(*_table(results)),
        *_time_table(done),
    ]
    if done:
        photograph = images.read(done[0].folder / "photograph.png")
        body.append("<h2>Photograph</h2>")
        body.append(page.strip([page.picture(photograph, "The photograph")]))
    for result in results:
        body += _section(result, study.show)
    title = f"{study.title}: {name}"
    files.write_text(folder / "index.html", page.document(title, body))


def _varied(results: list[Result]) -> list[str]:
    """Settings that are not the same in all rows."""
    flat = [
        {
            k: v
            for part in config_lib.to_json(each.config).values()
            for k, v in part.items()
        }
        for each in results
    ]
    return [key for key in flat[0] if len({str(each[key]) for each in flat}) > 1]


def _csv(results: list[Result]) -> str:
    varied = _varied(results)
    keys = ["scales", "seconds", "peak_mib", *evaluation.COLUMNS, "diversity"]
    keys += ["reconstruction_rmse", "reconstruction_psnr"]
    steps = [each.values["seconds_per_step"] for each in results if each.values]
    count = max((len(each) for each in steps), default=0)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["row", "run", "start_scale", "error", *varied, *keys]
        + [f"seconds_per_step_{scale:02d}" for scale in range(count)]
    )
    for each in results:
        settings = {}
        for part in config_lib.to_json(each.config).values():
            settings.update(part)
        line = [each.row.caption, each.run_dir.name, each.row.start_scale, each.error]
        line += [settings[key] for key in varied]
        values = each.values or {}
        numbers = [values.get(key) for key in keys] + values.get("seconds_per_step", [])
        numbers += [None] * (len(keys) + count - len(numbers))
        line += ["" if value is None else f"{value:.9g}" for value in numbers]
        writer.writerow(line)
    return text.getvalue()


def _sheet(done: list[Result], **options: int) -> np.ndarray:
    """The photograph, then a line for each row: `_pictures`."""
    photograph = images.read(done[0].folder / "photograph.png")
    blank = np.ones_like(photograph)
    cells = [(photograph, "photograph")] + [(blank, "")] * _SHOWN
    for each in done:
        for index, (path, what) in enumerate(_pictures(each)):
            # Cells are narrow: a line's first one names its row.
            caption = what if index else f"{each.row.caption}: {what}"
            cells.append((images.read(path), caption))
        cells += [(blank, "")] * (-len(cells) % (_SHOWN + 1))
    return images.contact_sheet(*zip(*cells), columns=_SHOWN + 1, **options)


def _pictures(result: Result) -> list[tuple[pathlib.Path, str]]:
    """What is shown of a row, at most `_SHOWN` + 1 paths, and what each is."""
    if result.row.sketch:
        named, again = _PAINTED_PICTURES, "painted, seed {}"
    else:
        named, again = {"reconstruction": "reconstruction"}, "sample {}"
    pictures = [(result.folder / f"{name}.png", what) for name, what in named.items()]
    samples = sorted(result.folder.glob("sample_*.png"))
    pictures += [(path, again.format(seed)) for seed, path in enumerate(samples)]
    return pictures[: _SHOWN + 1]


def _draw_twice(result: Result) -> list[pathlib.Path]:
    """Samples of twice the size, made if they are not there yet."""
    paths = [result.folder / f"twice_{index}.png" for index in range(_TWICE)]
    if all(path.exists() for path in paths):
        return paths
    singan, _ = checkpoint.load(result.run_dir)
    height, width = (2 * side for side in singan.sizes[-1])
    for seed, path in enumerate(paths):
        start = result.row.start_scale
        images.write(path, singan.sample([seed], start, height, width).numpy())
    return paths


def _about(results: list[Result], plan: Plan) -> str:
    parts = [
        f"{len(results)} rows, {plan.num_samples} samples of each; distances are means "
        "over samples, lower is better, and mean nothing where diversity is near 0 or "
        "much is copied.",
        f"Trained with --workers={plan.workers}.",
    ]
    if any(each.row.sketch for each in results):
        parts.append(
            "Samples are the drawing painted again and again, the reconstruction is "
            "the photograph's sketch painted, and times are those of the scales "
            "trained on sketches."
        )
    if not plan.settings["inception_weights"]:
        parts.append(inception.NO_WEIGHTS)
    return " ".join(parts)


def _small_page(name: str, study: Study, results: list[Result], plan: Plan) -> str:
    """The study in Markdown, to be kept where the runs are not."""
    parts = [
        f"# {study.title}: {name}",
        study.found,
        f"    {plan.command}",
        _about(results, plan),
        page.markdown_table(*_table(results)),
    ]
    parts += [
        f"The row «{each.row.caption}» could not be trained: {each.error}"
        for each in results
        if each.error
    ]
    if any(each.values for each in results):
        captions = "The photograph; a line for each row"
        parts.append(f"![{captions}](contact_sheet.webp)")
    return "\n\n".join(parts) + "\n"


def _table(results: list[Result]) -> tuple[list[str], list[list[str]]]:
    """What was measured: a header and rows of text."""
    columns = {
        key: title
        for key, title in _COLUMNS.items()
        if any(each.values and each.values[key] is not None for each in results)
    }
    rows = []
    for each in results:
        values = each.values or {}
        cells = [page.number(values.get(key)) for key in columns]
        rows.append([each.row.caption, *cells])
    return ["row", *columns.values()], rows


def _time_table(done: list[Result]) -> list[str]:
    count = max((each.values["scales"] for each in done), default=0)
    rows = []
    for each in done:
        seconds = [page.number(value) for value in each.values["seconds_per_step"]]
        rows.append([each.row.caption, *seconds, *[""] * (count - len(seconds))])
    header = ["seconds a step at scale", *range(count)]
    return ["<h3>Time</h3>", page.table(header, rows)] if rows else []


def _section(result: Result, show: tuple[str, ...]) -> list[str]:
    """A row's pictures."""
    caption = result.row.caption
    parts = [f"<h2>{page.text(caption)}</h2>"]
    if result.error:
        return [*parts, f"<p>Training failed: {page.text(result.error)}</p>"]

    def shown(path, what, note=""):
        alt = f"{what[0].upper()}{what[1:]}, {caption}"
        return page.picture(images.read(path), alt, note or what)

    pictures = [shown(path, what) for path, what in _pictures(result)]
    if "variance" in result.values:
        path, note = result.folder / "variance.png", result.values["variance"]
        pictures.append(shown(path, "variance of samples", note))
    parts.append(page.strip(pictures))
    if "twice" in show:
        parts.append("<h3>Of twice the size</h3>")
        parts.append(
            page.strip(
                (
                    shown(path, f"sample {index}, twice the size")
                    for index, path in enumerate(_draw_twice(result))
                ),
                large=True,
            )
        )
    if "losses" in show:
        scales = result.values["scales"]
        parts.append(report.losses(result.run_dir, result.config, scales))
    return parts
