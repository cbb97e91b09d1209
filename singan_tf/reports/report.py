"""The report of a finished run: report/index.html, one file that opens offline.

What the run was, what each scale made of the photograph, how the losses and the
metric went, and where samples differ from each other.
"""

import pathlib
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

import singan_tf
from singan_tf import config as config_lib
from singan_tf import files, images
from singan_tf.config import Config
from singan_tf.measure import metrics
from singan_tf.model.singan import SinGAN
from singan_tf.reports import page
from singan_tf.runs import loading
from singan_tf.runs.folder import Photograph, RunFolder
from singan_tf.runs.tables import LOSS_COLUMNS, Metric
from singan_tf.runs.together import of_several
from singan_tf.training import patch_losses
from singan_tf.training.pictures import draw_samples

_FAKES = 3
# Samples on the page.
_SHOWN = 11
# For the map of variance: so many, and of large ones so many pixels in all.
_LEAST_SAMPLES, _MOST_SAMPLES = 4, 11
_SAMPLE_PIXELS = 2**21
VARIANCE = (
    "Maps of variance show how much the grey value of each pixel varies over samples, "
    "as a share of its variance over the photograph: black is 0, brightest 1 or more."
)
# A plot shows a curve as so many means.
_POINTS = 240

_AGAINST_CRITIC = (
    "critic on real",
    "critic on fake",
    "critic loss",
    "generator loss",
    "reconstruction loss",
)


class Pace(NamedTuple):
    """How long the steps of a scale took.

    Attributes:
        seconds: In all.
        step_seconds: A step's, the median over what was timed.
        peak_mib: The most memory that the process has held.
    """

    seconds: float
    step_seconds: float
    peak_mib: float


def write(
    run: RunFolder, samples: Optional[dict[int, np.ndarray]] = None
) -> pathlib.Path:
    """Writes the report of a finished run.

    Args:
        run: The run.
        samples: Of it, by seed, float32 [1, H, W, C] in [-1, 1]; None to draw them.

    Returns:
        The report's path.

    Raises:
        UserError: if there is no run, it is damaged or not finished, or the folder
            cannot be written.
    """
    singan, config = loading.load(run)
    photographs = run.photographs()
    last = len(singan.sizes) - 1
    reals = [
        images.read(run.real(last, number), singan.channels)
        for number in range(len(photographs))
    ]
    insides = [each[-1] if each else None for each in run.read_insides(last + 1)]
    samples = samples or _draw(singan, config.training.seed)
    paces = [pace(run, scale) for scale in range(last + 1)]
    names = ", ".join(photograph.name for photograph in photographs)
    title = f"{names}: a run of singan_tf"
    body = [
        _summary(photographs, singan, paces, insides),
        "<h2>Samples</h2>",
        _samples(reals, samples),
        *_against_each(photographs, reals, list(samples.values()), insides),
        "<h2>Scales</h2>",
        _scale_table(singan, config, paces),
        *_pictures(run, singan, config),
        "<h2>Where samples differ</h2>",
        _variance(reals[0], list(samples.values()), insides[0]),
        "<h2>Losses</h2>",
        losses(run, config, last + 1),
        *_metrics(run, last + 1),
        "<h2>Settings</h2>",
        _settings(config),
    ]
    files.write_text(run.report, page.document(title, body))
    return run.report


def pace(run: RunFolder, scale: int) -> Optional[Pace]:
    """How long the steps of a scale took; None if that was not kept."""
    timings = run.timings(scale)
    if not timings:
        return None
    return Pace(
        sum(each.seconds for each in timings),
        statistics.median(each.seconds / each.steps for each in timings),
        max(each.peak_mib for each in timings),
    )


