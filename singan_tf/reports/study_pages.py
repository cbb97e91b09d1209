"""What a study leaves to be read: its pages, its CSV file and its contact sheets."""

import csv
import io
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from singan_tf import config as config_lib
from singan_tf import files, images
from singan_tf.config import Config
from singan_tf.measure import inception
from singan_tf.reports import evaluation, page, report, study_tables
from singan_tf.reports.studies import Plan, Result, Study, photograph_name
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder

# Samples of a row on the page and on the contact sheet.
SHOWN = 4
# Of twice the size, where a study asks for them.
_TWICE = 2
# Pixels of a picture's side on the contact sheet of the small page.
_SMALL_CELL = 128
# Of a row that paints, before the drawing painted again and again.
_PAINTED_PICTURES = {
    "sketch": "photograph's sketch",
    "reconstruction": "its sketch, painted",
    "drawing": "drawing",
}


def write(name: str, study: Study, results: list[Result], plan: Plan) -> None:
    """Writes a study's CSV file, contact sheets and pages.

    Args:
        name: The study's name, that of its folder.
        study: The study.
        results: What came of each row, in the order of the page.
        plan: What it was carried out on.
    """
    folder = plan.folder / name
    files.write_text(folder / f"{name}.csv", _csv(results))
    # Pictures are of the first seed; the others are in the folders of measurements.
    shown = [each for each in results if each.seed == results[0].seed]
    hidden = [each for each in results if each.seed != results[0].seed]
    done = [each for each in shown if each.values is not None]
    if done:
        images.write(folder / "contact_sheet.png", _sheet(done))
        small = _sheet(done, max_side=_SMALL_CELL)
        images.write(folder / "contact_sheet.webp", small)
    files.write_text(folder / "STUDY.md", _small_page(name, study, results, plan))
    body = [
        f"<p>{page.text(study.found)}</p>",
        "<h2>Verdict</h2>",
        *_paragraphs(study_tables.findings(study, results)),
        f'<p class="soft">{page.text(_about(results, plan))} {report.VARIANCE}</p>',
        "<h2>Measured</h2>",
        page.table(*study_tables.means(results)),
    ]
    differences = study_tables.differences(results)
    if differences:
        about, table = differences
        body += ["<h3>Differences</h3>", *_paragraphs([about]), page.table(*table)]
    body += _time_table(done)
    body += _paragraphs(_failures(hidden, results))
    if done:
        body.append("<h2>Photograph</h2>")
        body.append(page.strip(_photographs(done)))
    for result in shown:
        body += _section(result, study_tables.named(result, shown), study.show)
    title = f"{study.title}: {name}"
    files.write_text(folder / "index.html", page.document(title, body))


def _paragraphs(texts: Iterable[str]) -> list[str]:
    return [f"<p>{page.text(each)}</p>" for each in texts]


def _photographs(done: list[Result]) -> list[str]:
    """Pictures of the photographs, captioned where there are several."""
    return [
        page.picture(
            images.read(runs[0].folder / "photograph.png"),
            "The photograph",
            study_tables.label(runs[0], done),
        )
        for runs in _by_photograph(done)
    ]


def _by_photograph(results: list[Result]) -> list[list[Result]]:
    """The results of each photograph."""
    names = dict.fromkeys(each.image for each in results)
    return [[each for each in results if each.image == name] for name in names]


def _failures(results: list[Result], among: list[Result]) -> list[str]:
    """Why rows could not be trained."""
    return [
        f"The row «{study_tables.named(each, among)}» could not be trained: "
        f"{each.error}"
        for each in results
        if each.error
    ]


def _varied(results: list[Result]) -> list[str]:
    """Settings that are not the same in all rows."""
    flat = [_flat(each.config) for each in results]
    return [key for key in flat[0] if len({str(each[key]) for each in flat}) > 1]


def _flat(config: Config) -> dict[str, Any]:
    """The settings of a configuration by name, without its sections."""
    sections = config_lib.to_json(config).values()
    return {name: value for part in sections for name, value in part.items()}


