"""Stand-ins that fulfil an interface of ours; nothing is patched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flash_doctor.abi.buffer import Buffer
from flash_doctor.errors import CommandFailed
from flash_doctor.system.process import Command, Completed

if TYPE_CHECKING:
    from flash_doctor.install.context import Tick
    from flash_doctor.model.outcome import Sheet


@dataclass
class Answer:
    """A run that already ended (or failed) the way the table says."""

    completed: Completed | CommandFailed

    def wait(self) -> Completed:
        if isinstance(self.completed, CommandFailed):
            raise self.completed
        return self.completed


@dataclass
class TableRunner:
    """Answers each command by the first rule whose word occurs in its argv; anything else "could not be started"."""

    rules: dict[str, Completed | CommandFailed | Callable[[Command], Completed]] = field(default_factory=dict)
    seen: list[Command] = field(default_factory=list)

    def start(self, command: Command) -> Answer:
        self.seen.append(command)
        for word, answer in self.rules.items():
            if any(word in argument for argument in command.argv):
                return Answer(answer(command) if callable(answer) else answer)
        return Answer(CommandFailed(f"{command.argv[0]} could not be started: not in the table"))

    def run(self, command: Command) -> Completed:
        return self.start(command).wait()


def printed(text: str, returncode: int = 0, errors: str = "") -> Completed:
    return Completed(returncode=returncode, stdout=text.encode(), stderr=errors.encode())


@dataclass
class CountingBuffer:
    """Counts the bytes that were looked at: what "reads little of a large file" means, without a clock."""

    inner: Buffer
    looked_at: int = 0

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, where: slice, /) -> bytes:
        found = self.inner[where]
        self.looked_at += len(found)
        return found

    def find(self, wanted: bytes, start: int, end: int, /) -> int:
        found = self.inner.find(wanted, start, end)
        self.looked_at += (end if found < 0 else found) - start
        return found


class SilentInteraction:
    """A user who agrees to everything, trusts no unknown file, and is told nothing."""

    def agree(self, sheet: Sheet) -> bool:
        return True

    def trust(self, url: str, sha256: str, size: int) -> bool:
        return False

    def note(self, text: str) -> None:
        pass

    @contextmanager
    def working(self, what: str, unit: str = "") -> Iterator[Tick]:
        yield _ignore


def _ignore(done: int, whole: int | None) -> None:
    pass
