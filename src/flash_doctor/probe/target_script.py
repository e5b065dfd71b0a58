"""A script of ours run in the target: it answers as long as that Python can be started in any way at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import CommandFailed, DoesNotStart, TargetError, TimedOut
from flash_doctor.model import Target
from flash_doctor.system.bounds import read_json
from flash_doctor.system.foreign import demand_ours
from flash_doctor.system.process import Command, Running
from flash_doctor.system.redact import cut, last_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_doctor.system.claims import Claimed
    from flash_doctor.system.process import Completed, Runner

TIMEOUT = 20.0
ADVICE = "Give the interpreter or the virtual environment to be examined: --python PATH"
_LIMIT = 128 * 1024 * 1024

# What `python -c` gets; our script comes on stdin. It must be readable by Python 2.7 and PyPy, so that these can say
# who they are. The current folder is taken off sys.path: a file there named like a module of ours would run. The
# standard library is imported from its own folder only; then the path is as the user's programs have it.
# What start-up files printed is still in sys.stdout's buffer, and would be lost with _exit.
PRELUDE = """\
import os, sys
started = sorted(sys.modules)
if sys.stdout:
    sys.stdout.flush()
mark = "\\n@@" + sys.argv[1]
name = getattr(getattr(sys, "implementation", None), "name", "")
name = name or ("pypy" if "__pypy__" in sys.builtin_module_names else "cpython")
os.write(1, ("%s python %s %d.%d.%d\\n" % ((mark, name) + tuple(sys.version_info[:3]))).encode("ascii"))
if name == "cpython" and sys.version_info >= (3, 7):
    path = [entry for entry in sys.path if entry and isinstance(entry, str)]
    library = os.path.dirname(os.__file__)
    sys.path[:] = [entry for entry in path if entry.startswith(library) and "-packages" not in entry]
    import json
    sys.path[:] = path
    space = {"__name__": "inside"}
    exec(compile(open(0, "rb").read(), "<flash-doctor>", "exec"), space)
    answer = json.dumps([started, space["main"](sys.argv[2:])])
    text = "%s answer %s%s end\\n" % (mark, answer, mark)
    data = memoryview(text.encode("ascii"))
    while data:
        data = data[os.write(1, data):]
    os._exit(0)
"""
# `site` as it would run, but for the code that it runs for others: sitecustomize, usercustomize, lines of .pth files.
_WITHOUT_STRANGERS = """\
import site, sys
sys.modules["sitecustomize"] = sys.modules["usercustomize"] = sys
site.exec = lambda line: None
site.main()
"""


class Manner(Enum):
    """How the interpreter is started: the options before `-c`, and what runs before the prelude."""

    PLAIN = ((), "")
    WITHOUT_VARIABLES = (("-E", "-B"), "")
    BARE = (("-E", "-B", "-S"), _WITHOUT_STRANGERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptAnswer:
    """What the script's `main` returned, and how the interpreter began.

    `started` are the modules that were loaded before any program of the user's; `printed` and `complaints` what its
    start-up files had written to stdout and stderr.
    """

    value: Any
    started: frozenset[str]
    printed: str
    complaints: str


@dataclass(frozen=True, slots=True)
class RunningScript:
    """A script of ours at work in the target; `answer` gives what its `main` returned."""

    target: Target
    running: Running
    nonce: str

    def answer(self) -> Any:
        """The parsed JSON document; raises as `examine` does."""
        return self.examine().value

    def examine(self) -> ScriptAnswer:
        """The answer with what came before it.

        Raises:
            DoesNotStart: it is no Python, or ends or hangs before it runs a line.
            TargetError: it is not CPython 3.7 or newer, or fails later.
        """
        completed = self._completed()
        mark = f"\n@@{self.nonce} "
        printed, begun, rest = completed.text.partition(mark + "python ")
        if not begun:
            raise self._no_python(completed)
        name, version = rest.partition("\n")[0].split(" ")
        if name != "cpython" or tuple(map(int, version.split("."))) < (3, 7):
            raise self._unsuitable(name, version)
        _, answered, rest = rest.partition(mark + "answer ")
        text, ended, _ = rest.partition(mark + "end\n")
        if not (answered and ended):
            raise self._failed(completed)
        try:
            modules, value = _accept(read_json(text, limit=_LIMIT, finite=False, origin=str(self.target.python)))
            return ScriptAnswer(value=value, started=modules, printed=printed, complaints=completed.errors)
        except (ValueError, TypeError) as error:
            raise self._failed(completed) from error

    def _completed(self) -> Completed:
        try:
            return self.running.wait()
        except CommandFailed as error:
            begun = isinstance(error, TimedOut) and f"@@{self.nonce} ".encode() in error.stdout
            kind = TargetError if begun else DoesNotStart
            message = f"the target does not answer: {error.message}"
            advice = "Something that every Python start runs may hang (sitecustomize, a .pth file, a network folder)."
            raise kind(message, advice=advice) from error

    def _no_python(self, completed: Completed) -> DoesNotStart:
        message = f"{self.target.python} is not a working Python interpreter: it does not run a line of Python"
        return DoesNotStart(message, evidence=_evidence(completed), advice=ADVICE)

    def _unsuitable(self, name: str, version: str) -> TargetError:
        kind = {"cpython": "Python", "pypy": "PyPy"}.get(name, name)
        message = (
            f"{self.target.python} is {kind} {version}; torch and flash-attn, and so this doctor, "
            "need CPython 3.7 or newer"
        )
        return TargetError(message, advice=ADVICE)

    def _failed(self, completed: Completed) -> TargetError:
        message = f"{self.target.python} starts, but could not be examined: it ended before it answered"
        return TargetError(message, evidence=_evidence(completed))


def _evidence(completed: Completed) -> tuple[str, ...]:
    """How it ended and the last lines it printed."""
    lines = last_lines(completed.errors, 5) or last_lines(completed.text, 5)
    return (f"exit code {completed.returncode}", *(cut(line, 200) for line in lines))


def start_script(
    target: Target,
    runner: Runner,
    script: str,
    arguments: Sequence[str] = (),
    *,
    timeout: float = TIMEOUT,
    manner: Manner = Manner.PLAIN,
) -> RunningScript:
    """Start `script` in the target; its `main(arguments: list[str])` returns what JSON can hold.

    The script may not import anything of ours, and sees the sys.path of the user's programs less the current folder.

    Raises:
        TargetError: the interpreter cannot even be started; or we are root, and it is another user's (ForeignTarget).
    """
    demand_ours(target.python)
    nonce = "flash-doctor-" + os.urandom(8).hex()
    options, before = manner.value
    command = Command(
        argv=(str(target.python), *options, "-c", before + PRELUDE, nonce, *arguments),
        stdin=script.encode(),
        timeout=timeout,
        limit=_LIMIT,
        environment={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        return RunningScript(target, runner.start(command), nonce)
    except CommandFailed as error:
        message = f"{target.python} is not a Python interpreter: {error.message}"
        raise TargetError(message, advice=ADVICE) from error


def _accept(claim: Claimed[Any]) -> tuple[frozenset[str], Any]:
    """The modules that the interpreter had started with, and what our script answered: whoever asked knows its shape.

    Raises:
        ValueError, TypeError: it is no such pair.
    """
    started, value = claim.unproved()
    return frozenset(map(str, started)), value
