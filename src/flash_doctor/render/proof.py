"""A proof as styled lines and as the document of `verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flash_doctor.codec import encode
from flash_doctor.model import known
from flash_doctor.model.proof import Blame, Level
from flash_doctor.render.text import Line, Style, count, finding_lines, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.model import Target
    from flash_doctor.model.proof import Proof

PROOF = "flash-doctor/proof/1"
LEVELS = {
    Level.NONE: "nothing was proved",
    Level.STATIC: "it was read, not run",
    Level.IMPORT: "it imports; no kernel was run",
    Level.KERNEL: "its kernels compute right",
}
# TFLOP/s with one digit would show a CPU's as 0.0
_FINE = 10.0


def proof_document(proof: Proof, target: Target, entry: str, exit_code: int) -> dict[str, Any]:
    """The document of `verify`."""
    return {"schema": PROOF, "target": encode(target), "entry": entry, **encode(proof), "exit_code": exit_code}


def verdict_line(proof: Proof, entry: str) -> Line:
    """What was proved of which module; how it fails is the findings' to say."""
    style = {Blame.NOTHING: Style.GOOD, Blame.MACHINE: Style.WARN, Blame.LIBRARY: Style.BAD}[proof.blame]
    word = {Blame.NOTHING: "Verified", Blame.MACHINE: "Not verified", Blame.LIBRARY: "BROKEN"}[proof.blame]
    told = "does not work here" if proof.blame is Blame.LIBRARY else LEVELS[proof.level]
    name = f"{entry} {known(proof.library) or ''}".rstrip()
    return Line((span(word, style), span(f": {name}{' ' if proof.blame is Blame.LIBRARY else ', '}{told}.")))


def proof_lines(proof: Proof) -> Iterator[Line]:
    """Cases, speeds and findings."""
    yield from agreement_lines(proof)
    yield from speed_lines(proof)
    for finding in proof.findings:
        yield from finding_lines(finding)


def agreement_lines(proof: Proof) -> Iterator[Line]:
    """How many cases were right, if any."""
    if proof.cases:
        cases = f"{count(proof.cases, 'case')} on {', '.join(proof.devices)}"
        text = f"{cases}: outputs and gradients agree with attention computed in float32"
        yield Line((span(text),), first="  ", rest="    ")


def speed_lines(proof: Proof) -> Iterator[Line]:
    """The library beside torch and beside what the chip can do, where the numbers were right."""
    if proof.blame is Blame.LIBRARY:
        return
    for speed in proof.speeds:
        digits = 1 if max(speed.library, speed.torch) >= _FINE else 3
        text = (
            f"{speed.device}: {speed.library:.{digits}f} TFLOP/s; torch's own attention {speed.torch:.{digits}f}, "
            f"a large matrix product {speed.ceiling:.{digits}f}"
        )
        yield Line((span(text),), first="  ", rest="    ")
