"""The base model on this disk: its config.json, safetensors headers and tokenizer, in a folder or the hub's cache.

Nothing is downloaded. Numbers are counted from the headers where they are there, else from the shape.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import BadInput
from flash_doctor.model import Absent, Part, Unknown
from flash_doctor.preflight.config import number
from flash_doctor.preflight.inputs import Adapter, Hub, Model, Tokenizer
from flash_doctor.system.bounds import count_of, read_json
from flash_doctor.system.files import read_regular
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.inputs import Files
    from flash_doctor.system.claims import Claimed

_HEADER_LIMIT = 64 * 1024 * 1024
_JSON_LIMIT = 64 * 1024 * 1024
_VOCABULARY_LIMIT = 256 * 1024 * 1024
_MOST_DIMENSIONS = 16
_TOKENS = ("eos_token", "pad_token", "bos_token")


def hub_cache(variables: Mapping[str, str], home: Path) -> Path:
    """The folder in which models of the hub lie, one `models--owner--name` each."""
    said = variables.get("HF_HUB_CACHE") or variables.get("HUGGINGFACE_HUB_CACHE")
    return Path(said).expanduser() if said else hub_home(variables, home) / "hub"


def hub_home(variables: Mapping[str, str], home: Path) -> Path:
    cache = Path(variables.get("XDG_CACHE_HOME") or home / ".cache")
    return Path(variables.get("HF_HOME") or cache / "huggingface").expanduser()


def model_folder(base: str, files: Files, cache: Path) -> Path | None:
    """The model's folder: a local one, else the newest snapshot in the cache."""
    local = files.find(base) if base else None
    if local is not None and local.is_dir():
        return local
    snapshots = cache / f"models--{base.replace('/', '--')}" / "snapshots"
    try:
        found = [path for path in snapshots.iterdir() if (path / "config.json").exists()]
    except OSError:
        return None
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def read_hub(base: str, folder: Path | None, cache: Path, variables: Mapping[str, str], home: Path) -> Hub:
    """Whether there is a token (never what it is), and whether the base model is complete in the cache."""
    token = bool(variables.get("HF_TOKEN") or variables.get("HUGGING_FACE_HUB_TOKEN"))
    saved = Path(variables.get("HF_TOKEN_PATH") or hub_home(variables, home) / "token")
    kernels = cache.glob("models--kernels-community--*")
    return Hub(
        token=token or _holds_text(saved),
        model_cached=bool(base) and folder is not None and _complete(folder),
        kernels_cached=tuple(path.name.removeprefix("models--").replace("--", "/") for path in kernels),
    )


def _holds_text(path: Path) -> bool:
    try:
        return path.stat().st_size > 1
    except OSError:
        return False


def _complete(folder: Path) -> bool:
    """Every weight file that the index names is there."""
    index = read_object(folder / "model.safetensors.index.json")
    named = index.get("weight_map")
    if isinstance(named, Mapping):
        # Path.exists raises for a name that is too long
        return all(os.path.exists(folder / name) for name in set(map(str, named.values())))  # noqa: PTH110
    return any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))


def read_object(path: Path) -> Mapping[str, Any]:
    """A JSON object from a file; empty where there is none that can be read."""
    try:
        return _accept(read_json(path, limit=_JSON_LIMIT, finite=False))
    except (OSError, ValueError):
        return {}


def _accept(claim: Claimed[Any]) -> Mapping[str, Any]:
    """An object, whose numbers are counted with `count_of`; empty for anything else."""
    value = claim.unproved()
    return value if isinstance(value, Mapping) else {}


def read_model(base: str, folder: Path | None) -> Part[Model]:
    """The model's shape, and its parameters counted."""
    if folder is None:
        return Unknown(unknown=f"{base or 'the base model'} is neither a folder here nor in the hub's cache")
    whole = read_object(folder / "config.json")
    inner = whole.get("text_config")
    config = {**whole, **inner} if isinstance(inner, Mapping) else whole
    try:
        return _model(config, folder)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        return Unknown(unknown=f"{folder / 'config.json'} does not give the model's shape ({error})")


