"""The same work for many items at once, in threads that nobody has to wait for."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Sequence[T], *, limit: int, patience: float) -> Iterator[R]:
    """The results as they come, `limit` of the items at a time.

    Ends early where `patience` seconds bring no result. The threads are daemons, unlike those of an executor: an
    interrupted program ends at once.
    """
    waiting: SimpleQueue[T] = SimpleQueue()
    done: SimpleQueue[R] = SimpleQueue()
    for item in items:
        waiting.put(item)

    def worker() -> None:
        with suppress(Empty):
            while True:
                done.put(work(waiting.get_nowait()))

    for _ in range(min(limit, len(items))):
        Thread(target=worker, daemon=True).start()
    with suppress(Empty):
        for _ in items:
            yield done.get(timeout=patience)
