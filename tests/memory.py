"""How much memory a piece of Python takes at its height, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_PRELUDE = """
def height():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

def began():
    global before
    before = height()

"""


def peak_of(code: str) -> int:
    """Bytes by which the process grew, at its height, after the code called `began()`."""
    argv = [sys.executable, "-c", f"{_PRELUDE}{code}\nprint(height() - before)"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
