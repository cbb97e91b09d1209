"""Every metric of a set of samples, as the table that `evaluate` prints and keeps."""

import csv
import io
import pathlib
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from singan_tf import files, images, photographs
from singan_tf.errors import UserError
from singan_tf.measure import metrics, quality, spectrum
from singan_tf.measure.inception import Inception
from singan_tf.model.singan import SinGAN
from singan_tf.tasks import painting
from singan_tf.tasks.task import SHEET_NAME, Task

# Of every sample, with what is better.
COLUMNS = {
    "sifid": "lower",
    "patch_frechet": "lower",
    "sliced_wasserstein": "lower",
    "plausibility": "lower",
    "coverage": "lower",
    "spectrum_rms": "lower",
    "spectrum_worst": "lower",
    "copied": "",
    "copied_anywhere": "",
}
# On the contact sheet.
_SHEET_SAMPLES = 48
# Above it the other metrics say little.
_MOSTLY_COPIED = 0.5

Values = dict[str, Optional[float]]


class Subject(NamedTuple):
    """What is evaluated.

    Attributes:
        photograph: float32 [1, H, W, C] in [-1, 1].
        samples: Pairs of a name and an image likewise, of any size, made one by one.
        num_samples: How many.
        reconstruction: Of the photograph, of its size; None if there is none.
        source: Where they are from, for call.json.
        inside: What of the photograph counts, bool [H, W]; None for all.
        further: The other photographs of the run, with their reconstructions and what
            of them counts.
    """

    photograph: np.ndarray
    samples: Iterable[tuple[str, np.ndarray]]
    num_samples: int
    reconstruction: Optional[np.ndarray]
    source: dict[str, Any]
    inside: Optional[np.ndarray] = None
    further: Sequence[tuple[np.ndarray, np.ndarray, Optional[np.ndarray]]] = ()


class Evaluation(NamedTuple):
    """What was measured.

    Attributes:
        rows: The values of each sample by `COLUMNS`, by its name; None where a
            metric is undefined.
        diversity: Of all samples together; None where it is undefined.
        spectrum: Of the samples' mean power; None where it is undefined.
        reconstruction: RMSE, PSNR and SSIM; None without one.
        cells: Images for a contact sheet, by caption.
        notes: What to know when reading the values, in sentences.
    """

    rows: dict[str, Values]
    diversity: Optional[float]
    spectrum: Optional[spectrum.Spectrum]
    reconstruction: Optional[Values]
    cells: dict[str, np.ndarray]
    notes: list[str]


def of_run(task: Task, num_samples: int, seed: int, start_scale: int) -> Subject:
    """The samples of a finished run, as `sample` writes them: in 8 bits."""

    def draw() -> Iterator[tuple[str, np.ndarray]]:
        make = task.singan.sampler()
        size = task.singan.sizes[-1]
        for number in range(seed, seed + num_samples):
            sample = make([number], start_scale, *size, 1.0).numpy()
            yield f"seed_{number:06d}", _in_8_bits(sample)

    (photograph, reconstruction, inside), *further = [
        (photograph, each.reconstruct().numpy(), None if part is None else part[-1])
        for photograph, each, part in zip(
            task.photographs, task.singan.each(), task.insides
        )
    ]
    return Subject(
        photograph, draw(), num_samples, reconstruction, task.source(), inside, further
    )


def of_drawing(
    task: Task, painter: SinGAN, drawing: np.ndarray, scale: int, num_samples: int
) -> Subject:
    """A drawing painted again and again, in 8 bits.

    Args:
        task: The run that the painter was made from.
        painter: See `sketching.sketch_painter`.
        drawing: float32 [1, H, W, C] in [-1, 1].
        scale: Where it enters.
        num_samples: How often, each time with other noise.
    """

    def paint() -> Iterator[tuple[str, np.ndarray]]:
        for seed in range(num_samples):
            painted = painting.redraw(painter, drawing, scale, seed)
            yield f"seed_{seed:06d}", _in_8_bits(painted)

    reconstruction = painter.reconstruct().numpy()
    return Subject(
        task.photograph,
        paint(),
        num_samples,
        reconstruction,
        task.source(),
        task.inside,
    )


