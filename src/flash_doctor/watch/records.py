"""One log line of a trainer as a value, whatever dialect it is in."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flash_doctor.system.bounds import read_json
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flash_doctor.system.claims import Claimed


SHARE = "trainable share of tokens"
FINAL = "train_runtime"

_STEP = ("step", "global_step", "train/global_step", "current_steps", "_step")
_OF_ALL = "global_step/max_steps"  # ms-swift: "5/3766"
_EPOCH = ("epoch", "train/epoch")
_ALIASES = {"lr": "learning_rate", "train/lr": "learning_rate"}
# a dict with none of these is a configuration or something else that was printed
_TELLING = re.compile(r"loss|eval_.*loss|train_loss|grad_norm|reward|kl|entropy|train_runtime")
_WRAPPED = re.compile(r"[\w.]*\(\s*([^()\s,]+)[^()]*\)")  # np.float64(1.5), tensor(1.5, device='cuda:0')
_MOST_METRICS = 200
_LONGEST_NAME = 100
_LONGEST_EXCERPT = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """The metrics of one log line by the Trainer's names; NaN and infinities are values, and null is NaN.

    `excerpt` is the line itself, shortened: the evidence. `stream` tells the ranks of one log apart.
    """

    metrics: Mapping[str, float]
    step: int | None = None
    epoch: float | None = None
    excerpt: str = ""
    stream: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the Trainer printed it at its end."""
        return FINAL in self.metrics


def record_of(raw: Mapping[str, object], excerpt: str, stream: str = "") -> LogRecord | None:
    """A record of what was logged; None where these are no metrics of a training."""
    if len(raw) > _MOST_METRICS:
        return None
    numbers = {cut(str(key), _LONGEST_NAME): value for key, each in raw.items() if (value := number(each)) is not None}
    step, epoch = _first(numbers, _STEP), _first(numbers, _EPOCH)
    if step is None and _OF_ALL in raw:
        step = number(str(raw[_OF_ALL]).partition("/")[0])
    metrics = dict(_named(numbers))
    if not any(_TELLING.fullmatch(name) for name in metrics):
        return None
    return LogRecord(
        metrics=metrics,
        step=int(step) if step is not None and math.isfinite(step) else None,
        epoch=epoch if epoch is not None and math.isfinite(epoch) else None,
        excerpt=_shortened(excerpt),
        stream=stream,
    )


def number(value: object) -> float | None:
    """A number out of a number, its text, `np.float64(…)` or `tensor(…)`; null is NaN; None for anything else."""
    if value is None:
        return math.nan
    if isinstance(value, bool):
        return None
    try:
        return float(_unwrapped(value) if isinstance(value, str) else value)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return None


def _unwrapped(text: str) -> str:
    text = text.strip()
    match = _WRAPPED.fullmatch(text)
    text = match[1] if match else text
    return "nan" if text in {"None", "null"} else text


def _first(numbers: Mapping[str, float], names: tuple[str, ...]) -> float | None:
    return next((numbers[name] for name in names if name in numbers), None)


