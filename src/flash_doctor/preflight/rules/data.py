"""Data files: there, readable, of the type that the configuration says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.facts.preflight import PreflightFacts
from flash_doctor.model import Part, Severity, known
from flash_doctor.preflight.config import Run
from flash_doctor.preflight.inputs import Files, Prepared, Sample, Totals
from flash_doctor.preflight.registry import AXOLOTL, KeyFound, rule
from flash_doctor.rules.engine import need
from flash_doctor.system.commands import command, delete

if TYPE_CHECKING:
    from flash_doctor.facts.preflight import Conditions


_SHOWN = 5
_TOKENISED = {"input_ids", "labels"}


def dataset_of(run: Run, sample: Sample) -> Mapping[str, Any]:
    value = run.get(sample.key)
    return value if isinstance(value, Mapping) else {}


def type_of(run: Run, sample: Sample) -> str:
    value = dataset_of(run, sample).get("type")
    return value if isinstance(value, str) else ""


def base_of(kind: str) -> str:
    return kind.partition(".")[0].partition(":")[0]


def is_chat(run: Run, sample: Sample) -> bool:
    return run.is_axolotl and base_of(type_of(run, sample)) == "chat_template" and not run.get("rl")


def messages_key(run: Run, sample: Sample) -> str:
    return str(dataset_of(run, sample).get("field_messages") or "messages")


def mapping(run: Run, sample: Sample) -> tuple[str, str]:
    """The keys of a message that hold its role and its content."""
    dataset = dataset_of(run, sample)
    named = dataset.get("message_property_mappings")
    named = named if isinstance(named, Mapping) else {}
    role = named.get("role") or dataset.get("message_field_role") or "role"
    return str(role), str(named.get("content") or dataset.get("message_field_content") or "content")


def lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    return shown if len(numbers) <= _SHOWN else f"{shown} and {len(numbers) - _SHOWN} more"


@rule("PF-data-missing")
def missing(samples: tuple[Sample, ...], files: Files) -> Iterator[KeyFound]:
    for sample in samples:
        if sample.missing:
            yield KeyFound(
                key=sample.key if sample.key == "dataset" else f"{sample.key}/path",
                summary=f"the data {sample.path} cannot be used: {sample.missing}",
                evidence=_beside(sample.path, files),
            )


def _beside(name: str, files: Files) -> tuple[str, ...]:
    """The file of a similar name in the same folder."""
    for root in files.roots:
        names: list[str] = []
        with contextlib.suppress(OSError, ValueError):
            names = [path.name for path in (root / name).parent.iterdir()]
        near = get_close_matches(Path(name).name, names, n=1, cutoff=0.6)
        if near and near[0] != Path(name).name:
            return (f"a file of a similar name lies there: {near[0]}",)
    return (f"looked in {', '.join(str(root) for root in files.roots)}",)


@rule("PF-data-syntax")
def syntax(samples: tuple[Sample, ...]) -> Iterator[KeyFound]:
    for sample in samples:
        if sample.faults:
            number = sample.faults[0][0]
            yield KeyFound(
                key=f"{sample.key}/path",
                summary=f"{sample.path}: line {number} is no JSON record",
                evidence=tuple(f"line {line}: {why}" for line, why in sample.faults),
                remedy="Correct or delete these lines.",
                commands=(command("sed -n {} {}", f"{number}p", Path(sample.path)),),
            )


def readable(samples: tuple[Sample, ...]) -> Iterator[Sample]:
    return (sample for sample in samples if sample.records and not sample.missing)


def wanted_columns(run: Run, sample: Sample, conditions: Conditions) -> tuple[str, ...]:
    """The columns that the dataset's type needs, with the names that the configuration gives them."""
    kind = type_of(run, sample)
    if is_chat(run, sample):
        return (messages_key(run, sample),)
    if base_of(kind) == "completion":
        return (str(dataset_of(run, sample).get("field") or "text"),)
    known = conditions.types.get(kind) if not run.get("rl") else None
    return known.needs if known else ()


def better_type(sample: Sample, kind: str, conditions: Conditions) -> str:
    """Another type whose columns the rows have, or nothing."""
    for name, form in conditions.types.items():
        if name != base_of(kind) and any(set(needed) <= sample.columns for needed in form.fits):
            return name
    return ""