def of_folder(image: str, folder: pathlib.Path) -> Subject:
    """Images that anything made.

    Args:
        image: The photograph: a path, or a name that scikit-image carries.
        folder: Of the samples; a contact sheet in it is left out.

    Raises:
        UserError: if the photograph cannot be read, or there are no samples.
    """
    original = images.resolve(image)
    photograph = images.read(original)
    if not folder.is_dir():
        raise UserError(f"samples={folder} is not a folder; name one with images.")
    paths = photographs.in_folder(folder, besides=SHEET_NAME)
    source = {
        "image": original.name,
        "image_sha256": images.sha256(original),
        "samples": {path.name: images.sha256(path) for path in paths},
    }
    samples = ((path.name, images.read(path)) for path in paths)
    return Subject(photograph, samples, len(paths), None, source)


def evaluate_against_each(
    subject: Subject, inception: Optional[Inception]
) -> list[Evaluation]:
    """`evaluate` against each of the photographs, the same samples; at least one."""
    if not subject.further:
        return [evaluate(subject, inception)]
    samples = list(subject.samples)
    return [
        evaluate(
            subject._replace(
                photograph=photograph,
                samples=samples,
                reconstruction=reconstruction,
                inside=inside,
            ),
            inception,
        )
        for photograph, reconstruction, inside in (
            (subject.photograph, subject.reconstruction, subject.inside),
            *subject.further,
        )
    ]


def evaluate(subject: Subject, inception: Optional[Inception]) -> Evaluation:
    """Measures samples, one by one, and all together.

    Args:
        subject: What is evaluated.
        inception: For SIFID; None leaves it out.
    """
    photograph, inside = subject.photograph, subject.inside
    rows, cells, greys = {}, {"photograph": photograph}, []
    if subject.reconstruction is not None:
        cells["reconstruction"] = subject.reconstruction
    for name, sample in subject.samples:
        rows[name] = measure(sample, photograph, inception, inside)
        greys.append(sample.mean(axis=-1, keepdims=True))
        if len(rows) <= _SHEET_SAMPLES:
            cells[name] = sample
    diversity = metrics.diversity(greys, photograph, inside)
    reconstruction = None
    if subject.reconstruction is not None:
        reconstruction = {
            "rmse": metrics.rmse(subject.reconstruction, photograph, inside),
            **quality.quality(subject.reconstruction, photograph, inside),
        }
        del reconstruction["blur"]
    bands = spectrum.compare(greys, photograph, inside)
    evaluation = Evaluation(rows, diversity, bands, reconstruction, cells, [])
    evaluation.notes.extend(_notes(evaluation, greys, bool(inception), inside is None))
    if inside is not None:
        evaluation.notes.append(
            f"The photograph is what is inside, {100 * inside.mean():.3g}% of it."
        )
    return evaluation


