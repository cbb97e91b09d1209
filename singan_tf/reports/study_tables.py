"""The tables of a study: means, differences, and what they say of claims."""

import itertools
import statistics
from collections.abc import Iterator, Sequence
from typing import Optional

from singan_tf.reports import page, verdicts
from singan_tf.reports.studies import BASELINE, Claim, Result, Study, photograph_name
from singan_tf.reports.verdicts import Difference

# Of the tables on the page; the CSV file has every value.
COLUMNS = {
    "scales": "scales",
    "seconds": "seconds",
    "peak_mib": "peak MiB",
    "sifid": "SIFID",
    "diversity": "diversity",
    "patch_frechet": "patch Frechet",
    "sliced_wasserstein": "sliced Wasserstein",
    "plausibility": "plausibility",
    "coverage": "coverage",
    "spectrum_rms": "spectrum rms, dB",
    "spectrum_worst": "worst band, dB",
    "copied": "copied",
    "reconstruction_rmse": "reconstruction RMSE",
    "reconstruction_psnr": "PSNR, dB",
}
# Of these a row has a multiple of another's: distances, seconds and memory. The others
# have bounds (diversity, the share that is copied) or are logarithms already (dB).
RATIOS = (
    "seconds",
    "peak_mib",
    "sifid",
    "patch_frechet",
    "sliced_wasserstein",
    "plausibility",
    "coverage",
    "reconstruction_rmse",
)

_Table = tuple[list[str], list[list[str]]]


def label(result: Result, results: Sequence[Result]) -> str:
    """A result's photograph and seed, as far as those of all results differ."""
    parts = []
    if len({each.image for each in results}) > 1:
        parts.append(photograph_name(result.image))
    if len({each.seed for each in results}) > 1:
        parts.append(f"seed {result.seed}")
    return ", ".join(parts)


def named(result: Result, results: Sequence[Result]) -> str:
    """A result's row, with the photograph and the seed as in `label`."""
    return ", ".join(filter(None, (result.row.caption, label(result, results))))


def means(results: Sequence[Result]) -> _Table:
    """What was measured: a header and a line for each row.

    Values are means over the runs of a row, with the deviation of `verdicts.deviation`
    where there are several seeds.
    """
    columns = _measured_columns(results)
    lines = []
    for caption, runs in _by_row(results):
        cells = [_mean(runs, key) for key in columns]
        lines.append([caption, *cells])
    return ["row", *columns.values()], lines


def differences(results: Sequence[Result]) -> Optional[tuple[str, _Table]]:
    """How the rows differ from the baseline: what to know of the table, and the table.

    The baseline is the row of the budget's own settings, or else the first. None where
    nothing can be tested: there is only one row, or no two pairs of runs.
    """
    rows = dict(_by_row(results))
    own = (name for name, runs in rows.items() if runs[0].run_dir.name == BASELINE)
    baseline = next(own, next(iter(rows)))
    others = [caption for caption in rows if caption != baseline]
    columns = _measured_columns(results)
    # The same in all pairs by construction, or not at all.
    columns.pop("scales", None)
    found = [
        [_difference(results, caption, baseline, key) for key in columns]
        for caption in others
    ]
    tested = [each for line in found for each in line if each.probability is not None]
    if not tested:
        return None
    strict = verdicts.LEVEL / len(tested)
    lines = [
        [caption, *(_difference_cell(each, strict) for each in line)]
        for caption, line in zip(others, found)
    ]
    header = [f"against «{baseline}»", *columns.values()]
    return _about_differences(tested, strict), (header, lines)


def findings(study: Study, results: Sequence[Result]) -> list[str]:
    """What the measurements say of each claim of the report, a paragraph each."""
    paragraphs = [_finding(claim, results) for claim in study.claims]
    if paragraphs:
        paragraphs.append(_about_findings(study.claims, results))
    if study.eye:
        paragraphs.append(f"For the eye: {study.eye[0].lower()}{study.eye[1:]}")
    return paragraphs


