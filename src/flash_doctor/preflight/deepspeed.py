"""The DeepSpeed file that a configuration names: its ZeRO stage, what it offloads, its batch sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import BadInput
from flash_doctor.preflight.config import number
from flash_doctor.preflight.document import read_text
from flash_doctor.system.bounds import read_json

if TYPE_CHECKING:
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.inputs import Files
    from flash_doctor.system.claims import Claimed

_STAGE = re.compile(r"zero[-_]?(\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroPlan:
    """`exists` False: there is no such file; `fault`: it is no JSON; `stage` None where neither file nor name tells.

    `offloads_...`: kept in the RAM of the host; `batch` holds numbers that the file fixes.
    """

    name: str
    exists: bool
    fault: str
    stage: int | None
    offloads_optimizer: bool
    offloads_parameters: bool
    batch: Mapping[str, float]

    @property
    def offloads(self) -> bool:
        return self.offloads_optimizer or self.offloads_parameters


def read_plan(run: Run, files: Files) -> ZeroPlan | None:
    """What the run's `deepspeed` says: a mapping in the file itself, or a JSON file; None without it."""
    said = run.get("deepspeed")
    if isinstance(said, Mapping):
        return _plan("deepspeed", said)
    if not isinstance(said, str) or not said:
        return None
    listed = files.listed.get(said)
    if isinstance(listed, Mapping):
        return _plan(said, listed)
    path = files.find(said)
    if path is None or not path.is_file():
        return _named(said, exists=files.exists(said), fault="")
    try:
        content = _accept(read_json(read_text(path, advice="Name a JSON file of DeepSpeed.")))
    except (BadInput, ValueError) as error:
        return _named(said, exists=True, fault=str(error))
    return _plan(said, content)


def _accept(claim: Claimed[Any]) -> Mapping[str, Any]:
    content = claim.unproved()
    if not isinstance(content, Mapping):
        message = "its top level is no object"
        raise BadInput(message)
    return content


def _named(name: str, *, exists: bool, fault: str) -> ZeroPlan:
    """What the file's name alone tells, as in zero3_bf16_cpuoffload_all.json."""
    stage = _STAGE.search(name)
    return ZeroPlan(
        name=name,
        exists=exists,
        fault=fault,
        stage=int(stage[1]) if stage else None,
        offloads_optimizer="offload" in name and not name.endswith(("offload_params.json", "offload_param.json")),
        offloads_parameters="offload" in name and "optim" not in name and stage is not None and stage[1] == "3",
        batch={},
    )


def _plan(name: str, content: Mapping[str, Any]) -> ZeroPlan:
    zero = content.get("zero_optimization")
    zero = zero if isinstance(zero, Mapping) else {}
    stage = zero.get("stage")
    keys = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    return ZeroPlan(
        name=name,
        exists=True,
        fault="",
        stage=stage if isinstance(stage, int) else 0,
        offloads_optimizer=_offloads(zero.get("offload_optimizer")) or zero.get("cpu_offload") is True,
        offloads_parameters=_offloads(zero.get("offload_param")),
        batch={key: value for key in keys if (value := number(content.get(key))) is not None and value > 0},
    )


def _offloads(value: object) -> bool:
    return isinstance(value, Mapping) and value.get("device") in ("cpu", "nvme")
