"""The paired test against closed forms and permutations; verdicts on made-up tables."""

import itertools
import math
import pathlib
import statistics

import numpy as np
import pytest

from singan_tf import config
from singan_tf.reports import studies, study_tables, verdicts
from singan_tf.reports.studies import Claim, Result, Row, Study


def probability_of_five_degrees(t):
    """Two-sided, in closed form (Student's distribution of odd degrees of freedom)."""
    angle = math.atan(abs(t) / math.sqrt(5))
    inside = angle + math.sin(angle) * (math.cos(angle) + 2 / 3 * math.cos(angle) ** 3)
    return 1 - 2 / math.pi * inside


@pytest.mark.parametrize("seed", range(6))
def test_six_pairs_have_the_probability_of_the_closed_form(seed):
    random = np.random.default_rng(seed)
    theirs = random.normal(3, 2, 6)
    ours = theirs + random.normal(0.3 * seed, 1, 6)
    differences = [a - b for a, b in zip(ours, theirs)]
    error = statistics.stdev(differences) / math.sqrt(6)
    expected = probability_of_five_degrees(statistics.fmean(differences) / error)
    found = verdicts.compare(ours, theirs)
    assert found.pairs == 6
    assert found.mean == pytest.approx(statistics.fmean(differences))
    assert found.probability == pytest.approx(expected)
    # From a printed table: the quantile of 97.5% at five degrees of freedom.
    half_width = 2.570582 * error
    assert found.interval == pytest.approx(
        (found.mean - half_width, found.mean + half_width), rel=1e-6
    )
    assert found.counts == (abs(found.mean) > half_width)


@pytest.mark.parametrize("shift", [0, 0.3, 0.7])
def test_of_many_pairs_the_probability_is_near_that_of_all_changes_of_sign(shift):
    """Without a difference each pair's could as well have had the other sign."""
    differences = np.random.default_rng(1).normal(shift, 1, 12)
    signs = np.array(list(itertools.product((-1, 1), repeat=12)))
    means = np.abs(signs @ differences) / 12
    expected = np.mean(means >= abs(differences.mean()) - 1e-12)
    found = verdicts.compare(differences, np.zeros(12))
    assert found.probability == pytest.approx(expected, abs=0.02)


def test_a_ratio_is_the_test_of_logarithms():
    random = np.random.default_rng(2)
    theirs = np.exp(random.normal(0, 2, 6))
    ours = theirs * np.exp(random.normal(0.4, 0.5, 6))
    found = verdicts.compare(ours, theirs, ratio=True)
    logarithms = verdicts.compare(np.log(ours), np.log(theirs))
    assert found.probability == pytest.approx(logarithms.probability)
    assert found.mean == pytest.approx(statistics.geometric_mean(ours / theirs))
    assert found.interval == pytest.approx(np.exp(logarithms.interval))
    # The unit takes no part, and the other way round it is the inverse.
    other = verdicts.compare(1000 * theirs, 1000 * ours, ratio=True)
    assert other.probability == pytest.approx(found.probability)
    assert other.mean == pytest.approx(1 / found.mean)
    assert found.higher and not other.higher


def test_twice_as_much_on_every_photograph_counts_as_a_ratio():
    theirs = [0.0103, 0.0097, 0.041, 0.039]
    ours = [0.0198, 0.0201, 0.080, 0.082]
    assert not verdicts.compare(ours, theirs).counts
    assert verdicts.compare(ours, theirs, ratio=True).counts
    # A pair without a ratio is left out.
    assert verdicts.compare([*ours, 1], [*theirs, 0], ratio=True).pairs == 4
    assert verdicts.compare([0.0], [1.0], ratio=True).pairs == 0


def test_luck_alone_counts_once_in_twenty():
    random = np.random.default_rng(0)
    # Photographs differ by more than seeds do; pairs take that out.
    level = np.repeat([0.5, 3.0], 3)
    counted = [
        verdicts.compare(
            level + random.normal(0, 0.3, 6), level + random.normal(0, 0.3, 6)
        ).counts
        for _ in range(1000)
    ]
    # Four standard deviations of a binomial around 50.
    assert abs(sum(counted) - 50) < 28


