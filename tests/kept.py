"""Where the tests keep what takes long to make: environments with the real torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# told by conftest.py, which gives the tests another home
_TOLD = os.environ.get("PYTEST_KEPT_CACHE")
CACHE = Path(_TOLD or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "flash-doctor-tests")
TORCH = "torch==2.13.0"
TORCH_VENV = CACHE / f"{TORCH}-cp{sys.version_info.major}{sys.version_info.minor}"
