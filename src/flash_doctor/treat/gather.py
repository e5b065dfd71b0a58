"""Every wheel of a plan on this disk, with a hash that somebody vouches for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flash_doctor.address import file_name, public
from flash_doctor.errors import BadInput
from flash_doctor.install.fetch import Wanted, fetch
from flash_doctor.install.interface import LocalWheel
from flash_doctor.install.pins import Pins
from flash_doctor.install.space import demand_room, unpacked_size
from flash_doctor.model.plan import Build, HashState, Install
from flash_doctor.treat.desk import Desk
from flash_doctor.treat.options import Options
from flash_doctor.treat.patient import Patient
from flash_doctor.treat.sheet import hash_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_doctor.install.fetch import Fetched
    from flash_doctor.model.plan import Step


@dataclass(frozen=True, kw_only=True)
class Gatherer:
    """Fetches or builds what the steps name; `build` compiles one step into a wheel."""

    patient: Patient
    options: Options
    desk: Desk
    build: Callable[[Build], LocalWheel]

    def gather(self, steps: Sequence[Step]) -> tuple[LocalWheel, ...]:
        """The wheels, in the order of the steps; the disks have room for them, packed and unpacked.

        Raises:
            BadInput: not enough room, or a file without a published hash that nobody trusts.
            HttpError: an address could not be read.
            HashMismatch: it gave another file than was promised.
        """
        installs = [step for step in steps if isinstance(step, Install)]
        cache = self.options.sources.cache
        demand_room(cache, [step.size for step in installs if not _local(step)], "in the cache for the downloads")
        wheels = tuple(
            self.build(step) if isinstance(step, Build) else self._fetched(step)
            for step in steps
            if isinstance(step, (Install, Build))
        )
        sizes = [unpacked_size(wheel.path) for wheel in wheels]
        demand_room(self.patient.site, sizes, "in the target for the unpacked files")
        return wheels

    def _fetched(self, step: Install) -> LocalWheel:
        assert step.url is not None
        promised = step.sha256 or Pins.read(self.options.data).of(step.url)
        if promised is None and self.options.first_seen is False:
            raise _untrusted(step.url)
        found = self._fetch(Wanted(url=step.url, sha256=promised, size=step.size))
        if promised is None:
            self._ask_for_trust(step.url, found)
        return LocalWheel(path=found.path, name=step.name, sha256=found.sha256, url=step.url)

    def _fetch(self, wanted: Wanted) -> Fetched:
        with self.desk.working(wanted.name, "B") as tick:
            return fetch(wanted, self.options.sources, tick)

    def _ask_for_trust(self, url: str, found: Fetched) -> None:
        """Once trusted, an address is pinned: another file from it is refused from then on."""
        if not (self.options.first_seen or self.desk.trust(url, found.sha256, found.size)):
            raise _untrusted(url)
        Pins.read(self.options.data).plus(url, found.sha256, found.size).write(self.options.data)


def _local(step: Install) -> bool:
    return bool(step.url and step.url.startswith("file:"))


def _untrusted(url: str) -> BadInput:
    message = f"nobody publishes a sha256 of {file_name(url)}, so it is not used without your word"
    advice = "Trust this first download, and hold its address to it from then on: --trust-first-download"
    return BadInput(message, evidence=(public(url),), advice=advice)


def pinned(steps: Sequence[Step], wheels: Sequence[LocalWheel]) -> tuple[Step, ...]:
    """The steps with the hashes and sizes of what was fetched."""
    found = {wheel.url: wheel for wheel in wheels}
    return tuple(
        _pinned(step, found[step.url]) if isinstance(step, Install) and step.url in found else step for step in steps
    )


def _pinned(step: Install, wheel: LocalWheel) -> Install:
    state = HashState.PINNED if hash_state(step) is HashState.FIRST_SEEN else step.hash_state
    return replace(step, sha256=wheel.sha256, size=wheel.path.stat().st_size, hash_state=state)
