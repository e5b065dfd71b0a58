"""`python -m flash_doctor`, `flash-doctor` and `doctor`."""

from __future__ import annotations

import os
import sys


def own_path(path: list[str], strangers: str, home: str) -> list[str]:
    """`path` without the folders named in `strangers` (as in PYTHONPATH), `home` always kept.

    PYTHONPATH is meant for the user's programs, and the current folder for nobody: an old packaging or a typing.py
    there would run in the doctor. The target still gets PYTHONPATH as it is.
    """
    foreign = {os.path.abspath(entry) for entry in strangers.split(os.pathsep) if entry} - {home}
    return [entry for entry in path if os.path.abspath(entry) not in foreign]


_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# `python -m` puts the current folder first, unless -P or -I forbids it
_SAFE = sys.flags.isolated or getattr(sys.flags, "safe_path", False)
_HERE = sys.path[0] if __name__ == "__main__" and not _SAFE else ""
sys.path[:] = own_path(sys.path, os.environ.get("PYTHONPATH", "") + os.pathsep + _HERE, _HOME)

import contextlib  # noqa: E402 only now is the path ours
import gc  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from flash_doctor.cli.errors import run  # noqa: E402
from flash_doctor.system.scratch import remove  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> None:
    """Run the command line; an error in it ends as words and an exit code.

    Nothing of ours waits for the interpreter's end, so its 17 ms of taking modules apart are left out: a tenth of
    `check`. What is in the buffers is written first.
    """
    # looking for garbage among what imports allocate, all of it kept, would cost 8 ms
    gc.set_threshold(100_000)
    code = answer(sys.argv[1:])
    remove()  # os._exit asks nobody
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed by whoever called us
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def answer(arguments: Sequence[str]) -> int:
    """The exit code of a command line; whatever goes wrong is told, and nothing is raised."""

    def command() -> int:
        # imported inside the boundary: even Ctrl-C during the imports ends in words
        from flash_doctor.cli.app import main as command_line

        return command_line(arguments)

    return run(command, arguments)


if __name__ == "__main__":
    main()
