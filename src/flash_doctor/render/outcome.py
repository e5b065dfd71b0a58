"""Treatments as styled lines and documents: what would be done, what was done, what was rolled back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flash_doctor.codec import encode
from flash_doctor.model.outcome import Action, State
from flash_doctor.model.wheel import HashState
from flash_doctor.render.proof import LEVELS, proof_lines
from flash_doctor.render.text import Line, Span, Style, count, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from flash_doctor.model.outcome import Change, Outcome, PastFix, Rollback, Sheet

OUTCOME = "flash-doctor/outcome/1"
ROLLBACK = "flash-doctor/rollback/1"
_MIB = 1 << 20
_SIGNS = {Action.INSTALL: "+", Action.BUILD: "*", Action.REMOVE: "-"}
_HASHES = {
    HashState.PINNED: "sha256 pinned",
    HashState.PUBLISHED: "sha256 from the index",
    HashState.FIRST_SEEN: "no sha256 published: it will be shown after the download",
}
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


def outcome_document(outcome: Outcome, exit_code: int) -> dict[str, Any]:
    """The document of `fix`."""
    return {"schema": OUTCOME, **encode(outcome), "exit_code": exit_code}


def rollback_document(rollback: Rollback, exit_code: int) -> dict[str, Any]:
    """The document of `rollback`."""
    return {"schema": ROLLBACK, **encode(rollback), "exit_code": exit_code}


def sheet_lines(sheet: Sheet) -> tuple[Line, ...]:
    """What is about to be done."""
    return (
        Line((Span("Treating "), span(str(sheet.target.python), Style.STRONG)), verbatim=True),
        *(line for change in sheet.changes for line in _change(change)),
        *_cost(sheet),
        *(Line((span(text, Style.DIM),), first="  because ", rest="    ") for text in sheet.because),
        *(Line((span(text),), first="  note: ", rest="    ") for text in sheet.notes),
    )


def _change(change: Change) -> Iterator[Line]:
    old = change.old or "not there"
    new = "away" if change.action is Action.REMOVE else change.new or "its newest version"
    verb = ", compiled here" if change.action is Action.BUILD else ""
    text = (span(f"{change.name} ", Style.STRONG), span(f"{old} -> {new}{verb}"))
    yield Line(text, first=f"  {_SIGNS[change.action]} ", rest="      ")
    yield Line((span(change.because, Style.DIM),), first="      ", rest="      ")
    if change.source:
        yield Line((span(change.source, Style.DIM),), first="      from ", verbatim=True)
    if change.hash_state:
        warn = Style.WARN if change.hash_state is HashState.FIRST_SEEN else Style.DIM
        size = f"{size_text(change.size)}, " if change.size is not None else ""
        known = f" ({change.sha256[:16]}…)" if change.sha256 else ""
        yield Line((span(f"{size}{_HASHES[change.hash_state]}{known}", warn),), first="      ", rest="      ")


def _cost(sheet: Sheet) -> Iterator[Line]:
    fetched = "a download of unknown size" if sheet.download is None else f"{size_text(sheet.download)} to fetch"
    if sheet.download == 0:
        fetched = "nothing to fetch"
    built = f", about {sheet.minutes} min to compile" if sheet.minutes else ""
    yield Line((span(f"{fetched}{built}; unpacked by {sheet.installer}, then swapped in file by file"),), first="  ")


def size_text(size: int) -> str:
    """Bytes for people."""
    return f"{size / _MIB:.0f} MiB" if size >= 10 * _MIB else f"{size / 1024:.0f} KiB"


def outcome_lines(outcome: Outcome) -> tuple[Line, ...]:
    """How it ended; the sheet is shown apart, before."""
    return tuple(_outcome(outcome))


def _outcome(outcome: Outcome) -> Iterator[Line]:
    yield Line((span(_WORDS[outcome.state], _STYLES[outcome.state]), Span(".")))
    yield from (Line((span(text),), first="  - ", rest="    ") for text in outcome.why)
    yield from (Line((span(text),), first="  refused: ", rest="    ") for text in outcome.refused)
    if outcome.proof is not None:
        yield Line((span(f"proof: {LEVELS[outcome.proof.level]}"),), first="  ", rest="  ")
        yield from proof_lines(outcome.proof) if outcome.proof.devices else ()
    if outcome.seconds:
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in outcome.seconds.items())
        yield Line((span(stages, Style.DIM),), first="  ", rest="  ")
    if outcome.receipt:
        yield Line((span(f"receipt: {outcome.receipt}", Style.DIM),), first="  ", verbatim=True)
        yield Line((Span("  Undo: "), Span("flash-doctor rollback", Style.COMMAND), *_kept(outcome.kept)))
    if outcome.state is State.UNVERIFIED:
        yield Line((Span("  Prove it where the GPU is free: "), Span("flash-doctor verify", Style.COMMAND)))


def _kept(size: int) -> tuple[Span, ...]:
    return (span(f" ({size_text(size)} of old files are kept for it)", Style.DIM),)


def rollback_lines(rollback: Rollback) -> tuple[Line, ...]:
    """What was undone, or the list of what could be."""
    if rollback.undone:
        word = "A fix" if rollback.undone.finished else "A fix that had been cut off"
        done = Line((Span(f"{word} was undone", Style.GOOD), span(f": {rollback.undone.title}.")))
        return (done, Line((Span("The environment is as it was before it."),)))
    if not rollback.fixes:
        return (Line((Span("There is no fix that could be undone here."),)),)
    return (Line((span(count(len(rollback.fixes), "fix").replace("fixs", "fixes")),)), *_fixes(rollback.fixes))


def _fixes(fixes: Sequence[PastFix]) -> Iterator[Line]:
    for one in fixes:
        cut = "" if one.finished else "  cut off: flash-doctor rollback undoes it"
        yield Line(
            (span(f"{one.id}  {one.title}  ({size_text(one.kept)} kept)"), span(cut, Style.WARN)),
            first="  ",
            rest="    ",
        )


def bundle_lines(files: Sequence[Path], size: int, folder: Path) -> tuple[Line, ...]:
    """What lies in a bundle, and what to do with it."""
    return (
        Line((Span("Packed", Style.GOOD), span(f": {count(len(files), 'file')}, {size_text(size)}, in {folder}."))),
        *(Line((span(path.name),), first="  ", verbatim=True) for path in files),
        Line((Span("Carry it over, and there: "), Span(f"flash-doctor fix --bundle {folder}", Style.COMMAND))),
    )
