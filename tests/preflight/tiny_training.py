# mypy: ignore-errors
# (neither torch nor transformers is installed where mypy runs)
"""A training run to be foreseen and watched, for an interpreter with transformers: a tiny Llama, the real Trainer.

Argument: a JSON file of TrainingArguments and of what `Script` names, the file that preflight reads.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    HfArgumentParser,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


@dataclass
class Script:
    """The folder of the model's config.json, the rows, and the diseases.

    From the step `poison` on the loss is NaN, after the step `jolt` the weights are shaken; a step takes `pause`
    seconds more.
    """

    model_name_or_path: str
    train_file: str
    pause: float = 0
    jolt: int = -1
    poison: int = -1


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Token ids, one row a line."""

    def __init__(self, path: str) -> None:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        self.rows = [torch.tensor(json.loads(line)["input_ids"]) for line in lines]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = self.rows[index]
        return {"input_ids": ids, "labels": ids.clone()}


class Between(TrainerCallback):
    """What happens after a step: a pause, and after one of them the model is turned round."""

    def __init__(self, pause: float, jolt: int) -> None:
        self.pause, self.jolt = pause, jolt

    def on_step_end(self, _: Any, state: Any, __: Any, model: Any, **___: Any) -> None:
        time.sleep(self.pause)
        if state.global_step == self.jolt:
            with torch.no_grad():
                model.lm_head.weight.mul_(-20)


class Poisoned(Trainer):
    """A Trainer whose loss is not a number from one step on."""

    poison = -1

    def compute_loss(self, *arguments: Any, **named: Any) -> Any:
        loss = super().compute_loss(*arguments, **named)
        if 0 <= self.poison <= self.state.global_step and not isinstance(loss, tuple):
            loss = loss * float("nan")
        return loss


def main(config: str) -> None:
    script, arguments = HfArgumentParser((Script, TrainingArguments)).parse_json_file(config)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(script.model_name_or_path))
    data = Rows(script.train_file)
    between = [Between(script.pause, script.jolt)]
    trainer = Poisoned(model=model, args=arguments, train_dataset=data, eval_dataset=data, callbacks=between)
    trainer.poison = script.poison
    trainer.train()
    trainer.save_state()


if __name__ == "__main__":
    main(sys.argv[1])
