"""How the target's Python starts: as the user's programs start it, and where that fails, without what disturbs it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.errors import DoesNotStart, TargetError
from flash_doctor.model import Start
from flash_doctor.probe.target_script import Manner, RunningScript
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from flash_doctor.model import Target
    from flash_doctor.probe.target_script import ScriptAnswer

# What the standard library's site.py says of start-up files whose code failed.
_COMPLAINT = re.compile(r"^(Error processing line \d+ of .*|Error in (?:site|user)customize;.*)$", re.MULTILINE)
_ERROR = re.compile(r"^\s*(\w+(?:\.\w+)*: .*)$")
_PRINTED = 500  # characters of what start-up files print that are kept


@dataclass(frozen=True, slots=True)
class Inquiry:
    """inside.py at work in the target; `again` starts it in another manner."""

    script: RunningScript
    again: Callable[[Manner], RunningScript]

    @property
    def target(self) -> Target:
        return self.script.target

    def examine(self) -> tuple[ScriptAnswer, Start]:
        """The answer, and how the interpreter started.

        Raises:
            TargetError: it is no Python that can be examined, however it is started.
        """
        try:
            answer = self.script.examine()
        except DoesNotStart as failure:
            return self._otherwise(failure)
        return answer, _start(answer)

    def _otherwise(self, failure: DoesNotStart) -> tuple[ScriptAnswer, Start]:
        """The first other manner in which it answers."""
        for manner in (Manner.WITHOUT_VARIABLES, Manner.BARE):
            try:
                answer = self.again(manner).examine()
            except TargetError:
                continue
            bare = manner is Manner.BARE
            return answer, _start(answer, failure=(failure.message, *failure.evidence), bare=bare)
        raise failure


def _start(answer: ScriptAnswer, *, failure: tuple[str, ...] = (), bare: bool = False) -> Start:
    printed = answer.printed.strip("\n")
    return Start(
        failure=failure,
        bare=bare,
        complaints=complaints(answer.complaints),
        printed=cut(printed, _PRINTED),
    )


def complaints(errors: str) -> tuple[str, ...]:
    """What site.py said on stderr, one line for each start-up file: which one, and the error of its code."""
    found = list(_COMPLAINT.finditer(errors))
    ends = [*(match.start() for match in found[1:]), len(errors)][: len(found)]
    told = (
        " ".join([match[1].rstrip(":").partition("; set PYTHONVERBOSE")[0], *_last_error(errors[match.end() : end])])
        for match, end in zip(found, ends, strict=True)
    )
    return tuple(dict.fromkeys(told))  # a venv's files are run twice by some releases of site.py


def _last_error(text: str) -> list[str]:
    """The line that names an exception, the first of its traceback that does."""
    return next(([f"({match[1]})"] for line in text.splitlines() if (match := _ERROR.match(line))), [])
