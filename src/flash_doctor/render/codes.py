"""What the codes of findings mean, whoever tells them: a check, a rule of preflight, or one of watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.render.text import BLANK, Line, Span, Style, documentation_lines, list_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flash_doctor.diagnose.registry import Check
    from flash_doctor.facts.preflight import RuleText
    from flash_doctor.facts.watch import WatchRule
    from flash_doctor.render.document import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One code: its family, its meaning in a sentence, the cause at length, what to do, and where that is from."""

    code: str
    family: str
    title: str
    cause: str
    remedy: str = ""
    source: str = ""

    @property
    def documentation(self) -> str:
        remedy = f"What to do: {self.remedy}" if self.remedy else ""
        source = f"Source: {self.source}" if self.source else ""
        return "\n\n".join(filter(None, (self.title, self.cause, remedy, source)))


def of_check(check: Check) -> Code:
    _, _, cause = check.documentation.partition("\n")
    return Code(code=check.code, family=check.family.value, title=check.title, cause=cause.strip())


def of_preflight(code: str, rule: RuleText) -> Code:
    return Code(
        code=code,
        family="preflight",
        title=rule.why,
        cause=f"Usually told as: {rule.severity.value}.\n\nWhat you see if nobody looks: {rule.symptom}",
        remedy=rule.remedy,
        source=str(rule.source),
    )


def of_watch(rule: WatchRule) -> Code:
    trainer = "any training" if rule.trainer == "any" else rule.trainer.upper()
    return Code(
        code=rule.code,
        family="watch",
        title=rule.meaning,
        cause=f"Watched in: {trainer}.\n\nHealthy: {rule.healthy}.",
        remedy=rule.action,
        source=str(rule.source),
    )


def code_lines(code: Code) -> Iterator[Line]:
    return documentation_lines(code.code, code.family, code.documentation)


def code_document(code: Code) -> Document:
    """The meaning of a code as an explanation: it is about the code, so there is no doubt and no line."""
    return {
        "code": code.code,
        "family": code.family,
        "title": code.title,
        "cause": code.cause,
        "evidence": [],
        "lines": [],
        "remedies": [{"text": code.remedy, "commands": []}] if code.remedy else [],
        "confidence": "certain",
        "sources": [code.source] if code.source else [],
    }


def code_list(groups: Mapping[str, Sequence[Code]]) -> Iterator[Line]:
    """Every code below the command that tells it."""
    for number, (command, codes) in enumerate(groups.items()):
        if number:
            yield BLANK
        yield Line((Span(f"flash-doctor {command}:", Style.STRONG),))
        yield from list_lines((code.code, code.family, code.title) for code in codes)
