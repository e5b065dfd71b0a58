"""A command run as if we were not there: its output copied live, its signals passed on, its last words kept."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING

from flash_doctor.system.process import launch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import Popen  # noqa: TID251 the type only

_CHUNK = 65536
_REST = 1.0  # seconds to wait for output after a command ended


class OutputTail:
    """The last `limit` bytes of what passed by, whichever stream it came from."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._chunks: deque[bytes] = deque()
        self._lock = threading.Lock()

    def add(self, chunk: bytes) -> None:
        with self._lock:
            self._chunks.append(chunk)
            self._size += len(chunk)
            while self._size - len(self._chunks[0]) >= self._limit:
                self._size -= len(self._chunks.popleft())

    @property
    def text(self) -> bytes:
        with self._lock:
            return b"".join(self._chunks)[-self._limit :]


def pass_through(argv: tuple[str, ...], tail: OutputTail) -> int:
    """Run a command with our stdin, its output copied live to our stdout and stderr, and into `tail`.

    It sees a terminal where we have one. Its end as Popen tells it: negative for a signal.

    Raises:
        CommandFailed: it could not be started.
    """
    channels = [_Channel(1, tail), _Channel(2, tail)]
    with forwarded_signals() as hand_over:
        try:
            process = launch(argv, stdout=channels[0].theirs, stderr=channels[1].theirs)
        finally:
            for channel in channels:
                channel.start_copying()
        hand_over(process)
        returncode = process.wait()
    for channel in channels:
        channel.finish()
    return returncode


class _Channel:
    """One output of a command on its way to ours: a pipe, or a pseudo-terminal where ours is a terminal."""

    def __init__(self, ours: int, tail: OutputTail) -> None:
        self.ours, self._tail = ours, tail
        self._source, self.theirs = _terminal_like(ours) if os.isatty(ours) else os.pipe()
        self._thread = threading.Thread(target=self._copy, daemon=True)

    def start_copying(self) -> None:
        os.close(self.theirs)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the rest, but not for something that the command left behind and that holds the channel open."""
        self._thread.join(_REST)

    def _copy(self) -> None:
        # EIO is how a pseudo-terminal ends; EPIPE means that our reader has gone, and closing tells the command
        with contextlib.suppress(OSError):
            while chunk := os.read(self._source, _CHUNK):
                self._tail.add(chunk)
                while chunk:
                    chunk = chunk[os.write(self.ours, chunk) :]
        os.close(self._source)


def _terminal_like(ours: int) -> tuple[int, int]:
    """A pseudo-terminal of the size of our terminal that passes bytes on as they are: our end, the command's end."""
    import fcntl
    import pty
    import termios
    import tty

    source, theirs = pty.openpty()
    tty.setraw(theirs)
    size = fcntl.ioctl(ours, termios.TIOCGWINSZ, bytes(8))
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    return source, theirs


@contextlib.contextmanager
def forwarded_signals(*, own_session: bool = False) -> Iterator[Callable[[Popen[bytes]], None]]:
    """SIGTERM and SIGHUP go on to the command; Ctrl-C reaches it through the terminal, and must not end us first.

    In a session of its own it does not, and is passed on too.

    They are caught before the command starts: one that comes while it starts is handed over to it afterwards.
    """
    commands: list[Popen[bytes]] = []
    early: list[int] = []

    def forward(number: int, _frame: object) -> None:
        for process in commands:
            process.send_signal(number)
        if not commands:
            early.append(number)

    def hand_over(process: Popen[bytes]) -> None:
        commands.append(process)
        for number in early:
            process.send_signal(number)

    kept = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, forward),
        signal.SIGHUP: signal.signal(signal.SIGHUP, forward),
        signal.SIGINT: signal.signal(signal.SIGINT, forward if own_session or not os.isatty(0) else lambda *_: None),
    }
    try:
        yield hand_over
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
