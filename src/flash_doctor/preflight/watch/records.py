"""One log line of a trainer as a value, whatever dialect it is in."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARE = "trainable share of tokens"
FINAL = "train_runtime"

_STEP = ("step", "global_step", "train/global_step", "current_steps", "_step")
_OF_ALL = "global_step/max_steps"  # ms-swift: "5/3766"
_EPOCH = ("epoch", "train/epoch")
_ALIASES = {"lr": "learning_rate", "train/lr": "learning_rate"}
# a dict with none of these is a configuration or something else that was printed
_TELLING = re.compile(r"loss|eval_.*loss|train_loss|grad_norm|reward|kl|entropy|train_runtime")
_WRAPPED = re.compile(r"[\w.]*\(\s*([^()\s,]+)[^()]*\)")  # np.float64(1.5), tensor(1.5, device='cuda:0')
_MOST_METRICS = 200
_LONGEST_NAME = 100
_LONGEST_EXCERPT = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The metrics of one log line by the Trainer's names; NaN and infinities are values, and null is NaN.

    `excerpt` is the line itself, shortened: the evidence. `stream` tells the ranks of one log apart.
    """

    metrics: Mapping[str, float]
    step: int | None = None
    epoch: float | None = None
    excerpt: str = ""
    stream: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the Trainer printed it at its end."""
        return FINAL in self.metrics


def record_of(raw: Mapping[str, object], excerpt: str, stream: str = "") -> Record | None:
    """A record of what was logged; None where these are no metrics of a training."""
    if len(raw) > _MOST_METRICS:
        return None
    numbers = {cut(str(key), _LONGEST_NAME): value for key, each in raw.items() if (value := number(each)) is not None}
    step, epoch = _first(numbers, _STEP), _first(numbers, _EPOCH)
    if step is None and _OF_ALL in raw:
        step = number(str(raw[_OF_ALL]).partition("/")[0])
    metrics = dict(_named(numbers))
    if not any(_TELLING.fullmatch(name) for name in metrics):
        return None
    return Record(
        metrics=metrics,
        step=int(step) if step is not None and math.isfinite(step) else None,
        epoch=epoch if epoch is not None and math.isfinite(epoch) else None,
        excerpt=_shortened(excerpt),
        stream=stream,
    )


def number(value: object) -> float | None:
    """A number out of a number, its text, `np.float64(…)` or `tensor(…)`; null is NaN; None for anything else."""
    if value is None:
        return math.nan
    if isinstance(value, bool):
        return None
    try:
        return float(_unwrapped(value) if isinstance(value, str) else value)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return None


def _unwrapped(text: str) -> str:
    text = text.strip()
    match = _WRAPPED.fullmatch(text)
    text = match[1] if match else text
    return "nan" if text in {"None", "null"} else text


def _first(numbers: Mapping[str, float], names: tuple[str, ...]) -> float | None:
    return next((numbers[name] for name in names if name in numbers), None)


def _named(numbers: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """By the Trainer's names: wandb writes train/loss and eval/loss."""
    for name, value in numbers.items():
        if name in _STEP or name in _EPOCH:
            continue
        if name in _ALIASES:
            yield _ALIASES[name], value
        elif name.startswith("train/"):
            yield name.removeprefix("train/"), value
        elif name.startswith("eval/"):
            yield f"eval_{name.removeprefix('eval/')}", value
        else:
            yield name, value
    total = numbers.get("tokens/total", 0.0)
    if total > 0 and "tokens/trainable" in numbers:
        yield SHARE, numbers["tokens/trainable"] / total


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_EXCERPT else f"{text[: _LONGEST_EXCERPT - 1]}…"
