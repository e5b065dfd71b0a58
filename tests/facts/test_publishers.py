"""The one table of publishers: whose an address is, and what adding a publisher takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from flash_doctor.facts import Facts
from flash_doctor.resolve.sources.matrix import COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

TABLE = Facts().publishers
RELEASES = "https://github.com/Dao-AILab/flash-attention/releases"
FILE = f"{RELEASES}/download/v2.8.3/flash_attn-2.8.3%2Bcu12torch2.8cxx11abiTRUE-cp311-cp311-linux_x86_64.whl"
REST = "Dao-AILab/flash-attention/releases/download/v2.8.3/x.whl"
ACME = "https://acme.github.io/flash-wheels/simple"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (FILE, "dao-ailab"),
        (RELEASES, "dao-ailab"),
        (f"{RELEASES}/", "dao-ailab"),
        (f"{FILE}?download=1#sha256={'0' * 64}", "dao-ailab"),
        (FILE.replace("github.com", "github.com:443"), "dao-ailab"),
        (FILE.replace("github.com", "GitHub.COM"), "dao-ailab"),
        (FILE.replace("https", "HTTPS"), "dao-ailab"),
        ("https://api.github.com/repos/Dao-AILab/flash-attention/releases?page=2", "dao-ailab"),
        ("https://wheels.astral.sh/simple/cu128/", "astral"),
        ("https://wheels.astral.sh/simple", "astral"),
        ("https://download.pytorch.org/whl", "pytorch"),
        ("https://download.pytorch.org/whl/cu128/flash_attn_3-3.0.0-cp39-abi3-linux_x86_64.whl", "pytorch"),
        ("https://mjun0812.github.io/flash-attention-prebuild-wheels/cu128", "mjun0812"),
        ("https://codcordance.github.io/flash-attn-index/", "codcordance"),
    ],
)
def test_an_address_is_its_owners(url: str, name: str) -> None:
    owner = TABLE.publisher_of(url)
    assert owner is not None
    assert owner.name == name


@pytest.mark.parametrize(
    "url",
    [
        # another host, another owner, another folder
        f"https://github.com.evil.example/{REST}",
        f"https://GITHUB.COM.EVIL.EXAMPLE/{REST}",
        f"https://evilgithub.com/{REST}",
        f"https://evil-github.com/{REST}",
        f"https://github.com./{REST}",
        f"https://evil.example/github.com/{REST}",
        f"https://evil.example/{FILE}",
        f"https://evil.example/?{FILE}",
        f"https://evil.example/#{FILE}",
        "https://github.com/Dao-AILab-evil/flash-attention/releases/x.whl",
        "https://github.com/Dao-AILab/flash-attention-evil/releases/x.whl",
        "https://github.com/Dao-AILab/flash-attention/releases-evil/x.whl",
        "https://github.com/Dao-AILab/flash-attention/",
        "https://github.com/evil/Dao-AILab/flash-attention/releases/x.whl",
        "https://github.com//Dao-AILab/flash-attention/releases/x.whl",
        "https://download.pytorch.org/whl-of-somebody-else/",
        "https://download.pytorch.org/",
        # another scheme, another port, a login
        FILE.replace("https", "http"),
        FILE.replace("https:", "file:"),
        FILE.removeprefix("https:"),
        FILE.replace("github.com", "github.com:8443"),
        FILE.replace("github.com", "github.com:0"),
        FILE.replace("github.com", "github.com:x"),
        f"https://github.com@evil.example/{REST}",
        f"https://evil.example@github.com/{REST}",
        f"https://ada:pa@github.com/{REST}",
        f"https://evil.example:443?@github.com/{REST}",
        f"https://evil.example#@github.com/{REST}",
        f"https://evil.example\\@github.com/{REST}",
        f"https:\\\\github.com/{REST}",
        f"https:///github.com/{REST}",
        f"https:github.com/{REST}",
        # a path that climbs
        f"{RELEASES}/../../../evil/x.whl",
        f"{RELEASES}/%2e%2e/%2E%2e/evil/x.whl",
        f"{RELEASES}/.%2e/evil/x.whl",
        f"{RELEASES}/%252e%252e/evil/x.whl",
        f"{RELEASES}/..;/evil/x.whl",
        f"{RELEASES}/..%2fevil/x.whl",
        f"{RELEASES}/..%5cevil/x.whl",
        f"{RELEASES}/%5c..%5cevil/x.whl",
        f"{RELEASES}\\..\\evil/x.whl",
        f"{RELEASES}/./x.whl",
        "https://github.com/%44ao-AILab/flash-attention/releases/x.whl",
        # what a reader might not see, or read otherwise
        f" {FILE}",
        f"{FILE}\n",
        FILE.replace("github.com", "git\thub.com"),
        FILE.replace("github.com", "g\u0456thub.com"),
        FILE.replace("github.com", "\uff47ithub.com"),
        FILE.replace("github.com", "[::1]"),
        FILE.replace("github.com", "[github.com"),
        f"{RELEASES}/{'x' * 10_000}",
        "",
        "https://",
    ],
)
def test_what_only_looks_like_a_publishers_address_is_a_strangers(url: str) -> None:
    assert TABLE.publisher_of(url) is None


@pytest.mark.parametrize("login", ["", "ada:pa@"])
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_an_address_never_to_be_used_is_known_however_it_is_asked_for(scheme: str, login: str) -> None:
    start = f"{scheme}://{login}flashattn.github.io"
    assert TABLE.forbidden(f"{start}/whl/cu121/torch2.3/index.html")
    assert TABLE.forbidden(f"{start}/whl")
    assert not TABLE.forbidden(f"{start}/whl2")
    assert not TABLE.forbidden(f"{scheme}://{login}wheels.astral.sh/simple/")


def test_every_row_has_a_source_and_the_authors_come_first() -> None:
    assert all(row.source.what and row.source.read.year > 2020 for row in TABLE.rows.values())
    assert [name for name, row in TABLE.rows.items() if row.rank == 0] == ["dao-ailab"]


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    folder = tmp_path / "facts"
    shutil.copytree(Facts().folder, folder)
    return folder


def doctor(facts: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    return subprocess.run(
        [sys.executable, "-m", "flash_doctor", *arguments],
        capture_output=True,
        text=True,
        env={**kept, "FLASH_DOCTOR_FACTS": str(facts), **environ},
        timeout=60,
    )


def add_wheels(facts: Path, url: str | None = None) -> Path:
    row = ["flash_attn", "2.8.3", "cu12torch2.8cxx11abiTRUE", "v2.8.3", "12.8", "2.8", "2.8.0", True, "8.0 9.0"]
    book: dict[str, Any] = {
        "publisher": "acme",
        "url": url,
        "hash": "first-seen",
        "sources": [{"source": "a list", "date": "2026-11-20"}],
        "requires": {"flash_attn": ["torch", "einops"]},
        "faults": [],
        "columns": COLUMNS,
        "families": [[*row, "linux_x86_64", "listed", 0, "cp311"]],
    }
    file = facts / "wheels" / "acme.json"
    file.write_text(json.dumps(book))
    return file


def add_row(facts: Path, *lines: str) -> None:
    table = facts / "publishers.toml"
    more = "\n".join(("[publisher.acme]", 'title = "Acme"', 'why = "a test"', 'source = "survey"', *lines))
    table.write_text(table.read_text().replace("[publisher.dao-ailab]", f"{more}\n\n[publisher.dao-ailab]"))


def told_of(facts: Path, venv: Path, url: str) -> list[str]:
    done = doctor(facts, "check", "--python", str(venv), "--json", PIP_EXTRA_INDEX_URL=url)
    document = json.loads(done.stdout)
    assert document["schema"] == "flash-doctor/report/1", document
    return [finding["summary"] for finding in document["findings"] if finding["code"] == "F613"]


def test_a_publisher_is_added_by_its_file_and_its_row(facts: Path, venv: Path) -> None:
    """What the plans know, the check knows, too."""
    assert told_of(facts, venv, ACME) == [f"{ACME} is no known publisher of flash-attn"]
    add_wheels(facts)
    lint = doctor(facts, "matrix", "lint")
    assert (lint.returncode, "acme.json, row 0, publisher: 'acme' is not in publishers.toml" in lint.stdout) == (
        1,
        True,
    )
    add_row(facts, "rank = 3", f'addresses = ["{ACME}"]')
    assert doctor(facts, "matrix", "lint").stdout == "Every fact is in order.\n"
    assert told_of(facts, venv, ACME) == []
    assert told_of(facts, venv, f"{ACME}/cu128/") == []
    assert told_of(facts, venv, f"{ACME}-evil") == [f"{ACME}-evil is no known publisher of flash-attn"]
    shown = json.loads(doctor(facts, "matrix", "show", "acme", "--json").stdout)
    assert [wheel["publisher"] for wheel in shown["wheels"]] == ["acme"]


@pytest.mark.parametrize(
    ("lines", "url", "told"),
    [
        (("rank = 3", "addresses = []"), None, "publishers.toml: publisher.acme: rank: there is no file"),
        (("addresses = []", 'releases = "https://a.example/?{page}"'), None, "publisher.acme: rank: is missing"),
        (
            ("rank = 3", 'addresses = ["https://acme.example/wheels/"]'),
            "https://acme.example.evil/{release}/{file}",
            "is none of its addresses in publishers.toml",
        ),
    ],
)
def test_lint_compares_the_table_with_the_files_both_ways(
    facts: Path, lines: tuple[str, ...], url: str | None, told: str
) -> None:
    add_row(facts, *lines)
    if url:
        add_wheels(facts, url)
    done = doctor(facts, "matrix", "lint")
    assert (done.returncode, told in done.stdout) == (1, True), done.stdout


def test_lint_finds_a_publisher_that_only_the_gpu_table_names(facts: Path) -> None:
    file = facts / "gpus.toml"
    file.write_text(file.read_text().replace('publisher = "mjun0812"', 'publisher = "nobody"', 1))
    told = doctor(facts, "matrix", "lint").stdout
    assert "gpus.toml: flash_wheel: publisher: nobody is not in publishers.toml" in told


def test_the_file_of_a_publisher_bears_its_name(facts: Path) -> None:
    add_row(facts, "rank = 3", f'addresses = ["{ACME}"]')
    add_wheels(facts).rename(facts / "wheels" / "other.json")
    assert "other.json: its publisher is acme" in doctor(facts, "matrix", "lint").stdout
