"""Logs of real GRPO and DPO runs: what was sick is told, at its step, and the healthy ones are left in peace."""

from __future__ import annotations

from pathlib import Path

import pytest

from flash_doctor.model import Finding, Severity
from flash_doctor.watch.judge import judge
from flash_doctor.watch.records import LogReader
from flash_doctor.watch.series import Series
from watch_runs import FACTS, Log, codes, judged

DATA = Path(__file__).parents[1] / "data" / "watch"


def told(file: str) -> list[tuple[int, Finding]]:
    series, found = Series(), []
    for line in LogReader().records((DATA / file).read_bytes().splitlines()):
        series, findings = judge(series, line, FACTS)
        found += [(series.step, finding) for finding in findings]
    return found


@pytest.mark.parametrize("file", ["grpo-healthy.log", "grpo-quiet.log"])
def test_a_healthy_run_of_grpo_is_quiet(file: str) -> None:
    assert told(file) == []


def test_a_spike_is_told_at_its_step_though_all_was_printed_at_the_end() -> None:
    """kl 17.8 and grad_norm 155 at step 71 of 200; the bar had reached 200 before the first line came."""
    assert [(step, finding.code) for step, finding in told("grpo-kl-spike.log")] == [
        (71, "W-grpo-kl"),
        (71, "W-grpo-grad"),
    ]


def test_a_run_whose_completions_never_end_and_whose_rewards_stop() -> None:
    found = told("grpo-collapse.log")
    errors = {finding.code for _, finding in found if finding.severity is Severity.ERROR}
    assert errors == {"W-grpo-clipped", "W-grpo-grad"}
    assert {finding.code for _, finding in found} - errors == {
        "W-grpo-entropy", "W-grpo-is-min", "W-grpo-zero-std-frac", "W-grpo-reward-std",
    }  # fmt: skip
    assert found[0][0] <= 75, "told before half of the run was over"


def test_pairs_that_are_told_apart_with_certainty() -> None:
    (step, finding), *more = told("dpo-saturated.log")
    assert (step, finding.code, finding.severity, more) == (10, "W-pref-saturated", Severity.WARNING, [])


def dpo(step: int, **metrics: float) -> Log:
    """As of a healthy run: the loss leaves ln 2, the margin rises."""
    margin = step / 60
    log: Log = {
        "loss": 0.6931 - margin / 4, "grad_norm": 25.0, "learning_rate": 5e-7, "rewards/chosen": -margin,
        "rewards/rejected": -2 * margin, "rewards/accuracies": 0.5 + margin / 4, "rewards/margins": margin,
        "logps/chosen": -240.0, "epoch": step / 100, "step": step,
    }  # fmt: skip
    return {**log, **{name.replace("__", "/"): value for name, value in metrics.items()}}


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({}, []),
        ({"rewards__margins": 0.0, "loss": 0.6931}, ["W-pref-untrained"]),
        ({"rewards__accuracies": 0.25}, ["W-pref-swapped"]),
        ({"loss": 0.0036}, ["W-pref-saturated"]),
        ({"loss": float("nan")}, ["W-nan"]),
        ({"loss": 0.0, "grad_norm": float("nan")}, ["W-nan"]),
    ],
    ids=["healthy", "nothing moves", "swapped", "saturated", "nan", "nan that the trainer hides"],
)
def test_one_thing_wrong_with_a_run_of_dpo(metrics: dict[str, float], expected: list[str]) -> None:
    assert codes(dpo(step, **metrics) for step in range(1, 81)) == expected


def test_the_first_logs_of_dpo_agree_with_the_reference() -> None:
    """As printed while the learning rate warms up: 0.6931 and margins of exactly 0."""
    logs = [dpo(step, rewards__margins=0.0, loss=0.6931) if step < 15 else dpo(step) for step in range(1, 81)]
    assert codes(logs) == []


def test_a_log_of_ms_swift_tells_its_step() -> None:
    """From modelscope/ms-swift issue 5571."""
    line = (
        b"{'loss': -0.0, 'grad_norm': 0.0, 'reward': 0.34375, 'reward_std': 0.4397946, 'frac_reward_zero_std': 0.0, "
        b"'kl': 0.0, 'epoch': 0.0, 'global_step/max_steps': '5/3766', 'percentage': '0.13%', 'memory(GiB)': 56.74}"
    )
    (record,) = LogReader().records([line])
    assert (record.step, record.metrics["reward"]) == (5, 0.34375)


def test_no_signal_at_all() -> None:
    """The line of huggingface/trl issue 3857, again and again: no group differs."""
    line = {"loss": 0.0, "grad_norm": 0.0, "reward": 3.0, "reward_std": 0.0, "frac_reward_zero_std": 1.0}
    found = judged({**line, "step": step} for step in range(1, 30))
    assert {finding.code for _, finding in found if finding.severity is Severity.ERROR} == {
        "W-grpo-grad", "W-grpo-reward-std", "W-grpo-zero-std-frac",
    }  # fmt: skip
