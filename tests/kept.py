"""Where the tests keep what takes long to make: environments with the real torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "flash-doctor-tests"
TORCH = "torch==2.13.0"
TORCH_VENV = CACHE / f"{TORCH}-cp{sys.version_info.major}{sys.version_info.minor}"
