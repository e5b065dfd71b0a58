"""A requirements file read for another Python than the one that reads it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from fakes import TableRunner, printed
from flash_doctor.errors import USAGE, BadInput
from flash_doctor.probe.requirements import Requirements, read_requirements
from flash_doctor.probe.target import requirements_of
from flash_doctor.system.process import Command, Completed, SystemRunner
from sites import site_of

if TYPE_CHECKING:
    from pathlib import Path

# A target that is certainly another machine than the one of the test.
MARKERS = {
    "implementation_name": "cpython",
    "implementation_version": "3.9.1",
    "os_name": "posix",
    "platform_machine": "riscv64",
    "platform_release": "1",
    "platform_system": "Linux",
    "platform_version": "1",
    "platform_python_implementation": "CPython",
    "python_full_version": "3.9.1",
    "python_version": "3.9",
    "sys_platform": "linux",
}


def read(file: Path, text: str | None = None, **environ: str) -> Requirements:
    if text is not None:
        file.write_text(text)
    return read_requirements(file, MARKERS, environ, SystemRunner())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "requirements.txt"


def test_names_specifiers_and_line_numbers(file: Path) -> None:
    text = """\
# what we train with
torch==2.8.0
Flash_Attn >=2.8, \\
  <3   # not 3

transformers[torch] ~= 4.55
"""
    lines = read(file, text).lines
    assert [(line.name, line.line) for line in lines] == [("torch", 2), ("flash-attn", 3), ("transformers", 6)]
    assert lines[0].specifier == "==2.8.0"
    assert set(lines[1].specifier.split(",")) == {">=2.8", "<3"}
    assert lines[0].file == file
    assert not lines[0].constraint


def test_markers_are_the_targets(file: Path) -> None:
    text = """\
torch==2.1; python_version < "3.10" and platform_machine == "riscv64"
torch==2.9; python_version >= "3.10"
numpy; sys_platform == 'win32' or extra == 'gpu'
einops ;python_full_version in "3.9.1"
"""
    lines = read(file, text).lines
    assert [(line.requirement, line.line) for line in lines] == [("torch==2.1", 1), ("einops", 4)]


def test_the_same_name_twice_is_told_twice(file: Path) -> None:
    assert [line.specifier for line in read(file, "torch>=2\ntorch<3\n").lines] == [">=2", "<3"]


def test_nested_files_and_constraints(file: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("einops\n-r ../requirements.txt\n")
    (tmp_path / "pins.txt").write_text("numpy==1.26.4\n")
    lines = read(file, "-r more/base.txt\n--constraint=pins.txt\ntorch\n").lines
    assert [(line.name, line.file.name, line.constraint) for line in lines] == [
        ("einops", "base.txt", False),
        ("numpy", "pins.txt", True),
        ("torch", "requirements.txt", False),
    ]


def test_hashes_and_options_are_no_part_of_a_requirement(file: Path) -> None:
    digest = "0" * 64
    text = f"""\
--pre
--no-binary flash-attn
torch==2.8.0 \\
    --hash=sha256:{digest} \\
    --hash=sha256:{digest}
einops --config-settings key=value
"""
    assert [line.requirement for line in read(file, text).lines] == ["torch==2.8.0", "einops"]


def test_addresses_wheels_and_editables(file: Path, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").write_text('[project]\nname = "mine"\n')
    text = f"""\
