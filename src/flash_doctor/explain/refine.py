"""From a sighting to the complaint that is meant: causes that share a message are told apart by what else is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.explain.symbols import guessed_wheel_exists, library_named
from flash_doctor.model import Capability
from flash_doctor.model.explanation import Confidence

if TYPE_CHECKING:
    from flash_doctor.explain.clues import Clues
    from flash_doctor.explain.sighting import Sighting
    from flash_doctor.explain.symbols import MissingSymbol
    from flash_doctor.facts import Facts
    from flash_doctor.facts.complaints import Complaints

_ASKED = "No message that is known stands in the text; this is only what its words speak of."
AMPERE, BLACKWELL = Capability(major=8, minor=0), Capability(major=10, minor=0)
_JIT = ("torch_extensions", "torchinductor", ".triton/cache", "triton/cache")
# the file that needs the symbol -> the complaint about its package
_OWNERS = {
    "torchvision": "companion-symbol",
    "torchaudio": "companion-symbol",
    "xformers": "xformers-symbol",
    "torchao": "torchao-symbol",
    "bitsandbytes": "bitsandbytes-symbol",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """The complaint that is meant, why, and how sure that makes it (None: as the catalogue says)."""

    complaint: str
    why: str = ""
    confidence: Confidence | None = None


def meaning(sighting: Sighting, clues: Clues, facts: Facts) -> Refinement:
    """Which complaint of the catalogue a sighting is."""
    if sighting.asked:
        return Refinement(complaint=sighting.complaint.id, why=_ASKED, confidence=Confidence.POSSIBLE)
    if sighting.symbol and sighting.complaint.id == "undefined-symbol":
        return _symbol(sighting, sighting.symbol, clues, facts.complaints)
    if sighting.complaint.id == "gpu-too-old":
        return _ampere(clues)
    if sighting.complaint.id == "precompiled-not-found":
        return _guess(sighting, facts)
    return Refinement(complaint=sighting.complaint.id)


def _guess(sighting: Sighting, facts: Facts) -> Refinement:
    """Read "precompiled wheel not found": printed for a wheel that does not exist and for a network that fails."""
    exists = guessed_wheel_exists(sighting.first.around, facts)
    if exists is None:
        return Refinement(complaint=sighting.complaint.id)
    if exists:
        why = "The wheel it guessed is published: it could not be fetched, so the network is the reason."
        return Refinement(complaint=sighting.complaint.id, why=why, confidence=Confidence.LIKELY)
    why = "The wheel it guessed is not among those that the authors of flash-attn published."
    return Refinement(complaint="no-prebuilt-wheel", why=why, confidence=Confidence.LIKELY)


def _ampere(clues: Clues) -> Refinement:
    """Read "only supports Ampere GPUs or newer": the check is a list of capabilities, and lies about newer ones."""
    if not clues.gpus:
        return Refinement(complaint="gpu-too-old")
    named = ", ".join(f"{name} (compute capability {capability})" for name, capability in dict(clues.gpus).items())
    sure = Confidence.CERTAIN if clues.measured else Confidence.LIKELY
    capabilities = [capability for _, capability in clues.gpus]
    if any(capability < AMPERE for capability in capabilities):
        return Refinement(complaint="gpu-too-old", why=f"The GPU is {named}.", confidence=sure)
    newer = all(capability >= BLACKWELL for capability in capabilities)
    name = "gpu-newer-than-wheel" if newer else "gpu-not-too-old"
    return Refinement(complaint=name, why=f"The GPU is {named}, which is not older than Ampere.", confidence=sure)


def _symbol(sighting: Sighting, symbol: MissingSymbol, clues: Clues, complaints: Complaints) -> Refinement:
    """Read the name of the symbol and the path of the file: each group of names has its own cause."""
    path = (symbol.file or sighting.first.line).lower()
    if any(word in path for word in _JIT):
        return Refinement(
            complaint="stale-jit-cache", why="The file lies in a cache of extensions compiled at run time."
        )
    named = symbol.name or sighting.first.line
    library = complaints.library_of_symbol(named) if symbol.name else library_named(named, complaints)
    if library:
        return Refinement(complaint=library.family)
    owner = next((complaint for name, complaint in _OWNERS.items() if name in path), None)
    if owner:
        return Refinement(complaint=owner)
    return _torch_symbol(symbol, sighting.first.around.lower(), clues)


def _torch_symbol(symbol: MissingSymbol, around: str, clues: Clues) -> Refinement:
    if symbol.name in {"_torch_library_impl", "torch_library_impl"}:
        return Refinement(complaint="companion-symbol")
    if symbol.string_abi is not None:
        kind = "C++11" if symbol.string_abi else "older (pre-C++11)"
        return Refinement(complaint="undefined-symbol-cxx11abi", why=f"It takes a std::string of the {kind} ABI.")
    if clues.nvidia_image:
        return Refinement(
            complaint="container-custom-torch", why="The log names an NVIDIA container image or its torch."
        )
    if not symbol.name and clues.misnamed_wheel:
        return Refinement(complaint="undefined-symbol-cxx11abi", why=clues.misnamed_wheel)
    if symbol.of_torch and "/usr/local/lib/python" in around and "/dist-packages" in around:
        return Refinement(
            complaint="container-custom-torch",
            why="The file lies in an image's own /usr/local/lib/python…/dist-packages, as in NVIDIA's images.",
            confidence=Confidence.POSSIBLE,
        )
    return Refinement(complaint="undefined-symbol")
