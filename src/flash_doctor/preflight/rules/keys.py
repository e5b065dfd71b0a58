"""Keys: repeated, unknown, of another release, without their plugin, or with a word where YAML sees a boolean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from flash_doctor.facts.frameworks import Schema
from flash_doctor.facts.preflight import PreflightFacts
from flash_doctor.model import Absent, Part, Unknown
from flash_doctor.preflight.config import Run
from flash_doctor.preflight.formats.types import accepts
from flash_doctor.preflight.registry import AXOLOTL, KeyFound, rule
from flash_doctor.rules.engine import need

_NEAR = 0.75
_COMMAND_LINE = {"debug", "inference", "strict"}
_PLACED = re.compile(r"\$\{?[A-Za-z_]\w*\}?|%[A-Z_]{2,}%|<[A-Z][A-Z_]+>")
_PLACES = re.compile(r"path|dir|model|token|project|hub")
_WORDS_OF_TOKENS = re.compile(r"special_tokens|(^|/)tokens|eot_tokens|added_tokens|chat_template|text_|_token$")
_MODELS = {
    "trl": "TRLConfig",
    "vllm": "VllmConfig",
    "fsdp_config": "FSDPConfig",
    "ebft": "EBFTConfig",
    "qat": "QATConfig",
    "quantization": "PTQConfig",
    "dynamic_checkpoint": "DynamicCheckpointConfig",
}


@rule("PF-yaml-duplicate-key")
def duplicate_key(run: Run) -> Iterator[KeyFound]:
    for twice in run.duplicates:
        yield KeyFound(
            key=twice.key,
            summary=f"{twice.key} stands twice; only the value of line {twice.again} counts",
            evidence=(f"line {twice.first}: {twice.values[0]}", f"line {twice.again}: {twice.values[1]}"),
            remedy=f"Delete line {twice.first} or line {twice.again}.",
        )


def nearest(key: str, known: Mapping[str, Any] | frozenset[str]) -> str:
    return next(iter(get_close_matches(key, list(known), n=1, cutoff=_NEAR)), "")


def _own(key: str) -> bool:
    """Keys that are notes of the user, or for the command line."""
    return key.startswith(("x-", ".", "_")) or key in _COMMAND_LINE


@rule("PF-key-unknown", dialects=AXOLOTL)
def unknown_key(run: Run, schema: Schema, facts: PreflightFacts) -> Iterator[KeyFound]:
    everything = frozenset(schema.top) | frozenset(key for keys in schema.plugins.values() for key in keys)
    for key, value in run.settings.items():
        # a key without a value changes nothing, whether it is known or not
        if value is not None and not schema.knows(key) and not _own(key) and not facts.axolotl.releases_with(key):
            yield _unknown(key, nearest(key, everything), schema)
    for place, keys, known, only_near in _nested(run, schema):
        for key in keys:
            near = nearest(key, known)
            if key not in known and not _own(key) and (near or not only_near):
                yield _unknown(f"{place}/{key}", near, schema)


def _unknown(key: str, near: str, schema: Schema) -> KeyFound:
    name = key.rpartition("/")[2]
    return KeyFound(
        key=key,
        summary=f"axolotl {schema.release} knows no key {name}: it is dropped without a word",
        evidence=(f"the nearest key is {near}",) if near else ("no key has a similar name",),
        remedy=f"Rename {name} to {near}."
        if near
        else f"Delete {name}, or look up its name in axolotl's documentation.",
    )


def _nested(run: Run, schema: Schema) -> Iterator[tuple[str, list[str], frozenset[str], bool]]:
    """(path, its keys, the keys known there, report only those with a near one)."""
    of_datasets = frozenset(key for name, keys in schema.nested.items() if name.endswith("Dataset") for key in keys)
    for group in ("datasets", "test_datasets", "pretraining_dataset"):
        for place, dataset in run.datasets(group):
            yield place, list(dataset), of_datasets, False
    for key, model in _MODELS.items():
        known = schema.nested.get(model)
        if known:
            names = [name.removeprefix("fsdp_") if key == "fsdp_config" else name for name in run.mapping(key)]
            yield key, names, frozenset(known) | {"fsdp_version", "version"}, key == "fsdp_config"
    if "SpecialTokensConfig" in schema.nested:
        yield (
            "special_tokens",
            list(run.mapping("special_tokens")),
            frozenset(schema.nested["SpecialTokensConfig"]),
            True,
        )


@rule("PF-key-version", dialects=AXOLOTL)
def key_of_another_release(run: Run, schema: Schema, facts: PreflightFacts) -> Iterator[KeyFound]:
    for key, value in run.settings.items():
        releases = facts.axolotl.releases_with(key) if value is not None else ()
        if not schema.knows(key) and releases and not _own(key):
            newer = releases[0] > schema.release
            yield KeyFound(
                key=key,
                summary=f"axolotl {schema.release} does not know {key} {'yet' if newer else 'any more'}",
                evidence=(f"known to axolotl {releases[0]}" + (f" to {releases[-1]}" if len(releases) > 1 else ""),),
                remedy=(
                    f"Upgrade axolotl to {releases[0]}, or delete {key}."
                    if newer
                    else f"Delete {key}: it is ignored, or refused with a hint at its successor."
                ),
            )


@rule("PF-plugin-key-inactive", dialects=AXOLOTL)
def inactive_plugin_key(run: Run, schema: Schema) -> Iterator[KeyFound]:
    listed = run.words("plugins")
    for key, value in run.settings.items():
        plugin = "" if key in schema.top else schema.plugin_of(key)
        if plugin and value not in (None, False) and not any(plugin in entry.split(".") for entry in listed):
            yield KeyFound(
                key=key,
                summary=f"{key} belongs to the plugin {plugin}, which is not listed: the key is ignored",
                remedy=f"Add the plugin under plugins: (a class of axolotl.integrations.{plugin}), or delete {key}.",
            )


@rule("PF-plugin-unimportable", dialects=AXOLOTL)
def unimportable_plugin(
    run: Run, schema: Schema, importable: Mapping[str, bool], modules: Part[tuple[Path, ...]]
) -> Iterator[KeyFound]:
    for index, entry in enumerate(run.words("plugins")):
        module, _, name = entry.rpartition(".")
        why = _not_importable(module, name, schema, importable, modules)
        if why:
            near = nearest(module, frozenset(f"axolotl.integrations.{plugin}" for plugin in schema.plugins))
            yield KeyFound(
                key=f"plugins/{index}",
                summary=f"the plugin {entry} cannot be imported; training would go on without it",
                evidence=(why,),
                remedy=f"Write {near}.{name}." if near and near != module else "",
            )


def _not_importable(
    module: str, name: str, schema: Schema, importable: Mapping[str, bool], modules: Part[tuple[Path, ...]]
) -> str:
    """Why a plugin cannot be imported, judged by paths alone; nothing where it can."""
    if module in importable:
        return "" if importable[module] else f"no module {module} was found"
    parts = module.split(".")
    if parts[:2] == ["axolotl", "integrations"] and len(parts) > 2 and isinstance(modules, (Absent, Unknown)):
        return "" if parts[2] in schema.plugins else f"axolotl {schema.release} has no integration {parts[2]}"
    files = [root.joinpath(*parts) for root in need(modules)]
    found = [path for base in files for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()]
    if not found:
        return f"no module {module} lies on the path of the environment"
    words = "".join(path.read_text(encoding="utf-8", errors="replace") for path in found)
    return "" if re.search(rf"\b{re.escape(name)}\b", words) else f"{found[0]} defines no {name}"


@rule("PF-yaml-boolean-word", dialects=AXOLOTL)
def boolean_word(run: Run, schema: Schema) -> Iterator[KeyFound]:
    for key, value in run.settings.items():
        written = schema.type_of(key)
        refused = isinstance(value, bool) and "str" in written and not accepts(written, value, schema.enums)
        if refused and accepts(written, "word", {}):
            word = "no" if value is False else "yes"
            yield KeyFound(
                key=key,
                summary=f"{key} wants a word, but YAML reads an unquoted no, off, yes or on as {value}",
                remedy=f'{key}: "{word}"   (with the quotation marks)',
            )


@rule("PF-env-placeholder")
def placeholder(run: Run) -> Iterator[KeyFound]:
    for place, value in _texts(run.raw, ""):
        match = _PLACED.search(value)
        if match and _PLACES.search(place) and not _WORDS_OF_TOKENS.search(place):
            yield KeyFound(
                key=place,
                summary=f"{match[0]} is taken literally: nothing replaces variables in this file",
            )


def _texts(value: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{place}/{key}" if place else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{place}/{index}")
    elif isinstance(value, str):
        yield place, value
