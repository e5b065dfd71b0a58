"""Statistics that a few wild values do not move. Pure; inputs are finite and small (at most some hundred values)."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_NORMAL = 1.4826  # of a normal distribution: standard deviation over median absolute deviation
_MEDIAN_ERROR = 1.2533  # of a normal distribution: standard error of the median over that of the mean


def deviation(values: Sequence[float]) -> float:
    """The standard deviation, estimated by the median absolute deviation."""
    middle = median(values)
    return _NORMAL * median(abs(value - middle) for value in values)


def noise(values: Sequence[float]) -> float:
    """The standard deviation of what is no trend, from the differences of neighbours."""
    steps = [after - before for before, after in pairwise(values)]
    return deviation(steps) / math.sqrt(2) if steps else 0.0


def error_of_median(values: Sequence[float]) -> float:
    """The standard error of their median, a trend among them left out."""
    return _MEDIAN_ERROR * noise(values) / math.sqrt(len(values))


def distance(value: float, values: Sequence[float]) -> float:
    """How many robust standard deviations `value` lies above the median of `values`, on a scale of ratios.

    All positive; infinite where the values do not vary at all.
    """
    logs = [math.log(each) for each in values]
    above = math.log(value) - median(logs)
    spread = deviation(logs)
    return above / spread if spread else math.inf * above if above else 0.0


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes through all pairs of points (Theil and Sen); 0 for fewer than two."""
    slopes = [
        (y2 - y1) / (x2 - x1) for index, (x1, y1) in enumerate(points) for x2, y2 in points[index + 1 :] if x2 > x1
    ]
    return median(slopes) if slopes else 0.0


def blocks(values: Sequence[float], count: int) -> list[float]:
    """Medians of `count` equal blocks, a remainder at the beginning left out."""
    size = len(values) // count
    start = len(values) - size * count
    return [median(values[first : first + size]) for first in range(start, len(values), size)] if size else []


def rising(values: Sequence[float]) -> bool:
    return all(before < after for before, after in pairwise(values))
