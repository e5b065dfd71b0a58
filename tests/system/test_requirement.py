"""Requirement lines: read as packaging reads them, by the target's markers, and no crash on what a stranger writes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given, strategies as st
from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement as Theirs
from packaging.utils import canonicalize_name
from packaging.version import Version
from ward import names, patient

from flash_doctor.errors import BadInput
from flash_doctor.model import known
from flash_doctor.system.requirement import LONGEST, Requirement, parse, readable, specifiers, valid_name, valid_version

OPERATORS = st.sampled_from(["==", ">=", "<=", "!=", "~=", ">", "<", "===", "=", "=>"])
VERSIONS = st.sampled_from(
    [
        "1",
        "1.2",
        "2.8.0",
        "1.*",
        "1.0a1",
        "1.0rc1",
        "1.0.post1",
        "1.dev0",
        "2.8+cu128",
        "0!1",
        "v1",
        "1.x",
        "1.2.*",
        "1a",
    ]
)
SPACES = st.sampled_from(["", " ", "  ", "\t"])
CLAUSES = st.lists(st.tuples(SPACES, OPERATORS, SPACES, VERSIONS, SPACES).map("".join), max_size=3).map(",".join)
NAMES = st.from_regex(r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,6}[A-Za-z0-9])?", fullmatch=True) | st.sampled_from(["a_", "-rf"])
MARKERS = st.sampled_from(
    [
        "",
        '; python_version < "3.11"',
        ';platform_system == "Linux" and platform_machine == "x86_64"',
        " ; os_name=='nt'",
        "; extra == 'extra'",
        '; platform_version == "extra" or python_version > "3"',
        " ; (extra == 'a' or extra == \"b\") and python_version>'3'",
    ]
)
EXTRAS = st.sampled_from(["", "[http]", "[a,b-c]", "[ a , B_c ]", "[]", "[a,]", "[extra]"])
SHAPES = st.sampled_from(
    ["{0}{1}{2}{3}", "{0}{1} {2}{3}", "{0} {1} ({2}){3}", "  {0}{1}{2} {3}", "{0}({2}){3}", "{0}{1} @ https://h/x {3}"]
)


def every_line() -> list[str]:
    packages = [known(patient(name).environment.packages) for name in names()]
    lines = {line for found in packages if found for package in found.distributions for line in package.requires}
    return sorted(lines)


def test_the_ward_holds_real_lines() -> None:
    assert len(every_line()) > 60


@pytest.mark.parametrize("line", every_line())
def test_real_lines_are_read_as_packaging_reads_them(line: str) -> None:
    agrees(line)


@given(SHAPES, NAMES, EXTRAS, CLAUSES, MARKERS)
@example("{0}({2})", "einops", "", ">=0.6", "")
def test_any_line_is_read_as_packaging_reads_it(shape: str, name: str, extras: str, clauses: str, marker: str) -> None:
    agrees(shape.format(name, extras, clauses, marker))


def agrees(line: str) -> None:
    """The same answer as packaging's, but for a name that packaging's grammar takes and the specification does not."""
    try:
        theirs = Theirs(line)
    except InvalidRequirement:
        with pytest.raises(BadInput):
            parse(line)
        assert not list(readable([line]))
        return
    if theirs.name.endswith(("_", "-", ".")):
        with pytest.raises(BadInput):
            parse(line)
        return
    ours = parse(line)
    assert [ours] == list(readable([line]))
    assert ours.name == canonicalize_name(theirs.name)
    assert set(ours.extras) == {canonicalize_name(extra) for extra in theirs.extras}
    assert specifiers(ours.specifier) == theirs.specifier
    assert ours.url == theirs.url
    assert bool(ours.marker) == bool(theirs.marker)
    for extra in ("", "a", "extra"):
        environment = {**TARGET, "extra": extra}
        assert ours.holds(TARGET, extra) is (theirs.marker is None or theirs.marker.evaluate({**environment}))
    assert ours.of_extra is ("extra ==" in line)
    assert Theirs(ours.bare).specifier == theirs.specifier


# certainly no Python that runs this test
TARGET = {
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


@pytest.mark.parametrize("name", sorted({*TARGET}))
def test_what_the_target_does_not_say_is_not_taken_from_us(name: str) -> None:
    mine = dict(default_environment())[name]
    others = {key: value for key, value in TARGET.items() if key != name}
    assert not parse(f"torch; {name} == '{mine}'").holds(others)
    assert parse(f"torch; {name} == '{mine}'").holds({**others, name: str(mine)})


def test_of_an_unknown_target_only_extras_are_left_out() -> None:
    assert parse("torch; python_version < '3'").holds(None)
    assert not parse("torch; extra == 'gpu'").holds(None)


def test_the_two_that_were_read_wrongly() -> None:
    assert parse("einops(>=0.6)") == Requirement(name=valid_name("einops"), specifier=">=0.6")
    assert parse("foo@ https://x/y.whl") == Requirement(name=valid_name("foo"), url="https://x/y.whl")


@pytest.mark.parametrize(
    ("line", "normal"),
    [
        ("Flash_Attn [ B , a_B ] ( >= 2.5, <3 ) ; python_version > '3'", "flash-attn[a-b,b]>=2.5,<3"),
        ("Zope.Interface", "zope-interface"),
        ("a @ git+https://h/x.git@main#egg=a ; os_name == 'nt'", "a @ git+https://h/x.git@main#egg=a"),
        ("a===weird", "a===weird"),
    ],
)
def test_the_normal_form(line: str, normal: str) -> None:
    assert parse(line).bare == normal


HOSTILE = [
    "torch==2 8.0",
    "torch\n",
    "torch\n--index-url https://evil.example",
    "torch\r; os_name == 'nt'",
    "torch\0",
    "\ufefftorch",
    "-rf",
    "--index-url https://evil.example",
    "torch; python_version >>> 3",
    "torch; moon == 'full'",
    "torch; " + "(" * 2000,
    "torch; " + "(" * 1000 + "os_name == 'a'" + ")" * 1000,
    "torch" + " " * (1 << 20) + "(",
    "torch" + "[a" * 1500,
    "torch>=1" + ",>=1" * 900 + "!",
    "a" * (10 << 20),
    "a==" + "9" * (1 << 20),
    "\u212aelvin",  # a Kelvin sign, which is a K where letters' case is ignored
    "\u017fetuptools",
    "evil$(touch${IFS}pwn)",
    "a\x1b[31m",
    "",
    ";",
    "@",
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_line_is_refused_shortly(line: str) -> None:
    """And at once: for a search that backtracks, some of these are hours."""
    with pytest.raises(BadInput) as caught:
        parse(line)
    assert len(caught.value.message) < 400
    assert "\n" not in caught.value.message


@given(st.text(max_size=60) | st.text(alphabet="ab[](),;=<>~!@ .*'\"\\-_#", max_size=40))
def test_rubbish_is_refused_or_read_and_never_a_crash(line: str) -> None:
    for requirement in readable([line]):
        assert valid_name(requirement.name) == requirement.name
        requirement.holds(TARGET)
        requirement.admits(Version("1"))


@pytest.mark.parametrize("text", ["flash-attn", "A", "zope.interface", "a__b", "3d"])
def test_names_of_the_specification(text: str) -> None:
    assert valid_name(text) == canonicalize_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-a",
        "a-",
        "_a",
        "a_",
        ".",
        "a b",
        "a\n",
        "é",
        "\u212a",
        "\u017f",
        "a;b",
        "$(x)",
        "a/b",
        "../a",
        "a" * 5000,
        "`x`",
    ],
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no name of a distribution"):
        valid_name(text)


@pytest.mark.parametrize("text", ["", "x", "1.0;rm", "1.0\n2", "1." + "9" * LONGEST, "2.8 0", "$(x)"])
def test_other_versions_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no version"):
        valid_version(text)
    with pytest.raises(BadInput, match="is no version specifier"):
        specifiers(text or "x")


def test_ordinary_lines_need_no_parser() -> None:
    """check reads thousands of lines at every start."""
    script = (
        "import sys; from flash_doctor.system.requirement import parse\n"
        "for line in ('torch', 'a>=1,<2', 'a[b] (==1.0.post1)', 'a ~= 1.4', 'a != 1.*'): parse(line)\n"
        "sys.exit(', '.join({'packaging.requirements', 'packaging.markers'} & {*sys.modules}) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stderr == ""
