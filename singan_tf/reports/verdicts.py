"""Whether two rows of a study differ by more than luck, and what that says of a claim.

Runs of the same photograph and seed are a pair. The test is Student's paired t test,
two-sided (SciPy's `ttest_rel`). Of the few pairs that a study has, a test of ranks
could not tell anything: with n pairs Wilcoxon's smallest probability is 2 / 2^n, 0.031
for six and 0.25 for three, however large the differences. The t test uses their size,
and takes for it that differences are about normally distributed. Values of which a
multiple is meant, distances and seconds, are compared by their ratio: the test is that
of their logarithms, so that a photograph of large distances does not outweigh the
others.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

import numpy as np

# Of the probability of a difference at least as large by luck: below it one counts.
LEVEL = 0.05

AS_FOUND = "as the report found"
NOT_AS_FOUND = "not as the report found"
NO_DIFFERENCE = "no difference beyond the spread"
NOT_TESTED = "not tested"

DIRECTIONS = ("higher", "lower", "not higher", "not lower")


class Difference(NamedTuple):
    """How the values of a row differ from those of another, pair by pair.

    Attributes:
        pairs: The number of pairs.
        mean: Of the differences, or the geometric mean of the ratios; NaN without a
            pair.
        interval: Of 95% confidence around the mean, its lower and its upper end; None
            for less than two pairs.
        probability: Of a mean at least as far off if there were nothing but luck; None
            for less than two pairs.
        ratio: Whether values are divided and not subtracted.
    """

    pairs: int
    mean: float
    interval: Optional[tuple[float, float]]
    probability: Optional[float]
    ratio: bool = False

    @property
    def counts(self) -> bool:
        """Whether it is larger than the spread: by luck it were rarer than `LEVEL`."""
        return self.probability is not None and self.probability < LEVEL

    @property
    def higher(self) -> bool:
        """Whether the row's values are the higher ones, in the mean."""
        return self.mean > (1 if self.ratio else 0)


def compare(
    ours: Sequence[float], theirs: Sequence[float], ratio: bool = False
) -> Difference:
    """Tests whether the values of a row differ from those of another.

    Args:
        ours: A value of each pair.
        theirs: The other value of each pair, in the same order.
        ratio: Whether to divide the values, that is to subtract their logarithms. Pairs
            in which one is not above 0 have no ratio and are left out.
    """
    import scipy.stats

    both = np.array([ours, theirs], np.float64)
    if ratio:
        both = np.log(both[:, (both > 0).all(axis=0)])
    differences = both[0] - both[1]
    count = len(differences)
    of_values = math.exp if ratio else float
    mean = float(differences.mean()) if count else math.nan
    if count < 2:
        return Difference(count, of_values(mean), None, None, ratio)
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    half_width = error * float(scipy.stats.t.ppf(1 - LEVEL / 2, count - 1))
    interval = (of_values(mean - half_width), of_values(mean + half_width))
    # But for rounding, there is no spread.
    if error > 1e-12 * max(1, abs(mean)):
        probability = float(scipy.stats.ttest_rel(*both).pvalue)
    else:
        # The test would divide by it: the same difference in all pairs, perhaps none.
        probability = 0.0 if mean else 1.0
    return Difference(count, of_values(mean), interval, probability, ratio)


def judge(difference: Difference, direction: str) -> str:
    """What a difference says of a claim.

    Args:
        difference: Of the row that the claim is about, less the one it is compared
            with.
        direction: One of `DIRECTIONS`: what the claim says of the row's values.

    Returns:
        `AS_FOUND`, `NOT_AS_FOUND`, `NO_DIFFERENCE` or, for less than two pairs,
        `NOT_TESTED`.
    """
    if difference.probability is None:
        return NOT_TESTED
    if not difference.counts:
        return NO_DIFFERENCE
    said_higher = direction in ("higher", "not lower")
    return AS_FOUND if difference.higher == said_higher else NOT_AS_FOUND


def deviation(groups: Iterable[Sequence[float]]) -> Optional[float]:
    """Standard deviation within groups, such as the seeds of each photograph, pooled.

    Args:
        groups: The values of each.

    Returns:
        The root of the squared distances from each group's own mean, summed and divided
        by the number of values less that of groups; None where no group has two values.
    """
    values = [np.asarray(group, np.float64) for group in groups if len(group)]
    freedom = sum(len(each) - 1 for each in values)
    if not freedom:
        return None
    return math.sqrt(sum(np.sum((x - x.mean()) ** 2) for x in values) / freedom)
