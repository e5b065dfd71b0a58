"""From sightings to explanations: each with its words filled in, in the order of causes, consequences below them."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from flash_doctor.abi.atlas import Atlas
from flash_doctor.explain import unknown
from flash_doctor.explain.cleaning import shown
from flash_doctor.explain.clues import gather
from flash_doctor.explain.machine import join
from flash_doctor.explain.matcher import Matcher
from flash_doctor.explain.reading import Log
from flash_doctor.explain.refine import meaning
from flash_doctor.explain.sighting import Sightings
from flash_doctor.explain.symbols import library_evidence, symbol_evidence, symbol_sentence
from flash_doctor.explain.unknown import Failures, failing
from flash_doctor.model.explanation import Explanation, Explanations, LogLine
from flash_doctor.model.report import Remedy
from flash_doctor.rules.explains import By, Causes, Explains
from flash_doctor.system.commands import advice, of_facts, with_names

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from flash_doctor.explain.clues import Clues
    from flash_doctor.explain.crowd import Crowd
    from flash_doctor.explain.reading import Readable
    from flash_doctor.explain.sighting import Sighting
    from flash_doctor.facts import Facts
    from flash_doctor.facts.complaints import Complaint, Complaints
    from flash_doctor.model import Remedy, Report
    from flash_doctor.system.linear import Work


def decoded(groups: dict[str, str]) -> dict[str, str]:
    """The groups with encoded numbers spelt out: `cuda_number` (12040, 12.4), `arch` (120a, sm_120a)."""
    spelt = dict(groups)
    if (number := groups.get("cuda_number", "")).isdecimal():
        spelt["cuda_number"] = f"{int(number) // 1000}.{int(number) % 1000 // 10}"
    return spelt


def described(complaint: Complaint) -> Explanation:
    """What the catalogue knows of a complaint; where a log would name something stands what is meant."""
    return Explanation(
        code=complaint.id,
        family=complaint.family,
        title=with_names(complaint.title),
        cause=with_names(complaint.cause),
        evidence=(),
        lines=(),
        remedies=(advice(with_names(complaint.advice), *map(with_names, complaint.commands)),),
        confidence=complaint.confidence,
        tell_apart=complaint.tell_apart,
        sources=(str(complaint.source), *complaint.threads),
    )


def in_causal_order(explanations: Sequence[Explanation], complaints: Complaints) -> tuple[Explanation, ...]:
    """By the stage at which each goes wrong (a driver before a library), then by their place in the log."""
    merged = _merged(explanations)
    ordered = sorted(merged, key=lambda told: (complaints.by_id[told.code].stage, _place(told)))
    causes = _causes(complaints)
    tops: list[Explanation] = []
    for told in ordered:
        cause = next((top for top in tops if causes.explains(top.code, told.code, told.family)), None)
        if cause is None:
            tops.append(told)
        else:
            tops[tops.index(cause)] = replace(cause, consequences=(*cause.consequences, told))
    return tuple(tops)


def _causes(complaints: Complaints) -> Causes:
    """What each row of the catalogue absorbs, and the other rows of its family."""
    return Causes(
        Explains(causes=frozenset({row.id}), effects=frozenset({*row.absorbs, row.family}), by=By.ANY)
        for row in complaints.by_id.values()
    )


def _place(told: Explanation) -> int:
    return min((line.number for line in told.lines), default=0)


def _merged(explanations: Sequence[Explanation]) -> list[Explanation]:
    """One explanation for each title: the same complaint from several files or ranks is one."""
    found: dict[tuple[str, str], Explanation] = {}
    for told in explanations:
        known = found.get((told.code, told.title))
        if known:
            evidence = tuple(dict.fromkeys((*known.evidence, *told.evidence)))
            told = replace(
                known,
                count=known.count + told.count,
                at_least=known.at_least or told.at_least,
                evidence=evidence,
                lines=(*known.lines, *told.lines),
            )
        found[told.code, told.title] = told
    return list(found.values())


_CLUE_LINES = 40
_VAGUE = 35  # complaints up to this rank say only that something failed: what a question asks says more


def explain(stream: Readable, facts: Facts, report: Report | None = None, work: Work | None = None) -> Explanations:
    """Read a log once and say what it complains about.

    `report` is what `doctor check` found on the machine of the log: it tells apart causes that share a message.
    In `work` it is counted what the reading cost.

    Raises:
        BadFacts: the catalogue or another fact file breaks an invariant.
    """
    matcher = Matcher(facts.complaints, work)
    sightings, failures, log = Sightings(facts.complaints, matcher), Failures(), Log(stream, _Sifter(matcher))
    surroundings = deque[str](maxlen=_CLUE_LINES)
    for excerpt in log.excerpts():
        if sightings.take(excerpt):
            surroundings.append(excerpt.around)
        else:
            failures.take(excerpt)
            log.pass_over(excerpt)
    clues = gather("\n".join([log.head, *surroundings]), facts, report.environment if report else None)
    teller = _Teller(facts, clues, report, matcher.uncounted)
    seen = sightings.told()
    vague = all(sighting.complaint.rank <= _VAGUE for sighting in seen)
    found = (_asked(log, facts) if vague else []) or seen
    told = in_causal_order([teller.tell(sighting) for sighting in found], facts.complaints)
    return Explanations(
        explanations=told,
        unexplained=() if told else failures.lines(),
        lines_read=log.lines,
        bytes_read=log.size,
    )


def _asked(log: Log, facts: Facts) -> list[Sighting]:
    """What a short text asks."""
    sighting = unknown.sight(log.head, facts.complaints) if log.size <= 4 * unknown.LONGEST else None
    return [sighting] if sighting else []


class _Sifter:
    """What is looked for in a crowd of lines: complaints, and the last failures."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher, self.earn = matcher, matcher.earn

    def sift(self, crowd: Crowd) -> set[int]:
        """The lines that are worth to be looked at."""
        return self._matcher.sift(crowd) | failing(crowd)


