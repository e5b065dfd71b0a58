"""The folder of this run: private, gone at its end. Programs that we start run in an empty one in it.

Whatever looks into its current folder (Python, uv, pip, the loader with an empty entry in LD_LIBRARY_PATH) finds
nothing there.
"""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path

from flash_doctor.system.owner import can_hold

_NOWHERE = Path("/")
_LOCK = threading.Lock()
_made: dict[int, Path] = {}  # process -> its folder: a child that was forked makes its own


def empty_folder() -> Path:
    """Where our children run; `/` where no folder can be made: only root can put a file there."""
    folder = run_folder()
    return folder / "empty" if folder else _NOWHERE


def run_folder() -> Path | None:
    """A folder that nobody else can write or rename, made when it is first asked for; None where none can be made."""
    process = os.getpid()
    with _LOCK:
        if process not in _made:
            made = next(filter(None, map(_make, _candidates())), None)
            if made is None:
                return None
            _made[process] = made
            atexit.register(remove)
        return _made[process]


def remove() -> None:
    """Take it away; a child that still runs there keeps an empty place."""
    folder = _made.pop(os.getpid(), None)
    if folder is None:
        return
    try:
        (folder / "empty").rmdir()
        folder.rmdir()
    except OSError:  # a child left something, or a cache lies there
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _candidates() -> list[Path]:
    """Not tempfile, whose import costs a twentieth of `check`."""
    chosen = os.environ.get("TMPDIR", "")
    folders = [chosen] if chosen.startswith(os.sep) else []
    return [Path(folder) for folder in (*folders, "/tmp", "/var/tmp", "/dev/shm")]


def _make(place: Path) -> Path | None:
    if not can_hold(place):
        return None
    folder = place / f"flash-doctor-{os.urandom(8).hex()}"
    try:
        for path in (folder, folder / "empty"):
            path.mkdir(mode=0o700)
            path.chmod(0o700)  # whatever the umask is
    except OSError:
        return None
    return folder
