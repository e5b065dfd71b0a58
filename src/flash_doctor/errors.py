"""One root, `DoctorError`; each subclass keeps its evidence and owns one exit code (the table in `EXIT_CODES`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

HEALTHY = 0
BROKEN = 1
USAGE = 2
NO_PLAN = 3
INSTALL_FAILED = 4
VERIFICATION_FAILED = 5
COULD_NOT_LOOK = 6
INTERRUPTED = 130

EXIT_CODES: dict[int, str] = {
    HEALTHY: "healthy",
    BROKEN: "an error was found",
    USAGE: "usage or bad input",
    NO_PLAN: "no plan",
    INSTALL_FAILED: "install failed, environment restored",
    VERIFICATION_FAILED: "verification failed, environment restored",
    COULD_NOT_LOOK: "could not look at anything (with --strict: at everything), or flash-doctor itself failed",
    INTERRUPTED: "interrupted, environment restored",
}


class DoctorError(Exception):
    """What went wrong, how we know (`evidence`, lines), and what to do next (`advice`)."""

    exit_code: ClassVar[int] = USAGE

    def __init__(self, message: str, *, evidence: Sequence[str] = (), advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.evidence = tuple(evidence)
        self.advice = advice


class BadInput(DoctorError):
    """A file, an option or a report that cannot be used as given."""


class BadFacts(DoctorError):
    """A row of the wheel matrix that breaks an invariant; the message names file, row and key."""


class BadBinary(BadInput):
    """A file that is not a readable ELF object: truncated, hostile, or of another format."""


class TargetError(BadInput):
    """The interpreter to be treated is missing, is no CPython 3.7 or newer, hangs, or answers rubbish."""


class DoesNotStart(TargetError):
    """The interpreter ends or hangs before it runs a line; started in another manner it may answer."""


class ForeignTarget(TargetError):
    """Root was asked to run the Python of another user, whose number is `uid` (None: of several)."""

    def __init__(self, message: str, *, uid: int | None, evidence: Sequence[str] = (), advice: str = "") -> None:
        super().__init__(message, evidence=evidence, advice=advice)
        self.uid = uid


class CommandFailed(DoctorError):
    """A program could not be started, was stopped at its time limit, or printed more than was asked for."""

    exit_code = COULD_NOT_LOOK


class TimedOut(CommandFailed):
    """A program was stopped at its time limit; `stdout` is what it had printed until then.

    `lingering` is its process id where even SIGKILL did not end it at once, `queued` the seconds for which it was ready
    to run and got no core.
    """

    def __init__(self, message: str, stdout: bytes, *, lingering: int | None = None, queued: float = 0.0) -> None:
        super().__init__(message)
        self.stdout = stdout
        self.lingering = lingering
        self.queued = queued


class NoPlanFound(DoctorError):
    """The goal cannot be met with what is known and allowed."""

    exit_code = NO_PLAN


class InstallFailed(DoctorError):
    """A step of the treatment failed; the environment was restored."""

    exit_code = INSTALL_FAILED


class Interrupted(DoctorError):
    """The user stopped the doctor; the environment was restored."""

    exit_code = INTERRUPTED

    def __init__(self, message: str = "interrupted", *, evidence: Sequence[str] = (), advice: str = "") -> None:
        super().__init__(message, evidence=evidence, advice=advice)