def _csv(results: list[Result]) -> str:
    varied = _varied(results)
    keys = ["scales", "seconds", "peak_mib", *evaluation.COLUMNS, "diversity"]
    keys += ["reconstruction_rmse", "reconstruction_psnr"]
    steps = [each.values["seconds_per_step"] for each in results if each.values]
    count = max((len(each) for each in steps), default=0)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    several = len(_by_photograph(results)) > 1
    writer.writerow(
        ["row", *["photograph"] * several, "run", "start_scale", "error"]
        + [*varied, *keys]
        + [f"seconds_per_step_{scale:02d}" for scale in range(count)]
    )
    for each in results:
        settings = _flat(each.config)
        line = [each.row.caption, *[photograph_name(each.image)] * several]
        line += [each.run_dir.name, each.row.start_scale, each.error]
        line += [settings[key] for key in varied]
        values = each.values or {}
        numbers = [values.get(key) for key in keys] + values.get("seconds_per_step", [])
        numbers += [None] * (len(keys) + count - len(numbers))
        line += ["" if value is None else f"{value:.9g}" for value in numbers]
        writer.writerow(line)
    return text.getvalue()


def _sheet(done: list[Result], **options: int) -> np.ndarray:
    """Each photograph, then a line for each row: `_pictures`."""
    cells = []
    for runs in _by_photograph(done):
        photograph = images.read(runs[0].folder / "photograph.png")
        blank = np.ones_like(photograph)
        cells += [(photograph, study_tables.label(runs[0], done) or "photograph")]
        cells += [(blank, "")] * SHOWN
        for each in runs:
            for index, (path, what) in enumerate(_pictures(each)):
                # Cells are narrow: a line's first one names its row.
                caption = what if index else f"{each.row.caption}: {what}"
                cells.append((images.read(path), caption))
            cells += [(blank, "")] * (-len(cells) % (SHOWN + 1))
    return images.contact_sheet(*zip(*cells), columns=SHOWN + 1, **options)


def _pictures(result: Result) -> list[tuple[pathlib.Path, str]]:
    """What is shown of a row, at most `SHOWN` + 1 paths, and what each is."""
    if result.row.sketch:
        named, again = _PAINTED_PICTURES, "painted, seed {}"
    else:
        named, again = {"reconstruction": "reconstruction"}, "sample {}"
    pictures = [(result.folder / f"{name}.png", what) for name, what in named.items()]
    samples = sorted(result.folder.glob("sample_*.png"))
    pictures += [(path, again.format(seed)) for seed, path in enumerate(samples)]
    return pictures[: SHOWN + 1]


def _draw_twice(result: Result) -> list[pathlib.Path]:
    """Samples of twice the size, made if they are not there yet."""
    paths = [result.folder / f"twice_{index}.png" for index in range(_TWICE)]
    if all(path.exists() for path in paths):
        return paths
    singan, _ = loading.load(RunFolder(result.run_dir))
    height, width = (2 * side for side in singan.sizes[-1])
    for seed, path in enumerate(paths):
        start = result.row.start_scale
        images.write(path, singan.sample([seed], start, height, width).numpy())
    return paths


def _about(results: list[Result], plan: Plan) -> str:
    rows = len({each.row.caption for each in results})
    runs = "each" if len(results) == rows else f"each of {len(results)} runs"
    parts = [
        f"{rows} rows, {plan.num_samples} samples of {runs}; distances are means "
        "over samples, lower is better, and mean nothing where diversity is near 0 or "
        "much is copied.",
        f"Trained with workers={plan.workers}.",
    ]
    if plan.seeds > 1:
        parts.append(
            f"Means over runs; after ± stands the standard deviation between the "
            f"{plan.seeds} seeds of a photograph. Pictures are of the first seed."
        )
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
        *study_tables.findings(study, results),
        _about(results, plan),
    ]
    differences = study_tables.differences(results)
    if differences:
        # As asterisks they would be emphasis.
        parts.append(differences[0].replace("*", "\\*"))
        header, lines = differences[1]
        marked = [[cell.replace("*", "\\*") for cell in line] for line in lines]
        parts.append(page.markdown_table(header, marked))
    parts.append(page.markdown_table(*study_tables.means(results)))
    parts += _failures(results, results)
    if any(each.values for each in results):
        captions = "The photograph; a line for each row"
        parts.append(f"![{captions}](contact_sheet.webp)")
    return "\n\n".join(parts) + "\n"


def _time_table(done: list[Result]) -> list[str]:
    count = max((each.values["scales"] for each in done), default=0)
    rows = []
    for each in done:
        seconds = [page.number(value) for value in each.values["seconds_per_step"]]
        caption = study_tables.named(each, done)
        rows.append([caption, *seconds, *[""] * (count - len(seconds))])
    header = ["seconds a step at scale", *range(count)]
    return ["<h3>Time</h3>", page.table(header, rows)] if rows else []


def _section(result: Result, caption: str, show: tuple[str, ...]) -> list[str]:
    """A row's pictures."""
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
        parts.append(report.losses(RunFolder(result.run_dir), result.config, scales))
    return parts
