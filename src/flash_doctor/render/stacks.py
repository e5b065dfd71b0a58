"""Known-good stacks as lines and as JSON: the list, one of them, and whether it is consistent today."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from flash_doctor.render.text import BLANK, Line, Span, Style, count, span
from flash_doctor.system.commands import command, in_sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flash_doctor.facts.stacks import Stack
    from flash_doctor.model.wheel import StackVerdict

LIST, STACK = "flash-doctor/stacks/1", "flash-doctor/stack/1"
_STYLE = {"consistent": Style.GOOD, "inconsistent": Style.BAD, "not checked": Style.DIM}
Json = dict[str, Any]


def list_lines(stacks: Iterable[Stack]) -> Iterator[Line]:
    """One row for each stack, by project, with what a resolver said and how much is known to be wrong."""
    for project, group in groupby(stacks, key=lambda stack: stack.project):
        yield Line((Span(project, Style.STRONG),))
        for stack in group:
            wrong = f", {count(len(stack.wrong), 'remark')}" if stack.wrong else ""
            row = (span(f"{stack.name}  "), span(stack.check, _STYLE[stack.check]), span(wrong, Style.WARN))
            yield Line(row, first="  ", rest="      ")
    yield BLANK
    yield Line(
        (
            span(
                "`flash-doctor stacks show NAME` tells one, `flash-doctor stacks --check NAME` asks the index about it."
            ),
        )
    )


def stack_lines(stack: Stack) -> Iterator[Line]:
    """Everything that is known about a stack."""
    where = " ".join(filter(None, (stack.python and f"Python {stack.python}", stack.cuda)))
    yield Line((Span(stack.name, Style.STRONG), span(f"  {where}".rstrip(), Style.DIM)))
    when = f", {stack.date}" if stack.date else ""
    yield Line((span(f"{stack.kind} of {stack.project}{when}; {stack.source}", Style.DIM),), first="  ", rest="  ")
    for line in stack.requirements:
        yield Line((span(line),), first="  ", rest="    ")
    yield BLANK
    checked = f" on {stack.checked}" if stack.checked else ""
    yield Line((span("Its metadata is "), span(stack.check, _STYLE[stack.check]), span(f"{checked}.")))
    if stack.wrong:
        yield Line((Span("What is wrong or worth knowing", Style.WARN),))
    for text in stack.wrong:
        yield Line((span(text),), first="  - ", rest="    ")
    planned = in_sentence(command("flash-doctor plan --stack {}", stack.name))
    yield Line((Span("Next: "), span(planned, Style.COMMAND)), verbatim=True)


def verdict_lines(stack: Stack, verdict: StackVerdict) -> Iterator[Line]:
    """What the index says of it today."""
    word, style = {
        True: ("consistent today", Style.GOOD),
        False: ("not consistent today", Style.BAD),
        None: ("not known: nobody could be asked", Style.WARN),
    }[verdict.consistent]
    yield Line((Span(f"{stack.name}: "), Span(word, style)))
    for text in verdict.why:
        yield Line((span(text),), first="  - ", rest="    ")
    for text in verdict.not_judged:
        yield Line((span(f"not judged, it exists as source only: {text}", Style.DIM),), first="  - ", rest="    ")


def list_document(stacks: Iterable[Stack]) -> Json:
    return {"schema": LIST, "stacks": [_stack(stack) for stack in stacks], "exit_code": 0}


def stack_document(stack: Stack, verdict: StackVerdict | None, exit_code: int) -> Json:
    """One stack, with today's verdict where it was asked for."""
    today = None
    if verdict is not None:
        today = {
            "consistent": verdict.consistent,
            "why": list(verdict.why),
            "versions": list(verdict.versions),
            "not_judged": list(verdict.not_judged),
        }
    return {"schema": STACK, **_stack(stack), "today": today, "exit_code": exit_code}


def _stack(stack: Stack) -> Json:
    return {
        "name": stack.name,
        "project": stack.project,
        "python": stack.python,
        "cuda": stack.cuda,
        "kind": stack.kind,
        "date": stack.date.isoformat() if stack.date else None,
        "requirements": list(stack.requirements),
        "check": stack.check,
        "checked": stack.checked.isoformat() if stack.checked else None,
        "wrong": list(stack.wrong),
        "source": str(stack.source),
    }
