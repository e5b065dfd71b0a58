"""The estimate of video memory against what others measured: Qwen-7B on one A100, published with the model.

Single GPU, FlashAttention 2, batch size 1, LoRA rank 64 on every linear layer, AdamW, gradient checkpointing
(the README of QwenLM/Qwen, "Profiling of Memory and Speed"; its Q-LoRA is GPTQ in 4 bits, near NF4 in size).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flash_doctor.preflight import memory
from flash_doctor.preflight.run import Dialect, Run
from flash_doctor.preflight.scene import Model
from preflight_bench import FACTS

QWEN_7B = Model(
    model_type="qwen", params=7_721_324_544, hidden=4096, intermediate=11008, layers=32, heads=32, kv_heads=32,
    head_dim=128, vocab=151936, max_positions=8192, tied=False, gated=False, quant_method="",
)  # fmt: skip
LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
MEASURED = {
    "lora": (20.1, 20.4, 21.5, 23.8, 29.7, 36.6),
    "lora with embeddings": (33.7, 34.1, 35.2, 35.1, 39.2, 48.5),
    "qlora": (11.5, 11.5, 12.3, 13.9, 16.9, 23.5),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "lora": {"adapter": "lora"},
    "lora with embeddings": {"adapter": "lora", "lora_modules_to_save": ["embed_tokens", "lm_head"]},
    "qlora": {"adapter": "qlora", "load_in_4bit": True},
}
TOLD = 0.20  # the error that every finding states


def estimate(kind: str, length: int) -> float:
    settings = {
        "lora_r": 64, "lora_target_linear": True, "optimizer": "adamw_torch", "micro_batch_size": 1,
        "sequence_len": length, "gradient_checkpointing": True, **SETTINGS[kind],
    }  # fmt: skip
    run = Run(dialect=Dialect.AXOLOTL, path=Path("c.yaml"), settings=settings, raw=settings, lines={})
    return memory.total(memory.vram(run, QWEN_7B, FACTS.conditions, 1, None)) / 2**30


@pytest.mark.parametrize("kind", list(MEASURED))
def test_within_the_error_that_is_told(kind: str) -> None:
    pairs = list(zip(LENGTHS, MEASURED[kind], strict=True))
    errors = {length: round(estimate(kind, length) / measured - 1, 3) for length, measured in pairs}
    assert max(map(abs, errors.values())) <= TOLD, json.dumps(errors)
