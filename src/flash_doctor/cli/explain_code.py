"""`flash-doctor explain CODE`: the documentation of one check."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flash_doctor.cli.boundary import emit
from flash_doctor.diagnose import load_rules
from flash_doctor.diagnose.registry import Check, all_checks
from flash_doctor.errors import HEALTHY, BadInput


def command(
    code: Annotated[str, typer.Argument(help="The code of a finding, as in T001.", show_default=False)] = "",
    listed: Annotated[bool, typer.Option("--list", help="List every check.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> int:
    """Say what the code of a finding means."""
    checks = every_check() if listed else (find_check(code),)
    emit(_json(checks) if as_json else _list(checks) if listed else _text(checks[0]))
    return HEALTHY


def every_check() -> tuple[Check, ...]:
    load_rules()
    return tuple(all_checks())


def find_check(code: str) -> Check:
    """The check of that code in any case of letters.

    Raises:
        BadInput: no such check; the nearest codes are its evidence.
    """
    wanted = code.strip().upper()
    known = {check.code: check for check in every_check()}
    if wanted in known:
        return known[wanted]
    message = f"no check is called {code!r}" if code else "the code of a finding is missing"
    nearest = [f"{near}: {known[near].title}" for near in _nearest(wanted, list(known))]
    raise BadInput(message, evidence=nearest, advice="flash-doctor explain --list lists every code")


def _nearest(wanted: str, codes: list[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(wanted, codes, n=3, cutoff=0.5)


def _json(checks: tuple[Check, ...]) -> str:
    from flash_doctor.render.document import check_explanation, explanations_document, to_json

    return to_json(explanations_document([check_explanation(check) for check in checks]))


def _list(checks: tuple[Check, ...]) -> str:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.text import list_lines

    return to_text(list_lines((check.code, check.family.value, check.title) for check in checks), sys.stdout)


def _text(check: Check) -> str:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.text import documentation_lines

    return to_text(documentation_lines(check.code, check.family.value, check.documentation), sys.stdout)
