"""Whether two rows of a study differ by more than luck, and what that says of a claim.

Runs of the same photograph and seed are a pair. The test is Student's paired t test,
two-sided (SciPy's `ttest_rel`). Of the few pairs that a study has, a test of ranks
could not tell anything: with n pairs Wilcoxon's smallest probability is 2 / 2^n, 0.031
for six and 0.25 for three, however large the differences. The t test uses their size,
and takes for it that differences are about normally distributed.
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
    """The values of a row less those of another, pair by pair.

    Attributes:
        pairs: The number of pairs.
        mean: Of the differences; NaN without a pair.
        half_width: Of the 95% confidence interval around the mean; None for less than
            two pairs.
        probability: Of a mean difference at least as far from zero if there were none
            but luck; None for less than two pairs.
    """

    pairs: int
    mean: float
    half_width: Optional[float]
    probability: Optional[float]

    @property
    def counts(self) -> bool:
        """Whether it is larger than the spread: by luck it were rarer than `LEVEL`."""
        return self.probability is not None and self.probability < LEVEL


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """Tests whether the values of a row differ from those of another.

    Args:
        ours: A value of each pair.
        theirs: The other value of each pair, in the same order.
    """
    import scipy.stats

    differences = np.subtract(ours, theirs, dtype=np.float64)
    count = len(differences)
    mean = float(differences.mean()) if count else math.nan
    if count < 2:
        return Difference(count, mean, None, None)
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    half_width = error * float(scipy.stats.t.ppf(1 - LEVEL / 2, count - 1))
    if not error:
        # The test would divide by it: the same difference in all pairs, perhaps none.
        return Difference(count, mean, half_width, 0.0 if mean else 1.0)
    probability = float(scipy.stats.ttest_rel(ours, theirs).pvalue)
    return Difference(count, mean, half_width, probability)


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
    return AS_FOUND if (difference.mean > 0) == said_higher else NOT_AS_FOUND


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
