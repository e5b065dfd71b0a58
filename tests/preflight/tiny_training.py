# mypy: ignore-errors
# (neither torch nor transformers is installed where mypy runs)
"""A training run to be watched, for an interpreter with transformers: a tiny random Llama, the real Trainer.

Arguments: the output folder and a JSON object of TrainingArguments that overrides those below; `poison` in it is
the step from which on the loss is NaN, `jolt` the step after which the weights are shaken, `pause` seconds of a step.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

VOCABULARY, LENGTH = 64, 16


class Repeated(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Sequences that count upwards: a model of any size learns them."""

    def __len__(self) -> int:
        return 200

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = (torch.arange(LENGTH) + index) % VOCABULARY
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


def main(folder: str, overrides: dict[str, Any]) -> None:
    pause, jolt, poison = (
        overrides.pop(name, default) for name, default in (("pause", 0), ("jolt", -1), ("poison", -1))
    )
    chosen = {
        "max_steps": 50,
        "per_device_train_batch_size": 4,
        "logging_steps": 1,
        "save_steps": 10,
        "save_total_limit": 2,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 5,
        "report_to": [],
        "use_cpu": True,
    }
    torch.manual_seed(0)
    torch.set_num_threads(1)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **shape))
    arguments = TrainingArguments(output_dir=folder, **{**chosen, **overrides})
    data = Repeated()
    between = [Between(pause, jolt)]
    trainer = Poisoned(model=model, args=arguments, train_dataset=data, eval_dataset=data, callbacks=between)
    trainer.poison = poison
    trainer.train()
    trainer.save_state()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
