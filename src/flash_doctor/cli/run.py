"""`flash-doctor run -- COMMAND`: run it unchanged, and on failure explain its last lines."""

from __future__ import annotations

import io
from pathlib import Path  # noqa: TC003 typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.errors import say, write_file
from flash_doctor.cli.passthrough import OutputTail, pass_through
from flash_doctor.errors import BadInput, CommandFailed
from flash_doctor.system.redact import Redacted, joined, redact

if TYPE_CHECKING:
    from flash_doctor.model.explanation import Explanations

# what follows the command's name is the command's own, with or without "--" before it
CONTEXT = {"allow_interspersed_args": False, "ignore_unknown_options": False}

KEPT = 1 << 20  # bytes of the last output that are explained
NOT_FOUND = 127  # as a shell says it
_SIGNALLED = 128
_STOPPED_BY_USER = {-2, -15, 130, 143}


def command(
    argv: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND...", help="What to run.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the explanation as JSON to a file, too.")
    ] = None,
) -> int:
    """Run a command unchanged; if it fails, say why.

    Its output passes through as it comes; what its last lines mean follows on stderr. Its exit code is ours: 128 and
    the signal's number where a signal ended it, 127 where it could not be started.
    """
    if not argv:
        message = "the command is missing"
        raise BadInput(message, advice="`flash-doctor run -- python train.py`")
    tail = OutputTail(KEPT)
    try:
        returncode = pass_through(tuple(argv), tail)
    except CommandFailed as error:
        say(redact(f"flash-doctor: {error.message}\n"))
        return NOT_FOUND
    if returncode and returncode not in _STOPPED_BY_USER:
        _explain(tail, output, returncode)
    return _code(returncode)


def _code(returncode: int) -> int:
    return _SIGNALLED - returncode if returncode < 0 else returncode


def _explain(tail: OutputTail, output: Path | None, returncode: int) -> None:
    from flash_doctor.cli.explain import text_of
    from flash_doctor.cli.typed import typed_explanations
    from flash_doctor.explain import explain
    from flash_doctor.facts import Facts

    told = typed_explanations(explain(io.BytesIO(tail.text), Facts()), None)
    say(joined((redact("\nflash-doctor: the command failed.\n"), text_of(told, joined=False))))
    if output:
        write_file(output, _json(told, returncode))


def _json(told: Explanations, returncode: int) -> Redacted:
    from flash_doctor.render.document import to_json
    from flash_doctor.render.explanations import explanations_of

    return to_json(explanations_of(told, _code(returncode)))
