"""The one boundary between the commands and the shell: output, exit codes, and every error as plain words."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from flash_doctor.errors import BROKEN, COULD_NOT_LOOK, HEALTHY, BadInput, DoctorError, ForeignTarget, Interrupted
from flash_doctor.system import files
from flash_doctor.system.redact import Hide, Redacted, joined, lines, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TextIO

    from flash_doctor.model import Report, Severity


DEBUG = "FLASH_DOCTOR_DEBUG"
# what a build machine takes for a command where it stands in a job's output: GitHub's at the start of a row, the older
# form and those of Azure and TeamCity anywhere. A log or a package may hold such words.
_ORDERS = re.compile(
    r"(?m)^([ \t]*:)(?=:(?:add-|remove-|set-|save-|stop-|internal-|debug|notice|warning|error|group|endgroup|echo)"
    r"[^\n]*::)"
    r"|#(?=#(?:\[|vso\[|teamcity\[))"
)


class Defect(DoctorError):
    """A fault in the doctor itself: it could not look, whatever it was asked."""

    exit_code = COULD_NOT_LOOK


class OutputLost(BadInput):
    """stdout cannot be written to; told on stderr even with --json."""


def run(command: Callable[[], int], arguments: Sequence[str]) -> int:
    """The exit code of `command`; an error is told on stderr, or as a JSON document where --json is asked for."""
    as_json = wants_json(arguments)
    try:
        return _by_owner(command, arguments)
    except DoctorError as error:
        from flash_doctor.cli.typed import typed

        error.advice = typed(error.advice, arguments)
        return tell(error, as_json=as_json)
    except KeyboardInterrupt:
        return tell(Interrupted(), as_json=as_json)
    except Exception as error:
        return tell(_defect(error), as_json=as_json)


def _by_owner(command: Callable[[], int], arguments: Sequence[str]) -> int:
    """The command; where it would run another user's code as root it is given again, by that user."""
    try:
        return command()
    except ForeignTarget as foreign:
        from flash_doctor.cli.as_owner import run_as_owner

        return run_as_owner(foreign, arguments)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether --json is among the options, known before they are parsed since a usage error is told the same way."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def _defect(error: Exception) -> Defect:
    if os.environ.get(DEBUG):
        import traceback

        say(redact("".join(traceback.format_exception(error))))
    return Defect(
        "flash-doctor itself failed; this is a fault in it, not in your environment",
        evidence=(f"{type(error).__name__}: {error}",),
        advice=f"run the same command with {DEBUG}=1 and report what it prints, with the output of pip list",
    )


def tell(error: DoctorError, *, as_json: bool) -> int:
    """Say what is wrong, how we know and what to do next; the exit code that belongs to it."""
    if as_json and not isinstance(error, OutputLost):
        from flash_doctor.render.document import error_document, to_json

        try:
            emit(to_json(error_document(error)))
        except OutputLost as lost:
            return tell(lost, as_json=False)
    else:
        # where even this cannot be written, the exit code is all that is left
        with suppress(OSError):
            say(error_text(error))
    return error.exit_code


def error_text(error: DoctorError) -> Redacted:
    """What it says; a path in the advice is one that the reader needs, whose home folder it ever lies in."""
    from flash_doctor.render.text import clean

    word = "" if isinstance(error, Interrupted) else "error: "
    told = [redact(f"flash-doctor: {word}{clean(error.message)}")]
    told += lines([f"  - {clean(evidence)}" for evidence in error.evidence])
    told += [redact(f"  Next: {clean(error.advice)}", Hide.COMMAND)] if error.advice else []
    return joined(row for each in told for row in (each, redact("\n")))


def say(text: Redacted) -> None:
    """Write to stderr, if there is one."""
    if sys.stderr:
        _write(text, sys.stderr)


def emit(text: Redacted) -> None:
    """Write to stdout; a reader that has gone away, or none at all, is no error.

    Raises:
        OutputLost: the text could not be written, as on a full disk.
    """
    if not sys.stdout:
        return
    try:
        _write(text, sys.stdout)
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        message = "the output could not be written"
        raise OutputLost(message, evidence=(str(error),), advice="write it to another place") from error


def _write(text: str, stream: TextIO) -> None:
    """A terminal with few characters gets the others spelt out, and no build machine an order."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    stream.write(_ORDERS.sub(r"\g<0> ", text) if "::" in text or "##" in text else text)
    stream.flush()


def _silence(stream: TextIO) -> None:
    """Point the stream's descriptor nowhere, or the interpreter would complain about it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def read_file(path: Path, limit: int = 64 << 20) -> str:
    """The text of a file the user named, at most `limit` bytes; `-` is stdin.

    Raises:
        BadInput: the file cannot be read or is larger.
    """
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with path.open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise BadInput(message) from error
    if len(data) > limit:
        message = f"{path} is larger than {limit >> 20} MiB"
        raise BadInput(message)
    return data.decode("utf-8", "replace")


def write_file(path: Path, text: Redacted) -> None:
    """Write a file that the user named, as `system.files.write_file` does.

    Raises:
        BadInput: the file cannot be written.
    """
    try:
        files.write_file(path, text)
    except OSError as error:
        message = f"{path} cannot be written"
        raise BadInput(message, evidence=(str(error),), advice="name a file in a folder you may write to") from error


def exit_code(report: Report, *, strict: bool = False, fail_on: Severity | None = None) -> int:
    """BROKEN for a finding as severe as `fail_on`; COULD_NOT_LOOK where nothing, with `strict` not all, was checked.

    A report in which nothing could be checked is never healthy, strict or not.
    """
    from flash_doctor.model import Severity, Verdict

    gravest_first = tuple(Severity)
    failing = gravest_first[: gravest_first.index(fail_on or Severity.ERROR) + 1]
    if any(finding.severity in failing for finding in report.findings):
        return BROKEN
    blind = report.verdict is Verdict.UNKNOWN or (strict and report.unchecked)
    return COULD_NOT_LOOK if blind else HEALTHY
