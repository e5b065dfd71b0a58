"""GRPO: groups that divide, a vLLM server that answers, reward functions that exist."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.model import Absent, Part, Unknown
from flash_doctor.preflight import derive
from flash_doctor.preflight.config import Dialect
from flash_doctor.preflight.registry import Found, NotKnown, need, rule
from flash_doctor.system.commands import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.inputs import Distributions, Files, Sample

_DEFAULT_GROUP = 8
_ALWAYS = {"prompts", "completions", "completion_ids", "trainer_state", "kwargs", "prompt", "completion", "self"}


@rule("PF-grpo-batch")
def groups(run: Run, world: int) -> Iterator[Found]:
    if run.text("rl") not in derive.REWARDED:
        return
    group = run.count("trl/num_generations", _DEFAULT_GROUP)
    if group < 2:
        yield Found(
            key="trl/num_generations",
            summary="a group needs at least 2 completions to be compared",
            remedy="num_generations: 8",
        )
        return
    sizes = derive.batch(run, world)
    own = run.number("trl/generation_batch_size")
    size = int(own or sizes.micro * sizes.accumulation * world)
    step = max(1, sizes.micro * world)
    each = int(own or sizes.micro * sizes.accumulation)
    alone = run.is_axolotl and run.get("trl/num_generations") is not None and each % group  # axolotl leaves world out
    if size % group or size % step or alone or (world > 1 and each < group * world):
        least = group // math.gcd(group, step)
        wanted = max(sizes.accumulation, group * world // sizes.micro if world > 1 else 1)
        yield Found(
            key="gradient_accumulation_steps" if own is None else "trl/generation_batch_size",
            summary=f"a batch of {size} completions does not make whole groups of {group}",
            evidence=(f"{sizes}", *run.where("trl/num_generations")),
            remedy=f"gradient_accumulation_steps: {least * math.ceil(wanted / least)}",
        )
    evaluated = run.count("eval_batch_size", sizes.micro) * world
    if (run.number("val_set_size") or run.get("test_datasets")) and evaluated % group:
        yield Found(
            key="eval_batch_size",
            summary=f"the evaluation batch of {evaluated} makes no whole groups of {group}",
            remedy=f"eval_batch_size: {group}",
        )


@rule("PF-grpo-vllm")
def vllm(run: Run, stack: Part[Distributions], server: Part[bool]) -> Iterator[Found]:
    if run.text("rl") not in derive.REWARDED or not run.on("trl/use_vllm"):
        return
    if run.on("trl/vllm_lora_sync") and not derive.is_adapter(run):
        yield Found(
            key="trl/vllm_lora_sync", summary="vllm_lora_sync needs an adapter", remedy="Delete vllm_lora_sync."
        )
    if run.get("trl/vllm_mode") == "colocate":
        if not need(stack).get("vllm"):
            yield Found(
                key="trl/vllm_mode",
                summary="vllm_mode: colocate needs the package vllm",
                commands=(command("pip install vllm"),),
            )
        return
    if run.dialect is Dialect.TRL and run.get("trl/vllm_mode") != "server":
        return  # what is meant where nothing is said changed between TRL's releases, from server to colocate
    if not need(server):
        if run.is_axolotl:
            serve = command("CUDA_VISIBLE_DEVICES=1 axolotl vllm-serve {}", Path(run.path.name))
        else:
            serve = command("CUDA_VISIBLE_DEVICES=1 trl vllm-serve --model {}", run.text("base_model"))
        host, port = run.get("trl/vllm_server_host") or "0.0.0.0", run.get("trl/vllm_server_port") or 8000
        yield Found(
            key="trl/vllm_server_host",
            summary=f"no vLLM server answers at {host}:{port}",
            evidence=("training would wait for vllm_server_timeout and then stop",),
            commands=(serve,),
        )


@rule("PF-grpo-reward")
def rewards(
    run: Run,
    importable: Mapping[str, bool],
    files: Files,
    modules: Part[tuple[Path, ...]],
    samples: Part[tuple[Sample, ...]],
) -> Iterator[Found]:
    if run.text("rl") not in derive.REWARDED:
        return
    functions, weights = run.words("trl/reward_funcs"), run.get("trl/reward_weights")
    if isinstance(weights, list) and functions and len(weights) != len(functions):
        yield Found(
            key="trl/reward_weights",
            summary=f"{len(weights)} reward weights for {len(functions)} reward functions",
            evidence=run.where("trl/reward_funcs"),
            remedy="Give one weight for each function.",
        )
    told: set[str] = set()
    columns = _columns(run, samples)
    for index, name in enumerate(functions):
        why = _unusable(name, importable, files, modules, columns)
        if why and why not in told:
            told.add(why)
            yield Found(
                key=f"trl/reward_funcs/{index}", summary=f"the reward function {name} cannot be used", evidence=(why,)
            )


def _unusable(
    name: str,
    importable: Mapping[str, bool],
    files: Files,
    modules: Part[tuple[Path, ...]],
    columns: frozenset[str],
) -> str:
    """Why a function cannot be used; nothing where it can. It is looked up in the source, never imported."""
    module, _, function = name.rpartition(".")
    if not module:
        return ""  # a name of a reward model or a built-in
    if module in importable:
        return "" if importable[module] else f"there is no module {module} in the folder the run is started from"
    path = files.find(f"{module.replace('.', '/')}.py") or files.find(f"{module.replace('.', '/')}/__init__.py")
    if path is None:
        return _elsewhere(module, files, modules)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        return f"{path} cannot be read as Python: {error}"
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function]
    if not found:
        return "" if function in ast.dump(tree) else f"{path} defines no function {function}"
    return _arguments(found[0], columns)


def _elsewhere(module: str, files: Files, modules: Part[tuple[Path, ...]]) -> str:
    if files.listed:
        message = f"whether {module} can be imported is not among the facts given"
        raise NotKnown(message)
    roots = () if isinstance(modules, (Absent, Unknown)) else modules
    if any((root / module.split(".")[0]).exists() or (root / f"{module.split('.')[0]}.py").exists() for root in roots):
        return ""
    return f"there is no module {module} in the folder the run is started from"


def _columns(run: Run, samples: Part[tuple[Sample, ...]]) -> frozenset[str]:
    """The columns that reach a reward function; none where they are not known, as behind a transform of the user."""
    if isinstance(samples, (Absent, Unknown)) or any(dataset.get("type") for _, dataset in run.datasets()):
        return frozenset()
    return frozenset().union(*(sample.columns for sample in samples))


def _arguments(function: ast.FunctionDef, columns: frozenset[str]) -> str:
    """Whether each argument that must be given is a column of the data."""
    positional = [*function.args.posonlyargs, *function.args.args]
    required = positional[: len(positional) - len(function.args.defaults)]
    absent = [each.arg for each in required if each.arg not in columns | _ALWAYS] if columns else []
    if absent:
        return f"{function.name} wants {', '.join(absent)}, which is no column of the data"
    return "" if function.args.kwarg else f"{function.name} takes no **kwargs, and TRL passes every column"
