"""pip as the one who asks an index, where uv is not there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from packaging.version import Version

from fakes import TableRunner, printed
from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.resolve.index_query import IndexQuery, IndexUnreachable
from flash_doctor.resolve.sources.pip_index import PipLookup, platforms
from flash_doctor.system.process import Command, Completed, SystemRunner

QUESTION = IndexQuery(
    requirements=("einops",),
    constraints=("numpy==2.1.0",),
    python="3.12",
    machine="x86_64",
    glibc=(2, 35),
    indexes=("https://example.org/whl/cu128",),
)
ARCHIVE = {"hashes": {"sha256": "ab" * 32}}
EINOPS = {
    "download_info": {
        "url": "https://e.org/einops-0.8.1-py3-none-any.whl",
        "archive_info": {"hashes": {"sha256": "ab" * 32}},
    },
    "metadata": {"name": "Einops", "version": "0.8.1"},
}


def reporting(text: str) -> TableRunner:
    """A pip that writes this report where it is told to."""

    def answer(command: Command) -> Completed:
        Path(command.argv[command.argv.index("--report") + 1]).write_text(text)
        return printed("")

    return TableRunner({"pip": answer})


def test_pip_is_asked_for_wheels_of_the_questions_python() -> None:
    runner = reporting(json.dumps({"install": [EINOPS]}))
    (one,) = PipLookup(runner=runner, python=Path("/bin/python")).answer(QUESTION)
    assert (one.name, one.version, one.sha256, one.size) == ("einops", Version("0.8.1"), "ab" * 32, None)
    options = " ".join(runner.seen[0].argv)
    for words in ("--dry-run", "--python-version 3.12", "--platform manylinux_2_35_x86_64", "--only-binary :all:",
                  "--extra-index-url https://example.org/whl/cu128"):  # fmt: skip
        assert words in options
    assert "manylinux_2_36" not in options


def test_a_machine_that_is_not_known_has_no_platform() -> None:
    assert (
        platforms(IndexQuery(requirements=(), constraints=(), python=None, machine=None, glibc=None, indexes=())) == ()
    )


@pytest.mark.parametrize("text", ["", "[]", '{"install": [{}]}', '{"install": [{"download_info": 1, "metadata": {}}]}'])
def test_another_answer_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        PipLookup(runner=reporting(text), python=Path("/bin/python")).answer(QUESTION)


def test_no_set_of_versions_and_no_index_are_two_things() -> None:
    none = TableRunner({"pip": printed("", returncode=1, errors="ERROR: ResolutionImpossible")})
    with pytest.raises(NoPlanFound) as caught:
        PipLookup(runner=none, python=Path("/bin/python")).answer(QUESTION)
    assert not isinstance(caught.value, IndexUnreachable)
    away = TableRunner({"pip": printed("", returncode=1, errors="WARNING: ... NewConnectionError('refused')")})
    with pytest.raises(IndexUnreachable):
        PipLookup(runner=away, python=Path("/bin/python")).answer(QUESTION)


@pytest.mark.index
def test_pip_settles_einops_for_real() -> None:
    question = IndexQuery(
        requirements=("einops",), constraints=(), python="3.12", machine="x86_64", glibc=(2, 35), indexes=()
    )
    (one,) = PipLookup(runner=SystemRunner(), python=Path(sys.executable)).answer(question)
    assert one.name == "einops"
    assert one.sha256 is not None
    assert len(one.sha256) == 64