def misfits(run: Run, sample: Sample, conditions: Conditions) -> tuple[str, ...]:
    """Why the rows do not fit the dataset's type, in sentences."""
    columns = wanted_columns(run, sample, conditions)
    absent = [name for name in columns if name not in sample.columns]
    if absent:
        return (f"no row has {' or '.join(absent)}; they have {', '.join(sorted(sample.columns)[:8])}",)
    if base_of(type_of(run, sample)) != "completion":
        return ()
    wrong = [record for record in sample.records if not isinstance(record.value.get(columns[0]), str)]
    return tuple(
        f"line {record.number}: {columns[0]} is no text, but a {_kind(record.value, columns[0])}"
        for record in wrong[:1]
    )


def _kind(value: Mapping[str, Any], key: str) -> str:
    return type(value.get(key)).__name__


@rule("PF-data-type-mismatch", dialects=AXOLOTL)
def wrong_type(run: Run, samples: tuple[Sample, ...], facts: PreflightFacts) -> Iterator[KeyFound]:
    if run.on("skip_prepare_dataset") or run.get("rl"):
        return
    for sample in readable(samples):
        kind = type_of(run, sample)
        why = misfits(run, sample, facts.conditions)
        better = better_type(sample, kind, facts.conditions)
        if why and better:
            extra = _extra(better, sample)
            dropped = " (delete field:)" if dataset_of(run, sample).get("field") and better == "chat_template" else ""
            yield KeyFound(
                key=f"{sample.key}/type",
                summary=f"type: {kind} does not fit the rows of {sample.path}, which look like {better}",
                evidence=why,
                remedy=f"type: {better}{extra}{dropped}",
            )


def _extra(better: str, sample: Sample) -> str:
    if better == "chat_template" and "messages" not in sample.columns:
        return " with field_messages: conversations"
    return ""


@rule("PF-data-type-unknown", dialects=AXOLOTL)
def unknown_type(run: Run, samples: Part[tuple[Sample, ...]], facts: PreflightFacts) -> Iterator[KeyFound]:
    if run.on("skip_prepare_dataset") or run.get("rl"):
        return
    tokenised = {sample.key for sample in known(samples) or () if sample.columns >= _TOKENISED}
    for key, dataset in run.datasets():
        kind = dataset.get("type")
        if isinstance(kind, Mapping) or key in tokenised:
            continue
        if not kind:
            need(samples)  # rows that are tokenised already need no type
        found = _unknown_type(kind, facts.conditions)
        if found:
            yield KeyFound(key=f"{key}/type", summary=found[0], remedy=found[1])


def _unknown_type(kind: object, conditions: Conditions) -> tuple[str, str] | None:
    """(what is wrong, what to write), or None for a type that axolotl knows."""
    if not isinstance(kind, str) or not kind:
        return "the dataset names no type, and its rows are not tokenised", "Add a type, as in type: chat_template"
    if kind.startswith("sharegpt"):
        return "type: sharegpt is gone from axolotl", (
            "type: chat_template, field_messages: conversations, "
            "message_property_mappings: {role: from, content: value}"
        )
    if ":load_" in kind:
        return f"{kind} is written with a colon", f"type: {kind.replace(':load_', '.load_')}"
    if base_of(kind) in conditions.strategies or "." in kind:
        return None
    near = get_close_matches(base_of(kind), sorted(conditions.strategies), n=1, cutoff=0.6)
    return f"axolotl knows no dataset type {kind}", f"type: {near[0]}" if near else "Choose one of axolotl's types."


@rule("PF-data-loader", dialects=AXOLOTL)
def loader(run: Run, samples: tuple[Sample, ...], facts: PreflightFacts) -> Iterator[KeyFound]:
    for sample in samples:
        dataset = dataset_of(run, sample)
        split, form = dataset.get("split"), dataset.get("ds_type")
        if isinstance(split, str) and split and not split.startswith("train"):
            yield KeyFound(
                key=f"{sample.key}/split",
                summary=f"a single file has one split, called train; {split} is not in it",
                remedy="split: train",
            )
        if isinstance(form, str) and form not in facts.conditions.loadable:
            known = ", ".join(sorted(facts.conditions.loadable))
            yield KeyFound(
                key=f"{sample.key}/ds_type",
                summary=f"ds_type: {form} is no format that can be loaded (it is looked up on the hub)",
                evidence=(f"known formats: {known}",),
                remedy="ds_type: json" if form.startswith("json") else "",
            )
        word = "" if form else _misleading(sample.path)
        if word:
            yield KeyFound(
                key=f"{sample.key}/path",
                summary=f"the path contains {word} before its own ending, so the file is loaded as another format",
                remedy="Add ds_type: json, or rename the file or folder.",
            )


def _misleading(path: str) -> str:
    """A format's name inside the path: axolotl looks for it anywhere."""
    own = Path(path).suffix
    before = path.removesuffix(own)
    return next((word for word in (".txt", ".csv", ".parquet", ".arrow") if word in before and word != own), "")


