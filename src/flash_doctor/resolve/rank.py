"""Which of the wheels that fit is best: one sort key, with a sentence for each of its terms."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from packaging.version import Version

from flash_doctor.errors import BadInput
from flash_doctor.model.plan import Plan
from flash_doctor.model.wheel import Evidence, HashState, Wheel
from flash_doctor.resolve.axes import Cap, Seat

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_doctor.model.plan import NoPlan
    from flash_doctor.resolve.sources.matrix import Wheels


_SEEN = {Evidence.MEASURED, Evidence.LISTED, Evidence.SEEN}
_HASH = {HashState.PINNED: 0, HashState.PUBLISHED: 1, HashState.FIRST_SEEN: 2}
_HASH_TEXT = {
    HashState.PINNED: "its sha256 is pinned in the matrix",
    HashState.PUBLISHED: "its sha256 comes from the publisher's index",
    HashState.FIRST_SEEN: "no sha256 of it is published: it is hashed while it is downloaded, and shown",
}
_NUMBERS = re.compile(r"\d+")

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The order of preference on one seat, among versions that are compared (newest first)."""

    seat: Seat
    places: dict[Version, int]

    def key(self, wheel: Wheel) -> Key:
        """Smallest change, known address, exact CUDA build, newest, publisher, hash; then what is only for order."""
        family = wheel.family
        return (
            len(slowed(wheel, self.seat)),
            not addressed(wheel),
            cuda_distance(wheel, self.seat),
            self.places[family.version],
            family.trust,
            _HASH[wheel.hash_state],
            misnamed(wheel),
            family.machine == "aarch64",
            not built_for_this(wheel, self.seat),
            family.platform.startswith("linux"),
            tuple(-int(number) for number in _NUMBERS.findall(family.release)),
            (family.publisher, family.local, family.platform, family.release, wheel.abi, wheel.address or ""),
        )


TERMS = (
    "fewer installed packages lose speed",
    "somebody saw the file at its address",
    "its CUDA build is nearer to torch's",
    "it is the newer flash-attn",
    "its publisher is nearer to the authors",
    "its sha256 is known from a better source",
    "its name tells the truth about its C++ ABI",
    "x86_64 is the likelier machine, where it is not known",
    "it was compiled against exactly this torch",
    "its platform tag promises an older glibc",
    "its release is newer",
    "nothing but the order of names",
)
"""What it means to be first by each term of the sort key."""


def deciding_term(first: Wheel, second: Wheel, seat: Seat) -> str:
    """The first term of the sort key by which two wheels that fit differ."""
    versions = sorted({first.family.version, second.family.version}, reverse=True)
    ranking = Ranking(seat=seat, places={version: place for place, version in enumerate(versions)})
    terms = zip(TERMS, ranking.key(first), ranking.key(second), strict=True)
    return next((term for term, ours, theirs in terms if ours != theirs), TERMS[-1])


def rank(wheels: Iterable[Wheel], seat: Seat) -> tuple[Wheel, ...]:
    """Best first."""
    found = tuple(wheels)
    newest_first = sorted({wheel.family.version for wheel in found}, reverse=True)
    ranking = Ranking(seat=seat, places={version: place for place, version in enumerate(newest_first)})
    return tuple(sorted(found, key=ranking.key))


def slowed(wheel: Wheel, seat: Seat) -> tuple[Cap, ...]:
    """Installed packages that would fall back to something slower beside that version."""
    return tuple(cap for cap in seat.caps if not cap.fatal and not cap.admits(wheel.family.version))


def addressed(wheel: Wheel) -> bool:
    """Whether somebody saw the file at an address (else its name is composed, or only an index page is known)."""
    return (wheel.address or wheel.family.template) is not None and wheel.family.evidence in _SEEN


def exact_cuda(wheel: Wheel, seat: Seat) -> bool:
    """Made for the CUDA of this torch, or for its whole major version."""
    cuda, torch = wheel.family.cuda, seat.torch
    if cuda is None or torch is None or torch.cuda is None or len(cuda.release) == 1:
        return True
    return (cuda.major, cuda.minor) == (torch.cuda.major, torch.cuda.minor)