def measure(
    sample: np.ndarray,
    photograph: np.ndarray,
    inception: Optional[Inception],
    inside: Optional[np.ndarray] = None,
) -> Values:
    """The metrics of one sample; None where one is undefined.

    Args:
        sample: float32 [1, H, W, C] in [-1, 1].
        photograph: Likewise, perhaps of another size.
        inception: For SIFID; None leaves it out.
        inside: What of the photograph counts, bool [H, W]; None for all.
    """
    bands = spectrum.compare([sample], photograph, inside)
    return {
        "sifid": metrics.sifid(inception, sample, photograph, inside)
        if inception
        else None,
        "patch_frechet": metrics.patch_frechet(sample, photograph, inside),
        "sliced_wasserstein": metrics.sliced_wasserstein(sample, photograph, inside),
        "plausibility": metrics.nearest_patches(
            sample, photograph, inside_among=inside
        ),
        "coverage": metrics.nearest_patches(photograph, sample, inside=inside),
        "spectrum_rms": bands and bands.rms,
        "spectrum_worst": bands and bands.worst,
        "copied": metrics.copied(sample, photograph, inside),
        "copied_anywhere": metrics.copied_anywhere(sample, photograph, inside),
    }


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON values: statistics over samples by metric, and notes."""
    columns = {}
    for name in COLUMNS:
        given = (row[name] for row in evaluation.rows.values())
        values = [value for value in given if value is not None]
        columns[name] = values and {
            "mean": statistics.fmean(values),
            "deviation": statistics.stdev(values) if len(values) > 1 else None,
            "least": min(values),
            "most": max(values),
            "samples": len(values),
        }
    return {
        "samples": len(evaluation.rows),
        **{name: values or None for name, values in columns.items()},
        "diversity": evaluation.diversity,
        "mean_spectrum": evaluation.spectrum and evaluation.spectrum._asdict(),
        "reconstruction": evaluation.reconstruction,
        "notes": evaluation.notes,
    }


def table(found: dict[str, Any]) -> str:
    """A summary as text, a line for each metric."""
    lines = [f"{'':20}{'mean':>10}{'deviation':>11}{'least':>10}{'most':>10}  better"]
    for name, better in COLUMNS.items():
        values = found[name] or {}
        cells = (values.get(x) for x in ("mean", "deviation", "least", "most"))
        mean, deviation, least, most = map(_number, cells)
        line = f"{name:20}{mean:>10}{deviation:>11}{least:>10}{most:>10}  {better}"
        lines.append(line.rstrip())
    lines.append(f"{'diversity':20}{_number(found['diversity']):>10}")
    bands = found["mean_spectrum"]
    if bands:
        lines.append(f"{'mean spectrum rms':20}{_number(bands['rms']):>10}")
        lines.append(
            f"{'mean spectrum worst':20}{_number(bands['worst']):>10}  at "
            f"{bands['frequency']:.2f} cycles per pixel, "
            f"{bands['direction']:.1f} degrees"
        )
    for name, value in (found["reconstruction"] or {}).items():
        title = f"reconstruction {name}"
        lines.append(f"{title:20}{_number(value):>10}")
    return "\n".join(lines)


def summary_of_all(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """The summary of the first, with those of the others, if there are, in it."""
    first, *further = (summary(each) for each in evaluations)
    return {**first, "further_photographs": further} if further else first


def write(
    evaluations: Sequence[Evaluation], found: dict[str, Any], output_dir: pathlib.Path
) -> None:
    """Writes metrics.csv, a line for each sample, and metrics.json, the summary.

    Of several photographs, metrics-2.csv is against the second, and so on.
    """
    for number, evaluation in enumerate(evaluations, start=1):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("sample", *COLUMNS))
        for name, row in evaluation.rows.items():
            values = (row[column] for column in COLUMNS)
            writer.writerow([name, *("" if v is None else f"{v:.9g}" for v in values)])
        name = "metrics.csv" if number == 1 else f"metrics-{number}.csv"
        files.write_text(output_dir / name, text.getvalue())
    files.write_json(output_dir / "metrics.json", found)


def _in_8_bits(image: np.ndarray) -> np.ndarray:
    """What `images.read` makes of an image that was written as PNG."""
    return images.to_uint8(image).astype(np.float32) / 255 * 2 - 1


def _notes(
    evaluation: Evaluation,
    samples: list[np.ndarray],
    has_inception: bool,
    whole: bool,
) -> list[str]:
    rows = evaluation.rows.values()
    notes = []
    if has_inception and any(row["sifid"] is None for row in rows):
        notes.append(
            "SIFID is undefined where the photograph or a sample is too small for "
            "the layer of sifid_features."
        )
    if evaluation.diversity is None:
        reason = "a photograph of more than one grey value"
        if len({sample.shape for sample in samples}) > 1:
            reason = "samples of one size"
        if len(samples) < 2:
            reason = "at least two samples"
        notes.append(f"Diversity is undefined: it needs {reason}.")
    if any(row["spectrum_rms"] is None for row in rows):
        notes.append(
            f"The spectrum is undefined where a side is below {spectrum.TILE} pixels"
            f"{'' if whole else ', or no square of that side is inside'}."
        )
    if any(None in (row["copied"], row["copied_anywhere"]) for row in rows):
        notes.append(
            "Where a copied share is missing, the sample has another size than the "
            "photograph, or an image is too small or without detail."
        )
    for name, where in (("copied", "at its place"), ("copied_anywhere", "moved")):
        shares = [share for row in rows if (share := row[name]) is not None]
        if shares and statistics.fmean(shares) > _MOSTLY_COPIED:
            notes.append(
                f"Most of what is seen is the photograph itself, {where}: the "
                "distances say nothing about these samples."
            )
            break
    return notes


def _number(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.4f}"
