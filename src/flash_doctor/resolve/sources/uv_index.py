"""Asks package indexes through uv: one resolution under one constraints file, its answer a lock file (PEP 751)."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.resolve.index_query import IndexAnswer, IndexFile, IndexQuery, IndexUnreachable, accept
from flash_doctor.system.bounds import read_toml
from flash_doctor.system.claims import Claimed
from flash_doctor.system.paths import current_folder, find_program, tool_environment
from flash_doctor.system.process import Command, Runner
from flash_doctor.system.redact import cut, last_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.pylock import Package

# uv ends with 1 when there is no solution, with 2 when it could not do its work (no connection, a wrong option)
_NOT_ASKED = 2
_LONGEST_LOCK = 16 << 20  # characters; a torch with everything has some 100,000
# uv reads the nearest of these in its folder or above, where /tmp is anybody's: empty ones of ours are the nearest.
# The user's and the system's own settings are read besides, which --no-config would forbid. And an interpreter is
# named, since a .venv above would be run.
_OWN_SETTINGS = ("uv.toml", "pyproject.toml")
# glibc of the manylinux platforms that uv knows; the newest that is not too new is taken
_MANYLINUX = ((2, 17), (2, 28), *((2, minor) for minor in range(31, 41)))


def find_uv() -> Path | None:
    """Uv beside the doctor's own interpreter, else on PATH."""
    beside = Path(sys.executable).with_name("uv")
    return beside if beside.is_file() else find_program("uv")


@dataclass(frozen=True, slots=True, kw_only=True)
class UvLookup:
    """`uv pip compile`: `uv` is its path, `offline` lets it use its cache alone, `timeout` in seconds."""

    runner: Runner
    uv: str
    offline: bool = False
    find_links: tuple[Path, ...] = ()
    timeout: float = 120.0

    def answer(self, question: IndexQuery) -> tuple[IndexFile, ...]:
        """The complete set of distributions for a question.

        Raises:
            NoPlanFound: no set of versions fulfils it; IndexUnreachable when no index answered.
            CommandFailed: uv could not be started, or took too long.
        """
        with tempfile.TemporaryDirectory(prefix="flash-doctor-") as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text("\n".join(question.constraints) + "\n", encoding="utf-8")
            for name in _OWN_SETTINGS:
                (Path(folder) / name).touch()
            completed = self.runner.run(self.command(question, constraints))
        if completed.returncode == _NOT_ASKED:
            raise IndexUnreachable(evidence=last_lines(completed.errors, 5))
        if completed.returncode:
            message = "the package index has no set of versions that fits"
            raise NoPlanFound(message, evidence=last_lines(completed.errors, 20))
        return tuple(read_lock(completed.text, question))

    def command(self, question: IndexQuery, constraints: Path) -> Command:
        """The run that asks it; nothing is installed and nothing is compiled."""
        options = ["--format", "pylock.toml", "--no-header", "--no-annotate", "--quiet"]
        options += ["--no-deps", "--no-binary", ":all:"] if question.sources else ["--no-build"]
        options += ["--constraints", str(constraints), "--index-strategy", "unsafe-best-match"]
        options += ["--python", sys.executable]
        options += ["--python-version", question.python] if question.python else []
        options += ["--python-platform", uv_platform(question)]
        options += [word for index in question.indexes for word in ("--index", index)]
        options += [word for folder in self.find_links for word in ("--find-links", str(current_folder() / folder))]
        options += ["--offline"] if self.offline else []
        return Command(
            argv=(self.uv, "pip", "compile", *options, "-"),
            stdin=("\n".join(question.requirements) + "\n").encode(),
            timeout=self.timeout,
            environment=tool_environment(os.environ),
            cwd=constraints.parent,
        )


def uv_platform(question: IndexQuery) -> str:
    """What uv calls the platform: x86_64-manylinux_2_35; `linux` where nothing is known."""
    if question.machine is None:
        return "linux"
    floor = question.glibc or (2, 28)
    major, minor = max((known for known in _MANYLINUX if known <= floor), default=_MANYLINUX[0])
    return f"{question.machine}-manylinux_{major}_{minor}"


def read_lock(text: str, question: IndexQuery) -> Iterator[IndexFile]:
    """The distributions of a lock file that apply to the question's Python and machine.

    Raises:
        BadInput: it is no lock file.
    """
    from packaging.pylock import Pylock, PylockValidationError

    environment = _markers(question)
    try:
        lock = Pylock.from_dict(_accept(read_toml(text, limit=_LONGEST_LOCK)))
        fitting = [one for one in lock.packages if one.marker is None or one.marker.evaluate(environment)]
    except (ValueError, PylockValidationError) as error:  # also of a marker that compares what is no version
        message = f"the answer of uv is no lock file: {cut(str(error), 200)}"
        raise BadInput(message) from error
    yield from map(_found, fitting)


def _accept(claim: Claimed[dict[str, Any]]) -> dict[str, Any]:
    """As it is: `Pylock` looks at its shape, and `lookup.accept` at what it names."""
    return claim.unproved()


def _markers(question: IndexQuery) -> Any:
    markers = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    if question.python:
        markers |= {"python_version": question.python, "python_full_version": f"{question.python}.0"}
    return markers | ({"platform_machine": question.machine} if question.machine else {})


def _found(package: Package) -> IndexFile:
    """Uv names only wheels that fit the platform; a package without one comes as source, which --no-build excludes."""
    file = package.wheels[0] if package.wheels else package.sdist or package.archive
    if file is None or file.url is None:
        message = f"the answer of uv has no address for {package.name}"
        raise BadInput(message)
    digest = file.hashes.get("sha256")
    answer = IndexAnswer(name=package.name, version=package.version, url=file.url, sha256=digest, size=file.size)
    return accept(Claimed(answer, "the answer of uv"))
