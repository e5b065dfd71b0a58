"""Setting the Scene: the parts given with `--facts`, or those gathered here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.model import Absent, Environment, Finding, Part, Unknown, Volume
from flash_doctor.preflight import facts_file
from flash_doctor.preflight.formats.installed import read_schema
from flash_doctor.preflight.gather import machine, model as weights
from flash_doctor.preflight.gather.data import prepared_folder, read_samples
from flash_doctor.preflight.inputs import Adapter, Files, Inputs, Prepared, at_home
from flash_doctor.system.paths import current_folder

if TYPE_CHECKING:
    from packaging.version import Version

    from flash_doctor.facts.frameworks import Schema
    from flash_doctor.facts.preflight import PreflightFacts
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.facts_file import Given
    from flash_doctor.preflight.inputs import Distributions, Sample


def roots(run: Run, current: Path) -> tuple[Path, ...]:
    """Where relative paths are looked for: the folder we were called in, then that of the configuration."""
    return tuple(dict.fromkeys((current.resolve(), run.path.resolve().parent)))


def version_of(stack: Part[Distributions], name: str) -> Part[Version]:
    if isinstance(stack, (Absent, Unknown)):
        return stack
    return stack.get(name) or Absent(absent=f"{name} is not installed")


def schema_of(run: Run, release: Part[Version], facts: PreflightFacts) -> Part[Schema]:
    """The vendored key list of that release, of the newest where none is installed."""
    if not run.is_axolotl:
        return Absent(absent="no axolotl file")
    return facts.axolotl.schema(None if isinstance(release, (Absent, Unknown)) else release)


def world_of(given_gpus: object, variables: Part[Mapping[str, str]], cards: Part[tuple[object, ...]]) -> Part[int]:
    """Processes that train together: as said, else WORLD_SIZE, else one for each GPU."""
    if isinstance(given_gpus, int) and given_gpus > 0:
        return given_gpus
    said = variables.get("WORLD_SIZE", "") if not isinstance(variables, (Absent, Unknown)) else ""
    if said.isdecimal() and int(said):
        return int(said)
    if isinstance(cards, Unknown):
        return Unknown(unknown=f"the number of GPUs is not known: {cards.unknown} (say it with --gpus)")
    return 1 if isinstance(cards, Absent) else max(1, len(cards))


_NO_GPU = "no GPU is here to train on: name the training machine with --for REPORT or --facts FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of the command: GPUs to train on, rows to parse, the folder we are in, a finished adapter."""

    gpus: int | None = None
    sample: int = 1000
    current: Path = field(default_factory=current_folder)
    trained: Part[Adapter] = field(default_factory=Absent)


