"""Lines of a log to records: the Trainer's dicts and JSON lines among progress bars, colours and other ranks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flash_doctor.preflight.watch.records import Record, record_of
from flash_doctor.system.bounds import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from flash_doctor.system.claims import Claimed

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

    def records(self, lines: Iterable[bytes]) -> Iterator[Record]:
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

    def _found(self, line: bytes) -> Iterator[Record]:
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
