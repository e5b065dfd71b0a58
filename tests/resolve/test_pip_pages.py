"""Where a source distribution is, when only pip is there: indexes that answer in JSON (PEP 691) or HTML (PEP 503)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from flash_doctor.errors import NoPlanFound
from flash_doctor.resolve.index_query import IndexFile, IndexQuery, IndexUnreachable
from flash_doctor.resolve.sources.pip_index import PipLookup
from flash_doctor.resolve.sources.uv_index import UvLookup
from flash_doctor.system.process import SystemRunner
from servers import Site, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "flash_attn-2.8.3.tar.gz"
OLD, WHEEL = "flash_attn-2.8.2.tar.gz", "flash_attn-2.8.3-py3-none-any.whl"
HASH = "a" * 64
FILES = [
    {"filename": OLD, "url": f"../../files/{OLD}", "hashes": {}},
    {"filename": NAME, "url": f"../../files/{NAME}#sha256=0", "hashes": {"sha256": HASH}, "size": 7},
    {"filename": WHEEL, "url": f"../../files/{WHEEL}", "hashes": {}},
]
HTML = "".join(f'<a href="../../files/{name}#sha256={HASH}">{name}</a>' for name in (OLD, NAME, WHEEL, "odd"))
PAGES = {"json": json.dumps({"files": FILES}), "html": f"<!DOCTYPE html><html><body>{HTML}</body></html>"}


def asked(requirement: str) -> IndexQuery:
    """The question for its source distribution."""
    return IndexQuery(
        requirements=(requirement,), constraints=(), python=None, machine=None, glibc=None, indexes=(), sources=True
    )


def source(requirement: str) -> IndexFile:
    (found,) = PipLookup(runner=SystemRunner(), python=Path(sys.executable)).answer(asked(requirement))
    return found


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serve(Site()) as site:
        monkeypatch.setenv("PIP_INDEX_URL", site.url.replace("//", "//user:secret@") + "/simple")
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
        yield site


@pytest.mark.parametrize("kind", PAGES)
def test_address_and_hash_without_the_password_of_the_index(index: Site, kind: str) -> None:
    index.files["/simple/flash-attn/"] = PAGES[kind].encode()
    found = source("flash-attn==2.8.3")
    assert (found.url, found.sha256, found.version) == (f"{index.url}/files/{NAME}", HASH, Version("2.8.3"))
    assert source("flash-attn").version == Version("2.8.3")
    assert source("flash-attn<2.8.3").version == Version("2.8.2")


def test_other_indexes_of_pip_are_read_too(index: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    index.files["/more/flash-attn/"] = PAGES["json"].encode()
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{index.url}/more file:///nowhere/simple")
    assert source("flash-attn==2.8.3").sha256 == HASH


def test_no_such_version_and_no_answer_are_two_things(index: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    index.files["/simple/flash-attn/"] = PAGES["html"].encode()
    with pytest.raises(NoPlanFound, match="has a source distribution") as caught:
        source("flash-attn==9.9")
    assert not isinstance(caught.value, IndexUnreachable)
    with pytest.raises(NoPlanFound, match="has a source distribution"):
        source("another==1")
    monkeypatch.setenv("PIP_INDEX_URL", "https://127.0.0.1:9/simple")
    with pytest.raises(IndexUnreachable):
        source("flash-attn==2.8.3")


@pytest.mark.index
def test_uv_and_pip_say_the_same_of_the_real_one() -> None:
    uv = UvLookup(runner=SystemRunner(), uv=str(Path(sys.executable).with_name("uv")))
    (by_uv,) = uv.answer(asked("flash-attn==2.8.3"))
    by_pip = source("flash-attn==2.8.3")
    assert (by_uv.sha256, by_uv.url) == (by_pip.sha256, by_pip.url)
    assert by_uv.url.endswith(NAME)