def losses(run: RunFolder, config: Config, num_scales: int) -> str:
    """The loss curves of each scale, HTML with one legend."""
    columns = {
        scale: _loss_curves(run, config, scale)
        for scale in range(num_scales)
        if config.steps_at(scale)
    }
    if not columns:
        return "<p>Nothing was trained.</p>"
    names = sorted({name for found in columns.values() for name in found}, key=_place)
    parts = [page.legend(names), '<div class="plots">']
    for scale, curves in columns.items():

        def draw(axes, curves=curves):
            for name, values in curves.items():
                axes.plot(*_thinned(values), color=page.COLOURS[names.index(name)])
            axes.set_xlabel("step")
            if min(values.min() for values in curves.values()) > 0:
                axes.set_yscale("log")
            else:
                # Linear around zero: scores of a critic have both signs.
                axes.set_yscale("symlog", linthresh=0.01)

        label = f"Losses of scale {scale} over steps: {', '.join(curves)}"
        parts.append(
            f"<figure>{page.plot(draw, label)}"
            f"<figcaption>scale {scale}</figcaption></figure>"
        )
    return "\n".join([*parts, "</div>"])


def variance(
    samples: list[np.ndarray],
    photograph: np.ndarray,
    inside: Optional[np.ndarray] = None,
) -> Optional[tuple[np.ndarray, str]]:
    """Where samples differ from each other.

    Args:
        samples: [1, H, W, C] in [-1, 1], all of one size.
        photograph: Likewise.
        inside: What of it counts, bool [H, W]; None for all.

    Returns:
        A picture, uint8 [H, W, 3], whose colours `VARIANCE` explains, and its
        caption; None if the variance is undefined.
    """
    values = metrics.variance_map(samples, photograph, inside)
    if values is None:
        return None
    mean, most = (page.number(float(value)) for value in (values.mean(), values.max()))
    return page.heat_map(values), f"variance: mean {mean}, most {most}"


def _summary(
    photographs: Sequence[Photograph],
    singan: SinGAN,
    paces,
    insides: Sequence[Optional[np.ndarray]],
) -> str:
    height, width = singan.sizes[-1]
    known = [each for each in paces if each]
    rows: list[tuple[str, Any]] = []
    for number, (each, inside) in enumerate(zip(photographs, insides)):
        what = of_several("photograph", number)
        rows.append((what, f"{each.name}, {each.width}x{each.height}"))
        if inside is not None:
            share = page.number(100 * float(inside.mean()))
            rows.append(("learned", f"what is inside, {share}% of the photograph"))
        rows.append(("SHA-256", each.sha256))
    rows += [
        ("finest scale", f"{width}x{height} pixels"),
        ("scales", len(singan.sizes)),
        ("training", page.duration(sum(each.seconds for each in known))),
        (
            "peak memory",
            f"{page.number(max((each.peak_mib for each in known), default=None))} MiB",
        ),
        ("program", f"singan_tf {singan_tf.__version__}"),
    ]
    return page.table(("run", ""), rows, words=True)


def _draw(singan: SinGAN, seed: int) -> dict[int, np.ndarray]:
    """Samples by seed: fewer where they are large, and take long."""
    height, width = singan.sizes[-1]
    most = _SAMPLE_PIXELS // (height * width)
    count = max(_LEAST_SAMPLES, min(_MOST_SAMPLES, most))
    return draw_samples(singan, seed, count)


def _samples(reals: Sequence[np.ndarray], samples: dict[int, np.ndarray]) -> str:
    """The photographs and some samples."""
    pictures = [
        page.picture(real, "The photograph", of_several("photograph", number))
        for number, real in enumerate(reals)
    ]
    for seed, sample in list(samples.items())[:_SHOWN]:
        name = f"seed {seed}"
        pictures.append(page.picture(sample, f"A random sample, {name}", name))
    return page.strip(pictures)


def _against_each(
    photographs: Sequence[Photograph],
    reals: Sequence[np.ndarray],
    samples: list[np.ndarray],
    insides: Sequence[Optional[np.ndarray]],
) -> list[str]:
    """How samples compare with each of several photographs; nothing of one."""
    if len(reals) == 1:
        return []
    nearest = [metrics.nearest_photograph(each, reals, insides) for each in samples]
    rows = []
    compared = zip(photographs, reals, insides)
    for number, (photograph, real, inside) in enumerate(compared):
        distances = [metrics.patch_frechet(sample, real, inside) for sample in samples]
        found = (
            statistics.fmean(each for each in distances if each is not None),
            metrics.diversity(samples, real, inside),
        )
        mine = f"{nearest.count(number)} of {len(samples)}"
        rows.append((photograph.name, *map(page.number, found), mine))
    header = (
        "against",
        "Frechet distance of patches",
        "diversity",
        "samples nearest to it",
    )
    return [page.table(header, rows)]


