"""Hashes learnt at a first download: from then on that address must give the same file."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.install.fetch import WantedFile, fetch
from flash_doctor.install.files import write_whole
from flash_doctor.model.wheel import HashState
from flash_doctor.system.bounds import read_json
from flash_doctor.system.claims import Claimed, is_sha256
from flash_doctor.system.codec import decode, encode
from flash_doctor.system.owner import demand_trusted
from flash_doctor.system.private import demand_private, make_private
from flash_doctor.system.redact import cut
from flash_doctor.system.url import file_name, parse, public

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.install.context import Practice
    from flash_doctor.install.fetch import Fetched
    from flash_doctor.install.installers import LocalWheel
    from flash_doctor.model.plan import Build, Install


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFile:
    """What an address gave, and when (ISO date)."""

    url: str
    sha256: str
    size: int
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """The pins of one user: `pins.json` in the doctor's data folder."""

    pins: tuple[SeenFile, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Pins:
        """The pins; none where there is no file.

        Raises:
            BadInput: the file is damaged, or others could have written it; nothing is guessed then.
        """
        path = folder / "pins.json"
        if path.exists():
            demand_private(folder)
            demand_trusted(path)
        try:
            return accept(decode(cls, read_json(path, unique=True)))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, BadInput) as error:
            message = f"{path} cannot be read: {error}"
            raise BadInput(message, advice="Move it away; what was trusted before will be asked for again.") from error

    def of(self, url: str) -> str | None:
        return next((pin.sha256 for pin in self.pins if pin.url == public(url)), None)

    def plus(self, url: str, sha256: str, size: int) -> Pins:
        fresh = SeenFile(url=public(url), sha256=sha256, size=size, date=datetime.date.today().isoformat())
        return Pins(pins=(*(pin for pin in self.pins if pin.url != fresh.url), fresh))

    def write(self, folder: Path) -> None:
        make_private(folder)
        write_whole(folder / "pins.json", json.dumps(encode(self), indent=1) + "\n")


def accept(claim: Claimed[Pins]) -> Pins:
    """Ours, as far as it is what we write: addresses that can be taken apart, and hashes.

    Raises:
        BadInput: one is none; the file was damaged, or edited.
    """
    for pin in claim.unproved().pins:
        parse(pin.url)
        if not is_sha256(pin.sha256):
            message = f"{cut(pin.sha256, 80)!r} is no sha256"
            raise BadInput(message)
    return claim.unproved()


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
    wanted = WantedFile(url=url, sha256=promised, size=file.size)
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
