"""One treatment at a time: a lock on the target's folder of packages, which leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(site: Path) -> Iterator[None]:
    """Hold the lock; the kernel lets go of it when the process ends, however it ends.

    The folder itself is locked: a lock file would have to be deleted, and whoever waits for a deleted one waits alone.

    Raises:
        BadInput: somebody else holds it.
    """
    descriptor = os.open(site, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another flash-doctor is changing {site} at this moment"
            raise BadInput(message, advice="Wait for it to end, then try again.") from error
        yield
    finally:
        os.close(descriptor)
