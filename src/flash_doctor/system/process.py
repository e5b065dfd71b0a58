"""What the kernel tells of a process, by its number: whether it waited for a core, whether it is still there."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from flash_doctor.errors import CommandFailed, TimedOut
from flash_doctor.system.foreign import Account
from flash_doctor.system.paths import absolute_entries, find_program
from flash_doctor.system.scratch import empty_folder
from flash_doctor.system.signals import postponed


def queued(pid: int) -> float:
    """Seconds for which a process was ready to run and got no core; 0 where the kernel does not count them."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def survives(pid: int, seconds: float) -> bool:
    """Whether a child of ours that was sent SIGKILL is still there after so many seconds."""
    deadline = time.monotonic() + seconds
    while _is_alive(pid):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.05)
    return False


def _is_alive(pid: int) -> bool:
    """A child that ended and was not waited for keeps its number, as a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in {"Z", "X"}


_CHUNK = 65536
# seconds between two looks at a child whose pipe stays open, and for what it left in the pipe
_GRACE, _LINGER = 0.5, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run: `timeout` in seconds, `limit` bytes kept of each stream.

    `environment`: variables added to ours; None takes one away.
    `cwd`: where it runs; None is an empty folder of ours, never the user's current one.
    `alone`: what it leaves running in its session when it ends is ended too.
    `account`: whom it runs as, when we are root.
    `watch` gets each piece of stdout and stderr as it comes, in a thread of its own: for progress, never for results.
    """

    argv: tuple[str, ...]
    timeout: float = 30.0
    limit: int = 16 * 1024 * 1024
    stdin: bytes = b""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    cwd: Path | None = None
    watch: Callable[[bytes], None] | None = None
    alone: bool = False
    account: Account | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How it ended: `returncode` is negative for a signal; `truncated` when a stream passed its limit."""

    returncode: int
    stdout: bytes
    stderr: bytes
    truncated: bool = False

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")

    @property
    def errors(self) -> str:
        return self.stderr.decode("utf-8", "replace")


class Running(Protocol):
    """A started command; `wait` gives its end once, within its time limit."""

    def wait(self) -> Completed: ...


class Runner(Protocol):
    """Starts commands. `SystemRunner` does it for real; tests have classes that answer from a table."""

    def start(self, command: Command) -> Running: ...

    def run(self, command: Command) -> Completed: ...


def _program(name: str) -> str:
    found = name if name.startswith(os.sep) else find_program(name)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "it is in no folder that PATH names in full", name)
    return str(found)


def _environment(command: Command) -> dict[str, str]:
    """The child's variables; what PATH and PYTHONPATH say of the current folder is left out."""
    changed = {**os.environ, **command.environment}
    kept = {name: value for name, value in changed.items() if value is not None}
    for name in kept.keys() & {"PATH", "PYTHONPATH"}:
        kept[name] = absolute_entries(kept[name])
    return kept


class _PipeReader(threading.Thread):
    """Drains one pipe, so that a child is never blocked by the other; keeps at most `limit` bytes."""

    def __init__(self, stream: IO[bytes], command: Command) -> None:
        super().__init__(daemon=True)
        self.stream, self.limit, self.watch = stream, command.limit, command.watch
        self.kept = bytearray()
        self.truncated = False
        self.start()

    def run(self) -> None:
        with self.stream:
            while chunk := self.stream.read1(_CHUNK):  # type: ignore[attr-defined]
                room = self.limit - len(self.kept)
                self.kept += chunk[:room]
                self.truncated = self.truncated or len(chunk) > room
                if self.watch:
                    self.watch(chunk)


