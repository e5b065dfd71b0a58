"""A clinic for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clinic import Clinic

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    """A venv with a small torch, and nothing on the shelf yet."""
    return Clinic(tmp_path)
