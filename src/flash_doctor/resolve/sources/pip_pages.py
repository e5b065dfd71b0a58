"""Where pip's indexes have a source distribution: read from their pages, since pip itself would run its setup.py."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from packaging.utils import parse_sdist_filename

from flash_doctor.command import Command
from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.resolve.lookup import Answer, Found, IndexUnreachable, accept
from flash_doctor.resolve.sources.page import ACCEPT, page_files
from flash_doctor.system.bounds import read_json
from flash_doctor.system.claims import Claimed
from flash_doctor.system.programs import isolated, tool_environment
from flash_doctor.system.redact import cut
from flash_doctor.system.requirement import parse
from flash_doctor.system.url import public

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flash_doctor.command import Runner

_LIMIT = 48 << 20  # bytes of a page
# what pip makes of its defaults, its configuration files and its variables; no command of it prints all three
_INDEXES = """
import json
from pip._internal.commands import create_command
options, _ = create_command("download").parse_args([])
print(json.dumps([] if options.no_index else [options.index_url, *options.extra_index_urls]))
"""


def find_source(requirement: str, python: Path, runner: Runner) -> Found:
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
        return _accept(read_json(told.text)) if told.returncode == 0 else []
    except (ValueError, TypeError, AttributeError) as error:
        message = "pip does not tell which indexes it would ask"
        raise BadInput(message, evidence=(cut(str(error), 200),)) from error


def _accept(claim: Claimed[Any]) -> list[str]:
    return [url for url in claim.unproved() if url.startswith(("https:", "http:"))]


def _on_page(url: str) -> Iterator[Found]:
    from flash_doctor.http import HttpError, get_bytes

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
        answer = Answer(name=name, version=version, url=file.address, sha256=file.sha256, size=file.size)
        yield accept(Claimed(answer, public(url)))
