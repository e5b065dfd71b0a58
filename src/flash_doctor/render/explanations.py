"""Explanations as styled lines, and as the document of `explain --json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model import Remedy
from flash_doctor.model.explanation import Confidence, Explanation
from flash_doctor.render.document import EXPLANATION
from flash_doctor.render.text import BLANK, Line, Span, Style, count, documentation_lines, list_lines, shortened, span
from flash_doctor.system.codec import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flash_doctor.model.explanation import Explanations, LogLine, Meaning
    from flash_doctor.render.document import Document


_EVIDENCE_AT_MOST = 10
_STYLE = {Confidence.CERTAIN: Style.BAD, Confidence.LIKELY: Style.WARN, Confidence.POSSIBLE: Style.DIM}


def explanations_of(told: Explanations, exit_code: int) -> Document:
    """The document: the first cause first, its consequences inside it."""
    return {"schema": EXPLANATION, **encode(told), "exit_code": exit_code}


def explanation_lines(told: Explanations, *, joined: bool) -> Iterator[Line]:
    """The whole answer; `joined` says whether it was compared with a machine."""
    if told.explanations:
        causes = count(len(told.explanations), "cause")
        yield Line((Span(causes, Style.BAD), Span(f" found in {_read(told)}.")))
        for explanation in told.explanations:
            yield BLANK
            yield from _explanation(explanation)
    elif told.unexplained:
        yield from _unexplained(told)
    else:
        yield Line((Span("Nothing wrong was found", Style.GOOD), Span(f" in {_read(told)}.")))
    yield from _closing(told, joined=joined)


def _read(told: Explanations) -> str:
    return f"{told.lines_read:,} line{'' if told.lines_read == 1 else 's'}"


def _explanation(told: Explanation) -> Iterator[Line]:
    style = _STYLE[told.confidence]
    yield Line(
        (span(told.family, style), span(f" ({told.confidence.value}): "), span(told.title, Style.STRONG)), "", "  "
    )
    yield Line((span(told.cause),), "  ", "  ")
    for line in shortened(told.evidence, _EVIDENCE_AT_MOST):
        yield Line((span(line),), "  - ", "    ")
    times = f"{'at least ' if told.at_least else ''}{told.count:,} times"
    seen = f", seen {times}" if told.count > 1 else ""
    yield Line((Span(f"In the log{seen}:"),), "  ", "  ")
    yield from _quoted(told.lines)
    for consequence in told.consequences:
        where = consequence.lines[0].number if consequence.lines else 0
        yield Line(
            (Span("It explains also "), span(consequence.family), span(f" (line {where}): {consequence.title}")),
            "  ",
            "    ",
        )
    yield from _advice(told)


def _advice(told: Explanation) -> Iterator[Line]:
    for hint in told.tell_apart:
        yield Line((Span("To be sure: ", Style.DIM), span(hint)), "  ", "    ")
    for remedy in told.remedies[:2]:
        yield from _remedy(remedy)


def _quoted(lines: Sequence[LogLine]) -> Iterator[Line]:
    for line in lines:
        yield Line((span(f"{line.number}: {line.text}", Style.DIM),), "    ", "      ")


def _remedy(remedy: Remedy) -> Iterator[Line]:
    yield Line((Span("Next: ", Style.STRONG), span(remedy.text)), "  ", "  ")
    for command in remedy.commands:
        yield Line((span(command, Style.COMMAND),), "      ", verbatim=True)


def _unexplained(told: Explanations) -> Iterator[Line]:
    yield Line(
        (
            Span("No cause that is known", Style.WARN),
            Span(f" was found in {_read(told)}. Look at these first, the last one above all:"),
        )
    )
    yield from _quoted(told.unexplained)


def _closing(told: Explanations, *, joined: bool) -> Iterator[Line]:
    """The one command to run next, and how to learn more."""
    commands = [command for item in told.explanations[:1] for remedy in item.remedies for command in remedy.commands]
    if not joined and (told.explanations or told.unexplained):
        yield BLANK
        hint = "This is read from the text alone: --python PYTHON, or --for report.json, compares it with the machine."
        yield Line((Span(hint, Style.DIM),))
    if commands:
        yield Line((Span("Run next: ", Style.STRONG), span(commands[0], Style.COMMAND)), verbatim=True)


_SOURCES_SHOWN = 4


def of_meaning(meaning: Meaning, command: str) -> Explanation:
    """It is about the code, so there is no doubt, no evidence and no line."""
    return Explanation(
        code=meaning.code,
        family=meaning.family or command,
        title=meaning.title,
        cause=meaning.cause,
        evidence=(),
        lines=(),
        remedies=(Remedy(text=meaning.remedy),) if meaning.remedy else (),
        confidence=Confidence.CERTAIN,
        sources=meaning.sources,
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
