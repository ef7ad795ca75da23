"""The smallest improvement that a number of test rows can prove, before any of them is scored."""

from math import inf, sqrt
from typing import Final

POWER: Final = 0.8
"""Share of repetitions in which such an improvement would be proven."""
BETTER_SHARE: Final = 0.75
"""Share of the significance that the verdict spends on "better"; a test compares the two."""


def smallest_gain(rows: int, significance: float) -> float:
    """Return the gain, in standard deviations of the rows' differences, that is proven four times in five.

    The verdict flips signs: of ``rows`` rows there are 2**rows patterns, and the one seen is the rarest that a test can
    see. Where that is not rare enough, no gain can be proven and the answer is infinite. Else the test is as strong as
    Student's, whose closed form this is; a test repeats the real one.
    """
    if rows < fewest_rows(significance):
        return inf
    from scipy.special import nctdtrinc, stdtrit

    freedom = rows - 1
    return float(nctdtrinc(freedom, 1 - POWER, stdtrit(freedom, 1 - BETTER_SHARE * significance))) / sqrt(rows)


def fewest_rows(significance: float) -> int:
    """Return the number of rows below which nothing can be proven, however large the gain."""
    rows = 1
    while 2.0**-rows > BETTER_SHARE * significance:
        rows += 1
    return rows