def from_facts(run: Run, said: Given, facts: PreflightFacts, asked: Asked) -> Inputs:
    """The Scene of a machine described by a file; only configuration and data are read here."""
    listed = said.part("files", dict)
    # the machine is another one: what lies beside the configuration is meant, not what is in this folder
    places = Files(roots=roots(run, asked.current)[::-1], listed=listed if isinstance(listed, dict) else {})
    samples, measured = read_samples(run, places, asked.sample, facts.conditions.limits["token_bytes"])
    stack, variables = said.stack(), said.part("env", facts_file.texts)
    cards = facts_file.visible(said.part("gpus", facts_file.cards), variables)
    offline = said.data.get("network") is False
    axolotl, totals = version_of(stack, "axolotl"), said.part("data", facts_file.totals)
    importable, trained = said.part("importable", dict), said.part("adapter_config", facts_file.trained)
    return Inputs(
        run=run,
        schema=schema_of(run, axolotl, facts),
        axolotl=axolotl,
        transformers=version_of(stack, "transformers"),
        system=said.part("system", facts_file.system),
        cards=cards,
        world=world_of(asked.gpus or said.data.get("train_gpus"), variables, cards),
        stack=stack,
        flash=said.flash(),
        variables=variables,
        logged_in=said.part("wandb/logged_in", bool),
        hub=said.part("hf", lambda value: facts_file.hub(value, offline=offline)),
        files=places,
        prepared=said.part("prepared", facts_file.prepared),
        disk=said.part("disk/output_dir", facts_file.disk),
        pins=said.part("axolotl_requires", facts_file.texts),
        samples=samples,
        totals=measured if isinstance(totals, Unknown) else totals,
        model=said.part("model", facts_file.model),
        tokenizer=said.tokenizer(),
        trained=asked.trained if isinstance(trained, Unknown) or not isinstance(asked.trained, Absent) else trained,
        importable=importable if isinstance(importable, dict) else {},
        modules=Unknown(unknown=f"{said.path.name} does not list the modules of the environment"),
        server=said.part("net/vllm_server", bool),
        interfaces=said.part("netifs", facts_file.words),
        merges=bool(said.data.get("plans_merge")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was read of the machine and the target: the Environment, what `check` found, variables and volumes.

    `here` False: the machine is another one, known from a report; its disks and logins cannot be looked at.
    """

    environment: Environment
    findings: tuple[Finding, ...]
    variables: Mapping[str, str]
    home: Path
    volume: Part[Volume]
    here: bool


def from_machine(run: Run, found: Machine, facts: PreflightFacts, asked: Asked) -> Inputs:
    """The Scene of this machine, or of one in a report."""
    places = Files(roots=roots(run, asked.current), listed={})
    samples, measured = read_samples(run, places, asked.sample, facts.conditions.limits["token_bytes"])
    environment, variables = found.environment, machine.relevant(found.variables)
    stack, cards = machine.stack(environment.packages), machine.cards(environment.gpus)
    axolotl = version_of(stack, "axolotl")
    base, cache = run.text("base_model"), weights.hub_cache(variables, found.home)
    folder = weights.model_folder(base, places, cache)
    output = places.roots[0] / at_home(run.text("output_dir") or "model-out")
    away = Unknown(unknown="the report does not say it: run preflight on the machine itself")
    return Inputs(
        run=run,
        schema=_installed_schema(run, axolotl, environment, facts),
        axolotl=axolotl,
        transformers=version_of(stack, "transformers"),
        system=machine.system(environment.host),
        cards=Unknown(unknown=_NO_GPU) if isinstance(cards, Absent) else cards,
        world=world_of(asked.gpus, variables, cards),
        stack=stack,
        flash=machine.flash(environment, found.findings),
        variables=variables,
        logged_in=machine.logged_in(variables, found.home) if found.here else away,
        hub=weights.read_hub(base, folder, cache, variables, found.home) if found.here else away,
        files=places,
        prepared=_prepared(run, places, samples),
        disk=machine.disk(output, found.volume, cache) if found.here else away,
        pins=machine.pins(environment),
        samples=samples,
        totals=measured,
        model=weights.read_model(base, folder),
        tokenizer=weights.read_tokenizer(run, base, folder),
        trained=asked.trained,
        importable={},
        modules=search_path(environment),
        server=machine.server(run) if found.here else away,
        interfaces=machine.interfaces() if found.here else away,
        merges=False,
    )


def search_path(environment: Environment) -> Part[tuple[Path, ...]]:
    python = environment.python
    return python if isinstance(python, (Absent, Unknown)) else python.search_path


def _installed_schema(
    run: Run, release: Part[Version], environment: Environment, facts: PreflightFacts
) -> Part[Schema]:
    """The installed axolotl's own keys, read from its source; else those of the list."""
    roots_ = search_path(environment)
    if not run.is_axolotl or isinstance(release, (Absent, Unknown)) or isinstance(roots_, (Absent, Unknown)):
        return schema_of(run, release, facts)
    folder = next((root / "axolotl" for root in roots_ if (root / "axolotl" / "utils" / "schemas").is_dir()), None)
    return (read_schema(folder, release) if folder else None) or schema_of(run, release, facts)


def _prepared(run: Run, places: Files, samples: Part[tuple[Sample, ...]]) -> Part[Prepared]:
    if isinstance(samples, (Absent, Unknown)):
        return Absent(absent="no local data file")
    files = [path for sample in samples if (path := places.find(sample.path)) is not None]
    try:
        found = prepared_folder(run, places, files)
    except OSError as error:
        return Unknown(unknown=f"the folder of prepared data cannot be read: {error.strerror}")
    return Prepared(folder=found[0], stale=found[1]) if found else Absent(absent="nothing is prepared")
