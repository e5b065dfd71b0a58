"""Which finding explains which: one table, applied once after all rules ran.

What is explained by another finding is folded into it, told with the cause beside it (`because_of`), or left open: a
rule that could only guess while the cause stands is Unchecked. So no rule has to know another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from flash_doctor.model import Because, Severity, Unchecked
from flash_doctor.rules.engine import Observed, Result, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

R = TypeVar("R", bound=Rule)
_RANK = {severity: rank for rank, severity in enumerate(Severity)}  # the worst first


class By(Enum):
    """What the two must have in common."""

    SUBJECT = "the same subject"
    ABOUT = "something that both are about"
    NAMED = "the cause is about the subject of the other"
    ANY = "nothing: the one explains the other wherever it stands"


class Then(Enum):
    """What becomes of a finding that is explained."""

    FOLDED = "it is not told: the cause says it all"
    SHOWN = "it is told, with the cause"
    OPEN = "its rule counts as one that could not be made"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explains:
    """A row: `causes` explain `effects`, both codes (of `explain`: or families).

    A cause counts from the severity `least` on. `why` is the reason of a rule that is left open.
    """

    causes: frozenset[str]
    effects: frozenset[str]
    by: By = By.SUBJECT
    then: Then = Then.FOLDED
    least: Severity = Severity.INFO
    why: str = ""

    def holds(self, cause: Observed, effect: Observed) -> bool:
        """Whether this cause, one of `causes`, explains that effect, one of `effects`."""
        return _RANK[cause.finding.severity] <= _RANK[self.least] and self._meets(cause, effect)

    def _meets(self, cause: Observed, effect: Observed) -> bool:
        if self.by is By.SUBJECT:
            return cause.finding.subject == effect.finding.subject
        if self.by is By.ABOUT:
            return bool(cause.about & effect.about)
        return self.by is By.ANY or effect.finding.subject in cause.about


class Causes:
    """Rows, to be asked by what is to be explained."""

    def __init__(self, rows: Iterable[Explains]) -> None:
        self.rows = tuple(rows)

    @cached_property
    def _on(self) -> dict[str, list[Explains]]:
        found: dict[str, list[Explains]] = {}
        for row in self.rows:
            for effect in row.effects:
                found.setdefault(effect, []).append(row)
        return found

    def on(self, *names: str) -> Iterator[Explains]:
        """The rows on an effect, by its code (and its family)."""
        return (row for name in names for row in self._on.get(name, ()))

    def explains(self, cause: str, code: str, family: str) -> bool:
        """Whether `cause` explains what has another code, or that family, wherever the two stand."""
        rows = self.on(code, family) if cause != code else ()
        return any(row.by is By.ANY and cause in row.causes for row in rows)

    def behind(self, codes: Collection[str]) -> set[str]:
        """The codes that may explain one of these, directly or not, and these."""
        found, fresh = set(codes), set(codes)
        while fresh := {cause for code in fresh for row in self.on(code) for cause in row.causes} - found:
            found |= fresh
        return found

    def explained(self, told: Sequence[Observed]) -> tuple[Observed, ...]:
        """What is told in the end: without what is folded, and with the causes of the rest.

        What is itself folded explains no less: of a chain only the first cause is left.
        """
        return tuple(left for each in told if (left := self._explained(each, told)))

    def _explained(self, effect: Observed, told: Sequence[Observed]) -> Observed | None:
        holding = [pair for pair in self._holding(effect, told) if pair[0].then is not Then.OPEN]
        if any(row.then is Then.FOLDED for row, _ in holding):
            return None
        if not holding:
            return effect
        causes = dict.fromkeys(Because(code=cause.finding.code, subject=cause.finding.subject) for _, cause in holding)
        return replace(effect, finding=replace(effect.finding, because_of=tuple(causes)))

    def _holding(self, effect: Observed, told: Sequence[Observed]) -> Iterator[tuple[Explains, Observed]]:
        for row in self.on(effect.finding.code):
            yield from ((row, cause) for cause in told if cause.finding.code in row.causes and row.holds(cause, effect))

    def concluded(self, results: Iterable[Result[R]]) -> list[Result[R]]:
        """The results of all rules, each with what is left of it."""
        settled = self._settled(list(results))
        told = [each for result in settled for each in result.told]
        return [
            result.telling(left for each in result.told if (left := self._explained(each, told)))
            if result.told
            else result
            for result in settled
        ]

    def _settled(self, results: list[Result[R]]) -> list[Result[R]]:
        """With every rule left open that a finding leaves open."""
        codes = {each.finding.code for result in results for each in result.told}
        opened = [row for row in self.rows if row.then is Then.OPEN and row.causes & codes]
        why = {effect: row.why for row in opened for effect in row.effects}
        return [
            replace(result, told=(), unchecked=result.unchecked or Unchecked(code=code, why=why[code]))
            if result.applies and (code := result.rule.code) in why
            else result
            for result in results
        ]


def row(
    causes: str, effects: str, by: By = By.SUBJECT, then: Then = Then.FOLDED, *, least: Severity = Severity.INFO,
    why: str = "",
) -> Explains:  # fmt: skip
    """A row with its codes in two texts, a space between them."""
    return Explains(
        causes=frozenset(causes.split()), effects=frozenset(effects.split()), by=by, then=then, least=least, why=why
    )


# Kept in words that two rules share; each stands in `about` of both.
VERSIONS = "the driver's versions"
DEVICE_FILES = "device files"
BUILD_WITHOUT_CUDA = "a torch without the part for these GPUs"
TORCH_LIBRARIES = "libraries that torch needs"
BATCH_SIZE = "the batch size"
DISK_SHARE = "the share of the disk"
BACKEND = "the attention backend"

TABLE = Causes(
    (
        # check
        row("D202", "D203", By.ABOUT),
        row("D252", "D203", By.ABOUT, Then.SHOWN),
        row("F601", "B806 B807", By.ANY, Then.SHOWN),
        row("F602", "F603", By.ABOUT),
        row("F608", "X107", By.ABOUT),
        row("P404 P405", "T506 F607", By.NAMED, Then.SHOWN),
        # what fits which torch cannot be said before it is settled which one counts
        row("T506", "C701 C702 C703 C704 C705 C706 F611 X101 X103", By.ANY, Then.OPEN,
            why="it is not settled which torch counts: its files and its metadata disagree (T506)"),
        # the rule of a companion names the release that belongs to this torch
        row("C701 C702 C703 C704 C706", "X101 X103"),
        row("X102", "X101 F611", By.ABOUT, least=Severity.ERROR),
        row("T510", "X103", By.ABOUT, least=Severity.ERROR),
        row("T502 T509", "X103", By.ABOUT),
        # a compiled file proves more than the name of its wheel
        row("X101 X103 X104", "F611", By.ABOUT),
        # preflight
        row("PF-attn-arch", "PF-attn-package", By.ABOUT),
        row("PF-disk-headroom", "PF-disk-checkpoints", By.ABOUT, least=Severity.ERROR),
        row("PF-steps", "PF-axolotl-rejects", By.ABOUT),
        # watch: NaN makes the loss that is shown 0.0
        row("W-nan", "W-loss-zero W-loss-collapse W-pref-saturated", By.ANY),
    )
)  # fmt: skip
