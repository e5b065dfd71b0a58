"""A report as styled lines, apart from any terminal: what is said and in which order, not how wide or how coloured."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from flash_doctor.model import Family, Finding, Report, Severity, Unchecked, Verdict
from flash_doctor.render.chain import Chain, Link, LinkState, chain, link_of
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class Style(Enum):
    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    DIM = "dim"
    STRONG = "strong"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Span:
    text: str
    style: Style = Style.PLAIN


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line: wrapped to the width unless `verbatim`; `first` and `rest` stand before its rows."""

    spans: tuple[Span, ...] = ()
    first: str = ""
    rest: str = ""
    verbatim: bool = False


MAX_EVIDENCE = 8
MAX_TEXT = 1000  # characters
MAX_CODES = 6
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # control, format (bidi), surrogate, private use, separators
_STATE_STYLE = {
    LinkState.SOUND: Style.GOOD,
    LinkState.WARNED: Style.WARN,
    LinkState.BROKEN: Style.BAD,
    LinkState.MISSING: Style.DIM,
    LinkState.UNKNOWN: Style.WARN,
}
_SEVERITY_STYLE = {Severity.ERROR: Style.BAD, Severity.WARNING: Style.WARN, Severity.INFO: Style.DIM}
_SEVERITY_WORD = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def clean(text: str) -> str:
    """Text that only shows: what could move the cursor, colour, reorder or not be encoded is spelt out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelt(char) if unicodedata.category(char) in _HIDDEN else char for char in text)


def _spelt(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def span(text: str, style: Style = Style.PLAIN) -> Span:
    return Span(clean(text), style)


def count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


BLANK = Line()


def report_lines(report: Report, families: Mapping[str, Family]) -> tuple[Line, ...]:
    """The whole report, the most urgent first; `families` maps the code of each check to its family."""
    links = chain(report, families)
    return (
        verdict_line(report, links),
        *((BLANK, *chain_lines(links)) if links.links else ()),
        *_findings(report, links, families),
        *unchecked_lines(report.unchecked),
        BLANK,
        score_line(report),
        Line((Span("Target: "), span(str(report.target.python), Style.STRONG)), verbatim=True),
        Line((span(f"({report.target.why})", Style.DIM),), first="  ", rest="  "),
    )


def verdict_line(report: Report, links: Chain) -> Line:
    counted = [_counted(report, severity) for severity in (Severity.ERROR, Severity.WARNING)]
    numbers = ", ".join(filter(None, counted))
    return Line((*_verdict(report, links, numbers), *_only(report)))


def _only(report: Report) -> tuple[Span, ...]:
    """What was asked for, where that is not all."""
    names = ", ".join(family.value for family in report.only)
    return (Span(f" Asked for: {names} only."),) if names else ()


def _counted(report: Report, severity: Severity) -> str:
    number = sum(finding.severity is severity for finding in report.findings)
    return count(number, _SEVERITY_WORD[severity]) if number else ""


def _verdict(report: Report, links: Chain, numbers: str) -> tuple[Span, ...]:
    if report.verdict is Verdict.BROKEN:
        return Span(f"BROKEN at {clean(_where(report, links))}", Style.BAD), Span(f": {numbers}.")
    if report.verdict is Verdict.WARNINGS:
        return Span("No error found, but look at this", Style.WARN), Span(f": {numbers}.")
    if report.verdict is Verdict.UNKNOWN:
        return Span("UNKNOWN", Style.WARN), Span(": nothing could be checked, so nothing is known to be healthy.")
    if report.unchecked:
        skipped = count(len(report.unchecked), "check")
        return Span("No problem found", Style.GOOD), Span(f", but {skipped} could not be made.")
    if report.only or any(link.state is LinkState.UNKNOWN for link in links.links):
        return Span("No problem found", Style.GOOD), Span(" in what was looked at.")
    return Span("Healthy", Style.GOOD), Span(": no problem found.")


def _where(report: Report, links: Chain) -> str:
    """The first broken link, else what the first error is about: torchvision, a disk."""
    errors = (finding.subject for finding in report.findings if finding.severity is Severity.ERROR)
    return links.broken.name if links.broken else next(errors)


def chain_lines(links: Chain) -> Iterator[Line]:
    """One row for each link; the arrow into the first broken one is cut."""
    for link in links.links:
        arrow = "     " if link is links.links[0] else " --> "
        yield Line(tuple(_link_spans(link)), first="-X-> " if link is links.broken else arrow, rest=" " * 8)


def _link_spans(link: Link) -> Iterator[Span]:
    style = _STATE_STYLE[link.state]
    yield Span(f"{link.name:<11}", Style.STRONG)
    yield Span(f"{link.state.value:<8}" if link.detail or link.codes else link.state.value, style)
    if link.codes:
        yield span(f"{_codes(link.codes)} ", style)
    yield span(link.detail)


def _findings(report: Report, links: Chain, families: Mapping[str, Family]) -> Iterator[Line]:
    """By severity; within one, along the chain, since what comes first often causes what follows."""
    for severity in Severity:
        found = [finding for finding in report.findings if finding.severity is severity]
        found.sort(key=lambda finding: links.position(link_of(finding.code, finding.subject, families)))
        if found:
            yield BLANK
            yield Line((Span(count(len(found), _SEVERITY_WORD[severity]), _SEVERITY_STYLE[severity]),))
        for finding in found:
            yield from finding_lines(finding)


def finding_lines(finding: Finding) -> Iterator[Line]:
    style = _SEVERITY_STYLE[finding.severity]
    spans = (
        span(finding.code, style),
        Span(" "),
        span(finding.subject, Style.STRONG),
        span(f": {_cut(finding.summary)}"),
    )
    yield Line(spans, first="  ", rest="    ")
    for evidence in shortened(finding.evidence, MAX_EVIDENCE):
        yield Line((span(_cut(evidence), Style.DIM),), first="    - ", rest="      ")
    if finding.remedy:
        yield Line((Span("Next: ", Style.STRONG), span(finding.remedy.text)), first="    ", rest="    ")
        for command in finding.remedy.commands:
            yield Line((span(command, Style.COMMAND),), first="        ", verbatim=True)


def _cut(text: str) -> str:
    """A line of a length that is still read."""
    if len(text) <= MAX_TEXT:
        return text
    return f"{cut(text, MAX_TEXT)}… ({len(text) - MAX_TEXT} more characters: --json)"


def shortened(lines: Sequence[str], limit: int) -> Iterator[str]:
    """At most `limit` lines, the last of them saying how many are left out."""
    if len(lines) <= limit:
        yield from lines
        return
    yield from lines[: limit - 1]
    yield f"and {len(lines) - limit + 1} more: --json has them all"


def unchecked_lines(unchecked: Sequence[Unchecked]) -> Iterator[Line]:
    """What could not be checked, one entry per reason."""
    reasons: dict[str, list[str]] = {}
    for item in unchecked:
        reasons.setdefault(item.why, []).append(item.code)
    if reasons:
        yield BLANK
        yield Line((Span(f"{count(len(unchecked), 'check')} could not be made", Style.WARN),))
    for why, codes in reasons.items():
        yield Line((span(why), span(f" ({_codes(codes)})", Style.DIM)), first="  - ", rest="    ")


def _codes(codes: Iterable[str]) -> str:
    """The codes once each, with how often where more than once; many are cut."""
    distinct = list(dict.fromkeys(codes))
    shown = ", ".join(distinct[:MAX_CODES])
    return shown if len(distinct) <= MAX_CODES else f"{shown} and {len(distinct) - MAX_CODES} more"


def score_line(report: Report) -> Line:
    score = report.score
    value = "not known" if score.value is None else f"{score.value}/100"
    return Line((Span("Score: "), Span(value, Style.STRONG), Span(f", {score.checked} of {score.applicable} checked")))


def documentation_lines(code: str, family: str, documentation: str) -> Iterator[Line]:
    """A check's docstring: its first line as the title, paragraphs flowing, indented lines as they are."""
    title, _, body = documentation.partition("\n")
    yield Line((span(code, Style.STRONG), span(f" ({family})", Style.DIM), span(f": {title}")), rest="  ")
    for paragraph in body.strip("\n").split("\n\n") if body.strip() else ():
        yield BLANK
        yield from _paragraph(paragraph.strip("\n").splitlines())


def list_lines(codes: Iterable[tuple[str, str]]) -> Iterator[Line]:
    """One line for each (code, title); the titles stand in a column."""
    rows = list(codes)
    width = max((len(code) for code, _ in rows), default=0) + 2
    for code, title in rows:
        yield Line((span(f"{code:<{width}}", Style.STRONG), span(title)), rest=" " * 6)


def _paragraph(lines: list[str]) -> Iterator[Line]:
    """Lines that belong together flow into one; an indented one or an item of a list begins its own."""
    flowing: list[str] = []
    for line in lines:
        if flowing and line.startswith((" ", "- ", "* ")):
            yield _flow(flowing)
            flowing = []
        if line.startswith("    "):
            yield Line((span(line, Style.COMMAND),), verbatim=True)
        else:
            flowing.append(line)
    if flowing:
        yield _flow(flowing)


def _flow(lines: list[str]) -> Line:
    rest = "  " if lines[0].startswith(("- ", "* ")) else ""
    return Line((span(" ".join(line.strip() for line in lines)),), rest=rest)
