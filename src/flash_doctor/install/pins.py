"""Hashes learnt at a first download: from then on that address must give the same file."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.codec import decode, encode
from flash_doctor.errors import BadInput
from flash_doctor.install.files import write_whole
from flash_doctor.system.bounds import read_json
from flash_doctor.system.claims import Claimed, is_sha256
from flash_doctor.system.owner import demand_trusted
from flash_doctor.system.private import demand_private, make_private
from flash_doctor.system.redact import cut
from flash_doctor.system.url import parse, public

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What an address gave, and when (ISO date)."""

    url: str
    sha256: str
    size: int
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """The pins of one user: `pins.json` in the doctor's data folder."""

    pins: tuple[Pin, ...] = ()

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
        fresh = Pin(url=public(url), sha256=sha256, size=size, date=datetime.date.today().isoformat())
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
