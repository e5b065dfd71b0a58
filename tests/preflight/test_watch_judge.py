"""Judging a run: every rule fires where it should and is quiet on healthy runs of many shapes."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from flash_doctor.model import Severity
from flash_doctor.watch.judge import QUIET, judge
from flash_doctor.watch.series import MOST_METRICS, THIRD, WINDOW, Series
from watch_runs import FACTS, Log, changed, codes, grpo, judged, record, renamed, schedule, sft

SHARE = renamed(tokens__trainable=1.0, tokens__total=1000.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("steps", "noise", "start", "end"),
    [(300, 0.05, 2.5, 1.2), (300, 0.2, 2.0, 1.1), (400, 0.4, 1.8, 0.9), (200, 0.02, 4.0, 1.0), (150, 0.1, 1.6, 1.2)],
)
def test_a_healthy_run_is_quiet(seed: int, steps: int, noise: float, start: float, end: float) -> None:
    logs = list(sft(steps, seed=seed, noise=noise, start=start, end=end))
    assert codes(logs, lr_scheduler_type="cosine", max_steps=steps, eval_strategy="steps") == []


@pytest.mark.parametrize("seed", range(10))
def test_a_healthy_grpo_run_is_quiet(seed: int) -> None:
    assert codes(grpo(300, seed=seed), lr_scheduler_type="constant", max_completion_length=512) == []


def test_few_runs_that_learn_little_in_much_noise_are_called_flat() -> None:
    alarms = Counter(code for seed in range(20) for code in codes(sft(300, seed=seed, noise=0.1, start=1.3)))
    assert alarms.total() <= 2, alarms


ONE_THING: dict[str, tuple[list[Log], Severity]] = {
    "W-nan": (list(changed(sft(60), 30, 60, loss=math.nan)), Severity.ERROR),
    "W-loss-zero": (list(changed(sft(60), 30, 60, loss=0.0)), Severity.ERROR),
    "W-loss-flat": (list(sft(100, noise=0.02, start=2.0, end=2.0)), Severity.WARNING),
    "W-loss-spike": (list(changed(sft(60), 40, 40, loss=6.0)), Severity.WARNING),
    "W-loss-collapse": (list(sft(100, start=0.5, end=0.02)), Severity.WARNING),
    "W-grad-spike": (list(changed(sft(60), 30, 36, grad_norm=20.0)), Severity.WARNING),
    "W-grad-zero": (list(changed(sft(60), 30, 31, grad_norm=0.0)), Severity.ERROR),
    "W-lr-flat": (list(sft(60, learning_rate=0.0)), Severity.WARNING),
    "W-tokens-trainable": ([{**log, **SHARE} for log in sft(40)], Severity.WARNING),
    "W-grpo-reward-zero": (list(grpo(60, reward=0.0)), Severity.ERROR),
    "W-grpo-reward-std": (list(grpo(60, reward_std=0.0)), Severity.WARNING),
    "W-grpo-zero-std-frac": (list(grpo(60, frac_reward_zero_std=0.9)), Severity.WARNING),
    "W-grpo-grad": (list(changed(grpo(60), 30, 30, grad_norm=15.0)), Severity.WARNING),
    "W-grpo-entropy": (list(changed(grpo(60), 30, 60, entropy=0.001)), Severity.ERROR),
    "W-grpo-kl": (list(changed(grpo(60), 30, 30, kl=2.5)), Severity.ERROR),
    "W-grpo-logp-diff": (
        [{**log, **renamed(sampling__sampling_logp_difference__mean=1.5)} for log in grpo(20)],
        Severity.ERROR,
    ),
    "W-grpo-is-min": (
        [{**log, **renamed(sampling__importance_sampling_ratio__min=0.001)} for log in grpo(20)],
        Severity.WARNING,
    ),
    "W-grpo-clip": ([{**log, **renamed(clip_ratio__region_mean=0.4)} for log in grpo(20)], Severity.WARNING),
    "W-grpo-clipped": ([{**log, **renamed(completions__clipped_ratio=0.6)} for log in grpo(20)], Severity.WARNING),
    "W-ebft": ([{**log, **renamed(ebft__diversity=1.2)} for log in sft(20)], Severity.ERROR),
}


@pytest.mark.parametrize("code", ONE_THING)
def test_one_thing_wrong_is_told_once_and_nothing_else(code: str) -> None:
    logs, severity = ONE_THING[code]
    told = judged(logs)
    worst = [finding for _, finding in told if finding.severity is severity]
    assert [finding.code for finding in worst] == [code]
    assert {finding.code for _, finding in told} == {code}
    finding = worst[0]
    assert finding.remedy is not None
    assert finding.remedy.text == FACTS.rules[code].action
    assert FACTS.rules[code].meaning in finding.evidence


def test_every_rule_of_the_facts_is_tried_here_or_with_the_disk() -> None:
    elsewhere = {"W-overfit", "W-no-eval", "W-memory-creep", "W-grpo-length"}
    disk = {"W-disk", "W-disk-eta", "W-checkpoints", "W-checkpoint-size"}
    preference = {"W-pref-untrained", "W-pref-saturated", "W-pref-swapped"}
    assert ONE_THING.keys() | elsewhere | disk | preference == FACTS.rules.keys()


def test_a_planted_value_is_told_at_its_own_step() -> None:
    for planted in ({"loss": math.nan}, {"loss": 30.0}, {"grad_norm": math.inf}, {"grad_norm": 500.0}):
        told = judged(changed(sft(60), 40, 40, **planted))
        assert [(step, finding.severity) for step, finding in told] == [(40, Severity.ERROR)], planted


@pytest.mark.parametrize("value", [math.nan, None, "nan", "None", "inf", "-Infinity"])
def test_every_spelling_of_not_a_number(value: object) -> None:
    assert codes([{"loss": value, "grad_norm": 1.0, "epoch": 0.1}]) == ["W-nan"]


def test_a_loss_of_zero_with_a_grad_norm_of_nan_is_nan_that_the_trainer_hides() -> None:
    told = judged(changed(sft(60), 40, 60, loss=0.0, grad_norm=math.nan))
    assert [(step, finding.code, finding.subject) for step, finding in told] == [(40, "W-nan", "grad_norm")]
    assert "logging_nan_inf_filter" in " ".join(told[0][1].evidence)


def test_nan_of_an_evaluation() -> None:
    assert codes([*sft(60), {"eval_loss": math.nan, "epoch": 3.0, "step": 61}]) == ["W-nan"]


def test_overflows_while_fp16_finds_its_scale_are_expected() -> None:
    scaling = list(changed(sft(60), 1, 2, grad_norm=math.inf))
    assert codes(scaling, fp16=True) == []
    assert codes(scaling) == ["W-nan"]
    assert codes(changed(sft(60), 1, 5, grad_norm=math.inf), fp16=True) == ["W-nan"]
    assert codes(changed(sft(60), 1, 5, learning_rate=0.0), fp16=True) == []
    assert codes(changed(sft(60), 1, 5, learning_rate=0.0)) == ["W-lr-flat"]
    assert codes(changed(sft(60), 50, 50, grad_norm=math.inf), fp16=True) == ["W-nan"]


def test_a_lasting_fault_is_told_again_only_when_it_is_worse_or_comes_back() -> None:
    assert codes(changed(grpo(60), 20, 60, reward_std=0.0)) == ["W-grpo-reward-std"] * 2  # warning, then error
    assert codes(changed(sft(60), 20, 60, loss=math.nan)) == ["W-nan"]
    twice = changed(changed(sft(100), 20, 22, loss=math.nan), 30 + QUIET, 60 + QUIET, loss=math.nan)
    assert codes(twice) == ["W-nan"] * 2


def test_a_loss_that_stays_flat_is_told_once() -> None:
    assert codes(sft(900, noise=0.01, start=2.0, end=2.0)) == ["W-loss-flat"]


def test_overfitting() -> None:
    def run(*evals: float) -> list[Log]:
        logs = list(sft(60 * len(evals)))
        training = [log for log in logs if "loss" in log]
        return [
            {**log, "eval_loss": evals[index // 60]} if index % 60 == 59 else log for index, log in enumerate(training)
        ]

    assert codes(run(1.5, 1.4, 1.45, 1.5)) == ["W-overfit"]
    assert codes(run(1.5, 1.4, 1.401, 1.402)) == []
    assert codes(run(1.5, 1.4, 1.45, 1.4)) == []


def test_eval_loss_that_rises_with_the_training_loss_is_another_disease() -> None:
    logs = [{"loss": 1 + 0.1 * step, "step": step} for step in range(5)]
    logs += [{"eval_loss": 1 + 0.1 * step, "step": step} for step in range(5, 10)]
    assert "W-overfit" not in codes(logs)


def test_an_evaluation_that_never_runs() -> None:
    assert codes((log for log in sft(100) if "eval_loss" not in log), eval_strategy="steps") == ["W-no-eval"]
    assert codes((log for log in sft(100) if "eval_loss" not in log), eval_strategy="no") == []


@pytest.mark.parametrize(("growth", "expected"), [(0.0001, ["W-memory-creep"]), (0.0, [])])
def test_memory_that_creeps(growth: float, expected: list[str]) -> None:
    name = "memory/max_allocated (GiB)"
    logs = [{**log, name: 20 * (1 + growth) ** log["step"]} for log in sft(400) if "loss" in log]
    assert codes(logs) == expected
    step = [{**log, name: 20.0 if log["step"] < 150 else 30.0} for log in sft(400) if "loss" in log]
    assert codes(step) == [], "one longer batch is no creep"


def test_a_learning_rate_that_does_not_follow_its_schedule() -> None:
    stuck = [{**log, "learning_rate": 1e-4} for log in sft(200)]
    assert codes(stuck, lr_scheduler_type="cosine", max_steps=200) == ["W-lr-flat"]
    assert codes(stuck, lr_scheduler_type="constant", max_steps=200) == []
    assert codes(stuck, lr_scheduler_type="cosine", max_steps=100_000) == [], "too early to tell"
    assert codes([{**log, "learning_rate": math.nan} for log in sft(10)]) == ["W-lr-flat"]


def test_a_schedule_that_ends_at_zero_is_healthy() -> None:
    logs = list(sft(100, noise=0.02))
    assert schedule(100, 100) == pytest.approx(0)
    assert codes([*logs, {**logs[-2], "learning_rate": 0.0, "step": 101, "epoch": 2.1}]) == []


def test_kl_that_multiplies_is_told_before_it_is_lost() -> None:
    told = judged(changed(grpo(60, kl=0.1), 40, 60, kl=0.9))
    assert [(finding.code, finding.severity) for _, finding in told] == [("W-grpo-kl", Severity.WARNING)]
    assert codes(changed(grpo(60, kl=0.001), 40, 60, kl=0.1)) == [], "far below the healthy limit nothing is said"


def test_completions_that_grow_to_the_limit() -> None:
    logs = [{**log, "completions/mean_length": 100 + 5 * log["step"]} for log in grpo(100)]
    assert codes(logs, max_completion_length=512) == ["W-grpo-length"]
    assert codes(logs, max_completion_length=2048) == []
    assert codes(logs) == []


def test_the_alignment_of_ebft() -> None:
    logs = [{**log, "ebft/alignment": 0.8 - 0.005 * log["step"]} for log in sft(60) if "loss" in log]
    assert codes(logs) == ["W-ebft"]


def test_reward_functions_of_dpo_are_not_judged_as_grpo_or_sft() -> None:
    dpo = {"loss": 0.0, "rewards/chosen": 0.0, "rewards/rejected": 0.0, "rewards/accuracies": 1.0, "grad_norm": 0.0}
    assert codes({**dpo, "step": step} for step in range(1, 60)) == ["W-pref-saturated"]
    assert codes([{**dpo, "loss": math.nan}]) == ["W-nan"]


def test_a_second_run_in_the_same_file_begins_anew() -> None:
    logs = [*sft(100, start=4.0, end=0.9), *sft(100, start=4.0, end=0.9)]
    assert codes(logs) == []


def test_a_run_that_begins_worse_than_its_own_past_is_a_spike() -> None:
    assert codes(changed(sft(90, noise=0.02), 60, 90, loss=8.0)) == ["W-loss-spike"]


def test_a_loss_that_climbs_without_a_spike_diverges() -> None:
    told = judged({**log, "loss": 2.0 * 1.05 ** log["step"]} for log in sft(90, end=2.5) if "loss" in log)
    assert [finding.code for _, finding in told] == ["W-loss-spike", "W-loss-spike"]
    assert [finding.severity for _, finding in told] == [Severity.WARNING, Severity.ERROR]
    assert "training diverges" in told[0][1].summary


def test_memory_is_bounded_however_long_the_run() -> None:
    series = Series()
    for step in range(3000):
        log = {"loss": 1.0 + step % 7, f"metric {step}": 1.0, "eval_loss": 2.0, f"eval_{step}_loss": 1.0, "step": step}
        series, _ = judge(series, record(log), FACTS)
    assert len(series.recent) <= MOST_METRICS
    assert len(series.evaluations) <= MOST_METRICS
    assert max(map(len, series.recent.values())) == len(series.steps) == WINDOW
    assert len(series.newest) == len(series.first) == THIRD
    assert len(series.since_evaluation) <= THIRD


def test_judging_does_not_change_what_it_is_given() -> None:
    before = Series()
    after, _ = judge(before, record({"loss": 1.0, "step": 1}), FACTS)
    assert before == Series()
    assert after.logs == 1
