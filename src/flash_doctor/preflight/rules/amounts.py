"""How many rows there are, how long they are, and how many of them repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model import Severity
from flash_doctor.preflight.registry import Found, rule
from flash_doctor.preflight.rules.data import base_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flash_doctor.facts.preflight import Conditions, PreflightFacts
    from flash_doctor.preflight.run import Run
    from flash_doctor.preflight.scene import Totals


def _splits(run: Run) -> bool:
    """Whether long rows are cut up instead of dropped: completion and pretraining."""
    kinds = [str(dataset.get("type") or "") for _, dataset in run.datasets()]
    return bool(run.get("pretraining_dataset")) or (
        bool(kinds) and all(base_of(kind) in ("completion", "pretrain") for kind in kinds)
    )


@rule("PF-data-too-long")
def too_long(run: Run, totals: Totals, facts: PreflightFacts) -> Iterator[Found]:
    limit = run.count("sequence_len", 512)
    if _splits(run) or run.get("rl") or totals.over <= facts.conditions.limits["long_share"]:
        return
    everything = totals.over >= 1
    cut = run.get("excess_length_strategy") == "truncate"
    fate = "cut off" if cut else "dropped"
    part = "every row is" if everything else f"{totals.over:.1%} of the rows are"
    yield Found(
        key="sequence_len",
        severity=Severity.ERROR if everything and not cut else Severity.WARNING,
        summary=f"{part} longer than {limit} tokens and would be {fate}",
        evidence=(f"longest row: about {totals.longest:.0f} tokens", totals.how),
        remedy=f"sequence_len: {totals.longest:.0f}, split long rows, or excess_length_strategy: truncate.",
    )


@rule("PF-data-too-few")
def too_few(run: Run, totals: Totals, facts: PreflightFacts) -> Iterator[Found]:
    limits = facts.conditions.limits
    if run.get("pretraining_dataset") or totals.rows >= limits["rows_few"] or not totals.rows:
        return
    documents = _documents(totals, limits)
    yield Found(
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
def duplicates(run: Run, totals: Totals, facts: PreflightFacts) -> Iterator[Found]:
    if totals.duplicates > facts.conditions.limits["duplicate_share"] and not run.on("dataset_exact_deduplication"):
        yield Found(
            key="datasets",
            summary=f"{totals.duplicates:.0%} of the rows repeat another row word for word",
            evidence=(totals.how,),
        )
    if totals.leaked:
        yield Found(
            key="test_datasets",
            summary=f"{totals.leaked} rows of the test data are training rows, too: eval loss will look too good",
            remedy="Take them out of the training data.",
        )
