"""Memory, disk and steps against sums made by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from flash_doctor.model import Absent
from flash_doctor.preflight import derive, memory, storage
from flash_doctor.preflight.deepspeed import read_plan
from flash_doctor.preflight.inputs import Disk, Inputs, Model, Totals
from preflight_bench import CASES, FACTS, mutate, scene_of

if TYPE_CHECKING:
    from pathlib import Path

H1 = "healthy-01-qlora-sharegpt-fa2"
CONDITIONS = FACTS.conditions
LLAMA_PARAMS = 8_030_261_248
EMBEDDED = 128_256 * 4096


def changed(tmp_path: Path, base: str = H1, **settings: Any) -> Inputs:
    return scene_of(mutate(base, tmp_path, {"set": settings, "facts": {}}))


def model_of(scene: Inputs) -> Model:
    assert isinstance(scene.model, Model)
    return scene.model


def test_lora_parameters_of_llama_8b() -> None:
    """As peft counts them: r16 41.9, r32 83.9, r64 167.8 million on all linear layers."""
    scene = scene_of(CASES / H1)
    for_one_rank = memory.lora_params(scene.run, model_of(scene)) / 16
    assert for_one_rank * 16 == 41_943_040
    assert for_one_rank * 64 == 167_772_160


def test_only_the_named_layers_count() -> None:
    """TinyLlama, r16, q k v o: 16 x (2048+2048 + 2 x (2048+256) + 2048+2048) x 22."""
    scene = scene_of(CASES / "healthy-02-t4-fp16-legacy-flags")
    assert memory.lora_params(scene.run, model_of(scene)) == 16 * (4096 + 2 * 2304 + 4096) * 22


def test_video_memory_of_a_qlora_run_term_by_term() -> None:
    scene = scene_of(CASES / H1)
    terms = memory.vram(scene.run, model_of(scene), CONDITIONS, 1, None)
    by_name = {term.name: term.bytes for term in terms}
    tokens = 2 * 2048
    assert by_name["weights"] == pytest.approx((LLAMA_PARAMS - 2 * EMBEDDED) * 0.516 + 2 * EMBEDDED * 2)
    assert by_name["training"] == pytest.approx(41_943_040 * (4 + 4 + 2))
    assert by_name["activations"] == 2 * 32 * tokens * 4096 + 34 * tokens * 4096
    assert by_name["logits"] == tokens * 128_256 * 10
    assert memory.total(terms) / 2**30 == pytest.approx(13.2, abs=0.2)


def test_saved_embeddings_cost_ten_bytes_each(tmp_path: Path) -> None:
    scene = changed(tmp_path, lora_modules_to_save=["embed_tokens", "lm_head"])
    terms = memory.vram(scene.run, model_of(scene), CONDITIONS, 1, None)
    trained = next(term for term in terms if term.name == "training")
    assert trained.bytes == pytest.approx(41_943_040 * 10 + 2 * EMBEDDED * (2 + 2 + 6))


def test_a_fused_loss_saves_nine_tenths_of_the_logits(tmp_path: Path) -> None:
    scene = changed(tmp_path, cut_cross_entropy=True)
    terms = memory.vram(scene.run, model_of(scene), CONDITIONS, 1, None)
    assert next(term for term in terms if term.name == "logits").bytes == 4096 * 128_256


def test_a_full_fine_tune_is_divided_over_the_gpus() -> None:
    """8B on eight GPUs with FSDP: 2 B weights and 14 B gradient, master copy and states, an eighth each."""
    scene = scene_of(CASES / "own-healthy-fft-liger-fsdp2")
    terms = {term.name: term.bytes for term in memory.vram(scene.run, model_of(scene), CONDITIONS, 8, None)}
    assert terms["weights"] == pytest.approx(2 * LLAMA_PARAMS / 8)
    assert terms["training"] == pytest.approx(14 * LLAMA_PARAMS / 8)


def test_logits_of_grpo() -> None:
    scene = scene_of(CASES / "healthy-04-grpo")
    terms = memory.vram(scene.run, model_of(scene), CONDITIONS, 1, None)
    assert next(term for term in terms if term.name == "logits").bytes == 4 * 512 * 151_936 * 6


@pytest.mark.parametrize(
    ("settings", "gigabytes"),
    [
        ({"lora_r": 64, "optimizer": "adamw_torch"}, 0.67 + 1.34),
        ({"optimizer": "adamw_torch", "lora_modules_to_save": ["embed_tokens", "lm_head"]}, 0.17 + 2.1 + 0.34 + 4.2),
        ({"adapter": None, "load_in_4bit": False, "optimizer": "adamw_torch"}, 16 + 32),
        ({"optimizer": "adamw_torch", "save_only_model": True}, 0.17),
    ],
    ids=["lora r64", "saved embeddings", "full", "model only"],
)
def test_checkpoint_sizes_against_published_ones(settings: dict[str, Any], gigabytes: float, tmp_path: Path) -> None:
    scene = changed(tmp_path, **settings)
    size = memory.total(storage.checkpoint(scene.run, model_of(scene), CONDITIONS, None))
    assert size / 1e9 == pytest.approx(gigabytes, rel=0.03, abs=0.03)


def test_zero_three_keeps_a_master_copy() -> None:
    """8B under ZeRO-3 in bf16: 16 GB weights, 12 B a parameter of optimiser; here Mistral 7B."""
    scene = scene_of(CASES / "own-healthy-zero3-full")
    plan = read_plan(scene.run, scene.files)
    assert plan is not None
    assert plan.stage == 3
    size = memory.total(storage.checkpoint(scene.run, model_of(scene), CONDITIONS, plan))
    assert size == pytest.approx(7_241_732_096 * 14 + 20e6)


def test_one_checkpoint_more_than_are_kept_lies_there() -> None:
    scene = scene_of(CASES / "sick-05-prequantised-base-and-full-disk")
    kept = storage.saves(scene.run, 28_000, CONDITIONS)
    assert (kept.written, kept.kept, kept.together) == (28, 3, 4)


def test_the_full_disk_of_the_field_log_to_the_gigabyte() -> None:
    """4 checkpoints of 2.03 GB, adapter 0.67, merged 16.1, prepared 600,000 x 310 x 21 B = 3.9: 28.7 GB."""
    scene = scene_of(CASES / "sick-05-prequantised-base-and-full-disk")
    assert isinstance(scene.disk, Disk)
    around = storage.Surroundings(
        disk=scene.disk, hub=scene.hub, totals=scene.totals, steps=28_000, merges=scene.merges
    )
    needed = memory.total(storage.peak(scene.run, model_of(scene), CONDITIONS, None, around))
    assert needed / 1e9 == pytest.approx(4 * 2.033 + 0.67 + 16.06 + 3.91, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "written"),
    [({"saves_per_epoch": 2}, 4), ({"saves_per_epoch": "__del"}, 2), ({"save_strategy": "no"}, 0)],
)
def test_how_many_checkpoints_are_written(settings: dict[str, Any], written: int, tmp_path: Path) -> None:
    assert storage.saves(changed(tmp_path, **settings).run, 460.0, CONDITIONS).written == written


def test_steps_of_a_packed_run() -> None:
    """9000 rows, 5 % held out, of 420 tokens, into rows of 2 x 2048 x 4 tokens, twice."""
    scene = scene_of(CASES / H1)
    number, how = derive.steps(scene.run, 1, scene.totals)
    assert number == pytest.approx(9000 * 0.95 * 420 / (2 * 2048 * 4) * 2)
    assert "8550 rows x 420 tokens" in how


def test_steps_of_an_unpacked_run_on_two_gpus() -> None:
    scene = scene_of(CASES / "healthy-02-t4-fp16-legacy-flags")
    assert derive.steps(scene.run, 1, scene.totals)[0] == 1950  # 5200 x 3 / 8
    assert derive.steps(scene.run, 2, scene.totals)[0] == 975
    assert derive.steps(scene.run, 1, Absent())[0] is None


def test_steps_that_are_said() -> None:
    scene = scene_of(CASES / "healthy-04-grpo")
    assert derive.steps(scene.run, 1, scene.totals)[0] == 200


def test_host_memory_in_terms() -> None:
    scene = scene_of(CASES / H1)
    terms = memory.host_ram(scene.run, 8_000_000_000, CONDITIONS, 16, 2, None, 10**9)
    assert [term.bytes for term in terms] == [16 * 0.5e9, 32e9, 0.0, 3e9]


def test_chunks_of_whole_chapters() -> None:
    """12 chapters of 6100 tokens are 37 to 146 samples of 500 to 2000 tokens."""
    scene = scene_of(CASES / "bonus-seed-000-all-faults-at-once")
    assert isinstance(scene.totals, Totals)
    found = json.dumps([str(each) for each in _too_few(scene)])
    assert "37 to 146 samples" in found


def _too_few(scene: Inputs) -> list[str]:
    from flash_doctor.preflight.registry import RULES
    from flash_doctor.preflight.rules import load_rules

    load_rules()
    findings = RULES["PF-data-too-few"].apply(scene, FACTS).findings
    return [finding.remedy.text for finding in findings if finding.remedy]
