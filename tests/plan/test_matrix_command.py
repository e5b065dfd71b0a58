"""`flash-doctor matrix`: the overlay from recorded answers of a real server, and what a bad answer may not do."""

from __future__ import annotations

import datetime
import json
import shutil
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from flash_doctor.cli.app import main
from flash_doctor.cli.errors import run
from flash_doctor.facts import Facts
from flash_doctor.resolve.sources import renew
from flash_doctor.resolve.sources.matrix import load_wheels
from seats import facts
from servers import Site, serve
from shipped import schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAO, MJUN = (
    "/api.github.com/repos/Dao-AILab/flash-attention",
    "/api.github.com/repos/mjun0812/flash-attention-prebuild-wheels",
)
NEW = "flash_attn-2.8.4+cu13torch2.15cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"
PINNED = "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"
ASTRAL = "flash_attn-2.8.3.post1+cu.12.8.torch.2.9-cp312-cp312-manylinux_2_24_x86_64.whl"
DIGEST = "ab" * 32
HERE = ("--gpu", "H100", "--torch", "2.15.0+cu130", "--python-version", "3.12", "--glibc", "2.39",
        "--machine", "x86_64", "--driver", "595.71.05")  # fmt: skip


def listing(repository: str, page: int) -> str:
    return f"{repository}/releases?per_page=100&page={page}"


def releases(tag: str, *names: str, digest: str = DIGEST) -> bytes:
    assets = [{"name": name, "size": 5, "digest": f"sha256:{digest}"} for name in names]
    return json.dumps([{"tag_name": tag, "assets": assets}]).encode()


@pytest.fixture
def site() -> Iterator[Site]:
    """Two pages of one publisher, nothing new of the other, one page of each index."""
    page = f'<a href="https://files.example.org/{ASTRAL}#sha256={DIGEST}">x</a><a href="other.tar.gz">y</a>'
    files = {
        listing(DAO, 1): releases("v2.8.4", NEW, "source.tar.gz"),
        listing(DAO, 2): releases("v2.8.3", PINNED, digest="cd" * 32),
        listing(DAO, 3): b"[]",
        listing(MJUN, 1): b"[]",
        "/wheels.astral.sh/simple/cu128/flash-attn/": page.encode(),
    }
    with serve(Site(files=files)) as site:
        yield site


def call(*arguments: str) -> int:
    return run(lambda: main(arguments), arguments)


@pytest.fixture
def refreshed(site: Site, capsys: pytest.CaptureFixture[str]) -> Any:
    def again() -> tuple[int, dict[str, Any]]:
        code = call("matrix", "refresh", "--json", "--mirror", site.url)
        document = json.loads(capsys.readouterr().out)
        if "publishers" in document:
            jsonschema.validate(document, schema("refresh"))
        return code, {one["publisher"]: one for one in document.get("publishers", [])}

    return again


