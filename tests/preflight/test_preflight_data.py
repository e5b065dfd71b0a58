"""Reading data files: whole or sampled, with byte-order marks, arrays, blank lines and broken ones."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from flash_doctor.model import Absent, Unknown
from flash_doctor.preflight.config import Dialect, Run
from flash_doctor.preflight.gather import data, rows
from flash_doctor.preflight.inputs import Files, Sample, Totals
from preflight_bench import FACTS

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.preflight.registry import KeyFound

ROW = {"text": "x" * 36}
LINE = json.dumps(ROW)


def run_over(*paths: str, folder: Path, **settings: object) -> Run:
    value = {"datasets": [{"path": path} for path in paths], "sequence_len": 512, **settings}
    return Run(dialect=Dialect.AXOLOTL, path=folder / "c.yaml", settings=value, raw=value, lines={})


def read(folder: Path, name: str, sample: int = 1000) -> tuple[Sample, Totals]:
    files = Files(roots=(folder,), listed={})
    samples, totals = data.read_samples(run_over(name, folder=folder), files, sample, 3.6)
    assert not isinstance(samples, (Absent, Unknown))
    assert isinstance(totals, Totals)
    return samples[0], totals


@pytest.mark.parametrize(
    "content",
    [
        f"{LINE}\n{LINE}\n",
        f"\ufeff{LINE}\n{LINE}",
        f"\n\n{LINE}\n   \n{LINE}\n\n",
        f"[{LINE}, {LINE}]",
        f"\ufeff[\n{LINE},\n{LINE}\n]\n",
        f"{LINE}\r\n{LINE}\r\n",
    ],
    ids=["lines", "bom", "blank lines", "array", "bom and array", "dos"],
)
def test_what_the_framework_reads_is_read(content: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(content, encoding="utf-8", newline="")
    sample, totals = read(tmp_path, "d.jsonl")
    assert [record.value for record in sample.records] == [ROW, ROW]
    assert (totals.rows, sample.faults, totals.duplicates) == (2, (), 0.5)


@pytest.mark.parametrize(
    ("content", "line", "word"),
    [
        (f'{LINE}\n{{"text": "cut', 2, ""),
        (f"{LINE}\n[1]\n", 2, "list"),
        (f"{LINE}\n3\n", 2, "int"),
        (f"{LINE}\n{LINE} {LINE}\n", 2, "Extra data"),
        (f'{LINE}\n{{"text": "a\tb"}}\n', 2, "control"),
    ],
)
def test_a_broken_line_is_named(content: str, line: int, word: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(content)
    faults = read(tmp_path, "d.jsonl")[0].faults
    assert faults[0][0] == line
    assert word in faults[0][1]


def test_bytes_that_are_no_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(LINE.encode() + b'\n{"text": "\xff"}\n')
    assert read(tmp_path, "d.jsonl")[0].faults[0][0] == 2


def test_a_cut_line_deep_in_a_long_file_is_found_though_only_a_sample_is_parsed(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"row {number}"}) for number in range(20_000)]
    lines[15_000] = lines[15_000][:-3]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    sample, totals = read(tmp_path, "d.jsonl", sample=10)
    assert [number for number, _ in sample.faults] == [15_001]
    assert totals.rows == 20_000
    assert not sample.whole
    assert len(sample.records) < 3000


def test_the_sample_is_spread_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("".join(f'{{"text": "row {number}"}}\n' for number in range(10_000)))
    numbers = [record.number for record in read(tmp_path, "d.jsonl", sample=10)[0].records]
    assert numbers[:10] == list(range(1, 11))
    assert max(numbers) > 9_900
    assert len(read(tmp_path, "d.jsonl", sample=0)[0].records) == 10_000


def test_a_file_beyond_the_limit_is_read_in_part_and_counted_by_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "READ_LIMIT", 100_000)
    (tmp_path / "d.jsonl").write_text(f"{LINE}\n" * 10_000)
    totals = read(tmp_path, "d.jsonl")[1]
    assert totals.rows == pytest.approx(10_000, rel=0.01)
    assert "of about" in totals.how


def test_a_file_of_very_many_short_rows_is_measured_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ROW_LIMIT", 1000)
    (tmp_path / "d.jsonl").write_text(f"{LINE}\n" * 10_000)
    assert read(tmp_path, "d.jsonl")[1].rows == pytest.approx(10_000, rel=0.01)


def test_a_sparse_gigabyte_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line without an end, a gigabyte of it: nothing of that size is ever held."""
    monkeypatch.setattr(rows, "READ_LIMIT", 4_000_000)
    monkeypatch.setattr(rows, "LINE_LIMIT", 1_000_000)
    with (tmp_path / "d.jsonl").open("wb") as file:
        file.write(f"{LINE}\n".encode())
        os.truncate(file.fileno(), 2**30)
    sample, _ = read(tmp_path, "d.jsonl")
    assert sample.faults


@pytest.mark.parametrize(("make", "said"), [(False, "does not exist"), (True, "no record")])
def test_what_is_not_there_is_said(make: bool, said: str, tmp_path: Path) -> None:
    if make:
        (tmp_path / "d.jsonl").write_text("\n\n")
    assert said in read(tmp_path, "d.jsonl")[0].missing


