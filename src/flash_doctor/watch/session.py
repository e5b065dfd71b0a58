"""Watching: look at the files and the disk, judge what is new, tell it, until the run ends. Stays behind never."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import BROKEN, COULD_NOT_LOOK, HEALTHY
from flash_doctor.facts.watch import WatchFacts
from flash_doctor.model import Finding, Severity
from flash_doctor.model.watch import Moment, WatchEvent
from flash_doctor.watch.clock import World
from flash_doctor.watch.dedupe import PlacedFinding, Voices
from flash_doctor.watch.disk import DiskState
from flash_doctor.watch.end_of_run import End, RunActivity, WatchOptions
from flash_doctor.watch.files import StateSource, Subject
from flash_doctor.watch.folder import Folder
from flash_doctor.watch.messages import ended, started, unreadable
from flash_doctor.watch.trainer_files import Settings, TrainerState, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flash_doctor.watch.files import Source
    from flash_doctor.watch.records import LogRecord


@dataclass
class Watch:
    """One watch over some folders and files. `events` runs it; `exit_code` is what came out of it so far."""

    paths: Sequence[Path]
    facts: WatchFacts
    options: WatchOptions
    world: World
    told: Counter[Severity] = field(default_factory=Counter)
    unreadable: set[Path] = field(default_factory=set)
    grew: bool = False

    def __post_init__(self) -> None:
        self.subjects = [Subject(path=path) for path in self.paths]
        self.voices = Voices(facts=self.facts)
        self.folders: dict[Path, Folder] = {}
        self.ending = RunActivity(world=self.world, idle=self.options.idle, grew_at=self.world.monotonic())

    @property
    def exit_code(self) -> int:
        """BROKEN after an error was told; COULD_NOT_LOOK where no metric was seen at all."""
        if self.told[Severity.ERROR]:
            return BROKEN
        return HEALTHY if self.voices.logs else COULD_NOT_LOOK

    def events(self, is_wanted: Callable[[], bool] = lambda: True) -> Iterator[WatchEvent]:
        """Everything that happens, until the run ends or nobody wants to hear of it any more."""
        try:
            yield self._event(Moment.STARTED, self.paths[0], started(self._prepared(), self.options, self.world))
            end = None
            while end is None and is_wanted():
                yield from self._round()
                end = self._end()
                if end is None and not self._behind:
                    self.world.sleep(self.options.every)
            if end:
                yield from self._rest()
                yield self.ended(end)
        finally:
            for _, source in self._sources():
                source.close()

    def ended(self, end: End) -> WatchEvent:
        """The last event. Final metrics in what was read last are the better reason."""
        why = End.FINAL if end is End.GONE and self._has_final_metrics() else end
        return self._event(Moment.ENDED, self.paths[0], ended(why, self.voices, self.told, self.options))

    def _prepared(self) -> list[Folder]:
        for subject in self.subjects:
            self._folder(subject.folder)
        return list(self.folders.values())

    def _folder(self, path: Path) -> Folder:
        if path not in self.folders:
            disk = DiskState(red=self.options.red)
            self.folders[path] = Folder(path=path, disk=disk, shares_disk=self._shares_disk(path))
        return self.folders[path]

    def _shares_disk(self, path: Path) -> bool:
        devices = {known.stat().st_dev for known in self.folders if known.exists()}
        return path.exists() and path.stat().st_dev in devices

    def _sources(self) -> list[tuple[Subject, Source]]:
        return [(subject, source) for subject in self.subjects for source in list(subject.sources.values())]

    @property
    def _behind(self) -> bool:
        return any(source.behind for _, source in self._sources())

    def _has_final_metrics(self) -> bool:
        """Whether the file that was written last ends with the Trainer's final metrics: an older one may be stale."""
        sources = [source for _, source in self._sources()]
        newest = max(sources, key=lambda source: source.written, default=None)
        return newest is not None and self.voices.is_final(newest.path)

    def _end(self) -> End | None:
        if self.options.until_red and self.told[Severity.ERROR]:
            return End.RED
        if self._behind:
            return None
        if self.options.once:
            return End.ONCE
        paths = frozenset(source.path for _, source in self._sources())
        is_done = any(subject.is_done for subject in self.subjects)
        return self.ending.why(paths, grew=self.grew, is_final=self._has_final_metrics(), is_done=is_done)

    def _round(self) -> Iterator[WatchEvent]:
        """One look at everything; the disk first, since a finding there may be the last thing that can be told."""
        self.grew = False
        for subject in self.subjects:
            yield from self._disk(subject)
        for subject, source in self._sources():
            yield from self._new(subject, source)
            self.grew = self.grew or source.grew

    def _rest(self) -> Iterator[WatchEvent]:
        """What was written since the last look, a last line without an end, and the room by all that is known now."""
        for subject, source in self._sources():
            yield from self._new(subject, source)
            for record in source.last():
                yield from self._heard(subject, source, record)
        for subject in self.subjects:
            yield from self._disk(subject)

    def _new(self, subject: Subject, source: Source) -> Iterator[WatchEvent]:
        try:
            for record in source.new():
                yield from self._heard(subject, source, record)
        except OSError as error:
            yield from self._fault(source.path, error)
        except Unreadable as error:
            if self.options.once or (isinstance(source, StateSource) and source.is_given_up):
                yield from self._fault(source.path, error)

    def _heard(self, subject: Subject, source: Source, record: LogRecord) -> Iterator[WatchEvent]:
        for told in self.voices.hear(source.path, record, self._settings(subject)):
            yield self._event(Moment.FINDING, source.path, told.finding, told)

    def _settings(self, subject: Subject) -> Settings:
        """The run's arguments; for a log that is kept elsewhere those of another folder of this watch."""
        own = self.folders.get(subject.folder)
        known = [folder.settings for folder in (own, *self.folders.values()) if folder and folder.settings.values]
        return known[0] if known else Settings()

    def _disk(self, subject: Subject) -> Iterator[WatchEvent]:
        folder = self._folder(subject.folder)
        try:
            subject.look()
            for finding in folder.look(self.world, _state(subject), self.facts):
                moment = Moment.RECOVERED if finding.severity is Severity.INFO else Moment.FINDING
                yield self._event(moment, folder.path, finding)
        except OSError as error:
            yield from self._fault(folder.path, error)

    def _fault(self, path: Path, error: Exception) -> Iterator[WatchEvent]:
        """A file that cannot be read, told once."""
        if path not in self.unreadable:
            self.unreadable.add(path)
            yield self._event(Moment.FINDING, path, unreadable(path, error))

    def _event(self, moment: Moment, where: Path, finding: Finding, told: PlacedFinding | None = None) -> WatchEvent:
        if moment is Moment.FINDING:
            self.told[finding.severity] += 1
        return WatchEvent(
            at=self.world.now(),
            moment=moment,
            where=str(where),
            step=told.step if told else None,
            epoch=told.epoch if told else None,
            finding=finding,
        )


def _state(subject: Subject) -> TrainerState | None:
    return next((source.state for source in subject.sources.values() if isinstance(source, StateSource)), None)
