"""What the Trainer writes into its folder: trainer_state.json, checkpoints, and its arguments in training_args.bin."""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.system.archive import open_zip, read_member
from flash_doctor.system.bounds import read_json
from flash_doctor.watch.records import LogRecord, record_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.system.claims import Claimed

STATE = "trainer_state.json"
ARGUMENTS = "training_args.bin"
_CHECKPOINT = re.compile(r"checkpoint-(\d{1,12})")
# a run of 200,000 logged steps: it takes 200 MB of memory
_MOST_BYTES = 128 * 1024 * 1024
_MOST_VALUES = 4_000_000
_MOST_ARGUMENTS = 4 * 1024 * 1024
_WANTED = frozenset(
    {
        "save_total_limit",
        "save_steps",
        "save_strategy",
        "max_steps",
        "lr_scheduler_type",
        "eval_strategy",
        "evaluation_strategy",
        "eval_steps",
        "load_best_model_at_end",
        "fp16",
        "max_completion_length",
    }
)
# instructions of a pickle: constants; those that note the newest value; those that make an object of it
_SCALARS = {"NEWTRUE": True, "NEWFALSE": False, "NONE": None}
_STORING = frozenset({"BINPUT", "LONG_BINPUT", "MEMOIZE"})
_MAKING = frozenset({"TUPLE1", "REDUCE"})
_CLASS, _OTHER = object(), object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint folder; `complete` once its trainer_state.json is there, which is written last but little."""

    path: Path
    step: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerState:
    """trainer_state.json: the history of what was logged, and where the run stands."""

    history: tuple[LogRecord, ...]
    step: int | None
    max_steps: int | None
    save_steps: int | None


class Unreadable(ValueError):
    """A file of the Trainer that is half written, damaged, or none of its files."""


def checkpoints(folder: Path) -> list[Checkpoint]:
    """The checkpoints of a run, oldest first."""
    found = [(int(match[1]), path) for path in _entries(folder) if (match := _CHECKPOINT.fullmatch(path.name))]
    return [
        Checkpoint(path=path, step=step, complete=(path / STATE).is_file())
        for step, path in sorted(found)
        if path.is_dir()
    ]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def size_of(folder: Path) -> int:
    """Bytes of the files in a checkpoint, of which the last may be gone before they are looked at."""
    return sum(map(_size, folder.rglob("*")))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def read_state(path: Path) -> TrainerState:
    """A run's trainer_state.json.

    Raises:
        Unreadable: it is being written, damaged, too large, or has no log_history.
        OSError: it cannot be read.
    """
    if path.stat().st_size > _MOST_BYTES:
        message = f"{path} is larger than {_MOST_BYTES // 1024 // 1024} MiB"
        raise Unreadable(message)
    try:
        return _accept(read_json(path, limit=_MOST_BYTES, values=_MOST_VALUES, finite=False))
    except ValueError as error:
        message = f"{path} is not whole JSON: {error}"
        raise Unreadable(message) from error


def _accept(claim: Claimed[Any]) -> TrainerState:
    data = claim.unproved()
    history = data.get("log_history") if isinstance(data, dict) else None
    if not isinstance(history, list):
        message = f"{claim.origin} has no log_history: it is not a Trainer's state"
        raise Unreadable(message)
    return TrainerState(
        history=tuple(_records(history)),
        step=_whole(data.get("global_step")),
        max_steps=_whole(data.get("max_steps")) or None,
        save_steps=_whole(data.get("save_steps")) or None,
    )


def _records(history: list[Any]) -> Iterator[LogRecord]:
    for entry in history:
        record = record_of(entry, str(entry)) if isinstance(entry, dict) else None
        if record:
            yield record


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is known of a run's TrainingArguments; an empty mapping where no training_args.bin was found."""

    values: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def whole(self, name: str) -> int | None:
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        return int(value)

    def text(self, name: str) -> str:
        value = self.values.get(name)
        return value if isinstance(value, str) else ""

    def is_on(self, name: str) -> bool:
        return self.values.get(name) is True

    @property
    def evaluates(self) -> bool:
        return (self.text("eval_strategy") or self.text("evaluation_strategy") or "no") != "no"


def read_settings(path: Path) -> Settings:
    """The run's arguments. The pickle is read as a list of instructions, none of which is carried out.

    Raises:
        Unreadable: it is no file that torch.save wrote, is being written, or cannot be read.
    """
    try:
        with open_zip(path) as archive:
            name = next((name for name in archive.namelist() if name.endswith("data.pkl")), "")
            return Settings(values=dict(_arguments(read_member(archive, name, _MOST_ARGUMENTS))))
    except ValueError as error:
        message = f"{path} cannot be read: {error}"
        raise Unreadable(message) from error


def _arguments(pickled: bytes) -> Iterator[tuple[str, Any]]:
    """Each wanted name and the scalar behind it; an enumeration's is the text it is made of."""
    memo: dict[int, Any] = {}
    wanted, last = "", _OTHER
    for instruction, argument, _ in pickletools.genops(pickled):
        code = instruction.name
        if code in _STORING:
            memo[argument if argument is not None else len(memo)] = last
        elif code not in _MAKING:
            last = _pushed(code, argument, memo)
            if wanted and last is not _CLASS:
                if last is not _OTHER:
                    yield wanted, last
                wanted = ""
            elif isinstance(last, str) and last in _WANTED:
                wanted = last


def _pushed(code: str, argument: Any, memo: Mapping[int, Any]) -> Any:
    """What an instruction puts on the stack: a scalar, a class, or something else."""
    if code in _SCALARS:
        return _SCALARS[code]
    if code.endswith("BINGET"):
        return memo.get(argument, _OTHER)
    if code == "GLOBAL":
        return _CLASS
    return argument if isinstance(argument, (str, int, float)) else _OTHER
