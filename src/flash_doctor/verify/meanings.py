"""What the findings of a kernel run mean, for `flash-doctor explain CODE`: V1xx the machine, V2xx the library."""

from __future__ import annotations

from flash_doctor.model.explanation import Meaning

_MACHINE = """

This says nothing about the library. After a fix the new files stay, as "installed, not verified"; with
--require-kernel the old ones come back."""
_LIBRARY = """

A fix that meets this puts the old files back and ends with exit code 5."""
_REPLACE = "`flash-doctor plan` names a build that fits; `flash-doctor fix` installs and proves it."

MEANINGS = (
    Meaning(
        code="V101",
        title="torch itself does not import, or ends the process before flash-attention is reached.",
        cause="Everything else is built against torch, so nothing above it could be tried." + _MACHINE,
        remedy="`flash-doctor check` tells what is wrong with torch. Mend that first, then verify again.",
    ),
    Meaning(
        code="V102",
        title="No GPU is visible, so no kernel could be run.",
        cause="torch counts no CUDA device in the target: a login node, a container without its GPUs, a "
        "CUDA_VISIBLE_DEVICES that hides them, a driver that does not answer, or a torch built for the CPU."
        "\n\nCheck by hand: `python -c 'import torch; print(torch.cuda.device_count())'`." + _MACHINE,
        remedy="`flash-doctor check` tells why no GPU is seen; or run `flash-doctor verify` on the machine with the "
        "GPUs. --import-only asks for no GPU.",
    ),
    Meaning(
        code="V103",
        title="The GPU is there, but could not be used now.",
        cause="Its memory is full, another process has it alone, or the driver refuses new work." + _MACHINE,
        remedy="`nvidia-smi` shows who uses the GPU. Free it, then: `flash-doctor verify`.",
    ),
    Meaning(
        code="V104",
        title="The process that ran the kernels was killed from outside.",
        cause="SIGKILL comes from somebody else: the kernel when memory runs out (of the machine, or of the container "
        "or job), a scheduler, or a person.\n\nCheck by hand: `dmesg | grep -i oom`, or the job's own log." + _MACHINE,
        remedy="Free memory, or ask for more, then: `flash-doctor verify`.",
    ),
    Meaning(
        code="V201",
        title="The library does not import.",
        cause="torch imports, and the library or one of its modules (bert_padding, layers.rotary) does not. Usually "
        "its compiled part was built for another torch, or a package that it needs is missing." + _LIBRARY,
        remedy="`flash-doctor check` names the function or library that is missing, and `flash-doctor fix` replaces "
        "the build.",
    ),
    Meaning(
        code="V202",
        title="The library holds no code for this GPU.",
        cause="It imports, and its first kernel ends with `no kernel image is available`: it was compiled for other "
        "GPU generations.\n\nCheck by hand: `flash-doctor abi flash-attn` lists the GPU code in it." + _LIBRARY,
        remedy=_REPLACE,
    ),
    Meaning(
        code="V203",
        title="A kernel ended with an error.",
        cause="Precision, head dimension and mask of the call that failed stand in the evidence, with the library's "
        "own message." + _LIBRARY,
        remedy=f"Look at the message: `flash-doctor explain LOG` may know it. {_REPLACE}",
    ),
    Meaning(
        code="V204",
        title="A kernel computes wrong numbers.",
        cause="Its output or one of its gradients is farther from attention computed in float32 than rounding can "
        "explain: more than 2 times (gradients: 3 times) the error of the plain formula in the same precision. New "
        "random inputs gave a wrong answer, too, so it is no accident. NaN and memory that was never written count "
        "as wrong. Training with it would go on, and be worthless." + _LIBRARY,
        remedy=f"Do not train with this build. {_REPLACE}",
    ),
    Meaning(
        code="V205",
        title="The process that ran the kernels died or did not end.",
        cause="A segmentation fault, an abort, an exit, or no end within the time limit; the evidence names the "
        "signal and the call under way. Kernels are run in a process of their own, so nothing else was harmed."
        + _LIBRARY,
        remedy=f"{_REPLACE} Where compiling kernels on first use takes long, give more time: "
        "`flash-doctor verify --timeout 1800`.",
    ),
    Meaning(
        code="V301",
        title="One random input gave a larger error than allowed, two others did not.",
        cause="Errors depend on the inputs, and these are drawn anew each time. Once is no proof of a fault.",
        remedy="Repeat `flash-doctor verify`. If it comes back, report it to the library's authors with the case "
        "that the evidence names.",
    ),
    Meaning(
        code="V302",
        title="The library is much slower than torch's own attention on this device.",
        cause="Its numbers are right, but it reached less than half the speed of "
        "torch.nn.functional.scaled_dot_product_attention: a build that reaches this GPU only through code for an "
        "older generation, or a GPU that was busy or throttled meanwhile.",
        remedy="Repeat it on an idle GPU. If it stays slow, `flash-doctor abi flash-attn` lists the GPU code in the "
        "build; one that was compiled for this GPU is faster.",
    ),
    Meaning(
        code="V303",
        title="The process crashed or hung at its end, after every kernel was right.",
        cause="What the library, torch or the driver take apart when Python ends failed. The numbers are right, but a "
        "training run would end with an error code, or not end, after its last step.",
        remedy="Look whether `python -c 'import torch'` ends well. If it does, report it to the library's authors "
        "with the lines in the evidence.",
    ),
)