class _Teller:
    """Turns sightings into explanations; the atlas is opened only for a symbol."""

    def __init__(self, facts: Facts, clues: Clues, report: Report | None, uncounted: Set[str]) -> None:
        self.facts, self.clues, self.report, self.uncounted = facts, clues, report, uncounted

    @cached_property
    def atlas(self) -> Atlas:
        return Atlas.open(self.facts.folder / "abi" / "atlas.bin")

    def tell(self, sighting: Sighting) -> Explanation:
        meant = meaning(sighting, self.clues, self.facts)
        complaint = self.facts.complaints.by_id[meant.complaint]
        groups = decoded(sighting.groups)
        evidence = [meant.why, *self._evidence(sighting)]
        explanation = Explanation(
            code=complaint.id,
            family=complaint.family,
            title=_filled(complaint.title, groups),
            cause=_filled(complaint.cause, groups),
            evidence=tuple(line for line in evidence if line),
            lines=tuple(LogLine(number=number, text=shown(line)) for line, number in sighting.lines.items()),
            remedies=(_remedy(complaint, groups),),
            confidence=meant.confidence or complaint.confidence,
            tell_apart=complaint.tell_apart,
            sources=(str(complaint.source), *complaint.threads),
            count=sighting.count,
            at_least=sighting.complaint.id in self.uncounted,
        )
        return join(explanation, self.report) if self.report else explanation

    def _evidence(self, sighting: Sighting) -> list[str]:
        catalogue = self.facts.complaints
        if not sighting.symbol:
            return [*library_evidence(sighting.first.flow, catalogue)]
        symbol = sighting.symbol
        of_library = symbol_sentence(symbol.name, catalogue) if symbol.name else ""
        loaded = f"The torch that runs is {self.clues.torch}." if self.clues.torch and symbol.of_torch else ""
        landmark = catalogue.landmark(symbol.name)
        return [*symbol_evidence(symbol, self.atlas, self.clues.torch, landmark), of_library, loaded]


def _filled(text: str, groups: dict[str, str]) -> str:
    return text.format_map(groups) if groups else text


def _remedy(complaint: Complaint, groups: dict[str, str]) -> Remedy:
    return advice(_filled(complaint.advice, groups), *(of_facts(line, groups) for line in complaint.commands))
