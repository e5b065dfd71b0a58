"""The base model, the hub's cache, logins and the machine, read from real files made here."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

import patients
from flash_doctor.errors import BadInput
from flash_doctor.model import Absent, Package, Packages, Severity, Unknown, Volume
from flash_doctor.preflight.config import Dialect, Run
from flash_doctor.preflight.gather import machine, model as weights
from flash_doctor.preflight.inputs import Disk, Distributions, Files, FlashBuild, Model, Tokenizer

LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
}  # fmt: skip


def safetensors(path: Path, **shapes: tuple[int, ...]) -> None:
    header = json.dumps({"__metadata__": {"format": "pt"}, **{
        name: {"dtype": "BF16", "shape": list(shape), "data_offsets": [0, 0]} for name, shape in shapes.items()
    }}).encode()  # fmt: skip
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def run_of(folder: Path, **settings: Any) -> Run:
    return Run(dialect=Dialect.AXOLOTL, path=folder / "c.yaml", settings=settings, raw=settings, lines={})


def test_parameters_from_the_shape_are_those_published() -> None:
    qwen = {
        "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
        "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
    }  # fmt: skip
    assert weights.shape_params(LLAMA) == 8_030_261_248
    assert weights.shape_params(qwen) == 1_543_714_304


def test_parameters_are_counted_from_the_headers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    safetensors(tmp_path / "model.safetensors", a=(10, 20), b=(5,))
    model = weights.read_model("x", tmp_path)
    assert isinstance(model, Model)
    assert model.params == 205
    assert model.head_dim == 128


@pytest.mark.parametrize("content", [b"", b"\xff" * 8 + b"x", struct.pack("<Q", 4) + b"nope"])
def test_a_broken_header_falls_back_to_the_shape(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "model.safetensors").write_bytes(content)
    model = weights.read_model("x", tmp_path)
    assert isinstance(model, Model)
    assert model.params == 8_030_261_248


def test_a_quantised_model_is_counted_by_its_shape(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "quantization_config": {"quant_method": "GPTQ"}}))
    safetensors(tmp_path / "model.safetensors", packed=(1, 1))
    model = weights.read_model("x", tmp_path)
    assert isinstance(model, Model)
    assert (model.quant_method, model.params) == ("gptq", 8_030_261_248)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"hidden_size": "big"}'])
def test_a_config_without_a_shape_is_unknown(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert isinstance(weights.read_model("x", tmp_path), Unknown)


def test_the_newest_snapshot_of_the_cache(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--owner--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(LLAMA))
    variables = {"HF_HOME": str(tmp_path)}
    cache = weights.hub_cache(variables, tmp_path)
    folder = weights.model_folder("owner/name", Files(roots=(), listed={}), cache)
    assert folder == snapshot
    hub = weights.read_hub("owner/name", folder, cache, variables, tmp_path)
    assert (hub.token, hub.model_cached) == (False, False)
    (tmp_path / "token").write_text("hf_secret")
    (snapshot / "model.safetensors.index.json").write_text('{"weight_map": {"a": "1.safetensors"}}')
    assert weights.read_hub("owner/name", folder, cache, variables, tmp_path).model_cached is False
    safetensors(snapshot / "1.safetensors", a=(1,))
    hub = weights.read_hub("owner/name", folder, cache, variables, tmp_path)
    assert (hub.token, hub.model_cached) == (True, True)
    assert "hf_secret" not in repr(hub)


def test_tokens_that_the_vocabulary_holds(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": {"content": "</s>"}, "added_tokens_decoder": {"3": {"content": "<x>"}}})
    )
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"<é>": 1, "word": 2}}}))
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    run = run_of(tmp_path, tokens=["word", "new"], special_tokens={"pad_token": "<é>"})
    tokenizer = weights.read_tokenizer(run, "x", tmp_path)
    assert isinstance(tokenizer, Tokenizer)
    assert (tokenizer.eos, tokenizer.pad, tokenizer.has_template) == ("</s>", "", True)
    assert tokenizer.tokens == {"</s>", "<x>", "word", "<é>"}


def test_an_adapter_says_what_it_was_trained_on(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="adapter_config"):
        weights.read_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "unsloth/x-bnb-4bit"}')
    trained = weights.read_adapter(tmp_path)
    assert not isinstance(trained, Absent)
    assert trained.base == "unsloth/x-bnb-4bit"


def test_secrets_are_kept_only_as_there() -> None:
    kept = machine.relevant({"WANDB_API_KEY": "s3cret", "HF_TOKEN": "hf_x", "HF_TOKEN_PATH": "/t", "PATH": "/bin"})
    assert kept == {"WANDB_API_KEY": "set", "HF_TOKEN": "set", "HF_TOKEN_PATH": "/t"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("machine api.wandb.ai\n  login user\n  password p\n", True), ("machine example.org login u password p\n", False)],
)
def test_a_login_in_netrc(text: str, expected: bool, tmp_path: Path) -> None:
    assert machine.logged_in({}, tmp_path) is False
    (tmp_path / ".netrc").write_text(text)
    assert machine.logged_in({}, tmp_path) is expected


def test_a_server_on_this_machine_is_knocked_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        run = run_of(Path(), trl={"use_vllm": True, "vllm_server_host": "127.0.0.1", "vllm_server_port": port})
        assert machine.server(run) is True
    assert machine.server(run) is False


def test_another_machines_server_is_not_asked() -> None:
    run = run_of(Path(), trl={"use_vllm": True, "vllm_server_host": "gpu.example.org"})
    assert isinstance(machine.server(run), Unknown)
    assert isinstance(machine.server(run_of(Path())), Absent)


def test_the_disk_of_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    volume = Volume(path=tmp_path, filesystem="ext4", total=100, free=40)
    disk = machine.disk(tmp_path / "a" / "b", volume, tmp_path)
    assert isinstance(disk, Disk)
    assert (disk.writable, disk.shares_hub, disk.free, disk.checkpoints) == (True, True, 40, 0)
    (tmp_path / "a" / "b" / "checkpoint-10").mkdir(parents=True)
    found = machine.disk(tmp_path / "a" / "b", volume, tmp_path)
    assert isinstance(found, Disk)
    assert found.checkpoints == 1


def test_flash_attention_is_broken_when_check_says_so() -> None:
    environment = patients.healthy().environment
    wrong = patients.finding("F611", Severity.ERROR, "flash-attn", "was made for another torch")
    assert machine.flash(environment, (wrong,)) == FlashBuild(loads=False, error="F611: was made for another torch")
    other = patients.finding("T401", Severity.ERROR, "torchvision")
    assert machine.flash(environment, (other,)) == FlashBuild(loads=True, error="")


def package(name: str, version: str, *requires: str) -> Package:
    place = Path("/venv/lib/python3.12/site-packages")
    return Package(
        name=canonicalize_name(name), version=Version(version), raw_version=version, metadata=place / name,
        location=place, installer="pip", url=Absent(), editable=False, in_user_site=False, requires=requires,
        requires_python="", tags=(), top_level=(), record=Absent(),
    )  # fmt: skip


def test_a_machine_as_check_read_it() -> None:
    axolotl = package("axolotl", "0.18.0", "transformers==5.14.1", "vllm==1.0; extra == 'vllm'", "numpy>=2.1")
    found = Packages(distributions=(axolotl, package("torch", "2.11.0+cu128")), leftovers=(), broken=())
    environment = patients.environment(packages=found)
    cards, stack = machine.cards(environment.gpus), machine.stack(environment.packages)
    assert isinstance(cards, tuple)
    assert isinstance(stack, Distributions)
    assert cards[0].memory > 0
    assert stack.get("torch") == Version("2.11.0+cu128")
    assert machine.pins(environment) == {"transformers": "==5.14.1", "numpy": ">=2.1"}
    assert isinstance(machine.pins(patients.environment()), Unknown)


@pytest.mark.parametrize("name", ["~nosuchuser/x", "x" * 5000, "a\x00b", "/root/../proc/1/fd/x", ""])
def test_names_that_are_no_paths_are_not_found(name: str, tmp_path: Path) -> None:
    found = Files(roots=(tmp_path,), listed={}).find(name)
    assert found is None or found == tmp_path
