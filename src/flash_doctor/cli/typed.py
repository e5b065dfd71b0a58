"""What we advise to type, as this user types it: the program by the name it was called by, and --python as given."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.system.commands import all_or_none, line_addressed, remedy_addressed, shown_addressed, text_addressed
from flash_doctor.system.paths import program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flash_doctor.model import CommandLine
    from flash_doctor.model.explanation import Explanation, Explanations
    from flash_doctor.model.fleet import Comparison
    from flash_doctor.render.text import Line, Span


def python_of(arguments: Sequence[str]) -> str | None:
    """The value of --python among the options of a command line; None where there is none."""
    options = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    for word, value in zip(options, [*options[1:], ""], strict=False):
        if word == "--python":
            return value or None
        if word.startswith("--python="):
            return word.partition("=")[2] or None
    return None


def typed(text: str, arguments: Sequence[str] | None = None) -> str:
    """A sentence with our commands between backticks; `arguments` is the command line, this process's by default."""
    return text_addressed(text, python_of(sys.argv[1:] if arguments is None else arguments), program(os.environ))


def typed_explanation(told: Explanation, python: str | None) -> Explanation:
    """An explanation: its cause, what tells it apart, its remedies."""
    own = program(os.environ)
    return replace(
        told,
        cause=text_addressed(told.cause, python, own),
        tell_apart=tuple(text_addressed(text, python, own) for text in told.tell_apart),
        remedies=tuple(remedy_addressed(remedy, python, own) for remedy in told.remedies),
    )


def typed_explanations(told: Explanations, python: str | None) -> Explanations:
    """All explanations of a log."""
    return replace(told, explanations=tuple(typed_explanation(each, python) for each in told.explanations))


def typed_lines(lines: Iterable[Line], python: str | None = None) -> Iterator[Line]:
    """Lines for a terminal: what stands there as a command, and commands in sentences."""
    for line in lines:
        yield replace(line, spans=tuple(replace(span, text=_span(span, python)) for span in line.spans))


def _span(span: Span, python: str | None) -> str:
    if span.style.name == "COMMAND":
        return shown_addressed(span.text, python, program(os.environ))
    return text_addressed(span.text, python, program(os.environ))


def typed_comparison(told: Comparison) -> Comparison:
    """What to type for nodes; its commands name the interpreter of each already."""
    return replace(
        told,
        odd=tuple(replace(each, commands=_lines(each.commands)) for each in told.odd),
        sick=tuple(replace(each, commands=_lines(each.commands)) for each in told.sick),
        plans=tuple(replace(each, commands=_lines(each.commands)) for each in told.plans),
    )


def _lines(lines: Iterable[CommandLine]) -> tuple[CommandLine, ...]:
    return all_or_none(line_addressed(line, None, program(os.environ)) for line in lines)