def test_what_cannot_be_tested():
    assert verdicts.compare([], []).pairs == 0
    one = verdicts.compare([2.0], [1.5])
    assert one == verdicts.Difference(1, 0.5, None, None)
    assert verdicts.judge(one, "higher") == verdicts.NOT_TESTED
    # No spread at all: a difference is one, and none is none.
    assert verdicts.compare([1, 2], [1, 2]).probability == 1
    assert verdicts.compare([2, 3], [1, 2]).counts
    assert verdicts.compare([0.3, 0.6, 0.9], [0.1, 0.2, 0.3], ratio=True).counts


def test_deviation_is_that_within_groups():
    assert verdicts.deviation([[1], [2], []]) is None
    assert verdicts.deviation([[1, 2, 4]]) == pytest.approx(statistics.stdev([1, 2, 4]))
    groups = [[1, 2, 4], [101, 103], [7]]
    squares = sum(
        (value - sum(group) / len(group)) ** 2 for group in groups for value in group
    )
    assert verdicts.deviation(groups) == pytest.approx(math.sqrt(squares / 3))


@pytest.mark.parametrize(
    ("direction", "if_higher", "if_lower"),
    [
        ("higher", verdicts.AS_FOUND, verdicts.NOT_AS_FOUND),
        ("lower", verdicts.NOT_AS_FOUND, verdicts.AS_FOUND),
        ("not higher", verdicts.NOT_AS_FOUND, verdicts.AS_FOUND),
        ("not lower", verdicts.AS_FOUND, verdicts.NOT_AS_FOUND),
    ],
)
def test_a_verdict_is_of_the_direction(direction, if_higher, if_lower):
    higher = verdicts.compare([2, 3.1, 4], [1, 2, 3])
    assert verdicts.judge(higher, direction) == if_higher
    lower = verdicts.compare([1, 2, 3], [2, 3.1, 4])
    assert verdicts.judge(lower, direction) == if_lower
    neither = verdicts.compare([1, 3, 2], [2, 1, 3.5])
    assert verdicts.judge(neither, direction) == verdicts.NO_DIFFERENCE


def made_up(table, images=("a.jpg", "b.jpg"), seeds=3, baseline="base"):
    """Results of rows with these values of diversity and plausibility, run by run."""
    pairs = list(itertools.product(images, range(seeds)))
    place = pathlib.Path("nowhere")
    return [
        Result(
            Row(caption),
            image,
            place / ("baseline" if caption == baseline else "run"),
            place,
            config.from_settings({"seed": seed}),
            values[index],
            place,
            "" if values[index] else "lost",
        )
        for caption, values in table.items()
        for index, (image, seed) in enumerate(pairs)
    ]


def values(diversity, plausibility, scales=4):
    return [
        {"scales": scales, "diversity": one, "plausibility": other}
        for one, other in zip(diversity, plausibility)
    ]


BASE = values([0.30, 0.33, 0.31, 0.60, 0.63, 0.62], [2, 3, 4, 5, 6, 7])
# Diversity is higher by 0.1 in each pair, give or take; plausibility is shuffled.
CHANGED = values([0.41, 0.42, 0.41, 0.71, 0.72, 0.73], [3, 2, 4, 6, 5, 7])
STUDY = Study(
    "A study",
    "Nothing.",
    [],
    claims=[
        Claim("more of it", "changed", "base", "diversity", "higher"),
        Claim("less of it", "changed", "base", "diversity", "lower"),
        Claim("clearer", "changed", "base", "plausibility", "lower"),
        Claim("no clearer", "changed", "base", "plausibility", "not lower"),
    ],
    eye="Beauty.",
)


