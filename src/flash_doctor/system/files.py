"""Reading files that lie in places of strangers: only regular ones, and never without end."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

LIMIT = 16 * 1024 * 1024


def open_regular(path: Path) -> BufferedReader:
    """The file, opened to be read; a pipe would make us wait for its writer, /dev/zero has no end.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, limit: int = LIMIT) -> bytes:
    """All of the file.

    Raises:
        OSError: it cannot be read, is no regular file, or is longer than `limit` bytes.
    """
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it is longer than {limit // 1024 // 1024} MiB", str(path))
    return data
