"""The configuration score: 0 (nothing of what was checked works) to 100 (nothing to complain of)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from flash_doctor.model import Family, Score, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from flash_doctor.rules.engine import Result, Rule

R = TypeVar("R", bound="Rule")

# Points of each family of checks, 100 in all, and why.
WEIGHTS: dict[Family, tuple[int, str]] = {
    Family.HOST: (6, "memory, disk and shared memory end a run late, but leave the software whole"),
    Family.DRIVER: (15, "without a working driver nothing above it runs"),
    Family.GPU: (13, "a GPU that is hidden or too old cannot be helped by any package"),
    Family.PYTHON: (6, "a muddled environment hides or doubles packages"),
    Family.TORCH: (18, "everything compiled is built against torch"),
    Family.FLASH: (16, "the library this doctor is for"),
    Family.EXTENSIONS: (10, "what cannot be loaded, or holds no code for the GPU, cannot be used"),
    Family.COMPANIONS: (8, "packages that belong to one torch release fail on another"),
    Family.LIBRARIES: (6, "a foreign CUDA library breaks an otherwise right set of packages"),
    Family.BUILD: (2, "matters only when something must be compiled"),
}

# Share of its family's points that the worst finding leaves.
LEFT: dict[Severity, float] = {Severity.ERROR: 0.0, Severity.WARNING: 0.5, Severity.INFO: 1.0}


def score(results: Iterable[Result[R]], weigh: Callable[[R], tuple[Hashable, int]]) -> Score:
    """Score of the rules that were made; `weigh` tells the family of a rule, and that family's points.

    A family loses by its worst finding: ten faults with one cause count once. A family of which nothing could be
    checked, or which has no subject here, is left out of the sum on both sides.
    """
    applicable = [result for result in results if result.applies]
    made = [result for result in applicable if result.made]
    left: dict[Hashable, float] = {}
    points: dict[Hashable, int] = {}
    for result in (result for result in applicable if result.made or result.told):
        family, points_of_family = weigh(result.rule)
        worst = min((LEFT[finding.severity] for finding in result.findings), default=1.0)
        left[family], points[family] = min(left.get(family, 1.0), worst), points_of_family
    total = sum(points.values())
    kept = sum(points[family] * share for family, share in left.items())
    return Score(value=round(100 * kept / total) if total else None, checked=len(made), applicable=len(applicable))
