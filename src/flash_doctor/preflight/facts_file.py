"""Facts from a file (`--facts`), in place of what would be gathered; a part that is missing is Unknown.

The file is a JSON object with the parts `system`, `gpus`, `packages`, `env`, `wandb`, `hf`, `files`, `prepared`,
`disk`, `axolotl_requires`, `data`, `model`, `adapter_config`, `importable`, `net`, `train_gpus`, `plans_merge` and
`netifs`; sizes end in `_gb`: GiB of memory, and GB (10^9 bytes) of disk, as df and vendors count them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from packaging.utils import canonicalize_name
from packaging.version import Version

from flash_doctor.errors import BadInput
from flash_doctor.model import Absent, Capability, Part, Unknown, known
from flash_doctor.preflight.config import number
from flash_doctor.preflight.document import read_text
from flash_doctor.preflight.inputs import (
    Adapter,
    Card,
    Disk,
    Distributions,
    FlashBuild,
    HostResources,
    Hub,
    Model,
    Prepared,
    Tokenizer,
    Totals,
)
from flash_doctor.system.bounds import count_of, read_json

if TYPE_CHECKING:
    from flash_doctor.system.claims import Claimed

T = TypeVar("T")
_GIB = 2**30
_FRESH = {"fresh", "up_to_date", "newer_than_data", "matches_data"}  # in `prepared`, true is well; else it is stale
_ADVICE = "Give a JSON object with the parts system, gpus, packages, env, disk, data, model (see the documentation)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The facts of one file; each method gives one part."""

    path: Path
    data: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Given:
        """The file's facts.

        Raises:
            BadInput: missing, no JSON, or no object.
        """
        try:
            return cls.accept(read_json(read_text(path, advice=_ADVICE)), path)
        except ValueError as error:
            message = f"{path} is no JSON"
            raise BadInput(message, evidence=(str(error),), advice=_ADVICE) from error

    @classmethod
    def accept(cls, claim: Claimed[Any], path: Path) -> Given:
        """An object; each part of it is judged when it is taken out (`part`)."""
        data = claim.unproved()
        if not isinstance(data, Mapping):
            message = f"{path} holds no JSON object"
            raise BadInput(message, advice=_ADVICE)
        return cls(path=path, data=data)

    def part(self, name: str, make: Callable[[Any], T | Absent | Unknown]) -> Part[T]:
        """One part; Unknown where it is missing, BadInput where its form is wrong."""
        value: Any = self.data
        for key in name.split("/"):
            if not isinstance(value, Mapping) or key not in value:
                return Unknown(unknown=f"{self.path.name} does not say {name}")
            value = value[key]
        try:
            return make(value)
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
            message = f"{self.path}: {name} has not the form that is expected"
            raise BadInput(message, evidence=(f"{type(error).__name__}: {error}",), advice=_ADVICE) from error

    def stack(self) -> Part[Distributions]:
        return self.part("packages", lambda value: Distributions(versions=_versions(value)))

    def flash(self) -> Part[FlashBuild]:
        return self.part("packages", _flash)

    def tokenizer(self) -> Part[Tokenizer]:
        return self.part("model/tokenizer", _tokenizer)


def texts(value: Mapping[str, Any]) -> Mapping[str, str]:
    return {str(key): str(each) for key, each in value.items()}


def words(value: list[Any]) -> tuple[str, ...]:
    return tuple(map(str, value))


def _bytes(value: Any) -> int:
    return _size(value or 0, _GIB)


def _size(value: Any, unit: float) -> int:
    """Bytes of a number of units, which is none of a stranger's infinities."""
    return count_of(float(value) * unit)


def system(value: Mapping[str, Any]) -> HostResources:
    return HostResources(
        wsl=bool(value.get("wsl")),
        container=bool(value.get("container")),
        cpus=count_of(value.get("cpus") or 1),
        quota=number(value.get("cpu_quota")),
        ram_free=_bytes(value["ram_free_gb"]),
        shm=_bytes(value.get("shm_free_gb", value.get("shm_gb"))),
    )


def cards(value: list[Mapping[str, Any]]) -> tuple[Card, ...] | Absent:
    found = tuple(_card(each) for each in value)
    return found or Absent(absent="there is no GPU")


def visible(found: Part[tuple[Card, ...]], variables: Part[Mapping[str, str]]) -> Part[tuple[Card, ...]]:
    """The cards that CUDA_VISIBLE_DEVICES leaves, where it names them by number."""
    said = known(variables)
    listed = said.get("CUDA_VISIBLE_DEVICES") if said else None
    if isinstance(found, (Absent, Unknown)) or listed is None:
        return found
    numbers = [int(word) for word in listed.split(",") if word.strip().isdecimal()]
    left = tuple(found[number] for number in numbers if number < len(found))
    return left or (Absent(absent="CUDA_VISIBLE_DEVICES hides every GPU") if not numbers else found)


