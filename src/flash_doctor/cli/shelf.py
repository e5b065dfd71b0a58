"""The wheels as commands know them: the shipped matrix under the user's overlay."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flash_doctor.resolve.sources.overlay import Known, load_known, overlay_folder
from flash_doctor.system.paths import data_folder

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.facts import Facts


def overlay() -> Path:
    """Where this user's refreshed facts lie."""
    return overlay_folder(data_folder(os.environ))


def known_wheels(facts: Facts) -> Known:
    """Every wheel that is known here, and how old that knowledge is."""
    return load_known(facts, overlay())
