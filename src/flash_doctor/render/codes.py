"""What the codes of findings mean, whoever tells them: every code is an Explanation that is about no log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model import Remedy
from flash_doctor.model.explanation import Confidence, Explanation
from flash_doctor.render.text import BLANK, Line, Span, Style, documentation_lines, list_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flash_doctor.diagnose.registry import Check
    from flash_doctor.facts.preflight import RuleText
    from flash_doctor.facts.watch import WatchRule
    from flash_doctor.model.explanation import Meaning

_SOURCES_SHOWN = 4


def of_check(check: Check) -> Explanation:
    """A check's docstring; what to do stands in it."""
    _, _, cause = check.documentation.partition("\n")
    return _told(check.code, check.family.value, check.title, cause.strip())


def of_preflight(code: str, rule: RuleText) -> Explanation:
    why = f"Why: {rule.why}\n\n" if rule.why != rule.symptom else ""
    cause = f"{why}What you see if nobody looks: {rule.symptom}\n\nUsually told as: {rule.severity.value}."
    return _told(code, "preflight", rule.title, cause, rule.remedy, (str(rule.source),))


def of_watch(rule: WatchRule) -> Explanation:
    trainer = "any training" if rule.trainer == "any" else rule.trainer.upper()
    cause = f"Watched in: {trainer}.\n\nHealthy: {rule.healthy}."
    return _told(rule.code, "watch", rule.meaning, cause, rule.action, (str(rule.source),))


def of_meaning(meaning: Meaning, family: str) -> Explanation:
    return _told(meaning.code, family, meaning.title, meaning.cause, meaning.remedy)


def _told(
    code: str, family: str, title: str, cause: str, remedy: str = "", sources: tuple[str, ...] = ()
) -> Explanation:
    """It is about the code, so there is no doubt, no evidence and no line."""
    return Explanation(
        code=code,
        family=family,
        title=title,
        cause=cause,
        evidence=(),
        lines=(),
        remedies=(Remedy(text=remedy),) if remedy else (),
        confidence=Confidence.CERTAIN,
        sources=sources,
    )


def code_lines(told: Sequence[Explanation]) -> Iterator[Line]:
    """Each code with everything that is known about it."""
    for number, each in enumerate(told):
        if number:
            yield BLANK
        yield from documentation_lines(each.code, each.family, "\n\n".join(_paragraphs(each)))


def _paragraphs(told: Explanation) -> Iterator[str]:
    yield told.title
    if told.cause:
        yield told.cause
    if told.tell_apart:
        yield "To be sure:\n" + "\n".join(f"- {hint}" for hint in told.tell_apart)
    for remedy in told.remedies:
        yield f"What to do: {remedy.text}"
        if remedy.commands:
            yield "\n".join(f"    {command}" for command in remedy.commands)
    if told.sources:
        yield f"Source: {'; '.join(told.sources[:_SOURCES_SHOWN])}"


def code_list(groups: Mapping[str, Sequence[Explanation]]) -> Iterator[Line]:
    """Every code below the command that tells it."""
    for number, (command, codes) in enumerate(groups.items()):
        if number:
            yield BLANK
        yield Line((Span(f"flash-doctor {command}:", Style.STRONG),))
        yield from list_lines((each.code, each.title) for each in codes)