def _finding(claim: Claim, results: Sequence[Result]) -> str:
    found = _difference(results, claim.row, claim.against, claim.column)
    verdict = verdicts.judge(found, claim.direction)
    rows = dict(_by_row(results))
    both = [
        _mean(rows.get(caption, []), claim.column)
        for caption in (claim.row, claim.against)
    ]
    if not found.pairs:
        numbers = "no photograph and seed has a value of both rows"
        if found.ratio:
            numbers += " above 0"
    else:
        numbers = (
            f"{COLUMNS[claim.column]} {both[0]} against {both[1]}, "
            f"{'ratio' if found.ratio else 'difference'} {_by_how_much(found)}"
        )
    if found.probability is not None:
        probability = page.number(found.probability, 2)
        numbers += f", p = {probability} over {found.pairs} pairs"
    if verdict == verdicts.NO_DIFFERENCE and claim.direction.startswith("not "):
        numbers += "; the report saw none either"
    return (
        f"«{verdict[0].upper()}{verdict[1:]}»: {claim.words} "
        f"(«{claim.row}» against «{claim.against}»: {numbers})."
    )


def _about_findings(claims: Sequence[Claim], results: Sequence[Result]) -> str:
    if len({each.pair for each in results}) < 2:
        return (
            "One photograph and one seed show no spread, so no claim is tested; more "
            "seeds, or more images, would show it."
        )
    count = "One claim is" if len(claims) == 1 else f"{len(claims)} claims are"
    return (
        f"{count} tested, each by a paired t test, two-sided, over the runs of the "
        "same photograph and seed, of logarithms where a ratio (×) is named; a "
        f"difference is larger than the spread where p < {verdicts.LEVEL:g}, and the "
        "95% interval in brackets is without the value of no difference. It holds for "
        "these photographs, not for all."
    )


def _about_differences(tested: Sequence[Difference], strict: float) -> str:
    count = len(tested)
    return (
        f"The same test of {count} differences, with no claim behind them: * where "
        f"p < {verdicts.LEVEL:g}, as luck alone would give about "
        f"{count * verdicts.LEVEL:.1f} times in so many; ** where p < {strict:.1g}, "
        f"{verdicts.LEVEL:g} divided by their number (Bonferroni's correction). "
        "× stands before ratios, geometric means over the pairs without a 0; 95% "
        "intervals in brackets."
    )


def _by_row(results: Sequence[Result]) -> Iterator[tuple[str, list[Result]]]:
    """The runs of each row, which stand beside each other, by its caption."""
    for caption, runs in itertools.groupby(results, lambda each: each.row.caption):
        yield caption, list(runs)


def _measured_columns(results: Sequence[Result]) -> dict[str, str]:
    return {
        key: title
        for key, title in COLUMNS.items()
        # Of an earlier version's measurements some are missing.
        if any(each.values and each.values.get(key) is not None for each in results)
    }


def _values(runs: Sequence[Result], key: str) -> dict[tuple[str, int], float]:
    """A column's values, where it is defined, by photograph and seed."""
    return {
        each.pair: each.values[key]
        for each in runs
        if each.values and each.values.get(key) is not None
    }


def _mean(runs: Sequence[Result], key: str) -> str:
    values = _values(runs, key)
    if len(set(values.values())) < 2:
        return page.number(next(iter(values.values()), None))
    by_photograph: dict[str, list[float]] = {}
    for (image, _), value in values.items():
        by_photograph.setdefault(image, []).append(value)
    text = page.number(statistics.fmean(values.values()))
    spread = verdicts.deviation(by_photograph.values())
    return text if spread is None else f"{text} ± {page.number(spread, 2)}"


def _difference(
    results: Sequence[Result], row: str, against: str, key: str
) -> Difference:
    """A row's values less another's, where both have one."""
    rows = dict(_by_row(results))
    ours, theirs = (_values(rows.get(each, []), key) for each in (row, against))
    pairs = [pair for pair in ours if pair in theirs]
    return verdicts.compare(
        [ours[x] for x in pairs], [theirs[x] for x in pairs], key in RATIOS
    )


def _difference_cell(found: Difference, strict: float) -> str:
    if found.probability is None:
        return page.number(None)
    marks = "*" * (found.counts + (found.probability < strict))
    return f"{_by_how_much(found)}{marks}"


def _by_how_much(found: Difference) -> str:
    """A mean difference or ratio, and its confidence interval where there is one."""
    if found.ratio:
        mean, *ends = map(page.number, (found.mean, *(found.interval or ())))
        mean = f"×{mean}"
    else:
        mean, *ends = map(_signed, (found.mean, *(found.interval or ())))
    return f"{mean} ({' to '.join(ends)})" if ends else mean


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{page.number(value)}"
