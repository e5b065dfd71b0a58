"""The target: find its interpreter. The only door to pip_api (see `requirements_of`)."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import BadInput, TargetError
from flash_doctor.model import Target
from flash_doctor.probe.target_script import ADVICE
from flash_doctor.system.bounds import read_json
from flash_doctor.system.paths import current_folder, find_program, isolated, tool_environment
from flash_doctor.system.process import Command
from flash_doctor.system.redact import cut, last_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flash_doctor.system.claims import Claimed
    from flash_doctor.system.process import Runner


def find_target(
    given: str | None, environ: Mapping[str, str], folder: Path | None = None, home: Path = Path(sys.prefix)
) -> Target:
    """The interpreter to be examined: `given`, else $VIRTUAL_ENV, else ./.venv, else the running one.

    Symbolic links are kept: a venv's python is one, and the venv is lost when it is followed. An environment that was
    made for the doctor alone, told by the marks in its folder `home`, is examined only when it is `given`; the last
    resort is then the first python3 on PATH that is not in it.

    Raises:
        TargetError: there is no such interpreter, or it cannot be run.
    """
    if given is not None:
        return Target(python=_given(given, environ), why=f"--python {given}", given=given)
    private = any(mark for pattern in _PRIVATE for mark in home.glob(pattern))
    active = environ.get("VIRTUAL_ENV")
    if active and not (private and _same(Path(active), home)):
        return Target(python=_interpreter(Path(active)), why=f"VIRTUAL_ENV is {active}")
    local = (folder or current_folder()) / ".venv"
    if os.path.lexists(local / "bin" / "python") and not (private and _same(local, home)):
        return Target(python=_interpreter(local), why=f"there is a .venv in {local.parent}")
    return _last_resort(environ, home if private else None)


_USUAL = re.compile(r"python[\d.]*t?")

# What scripts/doctor and scripts/test, pipx and uv leave in an environment that they make for one program.
_PRIVATE = (".flash-doctor*", "pipx_metadata.json", "uv-receipt.toml")


def _last_resort(environ: Mapping[str, str], private: Path | None) -> Target:
    """The running interpreter; where that is in the doctor's `private` environment, the first one outside of it."""
    none_named = "(no --python, no VIRTUAL_ENV, no ./.venv)"
    if private:
        why = f"it is the first python3 on PATH outside of the doctor's own environment {none_named}"
        return Target(python=_interpreter(_outside(private, environ.get("PATH", os.defpath))), why=why)
    why = f"it runs flash-doctor {none_named}"
    conda = environ.get("CONDA_PREFIX")
    if conda and Path(conda) != Path(sys.prefix):
        why += f"; conda's active environment is another: --python {conda} would examine that"
    return Target(python=_interpreter(Path(sys.executable)), why=why)


def _outside(private: Path, path: str) -> Path:
    folders = [folder for folder in path.split(os.pathsep) if folder and not _same(Path(folder), private / "bin")]
    for name in ("python3", "python"):
        if found := find_program(name, os.pathsep.join(folders)):
            return found
    message = "there is no Python on PATH outside of the doctor's own environment"
    raise TargetError(message, advice=ADVICE)


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _given(given: str, environ: Mapping[str, str]) -> Path:
    if not given.strip():
        message = "--python is empty: the variable that it was taken from is not set"
        raise TargetError(message, advice=ADVICE)
    return _interpreter(Path(_on_path(given, environ)))


def _on_path(given: str, environ: Mapping[str, str]) -> str:
    """`python3.11` means the one on PATH, never a file of that name here; any other name may be a folder here."""
    expanded = os.path.expanduser(given)  # noqa: PTH111 Path.expanduser raises where there is no such user
    usual = bool(_USUAL.fullmatch(given)) and not os.path.isdir(expanded)  # noqa: PTH112 as it was typed
    if os.sep in given or (os.path.lexists(expanded) and not usual):
        return expanded
    found = find_program(given, environ.get("PATH"))
    if found is None and usual:
        message = f"{given} is not on PATH"
        raise TargetError(message, advice=ADVICE)
    return str(found or expanded)


