"""Proofs, fixes and rollbacks as styled lines and as the documents of `verify`, `fix` and `rollback`."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from flash_doctor.model import known
from flash_doctor.model.outcome import Action, State
from flash_doctor.model.proof import Blame, Level
from flash_doctor.model.wheel import HashState
from flash_doctor.render.plan import hash_text, is_local, size_text
from flash_doctor.render.text import BLANK, Line, Span, Style, count, finding_lines, span
from flash_doctor.system.codec import encode
from flash_doctor.system.commands import called, command, in_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flash_doctor.model import CommandLine, Target
    from flash_doctor.model.outcome import Change, Outcome, PastFix, Rollback, Sheet
    from flash_doctor.model.proof import Proof
    from flash_doctor.system.commands import Program


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


OUTCOME = "flash-doctor/outcome/1"
ROLLBACK = "flash-doctor/rollback/1"
_DOUBTFUL = {HashState.FIRST_SEEN, HashState.CLAIMED}
_STYLES = {
    State.NOTHING: Style.GOOD,
    State.SHOWN: Style.STRONG,
    State.VERIFIED: Style.GOOD,
    State.UNVERIFIED: Style.WARN,
    State.RESTORED: Style.BAD,
}
_WORDS = {
    State.NOTHING: "Nothing to do",
    State.SHOWN: "Nothing was changed",
    State.VERIFIED: "Installed and verified",
    State.UNVERIFIED: "Installed, not verified",
    State.RESTORED: "Verification failed: the environment is as it was before",
}
# a change that was not run on a GPU is no proof, whoever asked for it
_IMPORTED = "Installed, and it imports; no kernel was run"


def outcome_document(outcome: Outcome, exit_code: int) -> dict[str, Any]:
    """The document of `fix`."""
    return {"schema": OUTCOME, **encode(outcome), "exit_code": exit_code}


def rollback_document(rollback: Rollback, exit_code: int) -> dict[str, Any]:
    """The document of `rollback`."""
    return {"schema": ROLLBACK, **encode(rollback), "exit_code": exit_code}


def sheet_lines(sheet: Sheet) -> tuple[Line, ...]:
    """What is about to be done."""
    return tuple(_sheet(sheet))


def _sheet(sheet: Sheet) -> Iterator[Line]:
    yield Line((span(f"{count(len(sheet.changes), 'change')} to "), span(str(sheet.target.python), Style.STRONG)))
    for number, change in enumerate(sheet.changes, 1):
        yield BLANK
        yield Line(tuple(_title(change)), first=f"{number:>3}  ", rest="     ")
        if change.source:
            yield Line((span(_file(change.source), Style.DIM),), first="     ", verbatim=True)
        for label, text in _details(change):
            style = Style.WARN if label == "hash" and change.hash_state in _DOUBTFUL else Style.PLAIN
            yield Line((span(f"{label:<6}", Style.DIM), span(text, style)), first="     ", rest=" " * 11)
    yield from _section("Why", sheet.because)
    yield from _section("Look at this as well", sheet.notes, Style.WARN)
    yield BLANK
    yield Line((span(_cost(sheet)),))


def _section(title: str, lines: Sequence[str], style: Style = Style.STRONG) -> Iterator[Line]:
    if lines:
        yield BLANK
        yield Line((Span(title, style),))
    yield from (Line((span(text),), first="  - ", rest="    ") for text in lines)


def _title(change: Change) -> Iterator[Span]:
    verb = {Action.REMOVE: "remove", Action.BUILD: "build"}.get(change.action, "replace" if change.old else "install")
    yield span(f"{verb} {change.name}", Style.STRONG)
    if change.old:
        yield span(f" {change.old}", Style.DIM if change.new else Style.STRONG)
    if change.action is not Action.REMOVE:
        yield span(f"{' by' if change.old else ''} {change.new or 'its newest version'}", Style.STRONG)


def _details(change: Change) -> Iterator[tuple[str, str]]:
    if change.source:
        size = f", {size_text(change.size)}" if change.size is not None else ""
        yield "from", f"{_place(change.source)}{size}"
    if change.source and change.hash_state:
        yield "hash", hash_text(change.sha256, change.hash_state, change.source)
    yield "why", change.because


def _file(source: str) -> str:
    return unquote(urlsplit(source).path.rpartition("/")[2])


def _place(source: str) -> str:
    """Where a file is fetched: the site and its project, or a folder of this machine."""
    parts = urlsplit(source)
    folder = unquote(parts.path.rpartition("/")[0])
    return folder if is_local(source) else "/".join((parts.netloc, *folder.split("/")[1:3]))


def _cost(sheet: Sheet) -> str:
    fetched = "A download of unknown size" if sheet.download is None else f"{size_text(sheet.download)} to download"
    if sheet.download == 0:
        fetched = "Nothing to download"
    built = f"; about {sheet.minutes} min to compile" if sheet.minutes else ""
    return f"{fetched}{built}. {sheet.installer} unpacks beside the environment; then files are swapped in one by one."


def outcome_lines(outcome: Outcome, program: Program) -> tuple[Line, ...]:
    """How it ended, with commands for who calls us `program`; the sheet is shown apart, before."""
    return tuple(_outcome(outcome, program))


def _outcome(outcome: Outcome, program: Program) -> Iterator[Line]:
    if outcome.sheet.changes:
        yield BLANK
    yield Line((span(_word(outcome), _STYLES[outcome.state]), Span(".")))
    yield from _proof(outcome)
    yield from (Line((span(text),), first="  refused: ", rest="    ") for text in outcome.refused)
    if outcome.seconds:
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in outcome.seconds.items())
        yield Line((span(f"Took: {stages}", Style.DIM),), first="  ", rest="  ")
    if outcome.receipt:
        yield Line((span(f"Receipt: {outcome.receipt}", Style.DIM),), first="  ", verbatim=True)
        yield Line((span(f"{size_text(outcome.kept)} of old files are kept. To undo:"),), first="  ", rest="  ")
        yield _command(command("{} rollback --python {}", called(program), _python(outcome)))
    if outcome.state is State.UNVERIFIED:
        yield Line((Span("  To prove it where the GPU is free:"),))
        yield _command(command("{} verify --python {}", called(program), _python(outcome)))


def _word(outcome: Outcome) -> str:
    imported = outcome.state is State.VERIFIED and outcome.proof and outcome.proof.level is Level.IMPORT
    return _IMPORTED if imported else _WORDS[outcome.state]


def _python(outcome: Outcome) -> Path:
    target = outcome.sheet.target
    return Path(target.given) if target.given else target.python


def _command(line: CommandLine | None) -> Line:
    return Line((span(in_sentence(line), Style.COMMAND),), first="      ", verbatim=True)


def _proof(outcome: Outcome) -> Iterator[Line]:
    """What was proved, or what stood against it; the reasons in short where there was no proof at all."""
    proof = outcome.proof
    if proof is None or not (proof.findings or proof.level is Level.KERNEL):
        yield from (Line((span(text),), first="  - ", rest="    ") for text in outcome.why)
        return
    if proof.level is Level.KERNEL:
        yield Line((span(f"{LEVELS[proof.level]}".capitalize()), Span(".")), first="  ", rest="  ")
    yield from agreement_lines(proof)
    yield from speed_lines(proof)
    for finding in proof.findings:
        # what to do next is said below, once
        told = replace(finding, remedy=None) if outcome.state is State.UNVERIFIED else finding
        yield from finding_lines(told)


def rollback_lines(rollback: Rollback) -> tuple[Line, ...]:
    """What was undone, or the list of what could be."""
    if rollback.undone:
        word = "Undone" if rollback.undone.finished else "Undone, a fix that had been cut off"
        done = Line((Span(word, Style.GOOD), span(f": {rollback.undone.title}.")), rest="  ")
        return (done, Line((Span("The environment is as it was before."),)))
    if not rollback.fixes:
        return (Line((Span("There is no fix that could be undone here."),)),)
    return (Line((Span("This can be undone:"),)), *_fixes(rollback.fixes))


def _fixes(fixes: Sequence[PastFix]) -> Iterator[Line]:
    for one in fixes:
        cut = "" if one.finished else "; it was cut off"
        text = (span(f"{_when(one.id)}  {one.title}"), span(cut, Style.WARN), span(f" ({size_text(one.kept)} kept)"))
        yield Line(text, first="  ", rest="    ")


def _when(fix: str) -> str:
    """The local time that a fix is named for; its name where that is no time."""
    try:
        return f"{datetime.datetime.strptime(fix[:15], '%Y%m%dT%H%M%S'):%Y-%m-%d %H:%M}"
    except ValueError:
        return fix


def bundle_lines(files: Sequence[Path], size: int, folder: Path, program: Program) -> tuple[Line, ...]:
    """What lies in a bundle, and what to do with it."""
    fix = command("{} fix --bundle {}", called(program), folder)
    return (
        Line((Span("Packed", Style.GOOD), span(f": {count(len(files), 'file')}, {size_text(size)}, in {folder}"))),
        *(Line((span(path.name),), first="  ", verbatim=True) for path in files),
        Line((Span("Carry the folder over, and there:"),)),
        Line((span(in_sentence(fix), Style.COMMAND),), first="    ", verbatim=True),
    )