flash-attn @ https://me:pw@example.org/flash_attn-2.8.3-cp39-cp39-linux_x86_64.whl#sha256=ab ; python_version < "3.10"
https://example.org/torch-2.8.0-cp39-cp39-linux_x86_64.whl
git+https://example.org/trl.git@main#egg=trl
-e {tmp_path}/project
"""
    lines = read(file, text).lines
    assert [line.name for line in lines] == ["flash-attn", "torch", "trl", "mine"]
    assert "pw" not in lines[0].requirement + lines[0].specifier
    assert lines[0].specifier.startswith("@ https://***@example.org/")
    assert lines[1].specifier == "==2.8.0"


def test_indexes_are_reported_with_their_line(file: Path) -> None:
    text = "--index-url https://a.example/simple\n--extra-index-url=https://u:p@b.example\n-f /wheels\ntorch\n"
    found = read(file, text).indexes
    assert [(index.url, index.origin) for index in found] == [
        ("https://a.example/simple", f"{file}, line 1"),
        ("https://***@b.example", f"{file}, line 2"),
        ("/wheels", f"{file}, line 3"),
    ]


def test_a_version_in_a_variable_is_read(file: Path) -> None:
    lines = read(file, "torch==${TORCH_VERSION}\n", TORCH_VERSION="2.8.0").lines
    assert lines[0].specifier == "==2.8.0"


@pytest.mark.parametrize("secret", ["hf_abcdEFGH", "s3cr3t", "12345678", "2.8.0;x", "2.8 --hash=a:b", "20240101", ""])
@pytest.mark.parametrize(
    "line",
    [
        "torch==${SECRET}",
        "torch>= ${SECRET} ; python_version > '3'",
        "${SECRET}",
        "torch @ https://ada:${SECRET}@h/torch.whl",
        "torch @ https://h/torch.whl?t=${SECRET}",
        "--index-url https://ada:${SECRET}@h/simple",
        "-f https://h/${SECRET}/",
        "-e git+https://ada:${SECRET}@h/x.git#egg=x",
        "./${SECRET}/x.whl",
        "-r ${SECRET}.txt",
        "torch --hash=sha256:${SECRET}",
    ],
)
def test_no_value_of_a_variable_gets_out(file: Path, line: str, secret: str) -> None:
    """Unless it can only be a version: whoever wrote the file chose the variable."""
    try:
        told = repr(read(file, line + "\n", SECRET=secret))
    except BadInput as error:
        told = f"{error.message} {error.evidence} {error.advice}"
    assert not secret or secret not in told.replace(str(file), "")


def test_a_nested_file_that_is_none_is_not_shown(file: Path, tmp_path: Path) -> None:
    """`-r /root/.netrc` in a stranger's file would print what only its reader may read."""
    (tmp_path / "netrc").write_text("machine h login ada password s3cr3t\n")
    (tmp_path / "other").write_text("-password s3cr3t\n")
    for name in ("netrc", "other"):
        with pytest.raises(BadInput, match=f"{name}, line 1") as caught:
            read(file, f"torch\n-r {name}\n")
        assert "s3cr3t" not in f"{caught.value.message} {caught.value.evidence}"