def _card(value: Mapping[str, Any]) -> Card:
    major, _, minor = str(value["cc"]).partition(".")
    return Card(
        name=str(value.get("name") or "the GPU"),
        capability=Capability(major=int(major), minor=int(minor or 0)),
        memory=_bytes(value["vram_gb"]),
        used=_bytes(value.get("used_gb")),
        p2p=value.get("p2p"),
        nvlink=bool(value.get("nvlink")),
    )


def _versions(value: Mapping[str, Any]) -> dict[str, Version]:
    found = {}
    for name, said in value.items():
        text = said.get("version") if isinstance(said, Mapping) else said
        if text and name != "python":
            found[str(canonicalize_name(name))] = Version(str(text))
    return found


def _flash(value: Mapping[str, Any]) -> FlashBuild | Absent:
    said = value.get("flash-attn", value.get("flash_attn"))
    if said is None:
        return Absent(absent="flash-attn is not installed")
    if not isinstance(said, Mapping) or "loads" not in said:
        return FlashBuild(loads=Unknown(unknown="whether flash-attn loads is not among the facts given"), error="")
    return FlashBuild(loads=bool(said["loads"]), error=str(said.get("error") or ""))


def hub(value: Mapping[str, Any], *, offline: bool) -> Hub:
    return Hub(
        offline=offline,
        token=bool(value.get("token")),
        model_cached=bool(value["model_cached"]) if "model_cached" in value else Unknown(unknown="cache not given"),
        kernels_cached=tuple(value.get("kernels_cached") or ()),
    )


def prepared(value: Mapping[str, Any]) -> Prepared | Absent:
    if not value.get("exists"):
        return Absent(absent="nothing is prepared")
    made, changed = number(value.get("mtime")), number(value.get("data_mtime"))
    stale = any(said is (key not in _FRESH) for key, said in value.items() if key != "exists")
    stale = stale or (made is not None and changed is not None and changed > made)
    folder = str(value.get("path") or "last_run_prepared")
    return Prepared(folder=folder, stale="the data are newer than what was prepared" if stale else "")


def disk(value: Mapping[str, Any]) -> Disk:
    return Disk(
        mount=str(value.get("mount") or "/"),
        total=_size(value["total_gb"], 1e9),
        free=_size(value["free_gb"], 1e9),
        writable=value.get("writable") is not False,
        shares_hub=bool(value.get("same_fs_as_hf_home")),
        filesystem=str(value.get("filesystem") or value.get("fs") or ""),
        checkpoints=count_of(value.get("checkpoints") or 0),
    )


def totals(value: Mapping[str, Any]) -> Totals:
    return Totals(
        rows=count_of(value["rows"]),
        p50=number(value.get("tokens_p50")) or 0.0,
        longest=number(value.get("tokens_max")) or 0.0,
        over=number(value.get("frac_over_sequence_len")) or 0.0,
        duplicates=number(value.get("duplicate_frac")) or 0.0,
        how="as given with --facts",
        leaked=count_of(value.get("test_rows_in_train") or 0),
        bytes=count_of(value.get("bytes") or 0),
    )


def model(value: Mapping[str, Any] | None) -> Model | Unknown:
    if not value or "params" not in value:
        return Unknown(unknown="the base model's shape is not among the facts given")
    heads = count_of(value["num_attention_heads"])
    quantised = value.get("quantization_config") or {}
    return Model(
        model_type=str(value.get("model_type") or ""),
        params=count_of(value["params"]),
        hidden=count_of(value["hidden_size"]),
        intermediate=count_of(value.get("intermediate_size") or 4 * count_of(value["hidden_size"])),
        layers=count_of(value["num_hidden_layers"]),
        heads=heads,
        kv_heads=count_of(value.get("num_key_value_heads") or heads),
        head_dim=count_of(value.get("head_dim") or count_of(value["hidden_size"]) // heads),
        vocab=count_of(value["vocab_size"]),
        max_positions=count_of(value.get("max_position_embeddings") or 0),
        tied=bool(value.get("tie_word_embeddings")),
        gated=value.get("gated"),
        quant_method=str(quantised.get("quant_method") or "").lower(),
        attention_dropout=number(value.get("attention_dropout")) or 0.0,
        sliding_window=bool(value.get("sliding_window")),
        widest_head=count_of(value.get("global_head_dim") or 0),
        dtype=str(value.get("dtype") or value.get("torch_dtype") or ""),
    )


def _tokenizer(value: Mapping[str, Any] | None) -> Tokenizer | Unknown:
    if not value:
        return Unknown(unknown="the tokenizer is not among the facts given")
    return Tokenizer(
        eos=str(value.get("eos_token") or ""),
        pad=str(value.get("pad_token") or ""),
        bos=str(value.get("bos_token") or ""),
        has_template=bool(value.get("has_chat_template")),
        tokens=frozenset(value.get("tokens") or ()),
    )


def trained(value: Mapping[str, Any] | None) -> Adapter | Absent:
    if not value:
        return Absent(absent="no finished adapter")
    return Adapter(base=str(value.get("base_model_name_or_path") or ""), where="adapter_config.json")
