"""Tokens and templates: does the model learn to stop, and are new tokens trained?"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from flash_doctor.facts.preflight import PreflightFacts
from flash_doctor.model import Absent, Part, Severity
from flash_doctor.preflight.config import Dialect, Run
from flash_doctor.preflight.derive import is_adapter
from flash_doctor.preflight.inputs import Files, Model, Tokenizer
from flash_doctor.preflight.registry import AXOLOTL, KeyFound, rule
from flash_doctor.preflight.rules.data import base_of
from flash_doctor.rules.engine import need

_DEFAULT = "tokenizer_default"


def templates(run: Run) -> Iterator[tuple[str, str]]:
    """(key, chat template) of each dataset that is formatted by one."""
    for key, dataset in run.datasets():
        if base_of(str(dataset.get("type") or "")) == "chat_template":
            if dataset.get("chat_template_jinja") or run.get("chat_template_jinja"):
                continue
            own = dataset.get("chat_template")
            place = f"{key}/chat_template" if own else "chat_template"
            yield place, str(own or run.get("chat_template") or _DEFAULT)


@rule("PF-chat-template-missing", dialects=AXOLOTL)
def no_template(run: Run, tokenizer: Part[Tokenizer]) -> Iterator[KeyFound]:
    asked = [*templates(run), ("chat_template", run.text("chat_template"))]
    for key, template in asked:
        if template == _DEFAULT and not need(tokenizer).has_template:
            yield KeyFound(
                key=key,
                summary="the data need a chat template, and the tokenizer of the base model has none",
                evidence=("base models come without one",),
            )
            return


@rule("PF-chat-template-path", dialects=AXOLOTL)
def template_is_a_path(run: Run, files: Files) -> Iterator[KeyFound]:
    places = [("", run.settings), *((f"{key}/", dataset) for key, dataset in run.datasets())]
    for prefix, settings in places:
        template = settings.get("chat_template_jinja")
        if isinstance(template, str) and "{" not in template and not files.exists(template):
            yield KeyFound(
                key=f"{prefix}chat_template_jinja",
                summary=f"there is no file {template}: the path itself would become the template",
            )
        elif settings.get("chat_template") == "jinja" and not template and not run.get("chat_template_jinja"):
            yield KeyFound(
                key=f"{prefix}chat_template",
                summary="chat_template: jinja needs chat_template_jinja",
                remedy="chat_template_jinja: the template, or the path of its file",
            )


@rule("PF-chat-template-eos", dialects=AXOLOTL)
def end_not_trained(run: Run, tokenizer: Part[Tokenizer], facts: PreflightFacts) -> Iterator[KeyFound]:
    for key, template in templates(run):
        end = facts.conditions.templates.get(template, "")
        if not end:
            continue
        known = need(tokenizer)
        effective = run.get("special_tokens/eos_token") or known.eos
        trained = end == effective or end in run.words("eot_tokens") or end in _dataset_ends(run)
        added = set(run.words("tokens")) | {str(value) for value in run.mapping("special_tokens").values()}
        single = end in known.tokens or end in added
        if not trained or not single:
            yield KeyFound(
                key=key,
                summary=f"{template} ends each turn with {end}, "
                + (
                    "which is never trained: the model will not stop"
                    if not trained
                    else "which is no single token here"
                ),
                evidence=(f"the end token is {effective or '(none)'}",),
                remedy=f'eot_tokens: ["{end}"]',
            )
            return


def _dataset_ends(run: Run) -> set[str]:
    return {str(end) for _, dataset in run.datasets() for end in dataset.get("eot_tokens") or []}


def _unsaved(run: Run, model: Part[Model], facts: PreflightFacts) -> tuple[str, ...]:
    """The embedding layers that lora_modules_to_save lacks."""
    kind = model.model_type if isinstance(model, Model) else ""
    saved = run.words("lora_modules_to_save")
    return tuple(layer for layer in facts.conditions.embedding_layers(kind) if layer not in saved)


def _added(run: Run, tokenizer: Part[Tokenizer]) -> Iterator[tuple[str, str]]:
    """(key, token) of tokens that the configuration adds to the vocabulary."""
    if run.words("tokens"):
        yield "tokens", ", ".join(run.words("tokens"))
    for name, token in run.mapping("special_tokens").items():
        if name in ("pad_token", "additional_special_tokens") or not isinstance(token, str):
            continue
        if token not in need(tokenizer).tokens:
            yield f"special_tokens/{name}", token


@rule("PF-lora-modules-to-save", dialects=AXOLOTL)
def embeddings_not_saved(
    run: Run, tokenizer: Part[Tokenizer], model: Part[Model], facts: PreflightFacts
) -> Iterator[KeyFound]:
    layers = _unsaved(run, model, facts)
    if not is_adapter(run) or not layers:
        return
    wanted = ", ".join(facts.conditions.embedding_layers(model.model_type if isinstance(model, Model) else ""))
    for key, token in _added(run, tokenizer):
        cost = f"; that trains {_billions(model)} more parameters" if isinstance(model, Model) else ""
        yield KeyFound(
            key=key,
            summary=f"{token} is new to the vocabulary, and lora_modules_to_save lacks {', '.join(layers)}",
            evidence=run.where("lora_modules_to_save"),
            remedy=f"lora_modules_to_save: [{wanted}]{cost} (or take a token that the tokenizer already has)",
        )
        return


def _billions(model: Model) -> str:
    return f"{(1 if model.tied else 2) * model.vocab * model.hidden / 1e9:.2f} billion"


@rule("PF-new-tokens-untrained", dialects=AXOLOTL)
def new_tokens(run: Run, tokenizer: Part[Tokenizer], model: Part[Model], facts: PreflightFacts) -> Iterator[KeyFound]:
    if not is_adapter(run) or not _unsaved(run, model, facts) or run.get("peft_trainable_token_indices"):
        return
    overrides = run.mapping("added_tokens_overrides")
    extra = run.words("special_tokens/additional_special_tokens")
    new = [token for token in extra if token not in need(tokenizer).tokens]
    key = "special_tokens/additional_special_tokens" if new else "added_tokens_overrides"
    names = new or [str(token) for token in overrides.values()]
    if names:
        yield KeyFound(
            key=key, summary=f"{', '.join(names[:4])}: new tokens whose embeddings stay as they were, untrained"
        )


@rule("PF-pad-token")
def no_pad(run: Run, tokenizer: Tokenizer, axolotl: Version | Absent, facts: PreflightFacts) -> Iterator[KeyFound]:
    if tokenizer.pad or run.get("special_tokens/pad_token"):
        return
    if run.dialect is Dialect.AXOLOTL:
        old = not isinstance(axolotl, Absent) and axolotl < facts.conditions.versions["pad_falls_back"]
        yield KeyFound(
            key="special_tokens/pad_token",
            severity=Severity.ERROR if old else Severity.INFO,
            summary="neither the tokenizer nor the configuration has a pad token"
            + ("" if old else "; axolotl will take the end token"),
        )
    elif run.get("pad_token") is None:
        yield KeyFound(
            key="pad_token",
            severity=Severity.INFO,
            summary="the tokenizer has no pad token; TRL will take the end token",
        )
    elif run.get("pad_token") == tokenizer.eos:
        yield KeyFound(
            key="pad_token",
            severity=Severity.WARNING,
            summary="the pad token is the end token: its label is masked, and the model never learns to stop",
        )