def _model(config: Mapping[str, Any], folder: Path) -> Model:
    hidden, heads = count_of(config["hidden_size"]), count_of(config["num_attention_heads"])
    quantised = config.get("quantization_config")
    quant = str(quantised.get("quant_method") or "") if isinstance(quantised, Mapping) else ""
    head_dim = count_of(config.get("head_dim") or hidden // heads)
    if config.get("qk_nope_head_dim"):
        head_dim = count_of(config["qk_nope_head_dim"]) + count_of(config.get("qk_rope_head_dim") or 0)
    counted = 0 if quant else count_params(folder)
    return Model(
        model_type=str(config.get("model_type") or ""),
        params=counted or shape_params(config),
        hidden=hidden,
        intermediate=count_of(config.get("intermediate_size") or 4 * hidden),
        layers=count_of(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=count_of(config.get("num_key_value_heads") or heads),
        head_dim=head_dim,
        vocab=count_of(config["vocab_size"]),
        max_positions=count_of(config.get("max_position_embeddings") or 0),
        tied=bool(config.get("tie_word_embeddings")),
        gated=None,
        quant_method=quant.lower(),
        attention_dropout=number(config.get("attention_dropout")) or 0.0,
        sliding_window=bool(config.get("sliding_window") and config.get("use_sliding_window", True)),
        widest_head=count_of(config.get("global_head_dim") or 0),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or ""),
    )


def shape_params(config: Mapping[str, Any]) -> int:
    """Parameters of a decoder of the Llama kind, experts included: attention, three projections, norms, embeddings."""
    hidden, layers, heads = (
        count_of(config[key]) for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")
    )
    inner = count_of(config.get("moe_intermediate_size") or config.get("intermediate_size") or 4 * hidden)
    width = count_of(config.get("head_dim") or hidden // heads)
    keys = count_of(config.get("num_key_value_heads") or heads)
    experts = count_of(config.get("num_local_experts") or config.get("num_experts") or 1)
    attention = hidden * width * (2 * heads + 2 * keys)
    biases = width * (heads + 2 * keys) if config.get("attention_bias") or config.get("model_type") == "qwen2" else 0
    layer = attention + biases + 3 * hidden * inner * experts + 2 * hidden
    embeddings = count_of(config["vocab_size"]) * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return layers * layer + embeddings + hidden


def count_params(folder: Path) -> int:
    """The sum over the shapes in the headers of all safetensors files; 0 where one cannot be read."""
    files = sorted(folder.glob("*.safetensors"))
    counts = [_header_params(path) for path in files]
    return 0 if 0 in counts or not _complete(folder) else sum(counts)


def _header_params(path: Path) -> int:
    """Eight bytes say how long the header is, which is JSON: name to dtype, shape and place."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = _accept(read_json(file.read(length), limit=_HEADER_LIMIT)) if length <= _HEADER_LIMIT else {}
        return sum(_size(entry["shape"]) for entry in header.values() if isinstance(entry, dict) and "shape" in entry)
    except (OSError, ValueError):
        return 0


def _size(shape: object) -> int:
    """The numbers in a tensor of that shape."""
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        message = f"{cut(str(shape), 80)} is no shape"
        raise ValueError(message)
    return count_of(math.prod(map(count_of, shape)))


def read_tokenizer(run: Run, base: str, folder: Path | None) -> Part[Tokenizer]:
    """The special tokens, the chat template, and of all tokens those added and those the run asks for."""
    config = read_object(folder / "tokenizer_config.json") if folder else {}
    if folder is None or not config:
        return Unknown(unknown=f"the tokenizer of {base or 'the base model'} is not on this disk")
    special = {**read_object(folder / "special_tokens_map.json"), **config}
    found = {name: _token(special.get(name)) for name in _TOKENS}
    added = config.get("added_tokens_decoder")
    known = {_token(entry) for entry in added.values()} if isinstance(added, Mapping) else set()
    template = bool(config.get("chat_template")) or any(
        (folder / name).exists() for name in ("chat_template.jinja", "chat_template.json")
    )
    return Tokenizer(
        eos=found["eos_token"],
        pad=found["pad_token"],
        bos=found["bos_token"],
        has_template=template,
        tokens=frozenset({*known, *found.values(), *_asked_for(run, folder)} - {""}),
    )


def _token(value: object) -> str:
    """A token written as text, or as an object with its content."""
    content = value.get("content") if isinstance(value, Mapping) else value
    return content if isinstance(content, str) else ""


def _asked_for(run: Run, folder: Path) -> set[str]:
    """Those tokens of the configuration that the vocabulary holds, found as text: parsing it would take too long."""
    asked = {*run.words("tokens"), *run.words("eot_tokens")}
    asked |= {value for value in run.mapping("special_tokens").values() if isinstance(value, str)}
    if not asked:
        return set()
    try:
        vocabulary = read_regular(folder / "tokenizer.json", _VOCABULARY_LIMIT)
    except OSError:
        return set()
    return {token for token in asked if any(form in vocabulary for form in _written(token))}


def _written(token: str) -> tuple[bytes, bytes]:
    return json.dumps(token).encode(), json.dumps(token, ensure_ascii=False).encode("utf-8", "surrogatepass")


def read_adapter(folder: Path) -> Adapter | Absent:
    """A finished adapter's own statement of what it was trained on.

    Raises:
        BadInput: the folder holds no adapter_config.json.
    """
    path = folder / "adapter_config.json"
    content = read_object(path)
    if not content:
        message = f"{folder} holds no readable adapter_config.json"
        raise BadInput(message, advice="Name the folder that training saved the adapter in.")
    return Adapter(base=str(content.get("base_model_name_or_path") or ""), where=str(path))
