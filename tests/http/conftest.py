"""No long pauses between attempts, and nothing of this machine's own network settings."""

from __future__ import annotations

import pytest

from authority import NETWORK, Authority
from flash_doctor.system import http


@pytest.fixture(autouse=True)
def _quick_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PAUSE_SECONDS", 0.001)
    monkeypatch.setenv("NETRC", "/nonexistent")
    for name in NETWORK:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
