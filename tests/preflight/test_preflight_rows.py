"""Rows of CSV, of compressed files and of Parquet: read like the rest, bounded like the rest."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flash_doctor.preflight.gather import rows
from flash_doctor.preflight.gather.rows import RowReader, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

WANTED = [{"prompt": 'say "hi"', "answer": "hi,\nthere"}, {"prompt": "b", "answer": None}]


def read(path: Path, sample: int = 1000) -> RowReader:
    reader = RowReader(sample)
    reader.read(path)
    return reader


def values(reader: RowReader) -> list[object]:
    return [dict(record.value) for record in reader.records]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", 'prompt,answer\n"say ""hi""","hi,\nthere"\nb,\n'),
        ("d.csv", '\ufeffprompt,answer\r\n"say ""hi""","hi,\nthere"\r\n\r\nb\r\n'),
        ("d.csv", 'prompt,answer\n"say ""hi""","hi,\nth"ere\nb,\n'),
        ("d.tsv", 'prompt\tanswer\n"say ""hi"""\t"hi,\nthere"\nb\t\n'),
    ],
    ids=["quotes", "bom, dos, short row", "quotes that end early, as pandas takes them", "tabs"],
)
def test_rows_of_csv(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    reader = read(tmp_path / name)
    assert values(reader) == WANTED
    assert (reader.count.rows, reader.faults) == (2, [])


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        (b"a,b\n1,2\n1,2,3\n4,5\n", 3, "3 values under 2 column names"),
        (b'a,b\n1,"2\n3,4\n', 2, "a quote that is not closed"),
        (b"a,b\n1,\xff\n", 2, "not UTF-8"),
    ],
)
def test_a_broken_row_of_csv_is_named(content: bytes, line: int, why: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(content)
    ((number, said),) = read(tmp_path / "d.csv").faults
    assert number == line
    assert why in said


def test_a_quote_that_swallows_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LINE_LIMIT", 100_000)
    (tmp_path / "d.csv").write_text('a,b\n1,"2\n' + "3,4\n" * 100_000)
    reader = read(tmp_path / "d.csv")
    assert "field limit" in reader.faults[0][1]


def test_a_row_that_the_limit_cuts_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "READ_LIMIT", 1000)
    (tmp_path / "d.csv").write_text("a,b\n" + '1,"2\n3"\n' * 1000)
    assert read(tmp_path / "d.csv").faults == []


def test_a_long_csv_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "READ_LIMIT", 100_000)
    (tmp_path / "d.csv").write_text("a,b\n" + "one,two\n" * 100_000)
    reader = read(tmp_path / "d.csv", sample=10)
    assert reader.count.rows == pytest.approx(100_000, rel=0.01)
    assert len(reader.records) < 200


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d.jsonl", '{"a": 1}\n{"a": 2}\n'),
        ("d.json", '[{"a": 1}, {"a": 2}]'),
    ],
)
def test_a_compressed_file(name: str, text: str, suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(pack(text.encode()))
    assert values(read(path)) == [{"a": 1}, {"a": 2}]
    path.write_bytes(pack(text.encode() * 5000)[:-20])
    assert "damaged" in read(path).faults[-1][1] or "not read" in read(path).faults[-1][1]


def test_what_unpacks_without_end_is_read_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "READ_LIMIT", 1_000_000)
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 3_000_000))
    reader = read(path, sample=10)
    assert 100_000 < reader.count.rows < 30_000_000
    assert len(reader.count.lengths) < 150_000
    path.write_bytes(gzip.compress(b" " * 30_000_000))
    assert read(path).count.rows == 0


@pytest.mark.skipif(find_spec("pyarrow") is not None, reason="pyarrow is installed here")
def test_parquet_without_pyarrow_is_told_with_the_reason(tmp_path: Path) -> None:
    assert "pip install pyarrow" in unreadable(tmp_path / "d.parquet")


SCRIPT = """
import json, sys
from pathlib import Path
import pyarrow as pa
from pyarrow import parquet
from flash_doctor.preflight.gather import rows
folder = Path(sys.argv[1])
table = pa.table({"text": [f"row {n}" for n in range(5000)], "turns": [[{"role": "user"}]] * 5000})
parquet.write_table(table, folder / "d.parquet", row_group_size=500)
(folder / "broken.parquet").write_bytes((folder / "d.parquet").read_bytes()[:-100])
def read(name, sample):
    reader = rows.RowReader(sample)
    reader.read(folder / name)
    return reader
first, broken = read("d.parquet", 100), read("broken.parquet", 100)
rows.READ_LIMIT = 1000
huge = read("d.parquet", 100)
print(json.dumps([rows.unreadable(folder / "d.parquet"), first.count.rows, first.faults,
    [[record.number, record.value] for record in first.records], broken.faults, huge.count.rows, len(huge.records)]))
"""


@pytest.mark.index
def test_parquet_with_pyarrow(tmp_path: Path) -> None:
    """10 row groups of 500: 10 rows of each; a footer is enough where a row group is too large to unpack."""
    uv, packages = str(Path(sys.executable).with_name("uv")), tmp_path / "packages"
    subprocess.run(
        [uv, "pip", "install", "-q", "--python", sys.executable, "--target", packages, "pyarrow"], check=True
    )
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True, env=environment, check=True
    )
    why, count, faults, kept, broken, huge, of_huge = json.loads(done.stdout)
    assert (why, count, faults) == ("", 5000, [])
    assert len(kept) == 100
    assert kept[10] == [501, {"text": "row 500", "turns": [{"role": "user"}]}]
    assert "no readable Parquet" in broken[0][1]
    assert (huge, of_huge) == (5000, 0)
