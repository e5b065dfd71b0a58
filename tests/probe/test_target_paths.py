"""Where the doctor keeps its cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from flash_doctor.system.paths import cache_folder


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"FLASH_DOCTOR_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/flash-doctor"),
        ({"XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/flash-doctor"),
    ],
)
def test_the_cache_folder(environ: dict[str, str], folder: str) -> None:
    assert cache_folder(environ) == Path(folder)
