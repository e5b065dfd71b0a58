"""The chain GPU -> driver -> torch -> flash-attn: each link's state, read from the report alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from flash_doctor.model import (
    Absent,
    Driver,
    Family,
    Finding,
    FlashAttention,
    Gpus,
    Part,
    Report,
    Severity,
    Torch,
    Unknown,
    driver_number,
    known,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


class LinkState(Enum):
    """How a link is; the value is the word people read."""

    SOUND = "ok"
    WARNED = "warning"
    BROKEN = "BROKEN"
    MISSING = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link: its state, what is there (`detail`, may be empty), and the codes of the findings that made it so."""

    name: str
    state: LinkState
    detail: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    links: tuple[Link, ...]

    @property
    def broken(self) -> Link | None:
        """The first broken link: what lies behind it cannot be judged by whether it runs."""
        return next((link for link in self.links if link.state is LinkState.BROKEN), None)

    def position(self, name: str | None) -> int:
        """Place of a link by name; what is no link comes last."""
        names = [link.name for link in self.links]
        return names.index(name) if name in names else len(names)


# Families that are not here (host, python, companions, build) matter to a training run but are no link.
_LINK_OF_FAMILY = {
    Family.GPU: "GPU",
    Family.DRIVER: "driver",
    Family.TORCH: "torch",
    Family.LIBRARIES: "torch",
    Family.FLASH: "flash-attn",
}
LINKS = ("GPU", "driver", "torch", "flash-attn")


def link_of(code: str, subject: str, families: Mapping[str, Family]) -> str | None:
    """The link a finding belongs to: by its check's family, else (a code we do not know) by its subject."""
    if code in families:
        return _LINK_OF_FAMILY.get(families[code])
    plain = subject.casefold().replace("_", "-")
    return next((link for link in LINKS if plain == link.casefold()), None)


def chain(report: Report, families: Mapping[str, Family]) -> Chain:
    """The four links of `report`, or those that it was asked for; `families` maps each check's code to its family."""
    environment = report.environment
    details = {
        "GPU": _told(environment.gpus, _gpus),
        "driver": _told(environment.driver, _driver),
        "torch": _told(environment.torch, _torch),
        "flash-attn": _told(environment.flash, _flash),
    }
    asked = {_LINK_OF_FAMILY.get(family) for family in report.only or Family}
    return Chain(links=tuple(_link(name, *details[name], report, families) for name in LINKS if name in asked))


def _link(name: str, state: LinkState, detail: str, report: Report, families: Mapping[str, Family]) -> Link:
    mine = [finding for finding in report.findings if link_of(finding.code, finding.subject, families) == name]
    skipped = sum(link_of(unchecked.code, "", families) == name for unchecked in report.unchecked)
    state = _worst(mine, state)
    if skipped and state in {LinkState.SOUND, LinkState.WARNED}:
        checks = "1 check" if skipped == 1 else f"{skipped} checks"
        detail = f"{detail} ({checks} not made)".strip()
    return Link(name=name, state=state, detail=detail, codes=tuple(dict.fromkeys(finding.code for finding in mine)))


def _worst(findings: list[Finding], state: LinkState) -> LinkState:
    """The state of the findings where they are worse than what the part alone says."""
    severities = {finding.severity for finding in findings}
    if Severity.ERROR in severities:
        return LinkState.BROKEN
    return LinkState.WARNED if state is LinkState.SOUND and Severity.WARNING in severities else state


def _told(part: Part[T], describe: Callable[[T], tuple[LinkState, str]]) -> tuple[LinkState, str]:
    if isinstance(part, Unknown):
        return LinkState.UNKNOWN, part.unknown
    if isinstance(part, Absent):
        return LinkState.MISSING, part.absent
    return describe(part)


def _gpus(gpus: Gpus) -> tuple[LinkState, str]:
    counted = Counter(gpu.name for gpu in gpus.devices)
    text = ", ".join(f"{count} x {name}" for name, count in counted.items())
    return (LinkState.SOUND, text) if text else (LinkState.MISSING, "no GPU found")


def _driver(driver: Driver) -> tuple[LinkState, str]:
    version, newest = known(driver.version), known(driver.max_cuda)
    if version is None:
        return LinkState.UNKNOWN, "its version could not be read"
    number = driver_number(version)
    return LinkState.SOUND, f"{number}, CUDA up to {newest}" if newest else number


def _torch(torch: Torch) -> tuple[LinkState, str]:
    cuda = known(torch.cuda)
    built = f", built for CUDA {cuda}" if cuda else ""
    return LinkState.SOUND, f"{torch.version}{built}"


def _flash(flash: FlashAttention) -> tuple[LinkState, str]:
    """Distributions by name and version; modules alone where no distribution claims them."""
    names = [f"{package.name} {package.raw_version}" for package in flash.packages]
    names = names or [f"{module.name} (no package metadata)" for module in flash.modules]
    return (LinkState.SOUND, ", ".join(names)) if names else (LinkState.MISSING, "not installed")
