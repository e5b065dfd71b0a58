"""A file of a plan on this disk, with a hash that somebody vouches for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.install.fetch import Wanted, fetch
from flash_doctor.install.pins import Pins
from flash_doctor.model.wheel import HashState
from flash_doctor.system.url import file_name, public

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.install.fetch import Fetched
    from flash_doctor.install.interface import LocalWheel
    from flash_doctor.model.plan import Build, Install
    from flash_doctor.treat.practice import Practice


def hash_state(file: Build | Install) -> HashState:
    """A hash that is not there cannot be pinned or published, whatever the row promises."""
    if not file.sha256:
        return HashState.FIRST_SEEN
    return file.hash_state


def fetch_trusted(file: Build | Install, practice: Practice) -> Fetched:
    """The file behind a step's address; without a published hash only with the user's word, and pinned from then on.

    Raises:
        BadInput: nobody vouches for its hash.
        InstallFailed: it is not here and may not be fetched.
        HttpError: its address could not be read.
        HashMismatch: it is another file than was promised.
    """
    url, options = file.url, practice.options
    assert url is not None
    promised = file.sha256
    if hash_state(file) in {HashState.FIRST_SEEN, HashState.CLAIMED}:
        promised = _remembered(url, file.sha256, options.data)
    if promised is None and options.first_seen is False:
        raise _untrusted(url)
    wanted = Wanted(url=url, sha256=promised, size=file.size)
    with practice.desk.working(wanted.name, "B") as tick:
        found = fetch(wanted, options.sources, tick)
    if promised is None:
        _ask_for_trust(url, found, practice)
    return found


def _remembered(url: str, sha256: str | None, data: Path) -> str | None:
    """The hash that this address was held to when a person first trusted it; what a plan says is held to it too."""
    pinned = Pins.read(data).of(url)
    if pinned and sha256 not in (None, pinned):
        message = f"{public(url)} is not the file that you trusted before"
        evidence = (f"trusted: sha256 {pinned}", f"the plan says: sha256 {sha256}")
        raise BadInput(message, evidence=evidence, advice="Somebody exchanged it, in the plan or at its publisher.")
    return pinned or sha256


def hashed(step: Install, found: Fetched | LocalWheel) -> Install:
    """The step with the hash of what was fetched; one that was learnt by that is pinned from now on."""
    state = HashState.PINNED if hash_state(step) is HashState.FIRST_SEEN else step.hash_state
    return replace(step, sha256=found.sha256, size=found.size, hash_state=state)


def _ask_for_trust(url: str, found: Fetched, practice: Practice) -> None:
    """Once trusted, an address is pinned: another file from it is refused from then on."""
    options = practice.options
    if not (options.first_seen or practice.desk.trust(url, found.sha256, found.size)):
        raise _untrusted(url)
    Pins.read(options.data).plus(url, found.sha256, found.size).write(options.data)


def _untrusted(url: str) -> BadInput:
    message = f"nobody publishes a sha256 of {file_name(url)}, so it is not used without your word"
    advice = "Trust this first download, and hold its address to it from then on: --trust-first-download"
    return BadInput(message, evidence=(public(url),), advice=advice)
