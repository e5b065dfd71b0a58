"""`flash-doctor explain CODE`: what a code means that any command prints, be it a check's or a message's of a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeAlias

from flash_doctor.cli.errors import emit
from flash_doctor.cli.typed import typed_explanation
from flash_doctor.errors import HEALTHY, BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flash_doctor.facts import Facts
    from flash_doctor.model.explanation import Explanation, Meaning

    Groups: TypeAlias = Mapping[str, tuple[Explanation, ...]]
    from flash_doctor.system.redact import Redacted


def command(code: str = "", *, listed: bool = False, as_json: bool = False) -> int:
    """Say what a code means, or list every code there is."""
    found = every_code() if listed else {"": find_codes(code)}
    groups = {name: tuple(typed_explanation(each, None) for each in group) for name, group in found.items()}
    emit(_json(groups) if as_json else _list(groups) if listed else _text(groups[""]))
    return HEALTHY


def every_code() -> Groups:
    """The codes by the command that tells them; what `fix` proves has the codes of `verify`."""
    from flash_doctor.explain.answer import described
    from flash_doctor.facts import Facts
    from flash_doctor.render.explanations import of_meaning

    facts = Facts()
    groups = {
        command: tuple(of_meaning(meaning, command) for meaning in meanings)
        for command, meanings in _meanings(facts).items()
    }
    return {**groups, "explain": tuple(described(row) for _, row in sorted(facts.complaints.by_id.items()))}


def _meanings(facts: Facts) -> dict[str, Iterable[Meaning]]:
    from flash_doctor import diagnose
    from flash_doctor.preflight import registry as preflight, setup_scripts
    from flash_doctor.verify.meanings import MEANINGS
    from flash_doctor.watch import messages

    return {
        "check": diagnose.meanings(),
        "preflight": preflight.meanings(facts.preflight),
        "watch": messages.meanings(facts.watch),
        "verify": MEANINGS,
        "lint-setup": setup_scripts.MEANINGS,
    }


def find_codes(code: str) -> tuple[Explanation, ...]:
    """What that code means, in any case of letters; a family of messages, as `explain LOG` tells it, means its rows.

    Raises:
        BadInput: no such code; the nearest ones are its evidence.
    """
    wanted = code.strip().upper()
    groups = every_code()
    known = {each.code.upper(): each for group in groups.values() for each in group}
    family = tuple(each for each in groups["explain"] if each.family.upper() == wanted)
    if wanted in known:
        return (known[wanted],)
    if family:
        return family
    message = f"there is no code {code!r}" if code else "the code of a finding is missing"
    nearest = [f"{known[near].code}: {known[near].title}" for near in _nearest(wanted, list(known))]
    raise BadInput(message, evidence=nearest, advice="`flash-doctor explain --list` lists every code")


def _nearest(wanted: str, codes: list[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(wanted, codes, n=3, cutoff=0.5)


def _json(groups: Groups) -> Redacted:
    from flash_doctor.render.document import explanations_document, to_json
    from flash_doctor.system.codec import encode

    return to_json(explanations_document([encode(each) for group in groups.values() for each in group]))


def _list(groups: Groups) -> Redacted:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.explanations import code_list

    return to_text(code_list(groups), sys.stdout)


def _text(told: tuple[Explanation, ...]) -> Redacted:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.explanations import code_lines

    return to_text(code_lines(told), sys.stdout)
