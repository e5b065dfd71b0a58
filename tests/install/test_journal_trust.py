"""A journal from a stranger: nothing outside of the environment is written, deleted, moved or opened wider."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.install.journal import FOLDER, journals, tidy, unfinished
from trees import snapshot

if TYPE_CHECKING:
    from pathlib import Path

EMPTY: dict[str, Any] = {"title": "install flash-attn 2.8.3", "outgoing": [], "arriving": [], "made": [], "emptied": []}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder outside of the environment, as /etc is."""
    folder = tmp_path / "victim"
    (folder / "cron.d").mkdir(parents=True)
    (folder / "passwd").write_text("root")
    (folder / "0").write_text("a file with a number for a name")
    (folder / "journal.json").write_text(json.dumps(EMPTY))
    folder.chmod(0o700)
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    (site / "flash_attn").mkdir(parents=True)
    (site / "flash_attn" / "__init__.py").write_text("1")
    return site


def put(site: Path, **journal: Any) -> Path:
    """A journal as a stranger leaves it, cut off, with a file that it says to have moved away."""
    folder = site / FOLDER / "x"
    (folder / "old").mkdir(parents=True)
    (folder / "old" / "0").write_text("evil")
    (folder / "journal.json").write_text(json.dumps({**EMPTY, **journal}))
    for path in (folder.parent, folder, folder / "old"):
        path.chmod(0o755)
    (folder / "journal.json").chmod(0o644)
    return folder


def undone(site: Path) -> None:
    cut_off = unfinished(site / FOLDER, site.parents[2])
    assert cut_off is not None
    cut_off.undo()
    tidy(site / FOLDER)


def arrival(path: str, staged: str = "x") -> dict[str, Any]:
    return {"staged": f"{FOLDER}/{staged}", "path": path, "replaces": False}


# how a path may be written that leads to VICTIM; the site is four folders below the folder that holds both
WAYS = [
    "../../../../victim",
    "flash_attn/../../../../../victim",
    "./../../../../victim",
    "..//..//..//..//victim",
    "../../../../../../../../../../../..{victim}",
    "{victim}",
    "/{victim}",
    "{victim}/../victim",
    "link",
    "flash_attn/link",
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "shape",
    [
        lambda victim: {"outgoing": [f"{victim}/cron.d/evil"]},
        lambda victim: {"arriving": [arrival(f"{victim}/passwd")]},
        lambda victim: {"emptied": [{"path": victim, "mode": 0o777}, {"path": f"{victim}/new", "mode": 0o777}]},
        lambda victim: {"made": [f"{victim}/cron.d"]},
        lambda victim: {"outgoing": ["flash_attn/new.py", f"{victim}/evil"], "title": "two"},
    ],
    ids=["writes", "deletes", "opens", "removes a folder", "second row"],
)
def test_nothing_happens_outside(site: Path, victim: Path, way: str, shape: Any) -> None:
    (site / "link").symlink_to(victim)
    (site / "flash_attn" / "link").symlink_to(victim)
    put(site, **shape(way.format(victim=victim)))
    before = snapshot(victim.parent)
    try:
        undone(site)
    except BadInput:
        assert snapshot(victim.parent) == before
    assert (victim / "passwd").read_text() == "root"
    assert sorted(path.name for path in victim.iterdir()) == ["0", "cron.d", "journal.json", "passwd"]
    assert victim.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("place", [FOLDER, f"{FOLDER}/x", f"{FOLDER}/x/old", f"{FOLDER}/x/journal.json"])
def test_a_link_in_the_place_of_ours_is_not_followed(site: Path, victim: Path, place: str) -> None:
    folder = put(site, outgoing=["flash_attn/0"])
    path = site / place
    path.rename(site.parent / "aside")
    path.symlink_to(victim if path.name != "journal.json" else victim / "journal.json")
    (victim / "x").mkdir()
    (victim / "x" / "journal.json").write_text(json.dumps(EMPTY))
    before = snapshot(victim)
    with pytest.raises(BadInput):
        undone(site)
    assert snapshot(victim) == before
    assert folder.parent.exists()


@pytest.mark.parametrize("staged", ["../../../../victim/passwd", "x/../../../../../../victim/passwd"])
def test_what_was_staged_lies_in_our_own_folder(site: Path, victim: Path, staged: str) -> None:
    put(site, arriving=[arrival("flash_attn/new.py", staged)])
    with pytest.raises(BadInput, match="not believed"):
        undone(site)


def test_our_own_folder_is_no_place_for_packages(site: Path) -> None:
    put(site, outgoing=[f"{FOLDER}/y/journal.json"])
    with pytest.raises(BadInput, match="not believed"):
        undone(site)


@pytest.mark.parametrize("mode", [0o777, 0o7777, 0o4755, 0o1777, 0o775, 0o757])
def test_a_folder_never_comes_back_wider_open_than_the_folder_of_packages(site: Path, mode: int) -> None:
    site.chmod(0o755)
    put(site, emptied=[{"path": "gone", "mode": mode}])
    undone(site)
    assert (site / "gone").stat().st_mode & 0o7022 == 0


def test_a_program_beside_the_packages_is_inside(site: Path) -> None:
    (site.parents[2] / "bin").mkdir()
    put(site, outgoing=["../../../bin/ninja"])
    undone(site)
    assert (site.parents[2] / "bin" / "ninja").read_text() == "evil"


@pytest.mark.parametrize("mode", [0o666, 0o646])
@pytest.mark.parametrize("place", ["journal.json", "", ".."])
def test_a_journal_that_others_can_write_is_not_believed(site: Path, mode: int, place: str) -> None:
    folder = put(site, outgoing=["flash_attn/0"])
    path = folder / place
    path.chmod(mode if path.is_file() else mode | 0o111)
    with pytest.raises(BadInput, match="somebody else could have written it"):
        undone(site)
    assert not (site / "flash_attn" / "0").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_journal_of_another_user_is_not_believed_unless_the_environment_is_his(site: Path) -> None:
    folder = put(site, outgoing=["flash_attn/0"])
    for path in (folder.parent, folder, folder / "journal.json"):
        os.chown(path, 12345, 12345)
    with pytest.raises(BadInput) as caught:
        undone(site)
    assert "uid 12345" in caught.value.evidence[0]
    os.chown(site, 12345, 12345)
    undone(site)
    assert (site / "flash_attn" / "0").read_text() == "evil"


@pytest.mark.parametrize(
    "text", ['{"a": 1}', json.dumps({**EMPTY, "later": 1}), "[" * 100_000, '{"title": ' + "9" * 6000 + "}", "\ud800"]
)
def test_what_is_no_journal_is_refused_in_words(site: Path, text: str) -> None:
    folder = put(site)
    (folder / "journal.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(BadInput, match="cannot be read"):
        undone(site)


def test_thirty_thousand_rows_ask_the_disk_once_a_folder(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is 0.1 s; what costs is the look at the disk, and it is counted."""
    rows = [f"pkg{folder}/sub/file{number}.py" for folder in range(100) for number in range(300)]
    put(site, outgoing=rows)
    asked: list[str] = []
    real = os.path.realpath

    def counted(path: str) -> str:
        asked.append(path)
        return real(path)

    monkeypatch.setattr("flash_doctor.system.inside.os.path.realpath", counted)
    start = time.process_time()
    (journal,) = journals(site / FOLDER, site.parents[2])
    print(f"{time.process_time() - start:.3f} s")  # noqa: T201 for `scripts/test -s`
    assert len(journal.swap.outgoing) == len(rows)
    assert len(asked) <= 110
