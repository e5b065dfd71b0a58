"""Runs to be judged: generated curves of several shapes, and how to judge them."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

from flash_doctor.facts import Facts
from flash_doctor.watch.judge import judge
from flash_doctor.watch.records import LogRecord, record_of
from flash_doctor.watch.series import Series
from flash_doctor.watch.trainer_files import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flash_doctor.model import Finding

FACTS = Facts().watch
Log = dict[str, Any]


def record(log: Log) -> LogRecord:
    made = record_of(log, str(log))
    assert made is not None, f"no record: {log}"
    return made


def judged(logs: Iterable[Log], **settings: str | int | float | bool | None) -> list[tuple[int, Finding]]:
    """All findings, each with the step at which it was told."""
    series, told = Series(settings=Settings(values=settings)), []
    for log in logs:
        series, findings = judge(series, record(log), FACTS)
        told += [(series.step, finding) for finding in findings]
    return told


def codes(logs: Iterable[Log], **settings: str | int | float | bool | None) -> list[str]:
    return [finding.code for _, finding in judged(logs, **settings)]


def schedule(step: int, steps: int, peak: float = 2e-4) -> float:
    """Linear warmup, then a cosine."""
    warm = max(1, steps // 30)
    return peak * min(1.0, step / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))


def sft(
    steps: int = 200, *, seed: int = 0, noise: float = 0.05, start: float = 2.5, end: float = 1.2, **planted: float
) -> Iterator[Log]:
    """A fine-tuning run: exponential fall with noise that grows with the loss, and an evaluation every 50 steps."""
    rng = random.Random(seed)
    for step in range(1, steps + 1):
        level = end + (start - end) * math.exp(-step / (steps / 5))
        yield {
            "loss": round(level * math.exp(rng.gauss(0, noise)), 4),
            "grad_norm": math.exp(rng.gauss(0, 0.4)),
            "learning_rate": schedule(step, steps),
            "epoch": 2 * step / steps,
            "step": step,
            **planted,
        }
        if step % 50 == 0:
            yield {"eval_loss": level * 1.02, "eval_runtime": 3.0, "epoch": 2 * step / steps, "step": step}


def grpo(steps: int = 200, *, seed: int = 0, **planted: float) -> Iterator[Log]:
    """A GRPO run: a loss around 0, rewards that rise, KL with heavy tails."""
    rng = random.Random(seed)
    for step in range(1, steps + 1):
        reward = max(0.0, 0.2 + 0.5 * step / steps + rng.gauss(0, 0.15))
        yield {
            "loss": round(rng.gauss(0, 0.02), 4),
            "grad_norm": math.exp(rng.gauss(-1.5, 0.7)),
            "learning_rate": 1e-6,
            "reward": reward,
            "rewards/accuracy/mean": reward,
            "reward_std": max(0.0, rng.gauss(0.2, 0.12)),
            "frac_reward_zero_std": min(1.0, max(0.0, rng.gauss(0.35, 0.2))),
            "kl": 1e-4 + 0.2 * step / steps * math.exp(rng.gauss(0, 0.5)),
            "entropy": max(0.05, rng.gauss(0.3, 0.1)),
            "clip_ratio/region_mean": abs(rng.gauss(0, 0.05)),
            "completions/clipped_ratio": min(1.0, abs(rng.gauss(0.1, 0.1))),
            "completions/mean_length": 200 + rng.gauss(0, 30) + step / 10,
            "step": step,
            "epoch": step / steps,
            **planted,
        }


def changed(logs: Iterable[Log], first: int, last: int, **planted: float) -> Iterator[Log]:
    """The run with some metrics replaced in the training logs of the steps `first` to `last`."""
    for log in logs:
        yield {**log, **planted} if first <= log["step"] <= last and "eval_loss" not in log else log


def renamed(**metrics: float) -> Log:
    """Metrics whose names hold a slash: `a__b` is a/b."""
    return {name.replace("__", "/"): value for name, value in metrics.items()}
