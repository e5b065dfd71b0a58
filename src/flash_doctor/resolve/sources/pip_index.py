"""Where pip's indexes have a source distribution: read from their pages, since pip itself would run its setup.py."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import parse_sdist_filename

from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.resolve.index_query import IndexAnswer, IndexFile, IndexQuery, IndexUnreachable, accept
from flash_doctor.resolve.sources.page import ACCEPT, page_files
from flash_doctor.system.bounds import read_json
from flash_doctor.system.claims import Claimed
from flash_doctor.system.paths import current_folder, isolated, tool_environment
from flash_doctor.system.process import Command, Runner
from flash_doctor.system.redact import cut, last_lines
from flash_doctor.system.requirement import parse
from flash_doctor.system.url import public

if TYPE_CHECKING:
    from collections.abc import Iterator


_LIMIT = 48 << 20  # bytes of a page
# what pip makes of its defaults, its configuration files and its variables; no command of it prints all three
_INDEXES = """
import json
from pip._internal.commands import create_command
options, _ = create_command("download").parse_args([])
print(json.dumps([] if options.no_index else [options.index_url, *options.extra_index_urls]))
"""


def find_source(requirement: str, python: Path, runner: Runner) -> IndexFile:
    """The newest fitting source distribution.

    Raises:
        NoPlanFound: no index has one; IndexUnreachable when one did not answer.
        BadInput: a page of another shape.
    """
    wanted = parse(requirement)
    found = [
        (one.version, one)
        for index in _indexes(python, runner)
        for one in _on_page(f"{index.rstrip('/')}/{wanted.name}/")
        if one.name == wanted.name and wanted.admits(one.version)
    ]
    if not found:
        message = f"no package index has a source distribution of {requirement}"
        raise NoPlanFound(message)
    return max(found, key=lambda pair: pair[0])[1]


def _indexes(python: Path, runner: Runner) -> list[str]:
    """Addresses that can be read here; pip knows more kinds."""
    told = runner.run(Command(argv=(*isolated(python), "-c", _INDEXES), environment=tool_environment(os.environ)))
    try:
        return _accept_settings(read_json(told.text)) if told.returncode == 0 else []
    except (ValueError, TypeError, AttributeError) as error:
        message = "pip does not tell which indexes it would ask"
        raise BadInput(message, evidence=(cut(str(error), 200),)) from error


def _accept_settings(claim: Claimed[Any]) -> list[str]:
    return [url for url in claim.unproved() if url.startswith(("https:", "http:"))]


def _on_page(url: str) -> Iterator[IndexFile]:
    from flash_doctor.system.http import HttpError, get_bytes

    try:
        body = get_bytes(url, limit=_LIMIT, headers={"Accept": ACCEPT})
    except HttpError as error:
        if error.status is None:
            raise IndexUnreachable(evidence=(error.message,)) from error
        return
    for file in page_files(body, url):
        try:
            name, version = parse_sdist_filename(file.name)
        except ValueError:  # InvalidSdistFilename is one, and so is a version of more digits than int() takes
            continue
        answer = IndexAnswer(name=name, version=version, url=file.address, sha256=file.sha256, size=file.size)
        yield accept(Claimed(answer, public(url)))


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

    def answer(self, question: IndexQuery) -> tuple[IndexFile, ...]:
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

    def command(self, question: IndexQuery, folder: Path) -> Command:
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


def platforms(question: IndexQuery) -> tuple[str, ...]:
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


def read_report(source: Path | str) -> tuple[IndexFile, ...]:
    """The distributions of pip's installation report (its format version 1): the file, or its text.

    Raises:
        BadInput: it has another shape.
    """
    try:
        return _accept(read_json(source))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"the answer of pip is no installation report: {type(error).__name__} {error}"
        raise BadInput(message) from error


def _accept(claim: Claimed[Any]) -> tuple[IndexFile, ...]:
    return tuple(_found(item) for item in claim.unproved()["install"])


def _found(item: dict[str, Any]) -> IndexFile:
    download, metadata = item["download_info"], item["metadata"]
    answer = IndexAnswer(
        name=metadata["name"],
        version=metadata["version"],
        url=download["url"],
        sha256=download.get("archive_info", {}).get("hashes", {}).get("sha256"),
        size=None,
    )
    return accept(Claimed(answer, "the answer of pip"))
