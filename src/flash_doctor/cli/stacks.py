"""`flash-doctor stacks`: versions that were used together, with what is wrong in them."""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.errors import emit
from flash_doctor.cli.options import JsonOption  # noqa: TC001 typer reads the annotations
from flash_doctor.cli.typed import typed_lines
from flash_doctor.errors import BROKEN, COULD_NOT_LOOK, HEALTHY, BadInput

if TYPE_CHECKING:
    from flash_doctor.facts import Facts
    from flash_doctor.facts.stacks import Stack
    from flash_doctor.model.wheel import StackVerdict
    from flash_doctor.system.redact import Redacted


class StacksAction(str, Enum):
    """What is told."""

    LIST = "list"
    SHOW = "show"


def command(
    action: Annotated[
        StacksAction, typer.Argument(metavar="[list|show]", help="All of them, or one.")
    ] = StacksAction.LIST,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A stack, or how its name begins.")] = None,
    check: Annotated[
        str | None, typer.Option("--check", metavar="NAME", help="Ask the package index whether it is consistent.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Show known sets of versions, and what is wrong in them.

    Each has its source. --check asks the package index whether one still goes together: uv or
    pip resolve it without installing anything. Ends with 1 when it does not, with 6 when no index could be asked.
    """
    from flash_doctor.facts import Facts
    from flash_doctor.facts.stacks import find

    facts = Facts()
    if check is None and action is StacksAction.LIST:
        return _list(facts, name, as_json=as_json)
    wanted = check or name
    if wanted is None:
        message = "show which stack?"
        raise BadInput(message, advice="`flash-doctor stacks` lists them; then: `flash-doctor stacks show NAME`")
    stack = find(facts.stacks, wanted)
    verdict = _check(stack, facts) if check else None
    code = HEALTHY if verdict is None else _CODES[verdict.consistent]
    emit(_json(stack, verdict, code) if as_json else _text(stack, verdict))
    return code


_CODES = {True: HEALTHY, False: BROKEN, None: COULD_NOT_LOOK}


def _list(facts: Facts, begins: str | None, *, as_json: bool) -> int:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.document import to_json
    from flash_doctor.render.stacks import list_document, list_lines

    stacks = [stack for name, stack in facts.stacks.items() if name.startswith(begins or "")]
    emit(to_json(list_document(stacks)) if as_json else to_text(typed_lines(list_lines(stacks)), sys.stdout))
    return HEALTHY


def _check(stack: Stack, facts: Facts) -> StackVerdict:
    from flash_doctor.cli.machines import known_wheels
    from flash_doctor.cli.plan import find_lookup
    from flash_doctor.model.wheel import StackVerdict
    from flash_doctor.resolve.stack_check import check_stack

    lookup = find_lookup(None)
    if lookup is None:
        return StackVerdict(consistent=None, why=("neither uv nor pip is there to ask the index",))
    return check_stack(stack, known_wheels(facts).wheels, facts, lookup)


def _json(stack: Stack, verdict: StackVerdict | None, code: int) -> Redacted:
    from flash_doctor.render.document import to_json
    from flash_doctor.render.stacks import stack_document

    return to_json(stack_document(stack, verdict, code))


def _text(stack: Stack, verdict: StackVerdict | None) -> Redacted:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.stacks import stack_lines, verdict_lines

    return to_text(typed_lines(verdict_lines(stack, verdict) if verdict else stack_lines(stack)), sys.stdout)
