"""A run's folder: the disk it is on, its checkpoints, and the arguments the Trainer saved with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.watch.disk import DiskState, Saved, Space, judge_disk, judge_saved
from flash_doctor.watch.trainer_files import (
    ARGUMENTS,
    Checkpoint,
    Settings,
    TrainerState,
    Unreadable,
    checkpoints,
    read_settings,
    size_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts.watch import WatchFacts
    from flash_doctor.model import Finding
    from flash_doctor.watch.clock import World


@dataclass
class Folder:
    """One folder; `shares_disk`: another folder of this watch is on the same disk and tells of it."""

    path: Path
    disk: DiskState
    shares_disk: bool = False
    told: frozenset[str] = frozenset()
    newest: Checkpoint | None = None
    bytes: int = 0
    settings: Settings = field(default_factory=Settings)

    def look(self, world: World, state: TrainerState | None, facts: WatchFacts) -> Iterator[Finding]:
        """What has changed on the disk and among the checkpoints.

        Raises:
            OSError: the file system cannot be asked.
        """
        yield from self._checkpoints(world, state, facts)
        if not self.shares_disk:
            at, space = world.monotonic(), self.space(world)
            self.disk, found = judge_disk(self.disk, at, space, str(self.path), facts)
            yield from found

    def space(self, world: World) -> Space:
        """The room on the disk that the folder is on, or will be on."""
        place = next((path for path in (self.path, *self.path.absolute().parents) if path.exists()), self.path)
        return world.space(place)

    def _checkpoints(self, world: World, state: TrainerState | None, facts: WatchFacts) -> Iterator[Finding]:
        known = checkpoints(self.path)
        whole = [each for each in known if each.complete]
        if not whole:
            return
        if whole[-1] != self.newest:
            self._measure(whole[-1])
        saved = Saved(
            present=len(known),
            bytes=self.bytes,
            is_adapter=(whole[-1].path / "adapter_config.json").is_file(),
            step=whole[-1].step,
            max_steps=state.max_steps if state else self.settings.whole("max_steps"),
            save_steps=self._spacing(whole, state),
            settings=self.settings,
        )
        self.told, found = judge_saved(self.told, saved, self.space(world), str(self.path), facts)
        yield from found

    def _spacing(self, whole: list[Checkpoint], state: TrainerState | None) -> int | None:
        """Steps between two checkpoints, as they are; save_steps says nothing where each epoch is saved."""
        if len(whole) > 1:
            return whole[-1].step - whole[-2].step
        if self.settings.text("save_strategy") in ("", "steps"):
            return state.save_steps if state else self.settings.whole("save_steps")
        return None

    def _measure(self, checkpoint: Checkpoint) -> None:
        """Once for each checkpoint; arguments that cannot be read leave those of the one before."""
        self.newest, self.bytes = checkpoint, size_of(checkpoint.path)
        try:
            self.settings = read_settings(checkpoint.path / ARGUMENTS)
        except (OSError, Unreadable):
            return
