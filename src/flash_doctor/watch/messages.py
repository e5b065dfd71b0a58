"""The words at the beginning and at the end of a watch, and for what could not be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model import Finding, Remedy, Severity
from flash_doctor.model.explanation import Meaning
from flash_doctor.watch.end_of_run import End
from flash_doctor.watch.findings import duration, plain, size

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from pathlib import Path

    from flash_doctor.watch.clock import World
    from flash_doctor.watch.dedupe import Voices
    from flash_doctor.watch.end_of_run import WatchOptions
    from flash_doctor.watch.folder import Folder

MEANINGS = (
    Meaning(
        code="W-started",
        title="Watching has begun.",
        cause="Says what is watched, how often, and how full its disk is. It is no fault.",
        remedy="",
    ),
    Meaning(
        code="W-ended",
        title="Watching has ended.",
        cause="Says why, how much was told meanwhile, and where the loss began and ended. It is a warning when the "
        "run's process has gone without its final metrics, or when no metrics were ever found.",
        remedy="Where the run ended too soon: `flash-doctor explain LOG` names the cause in its log.",
    ),
    Meaning(
        code="W-unreadable",
        title="A file or disk of the run cannot be read.",
        cause="What it would say is not known; the rest is watched on. It is looked at again when it changes.",
        remedy="Check that the file is there, and that you may read it.",
    ),
)
_WORDS = {
    End.FINAL: "the run has ended with its final metrics",
    End.GONE: "the process that wrote here has gone without final metrics: it was stopped, or it crashed",
    End.ONCE: "all that is there was read",
    End.RED: "ended at the first error, as --until-red asks",
    End.STOPPED: "stopped",
}


def started(folders: Sequence[Folder], options: WatchOptions, world: World) -> Finding:
    """What is watched, and how full its disk is."""
    rooms = [_room(folder, world) for folder in folders if not folder.shares_disk]
    how = "once" if options.once else f"every {duration(options.every)}"
    return Finding(
        code="W-started",
        severity=Severity.INFO,
        subject=", ".join(str(folder.path) for folder in folders),
        summary=f"watched {how}; {'; '.join(rooms)}",
        evidence=(),
    )


def _room(folder: Folder, world: World) -> str:
    try:
        space = folder.space(world)
    except OSError as error:
        return f"the disk could not be looked at: {error}"
    return f"disk {space.share:.0%} used, {size(space.free)} free"


def ended(end: End, voices: Voices, told: Counter[Severity], options: WatchOptions) -> Finding:
    """Why watching ends, and what came of it."""
    why = _WORDS.get(end) or f"nothing new for {duration(options.idle)}: the run is taken as ended"
    numbers = f"{_counted(told[Severity.ERROR], 'error')}, {_counted(told[Severity.WARNING], 'warning')}"
    seen = f"{numbers} in {_counted(voices.logs, 'log')}" if voices.logs else "no metrics of a training were found"
    crashed = end is End.GONE
    return Finding(
        code="W-ended",
        severity=Severity.WARNING if crashed or not voices.logs else Severity.INFO,
        subject="watch",
        summary=f"{why}; {seen}",
        evidence=tuple(_course(voices)),
        remedy=Remedy(text="`flash-doctor explain LOG` names the cause of an error in a log") if crashed else None,
    )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _course(voices: Voices) -> list[str]:
    """Where the loss began and where it ended, in the file with the most of it."""
    series = max(voices.series.values(), key=lambda series: len(series.newest), default=None)
    if series is None or not series.newest:
        return []
    return [f"loss {plain(series.first[0])} at first, {plain(series.newest[-1])} at step {series.step}"]


def unreadable(path: Path, error: Exception) -> Finding:
    """A file or disk of the run that cannot be looked at: what it would say is not known."""
    return Finding(
        code="W-unreadable",
        severity=Severity.WARNING,
        subject=path.name,
        summary="cannot be read, so what it would say is not known",
        evidence=(str(error),),
        remedy=Remedy(text="check the file and who may read it; it is looked at again when it changes"),
    )
