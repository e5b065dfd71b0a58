"""Where the tests keep what takes long to make: environments with the real torch."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "flash-doctor-tests"
