"""Where a source distribution is: asked of an index that answers as PEP 691 says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from packaging.utils import canonicalize_name

from flash_doctor.errors import NoPlanFound
from flash_doctor.install.fetch import Sources
from flash_doctor.model import Goal
from flash_doctor.model.plan import Build, Plan
from flash_doctor.treat.options import Options
from flash_doctor.treat.source import index_url, settle_sources
from servers import Site, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "flash_attn-2.8.3.tar.gz"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    files = [
        {"filename": "flash_attn-2.8.2.tar.gz", "url": "../../old", "hashes": {}},
        {"filename": NAME, "url": f"../../files/{NAME}#sha256=0", "hashes": {"sha256": "a" * 64}, "size": 7},
    ]
    with serve(Site(files={"/simple/flash-attn/": json.dumps({"files": files}).encode()})) as site:
        monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple")
        yield site


def plan(version: str, url: str | None = None) -> Plan:
    step = Build(
        name=canonicalize_name("flash-attn"), requirement=f"flash-attn=={version}", because="", settings=(), jobs=1,
        minutes=1, memory=1, url=url,
    )  # fmt: skip
    return Plan(goal=Goal(), steps=(step,), because=())


def options(folder: Path, *, network: bool = True) -> Options:
    return Options(sources=Sources(cache=folder, network=network), data=folder)


def test_address_and_hash_come_from_the_index(index: Site, tmp_path: Path) -> None:
    (step,) = settle_sources(plan("2.8.3"), options(tmp_path)).steps
    assert isinstance(step, Build)
    assert (step.url, step.sha256, step.size) == (f"{index.url}/files/{NAME}", "a" * 64, 7)


def test_what_is_known_is_not_asked_for(index: Site, tmp_path: Path) -> None:
    known = plan("2.8.3", url="https://example.invalid/x.tar.gz")
    assert settle_sources(known, options(tmp_path, network=False)) == known
    assert index.requests == []


@pytest.mark.usefixtures("index")
def test_a_version_that_is_not_there_and_a_network_that_may_not_be_used(tmp_path: Path) -> None:
    with pytest.raises(NoPlanFound, match="no source distribution"):
        settle_sources(plan("9.9"), options(tmp_path))
    with pytest.raises(NoPlanFound, match="no network may be used"):
        settle_sources(plan("2.8.3"), options(tmp_path, network=False))


def test_without_a_setting_it_is_pips_own_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    assert index_url().startswith("http")
