"""`flash-doctor explain LOG|-|CODE`: what the messages of a log, or the code of a finding, mean."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from flash_doctor.cli import explain_code
from flash_doctor.cli.errors import emit
from flash_doctor.cli.typed import typed_explanations
from flash_doctor.errors import COULD_NOT_LOOK, HEALTHY, BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.model import Report
    from flash_doctor.model.explanation import Explanations
    from flash_doctor.system.redact import Redacted


def command(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="LOG|-|CODE", help="A log or saved traceback, - for stdin, or a code.", show_default=False
        ),
    ] = "",
    listed: Annotated[bool, typer.Option("--list", help="List every code.")] = False,
    python: Annotated[
        str | None, typer.Option("--python", metavar="PYTHON|VENV", help="Compare with this machine and interpreter.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--for", metavar="REPORT", help="Compare with the machine of `check --json`.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 6 if something failed and no cause is known.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> int:
    """Say what an error text or a code means, and what to do.

    Reads a traceback, a build log or a training log of any size; secrets in it are masked.
    Nothing is looked at but the text, unless --python or --for names a machine to compare with.
    The exit code is 0 whether a cause was found or not, and 6 with --strict where the log fails and no cause is known.
    """
    if listed or not _is_log(subject):
        return explain_code.command(subject, listed=listed, as_json=as_json)
    with _opened(subject) as stream:
        told = typed_explanations(_explained(stream, _machine(python, report)), python)
    code = COULD_NOT_LOOK if strict and told.unexplained else HEALTHY
    emit(_json(told, code) if as_json else text_of(told, joined=bool(python or report)))
    return code


def _is_log(subject: str) -> bool:
    """A dash, a file, or nothing where text is piped in; a path that is not there is no code."""
    if subject in {"", "-"}:
        return subject == "-" or not sys.stdin.isatty()
    path = Path(subject)
    if path.is_dir():
        message = f"{subject} is a folder"
        raise BadInput(message, advice="name one log file, or pipe text in: `... 2>&1 | flash-doctor explain -`")
    if not path.exists() and ("/" in subject or "." in subject):
        message = f"there is no file {subject}"
        raise BadInput(message, advice="name a log file, - for stdin, or a code; --list lists the codes")
    return path.exists()


@contextmanager
def _opened(subject: str) -> Iterator[BinaryIO]:
    if subject in {"", "-"}:
        yield sys.stdin.buffer
        return
    try:
        with Path(subject).open("rb", buffering=0) as file:
            yield file
    except OSError as error:
        message = f"{subject} cannot be read"
        raise BadInput(message, evidence=(str(error),), advice="name a file that you may read") from error


def _machine(python: str | None, report: Path | None) -> Report | None:
    """The report to compare with: probed now, or read from a file and judged anew, for its advice is a stranger's."""
    if python and report:
        message = "--python and --for name two machines"
        raise BadInput(message, advice="give one of them")
    if report:
        from flash_doctor.cli.check import CheckRequest, judge_again

        return judge_again(report, CheckRequest())
    if python:
        from flash_doctor.cli.check import CheckRequest, examine

        return examine(python, CheckRequest(), text=False)
    return None


def _explained(stream: BinaryIO, report: Report | None) -> Explanations:
    from flash_doctor.explain import explain
    from flash_doctor.facts import Facts

    return explain(stream, Facts(), report)


def _json(told: Explanations, code: int) -> Redacted:
    from flash_doctor.render.document import to_json
    from flash_doctor.render.explanations import explanations_of

    return to_json(explanations_of(told, code))


def text_of(told: Explanations, *, joined: bool, width: int | None = None) -> Redacted:
    """The answer as text for this terminal."""
    from flash_doctor.render.console import to_text
    from flash_doctor.render.explanations import explanation_lines

    return to_text(explanation_lines(told, joined=joined), sys.stdout, width=width)