def planned(capsys: pytest.CaptureFixture[str], *machine: str) -> dict[str, Any]:
    call("plan", "--offline", "--json", *machine)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_refresh_brings_new_wheels_hashes_and_its_age(
    refreshed: Any, own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(capsys, *HERE)["exit_code"] == 3
    code, brought = refreshed()
    assert code == 0
    assert brought["dao-ailab"]["added"] == [f"v2.8.4/{NEW}"]
    assert brought["dao-ailab"]["replaced"] == [f"v2.8.3/{PINNED}"]
    document = planned(capsys, *HERE)
    assert document["steps"][0]["filename"] == NEW
    assert (document["steps"][0]["sha256"], document["steps"][0]["hash_state"]) == (DIGEST, "published")
    assert document["facts"]["refreshed"] == datetime.date.today().isoformat()
    assert document["facts"]["warnings"] == []
    astral = load_wheels(own_data / "wheel_matrix" / "wheels", publishers=facts().publishers).names[ASTRAL][0]
    assert astral.url == f"https://files.example.org/{ASTRAL}"
    assert astral.family.evidence.value == "listed"
    assert astral.family.cxx11abi is not None, "what the promise said stays"


def test_what_has_not_changed_is_not_sent_again(refreshed: Any, site: Site) -> None:
    refreshed()
    first = [path for path, _ in site.requests]
    assert first.count(listing(DAO, 2)) == 1
    site.requests.clear()
    code, brought = refreshed()
    assert code == 0
    assert brought["dao-ailab"] == {"publisher": "dao-ailab", "added": [], "replaced": [], "unread": [], "fault": None}
    assert listing(DAO, 3) in [path for path, _ in site.requests], "the last page is known to be the last by its count"


def test_a_changed_asset_is_named(refreshed: Any, site: Site) -> None:
    refreshed()
    site.files[listing(DAO, 1)] = releases("v2.8.4", NEW, digest="ef" * 32)
    _, brought = refreshed()
    assert brought["dao-ailab"]["replaced"] == [f"v2.8.4/{NEW}"]


def test_the_rate_limit_is_told_and_the_others_are_read(site: Site, refreshed: Any) -> None:
    site.files[listing(MJUN, 1)] = releases("v0.9.99", NEW)
    del site.files[listing(DAO, 1)]
    code, brought = refreshed()
    assert code == 6
    assert "404" in brought["dao-ailab"]["fault"]
    site.failures = [403] * 30
    code, brought = refreshed()
    assert code == 6
    assert all("60 questions an hour" in one["fault"] for one in brought.values() if one["publisher"] == "dao-ailab")


@pytest.mark.parametrize(
    "answer",
    [b"not json", b"{}", b"[" * 200_000, b'[{"tag_name": "x"}]', b'[{"tag_name": "v1", "assets": [{"name": 7}]}]'],
)
def test_a_hostile_answer_changes_nothing(answer: bytes, site: Site, refreshed: Any, own_data: Path) -> None:
    site.files[listing(DAO, 1)] = answer
    code, brought = refreshed()
    assert code == 6
    assert brought["dao-ailab"]["fault"]
    assert not (own_data / "wheel_matrix" / "wheels" / "dao-ailab.json").exists()


def test_an_answer_without_end_is_cut(site: Site, own_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renew, "LIMIT", 10_000)
    site.files[listing(DAO, 1)] = b"[" + b" " * 20_000 + b"]"
    (found,) = [
        one for one in renew.renew(facts(), own_data / "wheel_matrix" / "wheels", "2026-12-01", mirror=site.url)
        if one.publisher == "dao-ailab"
    ]  # fmt: skip
    assert "more than 10000 bytes" in found.fault


def test_names_that_cannot_be_read_are_left_out_and_counted(site: Site, refreshed: Any) -> None:
    odd = ("../../flash_attn-1+cu12torch2.8-cp312-cp312-linux_x86_64.whl",
           "flash_attn-2.9.0+cu99torch2.15-cp312-cp312-linux_x86_64.whl",
           "flash_attn-2.9.0+cu13torch2.15-cp312-cp312-macosx_14_0_arm64.whl")  # fmt: skip
    site.files[listing(DAO, 1)] = releases("v2.9.0", *odd)
    code, brought = refreshed()
    assert code == 0
    assert len(brought["dao-ailab"]["unread"]) == 3
    assert brought["dao-ailab"]["added"] == []


@pytest.mark.parametrize("damage", ["{", '{"base": 1}', "[]", ""])
def test_a_damaged_overlay_is_ignored_with_a_warning(
    damage: str, own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = own_data / "wheel_matrix" / "wheels"
    folder.mkdir(parents=True)
    (folder / "dao-ailab.json").write_text(damage)
    document = planned(capsys, "--torch", "2.8.0+cu128", "--python-version", "3.12", "--glibc", "2.39")
    assert document["exit_code"] == 0
    assert "are not used" in document["facts"]["warnings"][0]
    assert "matrix refresh" in document["facts"]["warnings"][0]
    assert call("matrix", "lint") == 1


def test_an_overlay_of_older_facts_is_left_aside(refreshed: Any, own_data: Path, tmp_path: Path) -> None:
    """After an upgrade of the doctor, the shipped file is newer than the one that the overlay was made from."""
    from flash_doctor.resolve.sources.overlay import load_known

    refreshed()
    shutil.copytree(facts().folder, tmp_path / "facts")
    shipped = tmp_path / "facts" / "wheels" / "dao-ailab.json"
    shipped.write_text(shipped.read_text() + "\n")
    known = load_known(Facts(tmp_path / "facts"), own_data / "wheel_matrix" / "wheels")
    assert NEW not in known.wheels.names
    assert any("other facts" in line for line in known.knowledge.warnings)


def test_in_tree_changes_the_shipped_files(
    site: Site, tmp_path: Path, own_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(facts().folder, tmp_path / "facts")
    monkeypatch.setenv("FLASH_DOCTOR_FACTS", str(tmp_path / "facts"))
    assert call("matrix", "refresh", "--in-tree", "--mirror", site.url) == 0
    assert "1 new wheel" in capsys.readouterr().out
    assert NEW in load_wheels(tmp_path / "facts" / "wheels", publishers=facts().publishers).names
    assert not own_data.exists()
    assert call("matrix", "lint") == 0


def test_lint_names_file_row_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(facts().folder, tmp_path / "facts")
    monkeypatch.setenv("FLASH_DOCTOR_FACTS", str(tmp_path / "facts"))
    assert call("matrix", "lint") == 0
    file = tmp_path / "facts" / "wheels" / "astral.json"
    file.write_text(file.read_text().replace('"12.1"', '"77.1"', 1))
    capsys.readouterr()
    assert call("matrix", "lint", "--json") == 1
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert "astral.json, row 0, cuda" in fault


def test_show_tells_publishers_and_single_wheels(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("matrix", "show") == 0
    text = capsys.readouterr().out
    assert "dao-ailab  Dao-AILab" in text
    assert "never refreshed" in text
    assert call("matrix", "show", PINNED, "--json") == 0
    (wheel,) = json.loads(capsys.readouterr().out)["wheels"]
    assert (wheel["publisher"], wheel["hash_state"]) == ("dao-ailab", "pinned")
    assert call("matrix", "show", "nothing-like-this") == 2


def test_coverage_fits_80_columns_and_says_where_you_are(venv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("matrix", "coverage", "--python", str(venv)) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "you are nowhere in it: no torch is installed here" in text
    row = next(line for line in text.splitlines() if line.startswith("2.8    cu128"))
    assert "ADM" in row
    version = venv / "lib" / next((venv / "lib").iterdir()).name / "site-packages" / "torch" / "version.py"
    version.parent.mkdir()
    version.write_text("__version__ = '2.8.0+cu128'\ncuda = '12.8'\nhip = None\ngit_version = 'abc'\ndebug = False\n")
    (version.parent / "__init__.py").touch()
    assert call("matrix", "coverage", "--python", str(venv), "--torch", "2.8", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [cell["cuda"] for cell in document["cells"] if cell["here"]] == ["cu128"]
    assert call("matrix", "coverage", "--torch", "1.0") == 2