def _scale_table(singan: SinGAN, config: Config, paces) -> str:
    rows = []
    for scale, ((height, width), found) in enumerate(zip(singan.sizes, paces)):
        amplitude = float(singan.stages[scale].noise_amplitude.numpy())
        steps = config.steps_at(scale)
        adversary = " + ".join(config.adversary.names_at(scale)).replace("_", " ")
        rows.append(
            (
                scale,
                f"{width}x{height}",
                adversary if steps else "none",
                "generator" if singan.stages[scale].trained else "patches",
                steps,
                page.number(found and found.seconds),
                page.number(found and found.step_seconds),
                page.number(found and found.peak_mib),
                page.number(amplitude),
            )
        )
    header = (
        "scale",
        "size",
        "adversary",
        "made by",
        "steps",
        "seconds",
        "s / step",
        "MiB so far",
        "noise amplitude",
    )
    return page.table(header, rows) + (
        '<p class="soft">Scale 0 is the coarsest. Seconds are those of the steps, with '
        "what was measured and saved between them; the first steps of a process build "
        "the graph.</p>"
    )


def _pictures(run: RunFolder, singan: SinGAN, config: Config) -> list[str]:
    """Real, reconstruction and fakes of each scale (report B, figure 2)."""
    parts = []
    for scale, (height, width) in enumerate(singan.sizes):
        place = f"at scale {scale}, {width}x{height} pixels"
        named = {}
        for number in range(singan.num_photographs):
            here = run.real(scale, number), run.reconstruction(scale, number)
            for what, path in zip(("photograph", "reconstruction"), here):
                name = "real" if what == "photograph" else what
                named[of_several(name, number)] = (f"The {what}", path)
        named["fake"] = ("A random sample", run.fake(scale))
        pictures = [
            page.picture(images.read(path, singan.channels), f"{what} {place}", name)
            for name, (what, path) in named.items()
        ]
        part = singan.coarsest(scale + 1)
        for index in range(1, _FAKES):
            fake = part.sample([config.training.seed + index]).numpy()
            pictures.append(page.picture(fake, f"A random sample {place}", "fake"))
        parts.append(f"<h3>Scale {scale}: {width}x{height}</h3>")
        parts.append(page.strip(pictures))
    return parts


def _variance(
    real: np.ndarray, samples: list[np.ndarray], inside: Optional[np.ndarray]
) -> str:
    found = variance(samples, real, inside)
    if found is None:
        return "<p>The photograph is of one grey value.</p>"
    heat, caption = found
    mean = np.mean(samples, axis=0)
    pictures = [
        page.picture(real, "The photograph", "photograph"),
        page.picture(
            mean, "The mean of the samples", f"mean of {len(samples)} samples"
        ),
        page.picture(heat, "A map of where samples differ", caption),
    ]
    return f'<p class="soft">{VARIANCE}</p>' + page.strip(pictures, large=True)


def _loss_curves(run: RunFolder, config: Config, scale: int) -> dict[str, np.ndarray]:
    """What training minimised at each step, and its parts, by name."""
    state = run.state(scale)
    table = run.losses(scale, state)
    column = dict(zip(LOSS_COLUMNS, table.T))
    training = config.training
    reconstruction = training.reconstruction_weight * column["reconstruction"]
    if not config.adversary.has_critic(scale):
        names = config.adversary.names_at(scale)
        distance = column["adversarial"]
        # Several at once are weighted before they are added.
        if len(names) == 1:
            distance = patch_losses.weight(config.adversary, names[0]) * distance
        return {
            "weighted distance": distance,
            "generator loss": distance + reconstruction,
            "reconstruction loss": column["reconstruction"],
        }
    penalty = training.gradient_penalty_weight * column["gradient_penalty"]
    return {
        "critic on real": column["critic_real"],
        "critic on fake": column["critic_fake"],
        "critic loss": column["critic_fake"] - column["critic_real"] + penalty,
        "generator loss": column["adversarial"] + reconstruction,
        "reconstruction loss": column["reconstruction"],
    }