@rule("PF-data-stale-prepared", dialects=AXOLOTL)
def stale(run: Run, prepared: Prepared) -> Iterator[KeyFound]:
    if prepared.stale and not run.on("skip_prepare_dataset"):
        yield KeyFound(
            key="dataset_prepared_path",
            summary="the data changed after they were prepared; training would use the old rows",
            evidence=(f"prepared in {prepared.folder}", prepared.stale),
            commands=(delete(Path(prepared.folder)),),
            remedy="Delete the prepared dataset, or run axolotl preprocess.",
        )


def _splits(run: Run) -> bool:
    """Whether long rows are cut up instead of dropped: completion and pretraining."""
    kinds = [str(dataset.get("type") or "") for _, dataset in run.datasets()]
    return bool(run.get("pretraining_dataset")) or (
        bool(kinds) and all(base_of(kind) in ("completion", "pretrain") for kind in kinds)
    )


@rule("PF-data-too-long")
def too_long(run: Run, totals: Totals, facts: PreflightFacts) -> Iterator[KeyFound]:
    limit = run.count("sequence_len", 512)
    if _splits(run) or run.get("rl") or totals.over <= facts.conditions.limits["long_share"]:
        return
    everything = totals.over >= 1
    cut = run.get("excess_length_strategy") == "truncate"
    fate = "cut off" if cut else "dropped"
    part = "every row is" if everything else f"{totals.over:.1%} of the rows are"
    yield KeyFound(
        key="sequence_len",
        severity=Severity.ERROR if everything and not cut else Severity.WARNING,
        summary=f"{part} longer than {limit} tokens and would be {fate}",
        evidence=(f"longest row: about {totals.longest:.0f} tokens", totals.how),
        remedy=f"sequence_len: {totals.longest:.0f}, split long rows, or excess_length_strategy: truncate.",
    )


@rule("PF-data-too-few")
def too_few(run: Run, totals: Totals, facts: PreflightFacts) -> Iterator[KeyFound]:
    limits = facts.conditions.limits
    if run.get("pretraining_dataset") or totals.rows >= limits["rows_few"] or not totals.rows:
        return
    documents = _documents(totals, limits)
    yield KeyFound(
        key="datasets",
        summary=f"only {totals.rows} rows to train on" + (", each a whole document" if documents else ""),
        evidence=(
            f"the median row has about {totals.p50:.0f} tokens",
            totals.how,
            *documents,
            *_chunks(totals, facts.conditions) * bool(documents),
        ),
        remedy=_chunking(totals, facts.conditions)
        if documents
        else "Gather more rows: 100 to 200 are the least that shows.",
    )


def _documents(totals: Totals, limits: Mapping[str, float]) -> tuple[str, ...]:
    """How we know that a row is a whole document: its length, or a file for each; too short to be split is none."""
    if 1 < totals.files == totals.rows and totals.p50 > limits["chunk_small"]:
        return (f"as many rows as files, {totals.files}: each file is one row",)
    longest = limits["chunk_tokens"]
    return (f"more than {longest:.0f} tokens are a document, not a sample",) if totals.p50 > longest else ()


def _chunks(totals: Totals, conditions: Conditions) -> tuple[str, ...]:
    tokens = totals.rows * totals.p50
    usual = conditions.limits["chunk_usual"]
    return (f"{totals.rows} rows x {totals.p50:.0f} tokens / {usual:.0f} tokens = {tokens / usual:.0f} samples",)


def _chunking(totals: Totals, conditions: Conditions) -> str:
    """How many samples splitting would give."""
    tokens, limits = totals.rows * totals.p50, conditions.limits
    most, least = tokens / limits["chunk_small"], tokens / limits["chunk_tokens"]
    return (
        f"Split each document into samples of {limits['chunk_small']:.0f} to {limits['chunk_tokens']:.0f} tokens: "
        f"that gives {least:.0f} to {most:.0f} samples."
    )


@rule("PF-data-duplicates")
def duplicates(run: Run, totals: Totals, facts: PreflightFacts) -> Iterator[KeyFound]:
    if totals.duplicates > facts.conditions.limits["duplicate_share"] and not run.on("dataset_exact_deduplication"):
        yield KeyFound(
            key="datasets",
            summary=f"{totals.duplicates:.0%} of the rows repeat another row word for word",
            evidence=(totals.how,),
        )
    if totals.leaked:
        yield KeyFound(
            key="test_datasets",
            summary=f"{totals.leaked} rows of the test data are training rows, too: eval loss will look too good",
            remedy="Take them out of the training data.",
        )
