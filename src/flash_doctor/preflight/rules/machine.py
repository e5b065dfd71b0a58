"""The machine: memory of GPU and host, shared memory, disk, WSL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.model import Part, Severity
from flash_doctor.preflight import derive, memory, storage
from flash_doctor.preflight.config import Dialect
from flash_doctor.preflight.deepspeed import read_plan
from flash_doctor.preflight.inputs import Card, Disk, Files, HostResources, Hub, Model, Totals
from flash_doctor.preflight.registry import Found, need, rule
from flash_doctor.system.commands import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flash_doctor.facts.preflight import PreflightFacts
    from flash_doctor.preflight.config import Run

_GIB = memory.GIB
_ERROR_TOLD = "an estimate: of 79 published runs each took between 7 % less and 37 % more than it gives"
# a loss that never holds all logits, and a base in 4 bits, as each framework calls them
_IN_ITS_WORDS = {
    Dialect.AXOLOTL: ("the cut_cross_entropy or liger plugin", "adapter: qlora with load_in_4bit"),
    Dialect.TRL: ("use_liger_kernel: true", "use_peft: true with load_in_4bit: true"),
    Dialect.HF: ("use_liger_kernel: true", "LoRA on a base in 4 bits"),
    Dialect.LLAMAFACTORY: ("enable_liger_kernel: true", "finetuning_type: lora with quantization_bit: 4"),
}
_NETWORK = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "9p", "fuse")


@rule("PF-vram")
def video_memory(
    run: Run, model: Model, cards: tuple[Card, ...], world: int, files: Files, facts: PreflightFacts
) -> Iterator[Found]:
    if not cards:
        return
    conditions = facts.conditions
    terms = memory.vram(run, model, conditions, world, read_plan(run, files))
    card = min(cards, key=lambda each: each.memory - each.used)
    room = float(card.memory - card.used)
    if run.on("trl/use_vllm") and run.get("trl/vllm_mode") == "colocate":
        room *= 1 - (run.number("vllm/gpu_memory_utilization") or 0.0)
    share = memory.total(terms) / max(room, 1.0)
    if share > conditions.limits["vram_warning"]:
        taken = f", {card.used / _GIB:.1f} GiB of it taken by other processes" if card.used else ""
        yield Found(
            key="micro_batch_size",
            severity=Severity.ERROR if share > conditions.limits["vram_error"] else Severity.WARNING,
            summary=f"about {memory.total(terms) / _GIB:.1f} GiB are needed on a GPU that has {room / _GIB:.1f}",
            evidence=(f"{card.name}: {card.memory / _GIB:.1f} GiB{taken}", *map(str, terms), _ERROR_TOLD),
            remedy=_savings(run, model, terms),
        )


def _savings(run: Run, model: Model, terms: tuple[memory.Term, ...]) -> str:
    """What helps, and how much each saves."""
    sizes = {term.name: term.bytes for term in terms}
    training, logits = sizes["training"], sizes["logits"]
    micro, per_row = max(run.count("micro_batch_size", 1), 1), sizes["activations"] + logits
    fused, quantised = _IN_ITS_WORDS[run.dialect]
    saved = [
        f"{run.name('micro_batch_size')} 1 with more accumulation (-{per_row * (1 - 1 / micro) / _GIB:.1f} GiB)"
    ] * (micro > 1)
    if not derive.checkpointing(run):
        saved.append("gradient_checkpointing: true")
    if logits > _GIB and run.text("rl") not in derive.REWARDED:
        saved.append(f"{fused} (-{logits * 0.9 / _GIB:.1f} GiB)")
    if memory.saved_params(run, model):
        saved.append(f"no lora_modules_to_save (-{training * 0.9 / _GIB:.1f} GiB)")
    saved += [instead] if (instead := memory.weight(run, model).instead) else []
    saved.append(f"half the sequence length (-{per_row / 2 / _GIB:.1f} GiB)")
    if run.get("adapter") != "qlora":
        saved.append(quantised)
    return "In this order: " + "; ".join(saved) + "."


@rule("PF-cpu-memory")
def host_memory(
    run: Run,
    system: HostResources,
    model: Part[Model],
    totals: Part[Totals],
    world: int,
    files: Files,
    variables: Mapping[str, str],
    facts: PreflightFacts,
) -> Iterator[Found]:
    said = run.number("dataset_num_proc") or _number(variables)
    workers = int(said or (system.cpus if run.is_axolotl else 1))
    measured = totals if isinstance(totals, Totals) else None
    if system.quota and workers > 2 * system.quota:
        yield Found(
            key="dataset_num_proc",
            summary=f"{workers} processes would prepare the data on {system.quota:g} allowed cores",
            evidence=(f"the machine has {system.cpus} cores; the container's quota is {system.quota:g}",),
            remedy=f"dataset_num_proc: {max(1, int(system.quota))}",
        )
        return
    data = measured.bytes if measured else 0
    terms = memory.host_ram(run, need(model).params, facts.conditions, workers, world, read_plan(run, files), data)
    needed = memory.total(terms)
    if needed > system.ram_free:
        yield Found(
            key="dataset_num_proc",
            severity=Severity.ERROR,
            summary=f"about {needed / _GIB:.0f} GiB of RAM are needed, {system.ram_free / _GIB:.0f} are free",
            evidence=tuple(str(term) for term in terms if term.bytes),
            remedy=f"dataset_num_proc: {max(1, workers // 4)}; fsdp_config.cpu_ram_efficient_loading: true",
        )
    elif said and measured and workers > measured.rows / facts.conditions.limits["rows_per_worker"] and workers > 1:
        yield Found(
            key="dataset_num_proc",
            severity=Severity.INFO,
            summary=f"{workers} processes for {measured.rows} rows cost more time than they save",
            remedy="dataset_num_proc: 1",
        )


def _number(variables: Mapping[str, str]) -> float | None:
    """The processes that a variable asks for, in the order in which axolotl looks."""
    found = (variables.get(name, "") for name in ("AXOLOTL_DATASET_NUM_PROC", "RUNPOD_CPU_COUNT"))
    return next((float(text) for text in found if text.isdecimal()), None)


@rule("PF-shm")
def shared_memory(run: Run, system: HostResources, world: int, facts: PreflightFacts) -> Iterator[Found]:
    limits = facts.conditions.limits
    default = limits["prefetch"] if run.is_axolotl else limits["prefetch_hf"]
    workers = run.count("dataloader_num_workers", world if run.is_axolotl else 0)
    prefetch = run.count("dataloader_prefetch_factor", int(default))
    micro, length = run.count("micro_batch_size", 1), run.count("sequence_len", 512)
    needed = workers * prefetch * micro * length * 32
    tiny = system.container and system.shm <= 64 * 2**20 and world > 1
    if needed > limits["shm_share"] * system.shm or tiny:
        yield Found(
            key="dataloader_prefetch_factor",
            summary=f"data loaders need {needed / 2**20:.0f} MiB of /dev/shm, which has {system.shm / 2**20:.0f}",
            evidence=(
                f"{workers} workers x {prefetch} batches ahead x {micro} rows x {length} tokens x 32 B",
                *(("NCCL needs about 10 MB more for each pair of GPUs",) if world > 1 else ()),
            ),
            remedy="dataloader_prefetch_factor: 2; in a container: docker run --ipc=host, or --shm-size 10g",
        )


@rule("PF-disk-headroom")
def headroom(disk: Disk, facts: PreflightFacts) -> Iterator[Found]:
    limits = facts.conditions.limits
    used = 1 - disk.free / max(disk.total, 1)
    if used > limits["disk_yellow"]:
        red = used > limits["disk_red"]
        yield Found(
            key="output_dir",
            severity=Severity.ERROR if red else Severity.WARNING,
            summary=f"the file system of output_dir is {used:.0%} full before the run begins",
            evidence=(
                f"{disk.mount}: {storage.size(disk.free)} free of {storage.size(disk.total)}",
                f"start below {limits['disk_start']:.0%}; yellow from {limits['disk_yellow']:.0%}, "
                f"red from {limits['disk_red']:.0%}",
            ),
            remedy="Delete checkpoints that are no longer needed, or move output_dir to a larger volume.",
            commands=(command("ls -1dt checkpoint-* | tail -n +3"),),
        )


@rule("PF-disk-checkpoints")
def checkpoints(
    run: Run,
    disk: Disk,
    model: Model,
    hub: Part[Hub],
    totals: Part[Totals],
    world: int,
    files: Files,
    merges: bool,
    facts: PreflightFacts,
) -> Iterator[Found]:
    number, _ = derive.steps(run, world, totals)
    around = storage.Surroundings(disk=disk, hub=hub, totals=totals, steps=number, merges=merges)
    terms = storage.peak(run, model, facts.conditions, read_plan(run, files), around)
    needed = memory.total(terms)
    used, red = disk.total - disk.free, facts.conditions.limits["disk_red"]
    share = (used + needed) / max(disk.total, 1)
    # a disk that is too full already is told by PF-disk-headroom
    if needed > disk.free or share > red >= used / max(disk.total, 1):
        amount = storage.size(needed) if needed < storage.ENDLESS else "ever more checkpoints"
        yield Found(
            key="save_total_limit",
            severity=Severity.ERROR if needed > disk.free else Severity.WARNING,
            summary=f"the run puts {amount} on a disk with {storage.size(disk.free)} free"
            + (f": {share:.0%} full" if needed < storage.ENDLESS else ""),
            evidence=(
                *(f"{term.name} {storage.size(term.bytes)} = {term.how}" for term in terms),
                "an old checkpoint is deleted only after the new one is written",
            ),
            remedy="save_total_limit: 2, save_only_model: true, fewer saves (save_steps: 2000), or a larger volume.",
        )


@rule("PF-output-dir")
def output_folder(run: Run, disk: Part[Disk], files: Files) -> Iterator[Found]:
    folder = run.text("output_dir")
    if isinstance(disk, Disk) and folder:
        remote = disk.filesystem.startswith(_NETWORK)
        if not disk.writable:
            yield Found(
                key="output_dir", summary=f"{folder} cannot be written to", evidence=(f"it lies on {disk.mount}",)
            )
        elif remote:
            yield Found(
                key="output_dir",
                severity=Severity.WARNING,
                summary=f"{folder} lies on a network file system ({disk.filesystem}): saving is slow and may hang",
            )
    if folder and folder == run.text("base_model"):
        yield Found(key="output_dir", summary="output_dir is the folder of the base model, which would be overwritten")
    resume = run.get("resume_from_checkpoint")
    if isinstance(resume, str) and resume and not files.exists(f"{resume}/trainer_state.json"):
        yield Found(
            key="resume_from_checkpoint",
            summary=f"{resume} holds no checkpoint: there is no trainer_state.json in it",
            remedy="Name a folder checkpoint-N, or delete the key.",
        )
    if isinstance(disk, Disk) and disk.checkpoints and not resume and run.get("auto_resume_from_checkpoints") is None:
        yield Found(
            key="output_dir",
            severity=Severity.INFO,
            summary=f"output_dir already holds {disk.checkpoints} checkpoint(s) of an earlier run",
            remedy="auto_resume_from_checkpoints: true goes on from them; else choose another folder.",
        )


@rule("PF-wsl")
def windows(run: Run, system: HostResources, world: int, variables: Mapping[str, str]) -> Iterator[Found]:
    if not system.wsl:
        return
    why = []
    if run.is_axolotl and not run.off("dataloader_pin_memory"):
        why.append("pinned memory is limited under WSL, and axolotl pins by default (dataloader_pin_memory)")
    places = {"output_dir": run.text("output_dir"), "HF_HOME": variables.get("HF_HOME", "")}
    places |= {f"{key}/path": str(dataset.get("path") or "") for key, dataset in run.datasets()}
    why += [f"{key} = {place} lies on a Windows drive, which is slow" for key, place in places.items() if _drive(place)]
    if world > 1:
        why.append("several GPUs: WSL shows NCCL no complete PCI topology")
    if why:
        summary = "this machine is WSL2, which trains differently from Linux"
        yield Found(key="dataloader_pin_memory", summary=summary, evidence=tuple(why))


def _drive(place: str) -> bool:
    parts = Path(place).parts
    return len(parts) > 2 and parts[:2] == ("/", "mnt") and len(parts[2]) == 1