def _interpreter(place: Path) -> Path:
    """The interpreter at `place` (a file, or a folder with bin/python), absolute, links kept."""
    python = Path(os.path.abspath(place))  # noqa: PTH100 Path.resolve would follow links
    try:
        if python.is_dir():
            python = _in_folder(python)
        if not python.exists():
            raise _missing(python)
    except PermissionError as error:
        message = f"{python} cannot be looked at: a folder above it is not readable for this user"
        raise TargetError(message, advice=ADVICE) from error
    except OSError as error:  # a name that is too long, a loop of links
        message = f"{cut(str(python), 200)} cannot be looked at: {error.strerror}"
        raise TargetError(message, advice=ADVICE) from error
    if not os.access(python, os.X_OK):
        message = f"{python} is not executable, so it cannot be the Python to be examined"
        raise TargetError(message, advice=ADVICE)
    return python


def _in_folder(folder: Path) -> Path:
    for name in ("python", "python3"):
        if _is_there(folder / "bin" / name):
            return folder / "bin" / name
    message = f"{folder} is a folder without bin/python: it is no virtual environment and no Python installation"
    raise TargetError(message, advice=ADVICE)


def _is_there(path: Path) -> bool:
    """Like lexists, which takes what may not be looked at for what is not there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _missing(python: Path) -> TargetError:
    if python.is_symlink():
        message = f"{python} is a link to {python.readlink()}, which is not there: its Python was removed or moved"
        return TargetError(message, advice="Make the virtual environment again, or give another one: --python PATH")
    return TargetError(f"{python}: there is no such interpreter", advice=ADVICE)


def requirements_of(lines: Sequence[str], runner: Runner) -> list[tuple[str, str] | str]:
    """Name and rest (specifier, or `@ address`) of lines that only pip knows: -e, a path, an address; or what is wrong.

    pip-api runs `python -m pip` when it is imported, whose first folder is the current one, evaluates markers for the
    Python that it runs in and drops what does not hold, and counts joined lines once: so it runs in a child in a folder
    of ours, and gets single lines (probe/requirements.py joins lines and evaluates markers for the target).

    Raises:
        BadInput: the doctor's own Python has no pip.
        CommandFailed: it took too long.
    """
    if not lines:
        return []
    if importlib.util.find_spec("pip") is None:
        message = f"requirements files are read with pip, and the doctor's own Python ({sys.executable}) has none"
        raise BadInput(message, advice=f"Install it there: {sys.executable} -m ensurepip")
    command = Command(
        argv=(*isolated(), "-c", _PIP_API),
        stdin=json.dumps(lines).encode(),
        environment={**tool_environment(os.environ), "PIPAPI_PYTHON_LOCATION": sys.executable},
        timeout=60.0,
    )
    done = runner.run(command)
    try:
        return _accept(read_json(done.text), len(lines))
    except (ValueError, TypeError) as error:
        message = "pip-api, with which requirements files are read, does not answer"
        raise BadInput(message, evidence=last_lines(done.errors, 5)) from error


def _accept(claim: Claimed[Any], asked: int) -> list[tuple[str, str] | str]:
    """One answer for each line: a complaint, or a name and a rest."""
    answers = [one if isinstance(one, str) else (str(one[0]), str(one[1])) for one in claim.unproved()]
    if len(answers) != asked:
        message = f"{len(answers)} answers came to {asked} lines"
        raise ValueError(message)
    return answers


# What it reads may end it (pip-api has argparse look at the line), and what it prints is not the answer.
_PIP_API = """
import json, os, sys, tempfile
answer, sys.stdout = sys.stdout, sys.stderr
import pip_api, pip_api.exceptions
def read(line, path):
    with open(path, "w", encoding="utf-8") as file:
        file.write(line + "\\n")
    one = next(iter(pip_api.parse_requirements(path).values()), None)
    if one is None:
        return "%r names no package" % line
    return str(one.name), "@ %s" % one.url if one.url else str(one.specifier)
def told(line, path):
    try:
        return read(line, path)
    except (SystemExit, RecursionError, MemoryError, OSError):
        return "%r cannot be read by pip-api" % line
    except Exception as error:
        return str(error).partition("\\n")[0] or type(error).__name__
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "line.txt")
    found = [told(line, path) for line in json.load(sys.stdin)]
answer.write(json.dumps(found))
"""
