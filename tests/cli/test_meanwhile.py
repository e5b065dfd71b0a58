"""The wait for a child is used."""

from __future__ import annotations

from fakes import TableRunner, printed
from flash_doctor.cli.meanwhile import Meanwhile
from flash_doctor.system.process import Command


def test_the_work_is_done_once_and_not_before_the_first_wait() -> None:
    done: list[str] = []
    runner = Meanwhile(TableRunner({"tool": printed("answer")}), lambda: done.append("work"))
    first = runner.start(Command(argv=("tool",)))
    assert done == []
    assert first.wait().text == "answer"
    assert runner.run(Command(argv=("tool",))).text == "answer"
    assert done == ["work"]
