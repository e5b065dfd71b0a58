"""Services around the run: logging, the model hub, versions of the framework's stack."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from flash_doctor.model import Absent, Part
from flash_doctor.preflight.config import Run, truth
from flash_doctor.preflight.inputs import Distributions, Files, Hub
from flash_doctor.preflight.registry import AXOLOTL, Found, need, rule
from flash_doctor.system.commands import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flash_doctor.facts.preflight import PreflightFacts

_QUIET = {"disabled", "offline", "dryrun"}
_MODES = {"online", "offline", "shared", "disabled", "dryrun", "run"}
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def _wandb_key(run: Run) -> str:
    """The key that switches Weights & Biases on, or nothing."""
    if run.off("use_wandb"):
        return ""
    return "wandb_project" if run.get("wandb_project") else "use_wandb" if run.on("use_wandb") else ""


def _mode(run: Run, variables: Mapping[str, str]) -> str:
    return (run.text("wandb_mode") or variables.get("WANDB_MODE", "")).lower()


def _disabled(variables: Mapping[str, str]) -> bool:
    return variables.get("WANDB_DISABLED", "").lower() in {"1", "true", "yes", "on"}


@rule("PF-wandb-conflict")
def asked_for_and_disabled(
    run: Run, variables: Mapping[str, str], transformers: Version | Absent, facts: PreflightFacts
) -> Iterator[Found]:
    key = _wandb_key(run)
    if not key or not _disabled(variables) or _mode(run, variables) in _QUIET:
        return
    ignored = not isinstance(transformers, Absent) and (
        transformers >= facts.conditions.versions["wandb_disabled_gone"]
    )
    yield Found(
        key=key,
        summary="Weights & Biases is asked for here and disabled by the variable WANDB_DISABLED",
        evidence=(
            f"WANDB_DISABLED={variables['WANDB_DISABLED']}",
            f"transformers {transformers} ignores the variable and stops without an API key"
            if ignored
            else "transformers stops with a RuntimeError when it meets both",
        ),
        remedy=f"Delete {key}, or unset WANDB_DISABLED; to keep the key and log nothing: wandb_mode: disabled",
    )


@rule("PF-wandb-auth")
def without_login(
    run: Run, variables: Mapping[str, str], logged_in: Part[bool], stack: Part[Distributions]
) -> Iterator[Found]:
    key, mode = _wandb_key(run), _mode(run, variables)
    if not key or (_disabled(variables) and mode not in _QUIET):
        return
    if mode and mode not in _MODES:
        near = ", ".join(sorted(_MODES))
        yield Found(key="wandb_mode", summary=f"wandb knows no mode {mode}", evidence=(f"it knows {near}",))
        return
    if mode == "disabled":
        return
    if isinstance(stack, Distributions) and not stack.get("wandb"):
        yield Found(key=key, summary="the package wandb is not installed", commands=(command("pip install wandb"),))
    elif mode not in _QUIET and not variables.get("WANDB_API_KEY") and not need(logged_in):
        yield Found(
            key=key,
            summary="Weights & Biases is asked for, but nobody is logged in",
            evidence=("neither WANDB_API_KEY nor an entry for its host in ~/.netrc",),
            remedy="wandb login, or wandb_mode: offline",
        )


@rule("PF-hub-access")
def hub_access(
    run: Run, hub: Part[Hub], variables: Mapping[str, str], files: Files, model: Part[object], facts: PreflightFacts
) -> Iterator[Found]:
    base = run.text("base_model")
    pushes = next((key for key in ("hub_model_id", "push_dataset_to_hub") if run.get(key)), "")
    if pushes and not need(hub).token:
        yield Found(
            key=pushes,
            summary="the result is to be pushed to the hub, but there is no token",
            commands=(command("hf auth login"),),
            remedy="Log in before the run, or push afterwards.",
        )
    if not base or set(base) & set("$%<"):  # PF-env-placeholder speaks of it
        return
    if base.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(base):
        if not files.exists(base):
            yield Found(
                key="base_model",
                summary=f"the model folder {base} does not exist",
                remedy="Fix the path, or name a model of the hub as owner/name.",
            )
    elif not files.exists(base):
        yield from _from_hub(base, need(hub), variables, model, facts)


def _from_hub(
    base: str, hub: Hub, variables: Mapping[str, str], model: Part[object], facts: PreflightFacts
) -> Iterator[Found]:
    if need(hub.model_cached):
        return
    forbidden = truth(variables.get("HF_HUB_OFFLINE", "0")) is True
    if forbidden or hub.offline:
        why = "HF_HUB_OFFLINE forbids to fetch it" if forbidden else "there is no way to the hub from here"
        yield Found(
            key="base_model",
            summary=f"{base} is not complete in the cache, and {why}",
            commands=(command("hf download {}", base),),
            remedy="Download it where the hub can be reached, then copy the cache.",
        )
    gated = getattr(model, "gated", None)
    gated = bool(facts.conditions.patterns["gated"].match(base)) if gated is None else gated
    if gated and not hub.token:
        yield Found(
            key="base_model",
            summary=f"{base} is given out only to who is logged in and has accepted its licence; there is no token",
            commands=(command("hf auth login"),),
            remedy="Accept the licence on the model's page and log in.",
        )


@rule("PF-version-pins", dialects=AXOLOTL)
def pins(pins: Mapping[str, str], stack: Distributions) -> Iterator[Found]:
    missed = []
    for name, wanted in pins.items():
        installed = stack.get(name)
        if installed is None or ("==" not in wanted and name != "torch"):
            continue
        try:
            met = SpecifierSet(wanted).contains(Version(installed.public), prereleases=True)
        except InvalidSpecifier:
            continue
        if not met:
            missed.append(f"{name}{wanted} is required, {installed} is installed")
    if missed:
        yield Found(
            key="base_model",
            summary=f"the installed axolotl {stack.get('axolotl') or ''} was made for other versions",
            evidence=tuple(missed),
            remedy="Install what it requires: it patches these packages and fits only those versions.",
        )


@rule("PF-numpy-abi")
def numpy_interface(stack: Distributions, facts: PreflightFacts) -> Iterator[Found]:
    versions = facts.conditions.versions
    numpy, torch, axolotl = stack.get("numpy"), stack.get("torch"), stack.get("axolotl")
    if numpy is None:
        return
    if numpy >= versions["numpy_two"] and torch and torch < versions["numpy_two_torch"]:
        yield Found(
            key="numpy",
            summary=f"torch {torch} was built for NumPy 1 and does not work with {numpy}",
            remedy='Install "numpy<2": only this old torch wants it.',
        )
    if numpy < versions["numpy_two"] and axolotl and axolotl >= versions["numpy_two_axolotl"]:
        yield Found(
            key="numpy",
            summary=f"axolotl {axolotl} requires NumPy 2; {numpy} is installed",
            remedy='Install "numpy>=2.1,<3"; the advice to stay below 2 is of older releases.',
        )