def _place(name: str) -> int:
    """Of a curve in the legend; the distance comes last."""
    names = [*_AGAINST_CRITIC, "weighted distance"]
    return names.index(name)


def _thinned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a curve, as means where there are too many."""
    groups = np.array_split(np.arange(len(values)), min(len(values), _POINTS))
    steps = [group.mean() for group in groups]
    return np.array(steps), np.array([values[group].mean() for group in groups])


def _metrics(run: RunFolder, num_scales: int) -> list[str]:
    """What was measured over steps: a distance, and the spectrum."""
    measured = ((scale, run.metric(scale)) for scale in range(num_scales))
    found = {scale: values for scale, values in measured if values}
    if not found:
        return []
    return [*_distance(found, num_scales), *_spectrum(found, num_scales)]


def _distance(found: dict[int, Metric], num_scales: int) -> list[str]:
    """How far a sample is from the photograph over steps (report B, figure 3)."""
    name = next(iter(found.values())).name
    title = {
        "sifid": "SIFID",
        "patch_frechet": "Frechet distance of patches",
    }[name]

    def draw(axes):
        for scale, (_, points) in found.items():
            _plot_scale(axes, [point[:2] for point in points], scale, num_scales)
        axes.set_yscale("log")
        _finish_axes(axes, num_scales)

    label = f"{title} between a sample and the photograph over steps, by scale"
    ends = [
        (scale, page.number(each.points[-1].value)) for scale, each in found.items()
    ]
    return [
        f"<h2>{title}</h2>",
        f'<div class="plots"><figure>{page.plot(draw, label)}<figcaption>Of one sample '
        "and the photograph at its scale: the lower, the closer. A copy scores 0, so "
        "read it beside the variance above.</figcaption></figure>",
        page.table(("scale", f"{title} at the end"), ends) + "</div>",
    ]


def _spectrum(found: dict[int, Metric], num_scales: int) -> list[str]:
    """How a sample's frequencies compare with the photograph's over steps."""
    bands = {
        scale: [point for point in points if point.spectrum_worst is not None]
        for scale, (_, points) in found.items()
    }
    bands = {scale: points for scale, points in bands.items() if points}
    if not bands:
        return []

    def draw(axes):
        for scale, points in bands.items():
            worst = [(point.step, point.spectrum_worst) for point in points]
            rms = [(point.step, point.spectrum_rms) for point in points]
            _plot_scale(axes, worst, scale, num_scales)
            _plot_scale(axes, rms, scale, num_scales, linestyle=":", label=None)
        axes.set_ylabel("dB")
        _finish_axes(axes, num_scales)

    label = "Worst band and rms of a sample's spectrum over steps, by scale"
    ends = [
        (scale, *map(page.number, points[-1][2:])) for scale, points in bands.items()
    ]
    return [
        "<h2>Spectrum</h2>",
        f'<div class="plots"><figure>{page.plot(draw, label)}<figcaption>The power of '
        "one sample over that of the photograph at its scale, by bands of frequencies "
        "and directions: solid the highest band, dotted the rms over bands. A highest "
        "band that stands out is a grating or grain; a high rms beside a low highest "
        "band is blur.</figcaption></figure>",
        page.table(("scale", "rms at the end, dB", "worst band at the end, dB"), ends)
        + "</div>",
    ]


def _plot_scale(
    axes, points: list[tuple[int, float]], scale: int, num_scales: int, **style
) -> None:
    """Draws values over steps in the colour of a scale."""
    import matplotlib

    shade = matplotlib.colormaps["viridis"](0.3 + 0.55 * scale / max(1, num_scales - 1))
    style = {"label": f"scale {scale}", **style}
    axes.plot(*zip(*points), color=shade, marker="o", markersize=2, **style)


def _finish_axes(axes, num_scales: int) -> None:
    axes.set_xlabel("step")
    axes.legend(frameon=False, fontsize=7, ncols=2 if num_scales > 5 else 1)


def _settings(config: Config) -> str:
    parts = []
    for section, values in config_lib.to_json(config).items():
        parts.append(f"<details><summary>{page.text(section)}</summary>")
        parts.append(page.table(("setting", "value"), values.items(), words=True))
        parts.append("</details>")
    return "\n".join(parts)