def cuda_distance(wheel: Wheel, seat: Seat) -> int:
    """0 for the exact CUDA build, else how many minor releases it is off."""
    cuda, torch = wheel.family.cuda, seat.torch
    if cuda is None or torch is None or torch.cuda is None or exact_cuda(wheel, seat):
        return 0
    return abs(cuda.minor - torch.cuda.minor)


def misnamed(wheel: Wheel) -> bool:
    """Whether the name tells another C++ ABI than the binary has; an honest name is kinder to who reads it."""
    return any(fault.id == "mislabelled-abi" for fault in wheel.family.faults)


def built_for_this(wheel: Wheel, seat: Seat) -> bool:
    """Compiled against exactly this release of torch."""
    return seat.torch is not None and wheel.family.built == seat.torch.version.public


def reasons(wheel: Wheel, seat: Seat) -> tuple[str, ...]:
    """Why this wheel, term by term of the sort key."""
    family, torch = wheel.family, seat.torch
    lines = [f"{cap.package} takes {cap.specifier} and falls back to something slower" for cap in slowed(wheel, seat)]
    if not addressed(wheel):
        lines.append(f"nobody saw the file itself yet, {_EVIDENCE[family.evidence]} ({family.source}, {family.date})")
    if torch and torch.cuda and family.cuda:
        exact = "made for" if exact_cuda(wheel, seat) else "another build of the same major version:"
        lines.append(f"{exact} CUDA {family.cuda}, this torch is built for {torch.cuda}")
    if family.built and torch and not built_for_this(wheel, seat):
        lines.append(f"compiled against torch {family.built}; patch releases of one minor version share their symbols")
    lines.append(f"{family.version} is the newest that fits as well; from {family.publisher}")
    local = (wheel.url or "").startswith("file:")
    lines.append("it lies on this machine" if local else _HASH_TEXT[wheel.hash_state])
    return tuple(lines)


_EVIDENCE = {
    Evidence.WORKFLOW: "its publisher's build matrix says that it exists",
    Evidence.RELEASE_HISTORY: "a summary of the release names it and its address is composed",
    Evidence.ABSENT: "it was promised and is missing",
    Evidence.LISTED: "it is listed in an index",
    Evidence.SEEN: "its index was named in public",
    Evidence.MEASURED: "it was measured",
}


def why(answer: Plan | NoPlan, wanted: str, wheels: Wheels, seat: Seat) -> tuple[str, ...]:
    """One sentence for every wheel of that file name (a publisher may have it in two releases).

    Args:
        answer: what was resolved.
        wanted: a file name or an address.
        wheels: all that are known.
        seat: the one that was resolved for.

    Raises:
        BadInput: no such wheel is known; the advice names the most similar ones.
    """
    name = unquote(wanted.rstrip("/").rpartition("/")[2])
    if name not in wheels.names:
        near = difflib.get_close_matches(name, wheels.names, n=3)
        message = f"no publisher in the matrix has {name}"
        raise BadInput(
            message, advice=f"Near it: {', '.join(near)}." if near else "`flash-doctor matrix show` lists them."
        )
    refused = {id(one.wheel): one for one in answer.rejected}
    lines = []
    for wheel in wheels.names[name]:
        refusal = refused.get(id(wheel))
        place = f"{name} ({wheel.family.publisher} {wheel.family.release})"
        lines.append(
            f"{place}: {refusal.axis.value}: {refusal.why}" if refusal else f"{place}: {_fits(wheel, answer, seat)}"
        )
    return tuple(lines)


def _fits(wheel: Wheel, answer: Plan | NoPlan, seat: Seat) -> str:
    """A wheel that was not refused: chosen, second to the chosen one by some term, or of another product."""
    chosen = answer.wheel if isinstance(answer, Plan) else None
    if wheel == chosen:
        return "this is the one that is planned"
    if chosen is None or wheel.name != chosen.name:
        return "another product than the one that is wanted"
    term = deciding_term(chosen, wheel, seat)
    return f"it fits, but {chosen.filename} is better: {term}"
