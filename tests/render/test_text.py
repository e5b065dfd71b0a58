"""The text of a report: literal at three widths, safe against hostile names, and made for copying."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st
from rich.cells import cell_len

from flash_doctor.model import Absent, FlashAttention, Remedy, Report, Severity, Unchecked, Unknown
from flash_doctor.render.chain import LINKS, LinkState, chain
from flash_doctor.render.console import to_text
from flash_doctor.render.text import (
    Style,
    clean,
    documentation_lines,
    list_lines,
    report_lines,
    shortened,
    unchecked_lines,
)
from patients import DRIVER, FAMILIES, NOWHERE, PATIENTS, broken, finding, healthy, hostile, report, warned

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[1] / "golden"
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def text(value: Report, width: int = 80, stream: io.StringIO | None = None) -> str:
    return to_text(report_lines(value, FAMILIES), stream or io.StringIO(), width=width)


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("name", PATIENTS)
def test_the_literal_text(name: str, width: int) -> None:
    """To accept a wanted change, delete the file and run the test once: it is written anew, and fails."""
    shown = text(PATIENTS[name](), width)
    file = GOLDEN / f"report-{name}-{width}.txt"
    if not file.exists():
        file.write_text(shown, encoding="utf-8")
        pytest.fail(f"{file} was written; read it")
    assert shown == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("make", PATIENTS.values(), ids=PATIENTS)
def test_no_row_is_wider_than_the_terminal_but_for_commands(make: Callable[[], Report], width: int) -> None:
    commands = [command for item in make().findings if item.remedy for command in item.remedy.commands]
    for row in text(make(), width).splitlines():
        assert cell_len(row) <= width or row.strip() in commands or row.startswith(("Target: ", "Target: ", "Target: "))


def test_the_verdict_comes_first() -> None:
    assert text(broken()).splitlines()[0] == "BROKEN at torch: 2 errors, 1 warning."
    assert text(healthy()).splitlines()[0] == "Healthy: no problem found."
    assert text(warned()).splitlines()[0].startswith("No error found, but")


def test_unchecked_is_never_called_healthy() -> None:
    partly = report(unchecked=(Unchecked(code="D001", why="no NVML"),))
    assert text(partly).splitlines()[0] == "No problem found, but 1 check could not be made."
    assert "healthy" not in text(partly).casefold()


def test_what_was_not_looked_at_is_never_called_healthy() -> None:
    host_only = report(torch=NOWHERE, flash=NOWHERE)
    assert text(host_only).splitlines()[0] == "No problem found in what was looked at."
    assert "healthy" not in text(host_only).casefold()


def test_a_command_is_one_row_of_its_own_without_anything_around_it() -> None:
    command = broken().findings[1].remedy
    assert isinstance(command, Remedy)
    rows = [row for row in text(broken(), 40).splitlines() if "pip install" in row]
    assert [row.strip() for row in rows] == list(command.commands)


@pytest.mark.parametrize("make", PATIENTS.values(), ids=PATIENTS)
def test_colour_changes_no_word(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Report]) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = text(make(), stream=Terminal())
    assert "\x1b[" in coloured
    assert ESCAPES.sub("", coloured) == text(make())


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(name, value)
    assert not re.search(r"\x1b\[[0-9;]*3\dm", text(broken(), stream=Terminal()))


def test_width_follows_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert to_text(report_lines(broken(), FAMILIES), io.StringIO()) == text(broken(), 40)


def test_hostile_names_only_show() -> None:
    shown = text(hostile())
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert "[bold]torch[/bold]" in shown
    assert "[link=x]y[/link]" in shown
    assert ":smile:" in shown
    assert "\nHealthy" not in shown


@given(st.text())
def test_cleaned_text_is_printable_and_stable(raw: str) -> None:
    cleaned = clean(raw)
    cleaned.encode("utf-8")
    assert not any(char in cleaned for char in "\x1b\x9b\n\r\t\u202e\u2028")
    assert clean(cleaned) == cleaned


@given(st.text(max_size=60), st.integers(20, 120))
def test_wrapping_loses_nothing_but_space(raw: str, width: int) -> None:
    value = report(finding("T001", Severity.ERROR, "torch", "S.", evidence=(raw,)))
    shown = text(value, width)
    assert re.sub(r"\s", "", clean(raw)) in re.sub(r"\s", "", shown)


# -- the chain


def states(value: Report) -> dict[str, LinkState]:
    return {link.name: link.state for link in chain(value, FAMILIES).links}


def test_the_chain_of_a_sound_machine() -> None:
    assert states(report()) == {
        "GPU": LinkState.SOUND,
        "driver": LinkState.SOUND,
        "torch": LinkState.SOUND,
        "flash-attn": LinkState.MISSING,
    }


@pytest.mark.parametrize(
    ("code", "link"),
    [("G001", "GPU"), ("D001", "driver"), ("T001", "torch"), ("L001", "torch"), ("F001", "flash-attn")],
)
def test_an_error_breaks_the_link_of_its_family(code: str, link: str) -> None:
    broken_chain = chain(report(finding(code, Severity.ERROR, "x")), FAMILIES)
    assert broken_chain.broken is not None
    assert (broken_chain.broken.name, broken_chain.broken.codes) == (link, (code,))


def test_the_first_of_two_broken_links_is_named() -> None:
    both = report(finding("F001", Severity.ERROR, "x"), finding("D001", Severity.ERROR, "x"))
    assert text(both).startswith("BROKEN at driver")


def test_an_error_outside_the_chain_breaks_no_link() -> None:
    value = report(finding("H001", Severity.ERROR, "/srv/ada"))
    assert chain(value, FAMILIES).broken is None
    assert text(value).startswith("BROKEN at /srv/ada: 1 error.")


@pytest.mark.parametrize("link", LINKS)
def test_a_code_of_a_later_version_goes_by_its_subject(link: str) -> None:
    assert states(report(finding("Z999", Severity.ERROR, link)))[link] is LinkState.BROKEN


def test_parts_that_are_absent_or_unknown() -> None:
    value = report(gpus=Absent(absent="no GPU on the bus"), driver=Unknown(unknown="it hangs"), torch=Absent())
    assert states(value) == {
        "GPU": LinkState.MISSING,
        "driver": LinkState.UNKNOWN,
        "torch": LinkState.MISSING,
        "flash-attn": LinkState.MISSING,
    }


def test_a_warning_marks_a_sound_link_only() -> None:
    warning = finding("D001", Severity.WARNING, "x")
    assert states(report(warning))["driver"] is LinkState.WARNED
    assert states(report(warning, driver=NOWHERE))["driver"] is LinkState.UNKNOWN


def test_a_driver_without_a_version_is_unknown() -> None:
    import dataclasses

    mute = dataclasses.replace(DRIVER, module=NOWHERE, library=NOWHERE)
    assert states(report(driver=mute))["driver"] is LinkState.UNKNOWN


def test_flash_modules_without_packages_are_seen() -> None:
    from flash_doctor.model import FlashKind, FlashModule

    module = FlashModule(
        kind=FlashKind.FA2, name="flash_attn", path=Path("/x"), version=NOWHERE, in_site_packages=False
    )
    shown = text(report(flash=FlashAttention(packages=(), modules=(module,), extensions=())))
    assert "flash_attn (no package metadata)" in shown


# -- the pieces


def test_long_evidence_says_how_much_is_left_out() -> None:
    assert list(shortened(["a", "b", "c", "d"], 3)) == ["a", "b", "and 2 more: --json has them all"]
    assert list(shortened(["a", "b"], 2)) == ["a", "b"]


def test_reasons_are_told_once() -> None:
    unchecked = [Unchecked(code=f"X{number}", why="no NVML") for number in range(9)]
    lines = list(unchecked_lines(unchecked))
    assert to_text(lines, io.StringIO(), width=120).splitlines()[1:] == [
        "9 checks could not be made",
        "  - no NVML (X0, X1, X2, X3, X4, X5 and 3 more)",
    ]


def test_documentation_flows_and_keeps_commands() -> None:
    documentation = "A title.\n\nA paragraph\nthat flows.\n- an item\n- another\n\n    a command --long\n\nLast."
    shown = to_text(documentation_lines("T001", "torch", documentation), io.StringIO(), width=60)
    assert shown == (
        "T001 (torch): A title.\n\nA paragraph that flows.\n- an item\n- another\n\n    a command --long\n\nLast.\n"
    )


def test_the_list_of_checks_has_one_row_each() -> None:
    shown = to_text(list_lines([("T001", "A title."), ("W-nan", "B.")]), io.StringIO())
    assert shown == "T001   A title.\nW-nan  B.\n"


def test_every_style_has_a_colour() -> None:
    from flash_doctor.render.console import _COLOURS

    assert set(_COLOURS) == {style.value for style in Style}


def test_a_line_without_end_is_cut() -> None:
    shown = text(report(finding("T001", Severity.ERROR, "torch", summary="x" * 100_000, evidence=("y" * 100_000,))))
    assert len(shown) < 5_000
    assert shown.count("99000 more characters: --json") == 2
