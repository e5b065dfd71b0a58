"""What a release list adds to a publisher's file; the result is checked like the shipped facts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.model.wheel import Evidence, HashState
from flash_doctor.resolve import load_wheels
from flash_doctor.resolve.sources.assets import Refreshed, read_releases, refresh
from seats import facts

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = facts().folder / "wheels" / "dao-ailab.json"
NEW = "flash_attn-2.8.4+cu13torch2.15cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"
PROMISED = "flash_attn-2.7.4+cu12torch2.6cxx11abiFALSE-cp312-cp312-linux_x86_64.whl"
PINNED = "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"


def release(tag: str, *names: str, digest: str | None = "ab" * 32) -> dict[str, Any]:
    files = [{"name": name, "size": 5, "digest": digest and f"sha256:{digest}"} for name in names]
    return {"tag_name": tag, "assets": files}


def refreshed(*releases: dict[str, Any]) -> Refreshed:
    book = json.loads(SHIPPED.read_text())
    return refresh(book, read_releases(list(releases)), source="release list", date="2026-12-01")


def test_a_new_wheel_a_kept_promise_and_a_hash(tmp_path: Path) -> None:
    answer = refreshed(release("v2.8.4", NEW, "sdist.tar.gz"), release("v2.7.4", PROMISED))
    assert answer.added == (f"v2.8.4/{NEW}", f"v2.7.4/{PROMISED}")
    assert not answer.replaced
    (tmp_path / "dao-ailab.json").write_text(json.dumps(answer.book))
    names = load_wheels(tmp_path, publishers=facts().publishers).names
    for name in (NEW, PROMISED):
        (wheel,) = names[name]
        assert wheel.sha256 == "ab" * 32
        assert wheel.hash_state is HashState.PUBLISHED
        assert wheel.family.evidence is Evidence.LISTED
        assert wheel.family.date == "2026-12-01"
    (new,) = names[NEW]
    assert [str(code) for code in new.family.code] == ["8.0", "9.0", "10.0", "12.0"]
    assert len(load_wheels(tmp_path, publishers=facts().publishers)) == 3894 + 1


def test_the_same_list_twice_changes_nothing_more() -> None:
    first = refreshed(release("v2.8.4", NEW))
    again = refresh(first.book, read_releases([release("v2.8.4", NEW)]), source="release list", date="2026-12-02")
    assert again.added == ()
    assert again.book["families"] == first.book["families"]


def test_a_file_that_was_replaced_is_named_and_its_pinned_hash_stays(tmp_path: Path) -> None:
    answer = refreshed(release("v2.8.3", PINNED))
    assert answer.replaced == (f"v2.8.3/{PINNED}",)
    (tmp_path / "dao-ailab.json").write_text(json.dumps(answer.book))
    (wheel,) = load_wheels(tmp_path, publishers=facts().publishers).names[PINNED]
    assert wheel.hash_state is HashState.PINNED
    assert wheel.sha256 != "ab" * 32


@pytest.mark.parametrize("name", ["flash_attn-2.8.4-cp312-cp312-linux_x86_64.whl", "other-1-py3-none-any.whl", "x.whl"])
def test_a_name_that_tells_no_torch_is_left_out(name: str) -> None:
    assert refreshed(release("v2.8.4", name)).added == ()


@pytest.mark.parametrize("answer", [{"message": "rate limit"}, [{"assets": [{}]}], [{"assets": None}], 7])
def test_another_answer_is_told(answer: object) -> None:
    with pytest.raises(BadInput, match="another shape"):
        list(read_releases(answer))
