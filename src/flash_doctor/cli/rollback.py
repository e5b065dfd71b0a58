"""`flash-doctor rollback`: undo the last fix."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from flash_doctor.cli.errors import emit
from flash_doctor.errors import HEALTHY
from flash_doctor.install.rollback import past_fixes, rollback
from flash_doctor.probe.target import find_target
from flash_doctor.system.process import SystemRunner


def command(
    python: Annotated[
        str | None,
        typer.Option(
            "--python", metavar="PYTHON|VENV", help="The interpreter or virtual environment that was treated."
        ),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the fixes that can be undone, and undo none.")] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Undo a fix that was cut off, but no other.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> int:
    """Undo the last fix, to the last byte, from its journal.

    A fix that was cut off is undone first. Needs neither network nor cache.
    """
    target, runner = find_target(python, os.environ), SystemRunner()
    answer = past_fixes(target, runner) if listed else rollback(target, runner, unfinished_only=unfinished)
    from flash_doctor.render.outcome import rollback_document, rollback_lines

    if as_json:
        from flash_doctor.render.document import to_json

        emit(to_json(rollback_document(answer, HEALTHY)))
    else:
        from flash_doctor.render.console import to_text

        emit(to_text(rollback_lines(answer), sys.stdout))
    return HEALTHY
