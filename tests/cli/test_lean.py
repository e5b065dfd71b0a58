"""Quick commands convert as typer does, and the wait for a child is used."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from fakes import TableRunner, printed
from flash_doctor.cli.lean import LeanCommand, LeanGroup
from flash_doctor.cli.meanwhile import Meanwhile
from flash_doctor.system.process import Command


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


def parse(*arguments: str) -> dict[str, Any]:
    """What a lean command makes of the arguments."""
    app = typer.Typer(add_completion=False, cls=LeanGroup)
    app.callback()(lambda: None)

    @app.command(cls=LeanCommand)
    def paint(
        text: Annotated[str, typer.Argument()] = "none",
        file: Annotated[Path | None, typer.Option()] = None,
        number: Annotated[int, typer.Option(max=9)] = 1,
        colour: Annotated[Colour, typer.Option()] = Colour.RED,
        names: Annotated[list[str] | None, typer.Option("--name")] = None,
        flag: Annotated[bool, typer.Option()] = False,
    ) -> dict[str, Any]:
        return {"text": text, "file": file, "number": number, "colour": colour, "names": names, "flag": flag}

    result = app(args=["paint", *arguments], standalone_mode=False)
    assert isinstance(result, dict)
    return result


def test_defaults_are_as_declared() -> None:
    made = parse()
    assert made.pop("names") in (None, [], ())
    assert made == {"text": "none", "file": None, "number": 1, "colour": Colour.RED, "flag": False}


def test_values_get_their_types() -> None:
    made = parse("word", "--file", "a/b", "--number", "7", "--colour", "blue", "--name", "x", "--name", "y", "--flag")
    assert list(made.pop("names")) == ["x", "y"]
    assert made == {"text": "word", "file": Path("a/b"), "number": 7, "colour": Colour.BLUE, "flag": True}


@pytest.mark.parametrize("wrong", [["--number", "x"], ["--number", "10"], ["--colour", "green"], ["--flag=maybe"]])
def test_wrong_values_are_refused(wrong: list[str]) -> None:
    with pytest.raises(typer.BadParameter.__bases__[0]):
        parse(*wrong)


def test_the_work_is_done_once_and_not_before_the_first_wait() -> None:
    done: list[str] = []
    runner = Meanwhile(TableRunner({"tool": printed("answer")}), lambda: done.append("work"))
    first = runner.start(Command(argv=("tool",)))
    assert done == []
    assert first.wait().text == "answer"
    assert runner.run(Command(argv=("tool",))).text == "answer"
    assert done == ["work"]
