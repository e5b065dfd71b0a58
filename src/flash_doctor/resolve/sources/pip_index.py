"""Asks package indexes through pip, where uv is not there: `pip install --dry-run --report`, nothing is installed."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flash_doctor.command import Command, Runner
from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.resolve.lookup import Answer, Found, IndexUnreachable, Question, accept
from flash_doctor.resolve.sources.pip_pages import find_source
from flash_doctor.system.bounds import read_json
from flash_doctor.system.claims import Claimed
from flash_doctor.system.paths import current_folder
from flash_doctor.system.programs import isolated, tool_environment
from flash_doctor.system.redact import last_lines

# pip says these when no index answered; it exits with 1 whatever the reason
_UNREACHABLE = ("NewConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyError", "SSLError", "NameResolu")
_RELEASES = (40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 24, 17)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipLookup:
    """`pip install --dry-run` of the interpreter `python`; `timeout` in seconds."""

    runner: Runner
    python: Path
    find_links: tuple[Path, ...] = ()
    timeout: float = 180.0

    def answer(self, question: Question) -> tuple[Found, ...]:
        """The complete set of distributions for a question.

        Raises:
            NoPlanFound: no set of versions fulfils it; IndexUnreachable when no index answered.
            CommandFailed: pip could not be started, or took too long.
        """
        if question.sources:
            return tuple(find_source(line, self.python, self.runner) for line in question.requirements)
        with tempfile.TemporaryDirectory(prefix="flash-doctor-") as name:
            folder = Path(name)
            (folder / "constraints.txt").write_text("\n".join(question.constraints) + "\n", encoding="utf-8")
            (folder / "wanted.txt").write_text("\n".join(question.requirements) + "\n", encoding="utf-8")
            completed = self.runner.run(self.command(question, folder))
            if completed.returncode:
                raise _failure(completed.errors)
            return tuple(read_report(folder / "report.json"))

    def command(self, question: Question, folder: Path) -> Command:
        """The run that asks it; wheels only, as if nothing were installed, for the question's Python and platform."""
        options = ["--dry-run", "--quiet", "--ignore-installed", "--only-binary", ":all:", "--no-input"]
        options += ["--disable-pip-version-check", "--report", str(folder / "report.json"), "--retries", "1"]
        options += ["--target", str(folder / "nowhere"), "--constraint", str(folder / "constraints.txt")]
        options += ["--python-version", question.python, "--implementation", "cp"] if question.python else []
        options += [word for tag in platforms(question) for word in ("--platform", tag)]
        options += [word for index in question.indexes for word in ("--extra-index-url", index)]
        options += [word for links in self.find_links for word in ("--find-links", str(current_folder() / links))]
        argv = (*isolated(self.python), "-m", "pip", "install", *options, "-r", str(folder / "wanted.txt"))
        return Command(argv=argv, timeout=self.timeout, environment=tool_environment(os.environ))


def platforms(question: Question) -> tuple[str, ...]:
    """Platform tags that the question's machine takes, newest first; none where the machine is not known."""
    if question.machine is None:
        return ()
    major, minor = question.glibc or (2, 28)
    fitting = [release for release in _RELEASES if (2, release) <= (major, minor)]
    old = ["manylinux2014"] if (major, minor) >= (2, 17) else []
    words = [*(f"manylinux_2_{release}" for release in fitting), *old, "linux"]
    return tuple(f"{word}_{question.machine}" for word in words)


def _failure(errors: str) -> NoPlanFound:
    if any(word in errors for word in _UNREACHABLE):
        return IndexUnreachable(evidence=last_lines(errors, 3))
    message = "the package index has no set of versions that fits"
    return NoPlanFound(message, evidence=last_lines(errors, 20))


def read_report(source: Path | str) -> tuple[Found, ...]:
    """The distributions of pip's installation report (its format version 1): the file, or its text.

    Raises:
        BadInput: it has another shape.
    """
    try:
        return _accept(read_json(source))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"the answer of pip is no installation report: {type(error).__name__} {error}"
        raise BadInput(message) from error


def _accept(claim: Claimed[Any]) -> tuple[Found, ...]:
    return tuple(_found(item) for item in claim.unproved()["install"])


def _found(item: dict[str, Any]) -> Found:
    download, metadata = item["download_info"], item["metadata"]
    answer = Answer(
        name=metadata["name"],
        version=metadata["version"],
        url=download["url"],
        sha256=download.get("archive_info", {}).get("hashes", {}).get("sha256"),
        size=None,
    )
    return accept(Claimed(answer, "the answer of pip"))
