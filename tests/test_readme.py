"""The pages against the program: transcripts are real output, tables are the code's own, our scripts keep the rule."""

from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flash_doctor import __version__
from flash_doctor.cli.app import COMMANDS
from flash_doctor.preflight.setup_scripts import lint_setup
from transcripts import is_treatment, needs_torch, output_of, prepare_proof, room, stories, tables_refreshed

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with room() as folder:
        yield folder


STORIES = [story for story in stories(TEXT) if not needs_torch(story[0])]
PROOFS = [command for story in stories(TEXT) for command in story if needs_torch(command)]
HAS_GPU = bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia").exists()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story[0])
def test_a_transcript_is_what_the_command_prints(story: tuple[str, ...], folder: Path) -> None:
    if HAS_GPU and is_treatment(story[0]):
        pytest.skip("these transcripts tell of a machine without a GPU")
    for command in story:
        assert output_of(command, folder) in TEXT, "scripts/dev/readme.py brings it up to date"


@pytest.mark.torch
def test_a_proof_is_what_the_command_prints(folder: Path, torch_venv: Path) -> None:
    prepare_proof(folder, torch_venv)
    assert PROOFS
    for command in PROOFS:
        assert output_of(command, folder) in TEXT, "scripts/dev/readme.py brings it up to date"


def test_the_generated_tables_are_the_codes_own() -> None:
    assert {"codes", "score"} <= set(re.findall(r"<!-- (\w+) -->", TEXT))
    assert tables_refreshed(TEXT) == TEXT, "scripts/dev/readme.py brings it up to date"


def test_every_verb_has_a_transcript_or_says_why_not() -> None:
    shown = {command.split()[0] for story in stories(TEXT) for command in story}
    excused = set(re.findall(r"<!-- no transcript: ([\w-]+)", TEXT))
    assert shown | excused == set(COMMANDS)
    assert not shown & excused


def test_every_command_is_in_the_table() -> None:
    assert set(re.findall(r"^\| `([\w-]+)", PAGES[0].read_text(encoding="utf-8"), re.MULTILINE)) == set(COMMANDS)


def test_our_own_scripts_keep_the_numbering_rule() -> None:
    assert lint_setup(ROOT / "scripts") == ()


def test_the_version_is_said_once() -> None:
    assert metadata.version("flash-doctor") == __version__


LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]*)(?:#([\w-]+))?\)")


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("[CS]*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            there = (page.parent / target) if target else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 250