def _named(numbers: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """By the Trainer's names: wandb writes train/loss and eval/loss."""
    for name, value in numbers.items():
        if name in _STEP or name in _EPOCH:
            continue
        if name in _ALIASES:
            yield _ALIASES[name], value
        elif name.startswith("train/"):
            yield name.removeprefix("train/"), value
        elif name.startswith("eval/"):
            yield f"eval_{name.removeprefix('eval/')}", value
        else:
            yield name, value
    total = numbers.get("tokens/total", 0.0)
    if total > 0 and "tokens/trainable" in numbers:
        yield SHARE, numbers["tokens/trainable"] / total


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_EXCERPT else f"{text[: _LONGEST_EXCERPT - 1]}…"


# ESC [ … letter (colours, cursor) and ESC ] … BEL or ESC \ (titles, links)
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_DICT = re.compile(r"\{[^{}]{6,20000}\}")
_NUMBER = r"[-+]?(?:\d[\d.]*(?:[eE][-+]?\d+)?|\.\d+|nan|inf(?:inity)?)"
_PAIR = re.compile(
    r"""(['"])(?P<key>[^'"]{1,200})\1\s*:\s*"""
    rf"""(?:(?P<bare>{_NUMBER}|None|null|[\w.]+\([^()]*\))|(?P<quote>['"])(?P<text>[^'"]*)(?P=quote))\s*(?=[,}}])""",
    re.IGNORECASE,
)
# [rank3]: of PyTorch, [default3]: of torchrun, 3: of srun --label, (… pid=123) of Ray
_RANK = re.compile(r"\[(?:rank|default)\s?(\d{1,6})\]|^\s*(\d{1,6}):\s|\bpid=(\d{1,10})\b")
# the Trainer's own bar has no words before it
_BAR = re.compile(r"^\s*\d{1,3}%\|[^|]{0,200}\|\s*(\d{1,12})/(\d{1,12}) \[")
_LONGEST_BAR = 400
_WORDS = (b"loss", b"reward", b"train_runtime", b"grad_norm")


@dataclass
class LogReader:
    """Reads one log. What it keeps is the training's progress bar: printed records name no step, the bar does.

    `late`: the bar was at its end when the first record came, since what was printed was kept back: no step is known.
    """

    total: int | None = None
    bar: bytes = b""
    late: bool | None = None

    def records(self, lines: Iterable[bytes]) -> Iterator[LogRecord]:
        for line in lines:
            if b"%|" in line[:40]:
                self._bar(line)
            if b"{" in line and any(word in line for word in _WORDS):
                yield from self._found(line)

    def _bar(self, line: bytes) -> None:
        """The first bar's total is the training's, an evaluation has another; read only when its step is asked for."""
        if self.total is None:
            match = _BAR.match(_plain(line[:_LONGEST_BAR]))
            self.total = int(match[2]) if match else None
        if self.total is not None and b"/%d [" % self.total in line:
            self.bar = line[:_LONGEST_BAR]

    @property
    def step(self) -> int | None:
        match = None if self.late else _BAR.match(_plain(self.bar))
        return int(match[1]) if match else None

    def _found(self, line: bytes) -> Iterator[LogRecord]:
        text = _plain(line)
        begin = text.find("{")
        if begin < 0:  # it stood in a sequence that only colours
            return
        rank = _RANK.search(text[:begin][-200:])
        stream = next((group for group in rank.groups() if group), "") if rank else ""
        for raw, excerpt in _dicts(text[begin:]):
            record = record_of(raw, excerpt, stream)
            if record is None:
                continue
            if self.late is None:
                self.late = self.total not in (None, 1) and self.step == self.total and not record.is_final
            yield record if record.step is not None else replace(record, step=self.step)
            if record.is_final:
                self.total, self.bar, self.late = None, b"", None


def _plain(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return _ANSI.sub("", text) if "\x1b" in text else text


def _dicts(text: str) -> Iterator[tuple[Mapping[str, object], str]]:
    """A whole line of JSON, or each flat dict in it."""
    whole = _json(text) if text.rstrip().endswith("}") else None
    if whole is not None:
        yield whole, text
        return
    for match in _DICT.finditer(text):
        pairs = {pair["key"]: pair["bare"] or pair["text"] for pair in _PAIR.finditer(match[0])}
        yield pairs, match[0]


def _json(text: str) -> dict[str, object] | None:
    """An object, what is one level deeper in it brought up: loggers wrap their metrics."""
    try:
        return _accept(read_json(text, finite=False))
    except ValueError:
        return None


def _accept(claim: Claimed[Any]) -> dict[str, object] | None:
    data = claim.unproved()
    if not isinstance(data, dict):
        return None
    inner = [value for value in data.values() if isinstance(value, dict)]
    return {key: value for each in (data, *inner) for key, value in each.items() if not isinstance(value, dict)}