class _Child:
    """One child process with both pipes drained; abandoned, not waited for, when even SIGKILL does not end it."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.deadline = time.monotonic() + command.timeout
        try:
            self.process = subprocess.Popen(
                (_program(command.argv[0]), *command.argv[1:]),
                stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(command),
                cwd=command.cwd or empty_folder(),
                start_new_session=True,
                **_as(command.account),
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            message = f"{command.argv[0]} could not be started: {error}"
            raise CommandFailed(message) from error
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.out = _PipeReader(self.process.stdout, command)
        self.err = _PipeReader(self.process.stderr, command)
        if command.stdin:
            threading.Thread(target=self._feed, daemon=True).start()

    def _feed(self) -> None:
        assert self.process.stdin is not None
        # a child may end without reading all of it: its exit code tells
        with contextlib.suppress(OSError), self.process.stdin as pipe:
            pipe.write(self.command.stdin)

    def _left(self) -> float:
        """Seconds until the time limit."""
        return max(0.0, self.deadline - time.monotonic())

    def wait(self) -> Completed:
        try:
            for reader in (self.out, self.err):
                self._follow(reader)
            returncode = self.process.wait(self._left())
        except subprocess.TimeoutExpired:
            waited = queued(self.process.pid)
            lingering = None if self._abandon() else self.process.pid
            message = f"{self.command.argv[0]} did not end within {self.command.timeout:g} seconds"
            raise TimedOut(message, bytes(self.out.kept), lingering=lingering, queued=waited) from None
        except KeyboardInterrupt:
            self._abandon()
            raise
        if self.command.alone:
            self._end_session()
        # A grandchild may hold the pipes open for ever; what was printed until now is what counts.
        for reader in (self.out, self.err):
            reader.join(_LINGER)
        return Completed(
            returncode=returncode,
            stdout=bytes(self.out.kept),
            stderr=bytes(self.err.kept),
            truncated=self.out.truncated or self.err.truncated,
        )

    def signal(self, number: int) -> None:
        """Send a signal to the whole session, if it still runs."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)

    def ended(self, within: float) -> bool:
        """Whether it has ended, waiting for that at most so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(within)
        return self.process.returncode is not None

    def _follow(self, reader: _PipeReader) -> None:
        """Until the pipe ends, which wakes us at once, or the child does, whose pipe a grandchild may hold.

        Popen.wait with a time limit would sleep up to 50 ms between two looks.
        """
        while reader.is_alive() and self._left() and self.process.poll() is None:
            reader.join(min(_GRACE, self._left()))

    def _end_session(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _abandon(self) -> bool:
        """Kill the whole session; a process in uninterruptible sleep stays and is not waited for: False then."""
        self._end_session()
        try:
            self.process.wait(0.2)
        except subprocess.TimeoutExpired:
            # Popen would warn when collected; a process that SIGKILL cannot end is init's to reap
            self.process.returncode = -signal.SIGKILL
            return False
        return True


class SystemRunner:
    """Runs commands on this machine."""

    def start(self, command: Command) -> Running:
        return _Child(command)

    def run(self, command: Command) -> Completed:
        return self.start(command).wait()


class EndingRunner(SystemRunner):
    """In a `with` block: what still runs when the block is left is ended, whichever thread waits for it.

    It may tidy up first: srun cancels its step on SIGTERM, and would leave it behind on SIGKILL.
    """

    patience = 3.0  # seconds for all of them together

    def __init__(self) -> None:
        self.children: list[_Child] = []
        self.lock = threading.Lock()
        self.over = False

    def start(self, command: Command) -> Running:
        with self.lock:
            if self.over:
                message = f"{command.argv[0]} was not started: the program is ending"
                raise CommandFailed(message)
            self.children = [child for child in self.children if child.process.returncode is None]
            # an interruption between the start and the list would leave a child that nobody ends
            with postponed():
                self.children.append(_Child(command))
            return self.children[-1]

    def __enter__(self) -> EndingRunner:
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + self.patience
        with self.lock:
            self.over = True
        try:
            for child in self.children:
                child.signal(signal.SIGTERM)
            for child in self.children:
                child.ended(max(0.0, deadline - time.monotonic()))
        finally:
            for child in self.children:
                child.signal(signal.SIGKILL)


def _as(account: Account | None) -> dict[str, Any]:
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": account.groups}


def launch(
    argv: tuple[str, ...],
    *,
    stdout: int | None = None,
    stderr: int | None = None,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in our current folder, with our stdin, outputs (or these descriptors) and variables (or these).

    It keeps our session and terminal, unless it runs as another user.

    Raises:
        CommandFailed: it could not be started.
    """
    try:
        return subprocess.Popen(
            argv, stdout=stdout, stderr=stderr, env=environment, start_new_session=account is not None, **_as(account)
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        message = f"{argv[0]} could not be started: {error}"
        raise CommandFailed(message) from error