def test_the_hubs_data_are_not_known(tmp_path: Path) -> None:
    files = Files(roots=(tmp_path,), listed={})
    samples, totals = data.read_samples(run_over("owner/name", folder=tmp_path), files, 10, 3.6)
    assert isinstance(samples, Unknown)
    assert isinstance(totals, Unknown)
    assert "on the hub" in totals.unknown


def test_rows_of_the_test_data_among_the_training_rows(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("".join(f'{{"text": "{number}"}}\n' for number in range(5)))
    (tmp_path / "t.jsonl").write_text('{"text": "3"}\n{"text": "9"}\n')
    run = run_over("d.jsonl", folder=tmp_path, test_datasets=[{"path": "t.jsonl"}])
    _, totals = data.read_samples(run, Files(roots=(tmp_path,), listed={}), 10, 3.6)
    assert isinstance(totals, Totals)
    assert totals.leaked == 1


def test_lengths_are_estimated_in_tokens(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("".join(f'{{"text": "{"x" * size}"}}\n' for size in (3600, 360, 360)))
    totals = read(tmp_path, "d.jsonl")[1]
    assert totals.p50 == pytest.approx(103, abs=2)
    assert totals.longest == pytest.approx(1003, abs=2)
    assert totals.over == pytest.approx(1 / 3)


def test_prepared_data_older_than_the_rows_are_stale(tmp_path: Path) -> None:
    rows = tmp_path / "d.jsonl"
    rows.write_text(LINE)
    (tmp_path / "last_run_prepared" / "abc").mkdir(parents=True)
    run, files = run_over("d.jsonl", folder=tmp_path), Files(roots=(tmp_path,), listed={})
    os.utime(rows, (1, 1))
    found = data.prepared_folder(run, files, [rows])
    assert found is not None
    assert not found[1]
    os.utime(rows, (4_000_000_000, 4_000_000_000))
    found = data.prepared_folder(run, files, [rows])
    assert found is not None
    assert "d.jsonl" in found[1]


def test_llamafactorys_names_are_looked_up_in_its_list(tmp_path: Path) -> None:
    value = {"model_name_or_path": "x", "stage": "sft", "dataset": "identity, alpca"}
    run = Run(dialect=Dialect.LLAMAFACTORY, path=tmp_path / "c.yaml", settings=value, raw=value, lines={})
    files = Files(roots=(tmp_path,), listed={})
    assert data.registered(run, files) == ()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text('{"identity": {"file_name": "identity.json"}}')
    assert [sample.path for sample in data.registered(run, files)] == ["alpca"]
    samples, _ = data.read_samples(run, files, 10, 3.6)
    assert isinstance(samples, tuple)
    assert "knows no dataset" in samples[0].missing


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "d.jsonl")
    assert "neither a file" in read(tmp_path, "d.jsonl")[0].missing


def warned(folder: Path, name: str) -> list[KeyFound]:
    from flash_doctor.preflight.rules.data import too_few

    _, totals = read(folder, name)
    return list(too_few(run_over(name, folder=folder), totals, FACTS))


@pytest.mark.parametrize(("size", "samples"), [(3600, "8 to 32 samples"), (900, "")])
def test_a_file_for_each_document(size: int, samples: str, tmp_path: Path) -> None:
    """16 files of one row: of 1000 tokens, which splitting would multiply, and of 250, which it would not."""
    (tmp_path / "book").mkdir()
    for number in range(16):
        row = {"text": f"{number:02}".ljust(size - len('{"text": ""}'), "x")}
        (tmp_path / "book" / f"{number}.json").write_text(json.dumps(row))
    (found,) = warned(tmp_path, "book")
    assert samples in found.remedy
    assert ("as many rows as files, 16: each file is one row" in found.evidence) == bool(samples)


def test_documents_in_one_file(tmp_path: Path) -> None:
    """17 chapters of 6000 tokens: 51 samples of 2000 tokens, 204 of 500."""
    rows = (json.dumps({"text": f"{number:02}".ljust(21_600 - len('{"text": ""}'), "x")}) for number in range(17))
    (tmp_path / "d.jsonl").write_text("\n".join(rows))
    (found,) = warned(tmp_path, "d.jsonl")
    assert "51 to 204 samples" in found.remedy
    assert "17 rows x 6000 tokens / 1000 tokens = 102 samples" in found.evidence


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("d.bin", "d.bin is a .bin file"),
        ("d.jsonl.zst", "d.jsonl.zst is a .zst file"),
        ("d/0.arrow", "d is a folder: 0.arrow is a .arrow file"),
        ("d/data/train.jsonl", "d has its files in further folders"),
    ],
)
def test_rows_of_other_formats_are_told_as_not_looked_at(name: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"PAR1")
    run = run_over(name.split("/")[0], folder=tmp_path)
    for part in data.read_samples(run, Files(roots=(tmp_path,), listed={}), 1000, 3.6):
        assert isinstance(part, Unknown)
        assert part.unknown.startswith(told)
        assert part.unknown.endswith("its rows were not looked at")