def test_files_that_name_each_other_end(file: Path, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("einops\n-r requirements.txt\n-r ./b.txt\n")
    assert [line.name for line in read(file, "-r b.txt\n-r requirements.txt\ntorch\n").lines] == ["einops", "torch"]


def test_files_in_each_other_without_end(file: Path, tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.txt").write_text(f"-r {number + 1}.txt\n")
    with pytest.raises(BadInput, match="in each other, are named with -r"):
        read(file, "-r 0.txt\n")
    for number in range(400):
        (tmp_path / f"{number}.txt").write_text("einops\n")
    with pytest.raises(BadInput, match="more than 200 files"):
        read(file, "".join(f"-r {number}.txt\n" for number in range(400)))


def test_a_pipe_that_is_named_does_not_hang(file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(BadInput, match="it is no regular file"):
        read(file, "-r pipe.txt\n")
    with pytest.raises(BadInput, match="it is no regular file"):
        read(file, "-c /dev/zero\n")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a" * (5 << 20), "longer than 4 MiB"),
        (b"torch \\\n" * 100_000, "line 1 has 599999 characters"),
        (b" " * (1 << 20) + b"a" * (300 << 10), "line 1 has 307200 characters"),
        (b"torch\0", "it is no text"),
        (b"torch\xff", "it is not UTF-8 text"),
        (b"a" * 5000, "line 1: a line of 5000 characters is no requirement"),
    ],
)
def test_a_file_without_end_or_measure_is_refused(file: Path, data: bytes, says: str) -> None:
    file.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        read(file)
    assert says in caught.value.message
    assert len(caught.value.message) < 1000


def test_signs_of_other_systems(file: Path) -> None:
    file.write_bytes("\ufefftorch==2.8 \\\r\n  # no\r\neinops  # yes \\\r\nnumpy".encode())
    assert [(line.requirement, line.line) for line in read(file).lines] == [
        ("torch==2.8", 1),
        ("einops", 3),
        ("numpy", 4),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("numpy<2 --=3:aa", "'--=3:aa' is no option that can stand behind a requirement"),
        ("numpy --hash", ""),
        ("numpy --index-url https://h/simple", "'--index-url' is no option that can stand behind"),
        ("numpy --hash=sha256:a -e .", "'-e' is no option that can stand behind"),
        ("numpy --global-option='a", "its options cannot be read"),
        ("--extra--url.https://u:p@h//simple", "is no option that a requirements file can have"),
        ("--", "is no option"),
        ("-", "is no option"),
        ("-é x", "is no option"),
        ("--Pre", "is no option"),
        ("-e", "-e names no folder and no address"),
        ("-e --hash=a", "-e names no folder and no address"),
        ("--editable=-x", "-e names no folder and no address"),
        ("-e git+https://h/x#egg=", "line 1"),
        ("-e git+https://h/x#egg=a$(b)", "line 1"),
        ("https://h/x.tar.gz#egg=-x", "line 1"),
        ("./a b -x", "'-x' is no option"),
        ("https://h/-1.0-py3-none-any.whl", "line 1"),
        ("torch @ ", "line 1"),
        ("[x]", "line 1"),
        ("torch; " + "(" * 3000, "nested"),
    ],
)
def test_what_pip_refuses_is_told_in_our_words(
    file: Path, line: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if says:
        with pytest.raises(BadInput) as caught:
            read(file, line + "\n")
        assert says in caught.value.message
        assert f"{file}, line 1: " in caught.value.message
    else:
        assert [each.name for each in read(file, line + "\n").lines] == ["numpy"]
    assert capfd.readouterr() == ("", "")


OPTIONS = st.sampled_from(["-e", "-r", "-c", "-i", "--hash", "--extra-index-url", "--pre", "--", "-", "--=3:a", "-f"])
WORDS = st.sampled_from(
    ["torch", "==2", " ", "8.0", ";", "python_version", ">=", '"sha256.0"', "git+https://h/x#egg=y", "./", "@", "\\\n"]
)


@settings(max_examples=300)
@given(st.lists(OPTIONS | WORDS | st.text(max_size=4), max_size=8).map("".join))
def test_rubbish_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "rubbish.txt"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(BadInput):
        read_requirements(file, MARKERS, {}, TableRunner({"pip_api": _complaining}))


def _complaining(command: Command) -> Completed:
    """pip-api as it answers rubbish, without the second that starting it takes."""
    return printed(json.dumps(["no requirement"] * len(json.loads(command.stdin))))


@settings(max_examples=5, deadline=None)
@given(st.lists(st.lists(OPTIONS | WORDS | st.text(max_size=4), max_size=8).map("".join), min_size=60, max_size=60))
def test_pip_api_answers_for_each_line_whatever_it_is(lines: list[str]) -> None:
    """One that makes it exit, or fail, takes the others' answers not away."""
    answers = requirements_of([*lines, "-e git+https://h/x.git#egg=y"], SystemRunner())
    assert len(answers) == len(lines) + 1
    assert answers[-1][0] == "y"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("torch==2.8\nflash-attn=2.8\n", "line 2"),
        ("\n\ntorch=>2.8\n", "line 3"),
        ("torch 2.8\n", "line 1: 'torch 2.8' is no requirement"),
        ("torch\nflash attn\n", "line 2: 'flash attn' is no requirement"),
        ("torch; python_vers < '3'\n", "line 1: the condition after ';' is not understood"),
        ("./not-there/\n", "line 1"),
        ("-r https://example.org/requirements.txt\n", "line 1: a requirements file at an address is not fetched"),
        ("torch\n-r gone.txt\n", "line 2: it names gone.txt, which is not there"),
        ("git+https://example.org/trl.git\n", "line 1"),
        ("torch==2.8 --hash=md5:1\n-e .\n", "line 2"),
    ],
)
def test_a_wrong_line_is_told_with_file_and_number(
    file: Path, text: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    with pytest.raises(BadInput) as caught:
        read(file, text)
    assert f"{file}, {says}" in caught.value.message
    assert "\n" not in caught.value.message
    assert "Traceback" not in caught.value.message
    assert caught.value.exit_code == USAGE


def test_a_file_that_is_missing_or_no_text_is_told(file: Path) -> None:
    with pytest.raises(BadInput, match="there is no such requirements file"):
        read(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="it is not UTF-8 text"):
        read(file)
    with pytest.raises(BadInput, match="cannot be read as a requirements file: Is a directory"):
        read(file.parent)


def test_an_empty_file_asks_for_nothing(file: Path) -> None:
    assert read(file, "# nothing yet\n") == Requirements((), ())


def test_a_doctor_without_pip_says_so(venv: Path, tmp_path: Path) -> None:
    """A doctor in an environment that uv made and that lost pip-api's own requirement."""
    for name in ("packaging", "pip_api", "flash_doctor"):
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.submodule_search_locations
        (site_of(venv) / name).symlink_to(next(iter(found.submodule_search_locations)))
    code = (
        "from flash_doctor.system.process import SystemRunner\nfrom flash_doctor.errors import BadInput\n"
        "from flash_doctor.probe.target import requirements_of\n"
        "try:\n    requirements_of(['-e .'], SystemRunner())\n"
        "except BadInput as error:\n    print(error.message, error.advice)\n"
    )
    python = venv / "bin" / "python"
    ended = subprocess.run([python, "-B", "-c", code], capture_output=True, text=True, check=True)
    assert f"the doctor's own Python ({python}) has none" in ended.stdout
    assert ended.stderr == ""