def test_a_made_up_table_gives_each_verdict():
    results = made_up({"base": BASE, "changed": CHANGED})
    more, less, clearer, no_clearer, about, eye = study_tables.findings(STUDY, results)
    assert more.startswith("«As the report found»: more of it («changed» against")
    assert less.startswith("«Not as the report found»: less of it")
    assert clearer.startswith("«No difference beyond the spread»: clearer")
    assert no_clearer.endswith("; the report saw none either).")
    assert "the report saw" not in clearer
    # The numbers beside them, by hand: differences 0.11, 0.09, 0.10, 0.11, 0.09, 0.11.
    assert "diversity 0.567 ± 0.0082 against 0.465 ± 0.015" in more
    assert "difference +0.102 (+0.0913 to +0.112), p = " in more
    assert "over 6 pairs" in more
    # The same values in another order: their logarithms have the same sum.
    assert "plausibility 4.5 ± 1 against 4.5 ± 1, ratio ×1 (" in clearer
    assert "4 claims are tested" in about and "p < 0.05" in about
    assert eye == "For the eye: beauty."


def test_differences_are_told_with_how_many_are_compared():
    results = made_up({"base": BASE, "changed": CHANGED, "twice": BASE})
    about, (header, lines) = study_tables.differences(results)
    assert header == ["against «base»", "diversity", "plausibility"]
    changed, same = lines
    # A probability of 1e-6 is below 0.05 / 4.
    assert changed == ["changed", "+0.102 (+0.0913 to +0.112)**", "×1 (0.744 to 1.34)"]
    assert same == ["twice", "0 (0 to 0)", "×1 (1 to 1)"]
    assert "The same test of 4 differences" in about
    assert "about 0.2 times" in about and "p < 0.01," in about


def test_rows_are_compared_with_that_of_the_budget_or_the_first():
    table = {"changed": CHANGED, "base": BASE}
    _, (header, lines) = study_tables.differences(made_up(table))
    assert header[0] == "against «base»"
    assert lines[0][:2] == ["changed", "+0.102 (+0.0913 to +0.112)**"]
    _, (header, lines) = study_tables.differences(made_up(table, baseline=""))
    assert header[0] == "against «changed»"
    assert lines[0][:2] == ["base", "-0.102 (-0.112 to -0.0913)**"]


def test_runs_that_failed_are_left_out_of_both_rows():
    lost = [None, *CHANGED[1:]]
    results = made_up({"base": BASE, "changed": lost})
    more, *_ = study_tables.findings(STUDY, results)
    assert "over 5 pairs" in more
    none = made_up({"base": BASE, "changed": [None] * 6})
    more, *_ = study_tables.findings(STUDY, none)
    assert more.startswith("«Not tested»") and "no photograph and seed has" in more
    assert study_tables.differences(none) is None


def test_one_photograph_and_one_seed_are_not_tested():
    results = made_up({"base": BASE, "changed": CHANGED}, ["a.jpg"], 1)
    more, *_, about, _ = study_tables.findings(STUDY, results)
    assert more.startswith("«Not tested»: more of it")
    assert "diversity 0.41 against 0.3, difference +0.11)." in more
    assert "so no claim is tested; more seeds" in about
    assert study_tables.differences(results) is None
    header, lines = study_tables.means(results)
    assert lines[0] == ["base", "4", "0.3", "2"]
    assert study_tables.label(results[0], results) == ""


def test_seeds_of_one_photograph_and_photographs_of_one_seed_are_told():
    results = made_up({"base": BASE}, ["a.jpg"], 3)
    assert study_tables.means(results)[1] == [["base", "4", "0.313 ± 0.015", "3 ± 1"]]
    assert study_tables.named(results[1], results) == "base, seed 1"
    results = made_up({"base": BASE}, ["x/a.jpg", "b.jpg"], 1)
    assert study_tables.means(results)[1] == [["base", "4", "0.315", "2.5"]]
    assert study_tables.named(results[0], results) == "base, a"


@pytest.mark.parametrize("name", studies.STUDIES)
def test_every_study_has_claims_or_says_why_not(name):
    study = studies.STUDIES[name]
    assert study.claims or study.eye
    captions = [row.caption for row in study.rows]
    assert len(set(captions)) == len(captions)
    for claim in study.claims:
        assert {claim.row, claim.against} <= set(captions)
        assert claim.row != claim.against
        assert claim.column in study_tables.COLUMNS
        assert claim.direction in verdicts.DIRECTIONS
    assert set(study_tables.RATIOS) <= set(study_tables.COLUMNS)
