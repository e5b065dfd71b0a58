"""Ctrl-C, a lost terminal and `kill` all end a treatment by exception, so that it is undone; the undoing goes on."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def _interrupt(number: int, frame: object) -> None:  # noqa: ARG001 as signal calls it
    raise KeyboardInterrupt


@contextmanager
def _handled(handler: Callable[[int, object], None] | signal.Handlers) -> Iterator[None]:
    """Only the main thread may set handlers; what was ignored from the start (nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in _ENDING if signal.getsignal(number) not in {signal.SIG_IGN, None}]
    before: dict[signal.Signals, Any] = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
