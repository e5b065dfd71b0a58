"""What preflight found, as styled lines: the verdict, findings by severity, what could not be checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model import Report, Severity, Verdict
from flash_doctor.render.text import BLANK, Line, Span, Style, count, finding_lines, span, unchecked_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_STYLE = {Severity.ERROR: Style.BAD, Severity.WARNING: Style.WARN, Severity.INFO: Style.DIM}


def preflight_lines(report: Report, subject: str) -> tuple[Line, ...]:
    """The whole answer, the most urgent first; `subject` is the file that was judged."""
    return (_verdict(report, subject), *_findings(report), *unchecked_lines(report.unchecked), BLANK, _checked(report))


def _verdict(report: Report, subject: str) -> Line:
    numbers = [(each, sum(found.severity is each for found in report.findings)) for each in Severity]
    said = ", ".join(count(number, _WORD[each]) for each, number in numbers if number)
    if report.verdict is Verdict.BROKEN:
        return Line((Span("DO NOT START", Style.BAD), span(f" {subject}: {said}.")))
    if report.verdict is Verdict.WARNINGS:
        return Line((Span("Would run, but look at this", Style.WARN), span(f": {subject}: {said}.")))
    if report.verdict is Verdict.UNKNOWN:
        return Line((Span("UNKNOWN", Style.WARN), span(f": nothing about {subject} could be checked.")))
    rest = " in what could be checked" if report.unchecked else ""
    return Line((Span("Ready", Style.GOOD), span(f": {subject}: nothing stands against it{rest}.")))


def _findings(report: Report) -> Iterator[Line]:
    for severity in Severity:
        found = [finding for finding in report.findings if finding.severity is severity]
        if found:
            yield BLANK
            yield Line((Span(count(len(found), _WORD[severity]), _STYLE[severity]),))
        for finding in found:
            yield from finding_lines(finding)


def _checked(report: Report) -> Line:
    score = report.score
    return Line((Span(f"{score.checked} of {count(score.applicable, 'rule')} that apply were checked.", Style.DIM),))
