"""Many files and ranks, each judged as a series of its own; what two of them say of the same moment is told once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flash_doctor.facts.watch import WatchFacts
from flash_doctor.watch.judge import judge
from flash_doctor.watch.series import Series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.model import Finding
    from flash_doctor.watch.records import LogRecord
    from flash_doctor.watch.trainer_files import Settings

MOST_SERIES = 256  # of files and ranks; any further ones are not judged
_REMEMBERED = 256
_NEAR = 0.006  # of an epoch: the log shows it with two decimals, trainer_state.json with all


class _Heard(NamedTuple):
    code: str
    subject: str
    path: Path
    stream: str
    step: int
    epoch: float | None


class PlacedFinding(NamedTuple):
    """A finding, and where the run was."""

    finding: Finding
    step: int
    epoch: float | None


@dataclass
class Voices:
    """The series of all files, and the findings told last."""

    facts: WatchFacts
    series: dict[tuple[Path, str], Series] = field(default_factory=dict)
    heard: deque[_Heard] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def hear(self, path: Path, record: LogRecord, settings: Settings) -> Iterator[PlacedFinding]:
        """What is newly wrong by this record of that file, and was not told by another."""
        key = (path, record.stream)
        if key not in self.series and len(self.series) >= MOST_SERIES:
            return
        known = replace(self.series.get(key, Series()), settings=settings)
        series, findings = judge(known, record, self.facts)
        self.series[key] = series
        for finding in findings:
            entry = _Heard(finding.code, finding.subject, *key, series.step, series.epoch)
            if not any(_is_same(before, entry) for before in self.heard):
                yield PlacedFinding(finding, series.step, series.epoch)
            self.heard.append(entry)

    @property
    def logs(self) -> int:
        """Lines with metrics, in the file that has most of them."""
        return max((series.logs + len(series.evaluations) for series in self.series.values()), default=0)

    def is_final(self, path: Path) -> bool:
        """Whether that file's last line with metrics was the Trainer's last."""
        return any(series.final for (file, _), series in self.series.items() if file == path)


def _is_same(before: _Heard, now: _Heard) -> bool:
    """Whether another file or rank said the same of the same place of the run."""
    if (before.code, before.subject) != (now.code, now.subject):
        return False
    if (before.path, before.stream) == (now.path, now.stream):
        return False
    if before.epoch is not None and now.epoch is not None:
        return abs(before.epoch - now.epoch) <= _NEAR
    return before.step == now.step
