"""A proof as styled lines and as the document of `verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flash_doctor.codec import encode
from flash_doctor.model import Severity, known
from flash_doctor.model.proof import Blame, Level
from flash_doctor.render.text import Line, Span, Style, count, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.model import Finding, Target
    from flash_doctor.model.proof import Proof

PROOF = "flash-doctor/proof/1"
_SEVERITY = {Severity.ERROR: Style.BAD, Severity.WARNING: Style.WARN, Severity.INFO: Style.DIM}
LEVELS = {
    Level.NONE: "nothing was proved",
    Level.STATIC: "read, not run",
    Level.IMPORT: "it imports; no kernel was proved",
    Level.KERNEL: "its kernels compute right",
}
# TFLOP/s with one digit would show a CPU's as 0.0
_FINE = 10.0


def proof_document(proof: Proof, target: Target, entry: str, exit_code: int) -> dict[str, Any]:
    """The document of `verify`."""
    return {"schema": PROOF, "target": encode(target), "entry": entry, **encode(proof), "exit_code": exit_code}


def verdict_line(proof: Proof, entry: str) -> Line:
    """What was proved of which module."""
    style = {Blame.NOTHING: Style.GOOD, Blame.MACHINE: Style.WARN, Blame.LIBRARY: Style.BAD}[proof.blame]
    word = {Blame.NOTHING: "Verified", Blame.MACHINE: "Not verified", Blame.LIBRARY: "It fails"}[proof.blame]
    version = known(proof.library)
    return Line((span(word, style), span(f": {entry} {version or ''}, {LEVELS[proof.level]}.")))


def proof_lines(proof: Proof) -> tuple[Line, ...]:
    """Cases, speeds and findings."""
    return tuple(_proof(proof))


def _proof(proof: Proof) -> Iterator[Line]:
    if proof.devices:
        cases = count(proof.cases, "right answer")
        yield Line((span(f"{cases} on {', '.join(proof.devices)}, forward and backward against float32"),), first="  ")
    for speed in proof.speeds:
        digits = 1 if max(speed.library, speed.torch) >= _FINE else 3
        text = (
            f"{speed.library:.{digits}f} TFLOP/s, torch's own attention {speed.torch:.{digits}f}, "
            f"a matrix product {speed.ceiling:.{digits}f} (the chip's ceiling)"
        )
        yield Line((span(f"{speed.device}: "), span(text)), first="  ", rest="    ")
    for finding in proof.findings:
        yield from _finding(finding)


def _finding(finding: Finding) -> Iterator[Line]:
    text = (span(finding.code, _SEVERITY[finding.severity]), span(f" {finding.subject}: {finding.summary}"))
    yield Line(text, first="  ", rest="    ")
    yield from (Line((span(evidence, Style.DIM),), first="    - ", rest="      ") for evidence in finding.evidence)
    if finding.remedy:
        commands = tuple(Span(command, Style.COMMAND) for command in finding.remedy.commands)
        yield Line((span(finding.remedy.text), *commands), first="    Next: ", rest="      ")
