"""Log lines of several trainers and ranks to records; everything else is passed over."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from flash_doctor.watch.records import SHARE, LogReader, LogRecord

DATA = Path(__file__).parents[1] / "data" / "watch"


def records(text: str | bytes) -> list[LogRecord]:
    data = text.encode() if isinstance(text, str) else text
    return list(LogReader().records(data.replace(b"\r", b"\n").split(b"\n")))


@pytest.mark.parametrize(
    ("line", "loss"),
    [
        ("{'loss': 1.5, 'grad_norm': 0.7, 'learning_rate': 0.0002, 'epoch': 0.25}", 1.5),
        ("{'loss': '5.705', 'grad_norm': '7.709', 'tokens/trainable': 3, 'epoch': '0.25'}", 5.705),
        ("{'loss': np.float64(1.25), 'epoch': np.float64(0.5)}", 1.25),
        ("{'loss': tensor(1.25, device='cuda:0'), 'epoch': 0.5}", 1.25),
        ('{"loss": 2e-1, "step": 7, "epoch": 0.1}', 0.2),
        ('{"current_steps": 5, "total_steps": 100, "loss": 0.5, "lr": 1e-05, "epoch": 0.1}', 0.5),
        ('{"train/loss": 0.75, "train/global_step": 10, "train/epoch": 0.2, "_runtime": 3}', 0.75),
        ('{"step": 3, "metrics": {"loss": 0.5, "grad_norm": 1.0}}', 0.5),
        ("2026-11-20 22:00:00 INFO - {'loss': 1.0, 'epoch': 0.1}", 1.0),
        (" 10%|█         | 5/50 [00:00<00:09,  4.7it/s]   {'loss': 1.0, 'epoch': 0.1}  ", 1.0),
        ("\x1b[32m{'loss': 1.0, \x1b[0m'epoch': 0.1}\x1b]0;title\x07", 1.0),
    ],
)
def test_a_line_of_training(line: str, loss: float) -> None:
    (record,) = records(line)
    assert record.metrics["loss"] == loss
    assert record.epoch is None or 0 < record.epoch < 1


@pytest.mark.parametrize("spelt", ["nan", "NaN", "None", "'nan'", "'NaN'", "inf", "-inf", "Infinity", "'inf'"])
def test_numbers_that_are_none(spelt: str) -> None:
    (record,) = records(f"{{'loss': {spelt}, 'epoch': 0.1}}")
    assert not math.isfinite(record.metrics["loss"])


def test_null_and_nan_in_json() -> None:
    first, second = records('{"loss": null, "epoch": 0.1}\n{"loss": NaN, "epoch": 0.2}')
    assert math.isnan(first.metrics["loss"])
    assert math.isnan(second.metrics["loss"])


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        "{'learning_rate': 0.0002, 'num_epochs': 3, 'loss_type': 'dpo'}",
        "{'loss': 'high', 'epoch': 0.1}",
        "{'loss': True}",
        "loss: 1.5",
        "{'loss': 1.5, 'epo",
        '{"loss": 1.5, "epo',
        "the loss is in {braces}",
        '["loss", 1.5]',
        '{"loss": [1.5, 2.5]}',
        "{'loss': __import__('os').system('true')}",
        "\x1b[{'loss': 1.5}",
    ],
)
def test_what_is_no_record(line: str) -> None:
    assert records(line) == []


def test_names_of_evaluations_and_of_tokens() -> None:
    (record,) = records('{"eval/loss": 1.5, "train/loss": 1.0, "tokens/trainable": 5, "tokens/total": 100}')
    assert record.metrics["eval_loss"] == 1.5
    assert record.metrics[SHARE] == 0.05


@pytest.mark.parametrize(
    ("prefix", "stream"),
    [("", ""), ("[rank3]: ", "3"), ("[default1]:", "1"), ("2: ", "2"), ("(RayTrainWorker pid=77, ip=10.0.0.1) ", "77")],
)
def test_ranks_are_told_apart(prefix: str, stream: str) -> None:
    (record,) = records(prefix + "{'loss': 1.5, 'epoch': 0.1}")
    assert record.stream == stream


def test_the_progress_bar_tells_the_step_and_other_bars_do_not() -> None:
    log = (
        "Map: 100%|##########| 900/900 [00:01<00:00]\n"
        "  2%|2         | 1/50 [00:00<00:09,  4.7it/s]\r  4%|4         | 2/50 [00:00<00:09,  4.7it/s]\n"
        "{'loss': 1.5, 'epoch': 0.04}\n"
        " 50%|#####     | 4/8 [00:00<00:09,  4.7it/s]\n{'eval_loss': 1.5, 'epoch': 0.04}\n"
        "{'train_runtime': 3.0, 'train_loss': 1.0, 'epoch': 1.0}\n{'loss': 1.5, 'epoch': 0.1}\n"
    )
    assert [record.step for record in records(log)] == [2, 2, 2, None]


def test_the_log_of_a_real_run() -> None:
    found = records((DATA / "healthy.log").read_bytes())
    losses = [record for record in found if "loss" in record.metrics]
    assert len(losses) == 50
    assert [record.metrics["eval_loss"] for record in found if "eval_loss" in record.metrics] == pytest.approx(
        [3.36, 3.07], abs=0.1
    )
    assert [record.epoch for record in found] == sorted(record.epoch or 0 for record in found)
    steps = [record.step or 0 for record in losses]
    assert steps == sorted(steps)
    assert all(0 <= index + 1 - step <= 15 for index, step in enumerate(steps)), "bars are drawn now and then"
    assert found[-1].is_final


@pytest.mark.parametrize("file", ["nan.log", "nan_5.log"])
def test_nan_in_the_log_of_a_real_run(file: str) -> None:
    hidden = [
        record
        for record in records((DATA / file).read_bytes())
        if record.metrics.get("loss") == 0 and math.isnan(record.metrics["grad_norm"])
    ]
    assert len(hidden) == 30


@given(st.binary(max_size=400))
def test_any_bytes_are_read(data: bytes) -> None:
    records(data)
    records(b"{'loss': 1.0, " + data + b"}")
    records(b'{"loss": 1.0, "a": ' + data + b"}")


@given(st.dictionaries(st.text(max_size=20), st.floats() | st.none() | st.text(max_size=9) | st.booleans(), max_size=9))
def test_any_dict_as_python_or_as_json(metrics: dict[str, object]) -> None:
    for text in (str({"loss": 1.5, **metrics}), json.dumps({"loss": 1.5, **metrics})):
        for record in records(text):
            assert all(isinstance(value, float) for value in record.metrics.values())


@pytest.mark.parametrize("line", [b'{"loss": ' + b"[" * 200_000 + b"}", b"{'loss': " + b"(" * 200_000 + b"}"])
def test_a_nested_bomb_is_passed_over(line: bytes) -> None:
    assert records(line) == []


def test_huge_and_hostile_numbers() -> None:
    for spelt in ("1e999", "9" * 6000):
        (record,) = records(f'{{"loss": {spelt}, "step": 1e300, "epoch": 0.1}}')
        assert record.metrics["loss"] == math.inf


def test_every_line_among_many_bars_is_found() -> None:
    bar = " 10%|#         | 5/50 [00:00<00:09,  4.7it/s]\r"
    found = records("".join(f"{bar * 20}{{'loss': {number}, 'epoch': 0.1}}\n" for number in range(500)))
    assert [record.metrics["loss"] for record in found] == list(range(500))
