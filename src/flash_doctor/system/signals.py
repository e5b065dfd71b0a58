"""Ctrl-C, a lost terminal and `kill`: they end by exception, so that what was begun is undone, or wait a moment."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending_by_exception() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does."""
    with _handled(_interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let nothing but SIGKILL and the power switch end what is inside; even then the journal brings it back."""
    with _handled(signal.SIG_IGN):
        yield


@contextmanager
def postponed() -> Iterator[None]:
    """What comes inside is heard at the end of the block, so that what is made there is not lost half made."""
    heard: list[int] = []
    try:
        with _handled(lambda number, _: heard.append(number), (*_ENDING, signal.SIGALRM)):
            yield
    finally:
        for number in heard:
            signal.raise_signal(number)


def _interrupt(number: int, frame: object) -> None:  # noqa: ARG001 as signal calls it
    raise KeyboardInterrupt


@contextmanager
def _handled(
    handler: Callable[[int, object], None] | signal.Handlers, numbers: Sequence[signal.Signals] = _ENDING
) -> Iterator[None]:
    """Only the main thread may set handlers; what was ignored from the start (nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in numbers if signal.getsignal(number) not in {signal.SIG_IGN, None}]
    before: dict[signal.Signals, Any] = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
