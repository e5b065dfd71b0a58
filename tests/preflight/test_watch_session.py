"""The whole watch over real files that grow between two looks; time, disk and processes are stand-ins."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from flash_doctor.errors import BROKEN, COULD_NOT_LOOK, HEALTHY
from flash_doctor.model import Severity
from flash_doctor.model.watch import Moment, WatchEvent
from flash_doctor.watch.clock import Writer
from flash_doctor.watch.disk import Space
from flash_doctor.watch.end_of_run import WatchOptions
from flash_doctor.watch.session import Watch
from watch_runs import FACTS, Log, changed, sft

DATA = Path(__file__).parents[1] / "data" / "watch"
US = Writer(os.getpid(), 1.0)


@dataclass
class ScriptedWorld:
    """A machine on which one thing happens in each interval; after the last one nothing does."""

    script: list[Callable[[], object]] = field(default_factory=list)
    clock: float = 1000.0
    share: float = 0.3
    total: float = 100e9
    writing: frozenset[Writer] = frozenset()
    broken_disk: bool = False

    def now(self) -> float:
        return 1_800_000_000.0 + self.clock

    def monotonic(self) -> float:
        return self.clock

    def sleep(self, seconds: float) -> None:
        self.clock += seconds
        if self.script:
            self.script.pop(0)()

    def space(self, folder: Path) -> Space:
        if self.broken_disk:
            raise OSError(5, "Input/output error")
        return Space(used=int(self.total * self.share), free=int(self.total * (1 - self.share)))

    def writers(self, paths: frozenset[Path]) -> frozenset[Writer]:
        return self.writing

    def alive(self, writers: frozenset[Writer]) -> bool:
        return bool(writers & self.writing)

    def full(self, share: float) -> None:
        self.share = share

    def gone(self) -> None:
        self.writing = frozenset()


FINAL: Log = {"train_runtime": 10.0, "train_loss": 1.5, "epoch": 2.0}


def line(log: Log) -> str:
    """As the Trainer prints it."""
    return f"{ {key: value for key, value in log.items() if key != 'step'} }\n"


def append(path: Path, logs: Iterable[Log]) -> None:
    with path.open("a") as log:
        log.writelines(map(line, logs))


def append_raw(path: Path, text: str) -> None:
    with path.open("a") as log:
        log.write(text)


def write_state(folder: Path, logs: Iterable[Log], max_steps: int = 200) -> None:
    history = list(logs)
    folder.mkdir(parents=True, exist_ok=True)
    body = {
        "log_history": history,
        "global_step": history[-1].get("step", 200),
        "max_steps": max_steps,
        "save_steps": 10,
    }
    (folder / "trainer_state.json").write_text(json.dumps(body))


def watched(world: ScriptedWorld, *paths: Path, **options: float | bool) -> tuple[list[WatchEvent], int]:
    watch = Watch(paths=paths, facts=FACTS, options=WatchOptions(**options), world=world)  # type: ignore[arg-type]
    events = list(watch.events())
    assert events[0].moment is Moment.STARTED
    assert events[-1].moment is Moment.ENDED
    return events[1:-1], watch.exit_code


def ending(world: ScriptedWorld, *paths: Path, **options: float | bool) -> str:
    watch = Watch(paths=paths, facts=FACTS, options=WatchOptions(**options), world=world)  # type: ignore[arg-type]
    return list(watch.events())[-1].finding.summary


def codes(events: list[WatchEvent]) -> list[str]:
    return [event.finding.code for event in events]


def test_a_healthy_run_from_its_first_line_to_its_end(tmp_path: Path) -> None:
    log, logs = tmp_path / "train.log", list(sft(200))
    script: list[Callable[[], object]] = [
        partial(append, log, logs[first : first + 20]) for first in range(0, len(logs), 20)
    ]
    world = ScriptedWorld([*script, lambda: append(log, [FINAL])])
    assert watched(world, log) == ([], HEALTHY)


def test_what_is_planted_is_told_within_one_interval(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    for planted, code in (
        ({"loss": math.nan}, "W-nan"),
        ({"loss": 40.0}, "W-loss-spike"),
        ({"loss": 0.0}, "W-loss-zero"),
    ):
        logs = list(changed(sft(60), 50, 60, **planted))
        log.write_text("".join(map(line, logs[:49])))
        world = ScriptedWorld()
        world.script = [lambda: None, partial(append, log, logs[49:]), lambda: append(log, [FINAL])]
        events, exit_code = watched(world, log, every=5.0)
        assert codes(events) == [code]
        assert events[0].at == pytest.approx(1_800_000_000 + 1000 + 10)
        assert exit_code == BROKEN


def test_a_state_that_is_written_at_each_checkpoint(tmp_path: Path) -> None:
    logs = list(changed(sft(60), 35, 60, loss=0.0, grad_norm=math.nan))
    script: list[Callable[[], object]] = [
        partial(write_state, tmp_path / f"checkpoint-{step}", logs[:step], 60) for step in range(10, 70, 10)
    ]
    events, exit_code = watched(ScriptedWorld(script), tmp_path)
    assert [(event.finding.code, event.step) for event in events] == [("W-nan", 35)]
    assert exit_code == BROKEN


def test_log_and_state_of_one_run_tell_a_thing_once(tmp_path: Path) -> None:
    logs = list(changed(sft(60), 35, 60, loss=math.nan))
    append(tmp_path / "train.log", [*logs, FINAL])
    write_state(tmp_path, [*logs, FINAL], 60)
    events, _ = watched(ScriptedWorld(), tmp_path, once=True)
    assert codes(events) == ["W-nan"]


def test_an_old_log_does_not_end_the_watch_of_a_new_run(tmp_path: Path) -> None:
    append(tmp_path / "old.log", [*sft(60), FINAL])
    os.utime(tmp_path / "old.log", (1, 1))
    logs = list(changed(sft(60), 35, 60, loss=math.nan))
    world = ScriptedWorld()
    world.script = [lambda: append(tmp_path / "new.log", logs[:30]), lambda: None, lambda: None]
    world.script += [lambda: append(tmp_path / "new.log", [*logs[30:], FINAL])]
    events, _ = watched(world, tmp_path)
    assert codes(events) == ["W-nan"]


def test_ranks_of_one_log_are_series_of_their_own(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    with log.open("w") as file:
        for entry in sft(60, noise=0.01):
            file.write(f"[rank0]: {line(entry)}[rank1]: {line({**entry, 'loss': 9.0})}")
    assert watched(ScriptedWorld(), log, once=True) == ([], HEALTHY)


def test_the_disk_turns_yellow_and_red_and_is_told_before_the_log(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    append(log, sft(20))
    world = ScriptedWorld()
    world.script = [
        lambda: world.full(0.55),
        lambda: world.full(0.65),
        lambda: world.full(0.85),
        lambda: world.full(0.4),
    ]
    world.script += [lambda: append(log, [FINAL])]
    events, exit_code = watched(world, log)
    assert [(event.moment, event.finding.severity) for event in events] == [
        (Moment.FINDING, Severity.WARNING),
        (Moment.FINDING, Severity.ERROR),
        (Moment.RECOVERED, Severity.INFO),
    ]
    assert exit_code == BROKEN


def test_one_disk_under_several_names_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    append(tmp_path / "train.log", sft(20))
    events, _ = watched(ScriptedWorld(share=0.9), tmp_path / "out", tmp_path / "train.log", once=True)
    assert codes(events) == ["W-disk"]


def test_until_red_ends_at_the_first_error_and_not_at_a_warning(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    append(log, changed(sft(60), 40, 46, grad_norm=20.0))
    world = ScriptedWorld()
    world.script = [lambda: None, lambda: append(log, [{"loss": math.nan, "epoch": 2.0}]), pytest.fail]
    events, exit_code = watched(world, log, until_red=True)
    assert codes(events) == ["W-grad-spike", "W-nan"]
    assert exit_code == BROKEN


def test_checkpoints_and_arguments_of_a_run(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        write_state(tmp_path / f"checkpoint-{step}", list(sft(step, epoch=0.5)))
        shutil.copy(DATA / "training_args.bin", tmp_path / f"checkpoint-{step}")  # save_total_limit 2
    events, exit_code = watched(ScriptedWorld(), tmp_path, once=True)
    assert codes(events) == ["W-checkpoints"]
    assert exit_code == HEALTHY


def test_a_disk_too_small_for_what_is_still_to_come(tmp_path: Path) -> None:
    """Every 10 of 200 steps 1 MB, nothing is deleted: 18 more, of which the disk takes 12."""
    for step in (10, 20):
        write_state(tmp_path / f"checkpoint-{step}", list(sft(step, epoch=0.5)))
        (tmp_path / f"checkpoint-{step}" / "optimizer.pt").write_bytes(bytes(1_000_000))
    world = ScriptedWorld(total=25e6, share=0.5)
    events, exit_code = watched(world, tmp_path, once=True)
    assert (codes(events), exit_code) == (["W-disk-eta"], BROKEN)
    assert events[0].finding.summary.startswith("18 more checkpoints need 18")
    assert events[0].finding.summary.endswith("the disk fills, at step 150")
    assert codes(watched(ScriptedWorld(total=50e6, share=0.5), tmp_path, once=True)[0]) == []


def test_it_ends_with_the_process_that_wrote(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    append(log, sft(20))
    world = ScriptedWorld(writing=frozenset({US}))
    world.script = [lambda: None, lambda: append_raw(log, "{'loss': nan, 'epoch': 2.0}"), world.gone]
    watch = Watch(paths=[log], facts=FACTS, options=WatchOptions(), world=world)
    events = list(watch.events())
    assert codes(events[1:]) == ["W-nan", "W-ended"], "the last line without an end counts"
    assert "gone without final metrics" in events[-1].finding.summary
    assert events[-1].finding.severity is Severity.WARNING


def test_it_ends_well_when_the_process_goes_after_its_final_metrics(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    append(log, sft(20))
    world = ScriptedWorld(writing=frozenset({US}))
    world.script = [lambda: append(log, [FINAL]), world.gone]
    assert "ended with its final metrics" in ending(world, log)


def test_it_ends_when_nothing_has_come_for_long(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    append(log, sft(20))
    world = ScriptedWorld(writing=frozenset({US}))
    assert "nothing new for 10 min" in ending(world, log, idle=600.0)
    assert world.clock >= 1600


def test_a_file_that_never_comes_is_waited_for_within_bounds(tmp_path: Path) -> None:
    world = ScriptedWorld()
    events, exit_code = watched(world, tmp_path / "train.log", idle=600.0)
    assert (events, exit_code) == ([], COULD_NOT_LOOK)
    assert 1600 <= world.clock < 1700


def test_a_folder_that_comes_later(tmp_path: Path) -> None:
    world = ScriptedWorld([lambda: None, lambda: write_state(tmp_path / "out", list(sft(30, learning_rate=0.0)), 30)])
    events, _ = watched(world, tmp_path / "out")
    assert codes(events) == ["W-lr-flat"]


def test_nothing_seen_is_not_healthy(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_bytes(bytes(range(256)) * 5000)
    assert watched(ScriptedWorld(), tmp_path, once=True) == ([], COULD_NOT_LOOK)


def test_a_state_that_stays_cut_is_told_and_one_being_written_is_not(tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    whole = (DATA / "trainer_state.json").read_text()
    path.write_text(whole[:500])
    events, exit_code = watched(ScriptedWorld(), tmp_path, once=True)
    assert (codes(events), exit_code) == (["W-unreadable"], COULD_NOT_LOOK)
    world = ScriptedWorld([lambda: path.write_text(whole)])
    assert watched(world, tmp_path) == ([], HEALTHY)
    path.write_text(whole[:500])
    world = ScriptedWorld()
    assert codes(watched(world, tmp_path, idle=60.0)[0]) == ["W-unreadable"]


def test_a_disk_that_cannot_be_asked_is_told_once(tmp_path: Path) -> None:
    append(tmp_path / "train.log", [*sft(20), FINAL])
    events, _ = watched(ScriptedWorld(broken_disk=True), tmp_path / "train.log")
    assert codes(events) == ["W-unreadable"]


def test_nobody_listens_any_more(tmp_path: Path) -> None:
    append(tmp_path / "train.log", sft(20))
    watch = Watch(paths=[tmp_path / "train.log"], facts=FACTS, options=WatchOptions(), world=ScriptedWorld())
    assert [event.moment for event in watch.events(is_wanted=lambda: False)] == [Moment.STARTED]
