"""Following files as they grow, are cut, rotated and replaced; the Trainer's own files, whole and damaged."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from flash_doctor.watch.files import CHUNK, LONGEST_LINE, FollowedFile, LogSource, StateSource, Subject
from flash_doctor.watch.trainer_files import Settings, Unreadable, checkpoints, read_settings, read_state, size_of

DATA = Path(__file__).parents[1] / "data" / "watch"


def new(tail: FollowedFile) -> list[bytes]:
    """All new lines, without empty ones."""
    found: list[bytes] = []
    while (lines := tail.lines()) is not None:
        found += [line for line in lines if line]
    return found


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    tail = FollowedFile(path)
    assert new(tail) == []
    path.write_bytes(b"one\ntwo\npart")
    assert new(tail) == [b"one", b"two"]
    assert new(tail) == []
    with path.open("ab") as log:
        log.write(b"ial\rfour\r\n")
    assert new(tail) == [b"partial", b"four"]
    assert tail.position == path.stat().st_size
    tail.close()


@given(st.lists(st.text("ab\r\n", max_size=9), max_size=9))
def test_a_file_written_in_any_pieces_has_the_same_lines(pieces: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.log"
        path.touch()
        tail, found = FollowedFile(path), []
        for piece in pieces:
            with path.open("a", newline="") as log:
                log.write(piece)
            found += new(tail)
        found += tail.last()
        tail.close()
    whole = "".join(pieces).replace("\r", "\n").encode().split(b"\n")
    assert found == [line for line in whole if line]


def test_a_file_that_is_cut_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"one\ntwo\n")
    tail = FollowedFile(path)
    assert new(tail) == [b"one", b"two"]
    path.write_bytes(b"new\n")
    assert new(tail) == [b"new"]
    tail.close()


def test_a_rotated_file_is_read_to_its_end_and_then_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"one\n")
    tail = FollowedFile(path)
    assert new(tail) == [b"one"]
    with path.open("ab") as log:
        log.write(b"two\nthe last without an end")
    path.rename(tmp_path / "run.log.1")
    assert new(tail) == [b"two"], "nothing of that name yet: the old one may still grow"
    path.write_bytes(b"three\n")
    assert new(tail) == [b"the last without an end", b"three"]
    tail.close()


def test_a_removed_file_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"one\n")
    tail = FollowedFile(path)
    assert new(tail) == [b"one"]
    path.unlink()
    assert new(tail) == []
    path.write_bytes(b"two\n")
    assert new(tail) == [b"two"]
    tail.close()


def test_a_line_without_end_is_dropped_and_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"one\n" + b"x" * (3 * CHUNK) + b"\ntwo\n")
    tail = FollowedFile(path)
    assert new(tail) == [b"one", b"two"]
    assert len(tail.rest) <= LONGEST_LINE
    tail.close()


def test_a_log_that_is_larger_than_one_look_is_read_in_several(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with path.open("wb") as log:
        log.truncate(65 * CHUNK)  # a hole: one long line of zeros
        log.seek(65 * CHUNK)
        log.write(b"\n{'loss': 1.5, 'epoch': 0.5}\n")
    source = LogSource.of(path)
    assert (list(source.new()), source.behind) == ([], True)
    assert [(record.metrics["loss"], source.behind) for record in source.new()] == [(1.5, False)]
    source.close()


def state(path: Path, entries: int, **fields: Any) -> None:
    history = [{"loss": 2.0, "epoch": step / 100, "step": step} for step in range(1, entries + 1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"log_history": history, "global_step": entries, **fields}))
    os.utime(path, ns=(entries * 10**9, entries * 10**9))


def test_the_newest_state_counts_and_entries_are_taken_once(tmp_path: Path) -> None:
    source = StateSource(tmp_path)
    assert list(source.new()) == []
    state(tmp_path / "checkpoint-10" / "trainer_state.json", 10, max_steps=40, save_steps=10)
    assert [record.step for record in source.new()] == list(range(1, 11))
    assert list(source.new()) == []
    state(tmp_path / "checkpoint-20" / "trainer_state.json", 20, max_steps=40, save_steps=10)
    shutil.rmtree(tmp_path / "checkpoint-10")
    assert [record.step for record in source.new()] == list(range(11, 21))
    assert not source.is_done
    state(tmp_path / "trainer_state.json", 40, max_steps=40, save_steps=10)
    assert [record.step for record in source.new()] == list(range(21, 41))
    assert source.is_done


def test_another_run_in_the_same_folder_is_taken_whole(tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    source = StateSource(path)
    state(path, 30)
    assert len(list(source.new())) == 30
    state(path, 5)
    assert [record.step for record in source.new()] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"log_history": [{"loss', b"\x80\x04", b"[]", b'{"a": 1}', b"[" * 100000]
)
def test_a_state_that_is_no_state(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trainer_state.json"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=r"trainer_state\.json"):
        read_state(path)


def test_the_real_state_of_a_real_run() -> None:
    found = read_state(DATA / "trainer_state.json")
    assert (found.step, found.max_steps, found.save_steps) == (50, 50, 10)
    assert len([record for record in found.history if "loss" in record.metrics]) == 50
    assert found.history[-1].is_final


@pytest.mark.parametrize("file", ["training_args.bin", "training_args_5.bin"])
def test_the_real_arguments_of_a_real_run(file: str) -> None:
    settings = read_settings(DATA / file)
    assert settings.whole("save_total_limit") == 2
    assert settings.text("lr_scheduler_type") == "cosine"
    assert settings.text("eval_strategy") == "steps"
    assert settings.evaluates
    assert settings.is_on("fp16") is False
    assert settings.whole("max_steps") == 50
    assert settings.whole("eval_steps") == 20


class Evil:
    """What a pickle does when it is loaded."""

    def __reduce__(self) -> Any:
        return (os.system, ("touch /tmp/flash-doctor-was-here",))


def test_arguments_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "training_args.bin"
    with zipfile.ZipFile(path, "w") as archive:
        body = pickle.dumps({"a": Evil(), "save_total_limit": 3}, protocol=2)
        archive.writestr("training_args/data.pkl", body)
    assert read_settings(path).whole("save_total_limit") == 3
    assert not Path("/tmp/flash-doctor-was-here").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x80\x02}q\x00."])
def test_arguments_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "training_args.bin"
    path.write_bytes(content)
    with pytest.raises(Unreadable):
        read_settings(path)


def test_a_cut_pickle_of_arguments(tmp_path: Path) -> None:
    whole = zipfile.ZipFile(DATA / "training_args.bin").read("training_args/data.pkl")
    for size in range(0, len(whole), 211):
        path = tmp_path / "training_args.bin"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("training_args/data.pkl", whole[:size])
        with pytest.raises(Unreadable):
            read_settings(path)


def test_checkpoints_in_order_and_their_size(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-7").touch()
    (tmp_path / "checkpoint-9" / "trainer_state.json").write_bytes(b"x" * 10)
    found = checkpoints(tmp_path)
    assert [(each.step, each.complete) for each in found] == [(9, True), (20, False), (100, False)]
    assert size_of(found[0].path) == 10
    assert checkpoints(tmp_path / "nowhere") == []


def test_a_folder_s_sources_are_its_state_and_its_logs(tmp_path: Path) -> None:
    for name in ("train.log", "trainer_log.jsonl", "slurm-1.out", "model.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    subject = Subject(path=tmp_path)
    subject.look()
    assert {path.name for path in subject.sources} == {tmp_path.name, "train.log", "trainer_log.jsonl", "slurm-1.out"}
    for number in range(60):
        (tmp_path / f"{number}.log").touch()
    subject.look()
    assert len(subject.sources) <= 33


def test_settings_that_are_not_known_are_off() -> None:
    settings = Settings()
    assert settings.whole("save_total_limit") is None
    assert not settings.evaluates
