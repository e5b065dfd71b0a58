"""`flash-doctor explain CODE`: the documentation of one check, or of one rule of preflight or watch."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.boundary import emit
from flash_doctor.errors import HEALTHY, BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_doctor.render.codes import Code

    Groups = Mapping[str, tuple[Code, ...]]


def command(
    code: Annotated[str, typer.Argument(help="The code of a finding, as in T001.", show_default=False)] = "",
    listed: Annotated[bool, typer.Option("--list", help="List every code.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> int:
    """Say what the code of a finding means."""
    groups = every_code() if listed else {"": (find_code(code),)}
    emit(_json(groups) if as_json else _list(groups) if listed else _text(groups[""][0]))
    return HEALTHY


def every_code() -> Groups:
    """The codes by the command that tells them."""
    from flash_doctor.diagnose import load_rules
    from flash_doctor.diagnose.registry import all_checks
    from flash_doctor.facts import Facts
    from flash_doctor.render.codes import of_check, of_preflight, of_watch

    load_rules()
    facts = Facts()
    return {
        "check": tuple(map(of_check, all_checks())),
        "preflight": tuple(of_preflight(code, rule) for code, rule in sorted(facts.preflight.rules.items())),
        "watch": tuple(of_watch(rule) for _, rule in sorted(facts.watch.rules.items())),
    }


def find_code(code: str) -> Code:
    """What that code means, in any case of letters.

    Raises:
        BadInput: no such code; the nearest ones are its evidence.
    """
    wanted = code.strip().upper()
    known = {each.code.upper(): each for group in every_code().values() for each in group}
    if wanted in known:
        return known[wanted]
    message = f"no check is called {code!r}" if code else "the code of a finding is missing"
    nearest = [f"{known[near].code}: {known[near].title}" for near in _nearest(wanted, list(known))]
    raise BadInput(message, evidence=nearest, advice="flash-doctor explain --list lists every code")


def _nearest(wanted: str, codes: list[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(wanted, codes, n=3, cutoff=0.5)


def _json(groups: Groups) -> str:
    from flash_doctor.render.codes import code_document
    from flash_doctor.render.document import explanations_document, to_json

    return to_json(explanations_document([code_document(code) for group in groups.values() for code in group]))


def _list(groups: Groups) -> str:
    from flash_doctor.render.codes import code_list
    from flash_doctor.render.console import to_text

    return to_text(code_list(groups), sys.stdout)


def _text(code: Code) -> str:
    from flash_doctor.render.codes import code_lines
    from flash_doctor.render.console import to_text

    return to_text(code_lines(code), sys.stdout)
