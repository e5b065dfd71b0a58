"""Runs in the target, out of the doctor's process: proves a FlashAttention library by using it.

Standard library and torch only; Python 3.8 or newer. Prints one JSON object a line and flushes it, so that after a
crash or a hang the last line names the step that was under way: `begin` before a step, `end` after it. What the
library prints goes to stderr and lacks our mark; one that sets out to deceive its own process is not looked for.

Every case draws fresh random inputs, poisons the memory that the library's output is likely to get, and compares
outputs and gradients with attention computed in float32. The measure of a tolerable error is what the plain formula
loses in the same half precision: outputs at most 2 times that, gradients at most 3 times, plus a small absolute term
(the criterion of flash-attention's own tests).
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import math
import os
import sys
import time
import traceback
from typing import Any, Iterator, Optional

OUTPUT_FACTOR, GRADIENT_FACTOR = 2.0, 3.0
# rounding of the last bit, so that a reference that happens to be exact does not demand exactness
ABSOLUTE = {"float16": 1e-3, "bfloat16": 8e-3}
LENGTHS = (197, 64, 1, 250)  # varlen: an odd one, a full tile, a single token, and together 512
DENSE = (2, 256)
NO_WINDOW, WINDOW = (-1, -1), (48, 0)


CHANNEL: dict[str, Any] = {"file": sys.stdout, "mark": ""}


def keep_channel(mark: str) -> None:
    """Our lines go where stdout goes now; the library's go to stderr."""
    CHANNEL.update(file=os.fdopen(os.dup(1), "w"), mark=mark)
    os.dup2(2, 1)


def tell(**event: Any) -> None:
    print(json.dumps({"event": event.pop("event"), "mark": CHANNEL["mark"], **event}), file=CHANNEL["file"], flush=True)


class Step:
    """Announces a step before and after; an exception becomes its result and ends the run where it must."""

    def __init__(self, name: str, **details: Any) -> None:
        self.name, self.details, self.failed = name, details, False

    def __enter__(self) -> Step:
        tell(event="begin", step=self.name, **self.details)
        return self

    def __exit__(self, kind: Any, error: Optional[BaseException], trace: Any) -> bool:
        if error is None:
            tell(event="end", step=self.name, ok=True, wrong=self.failed)
            return False
        self.failed = True
        text = "".join(traceback.format_exception_only(kind, error)).strip()
        frames = [frame.filename for frame in traceback.extract_tb(trace)]
        tell(event="end", step=self.name, ok=False, error=text[:12000], kind=kind.__name__, where=frames[-1:])
        return issubclass(kind, Exception)


def import_all(entry: str) -> Any:
    """The library's modules; a missing part is told by its own name. None when the library does not import."""
    with Step("import torch") as step:
        torch = importlib.import_module("torch")
        tell(event="torch", version=torch.__version__, cuda=torch.version.cuda)
    if step.failed:
        return None
    library = None
    with Step("import " + entry):
        library = importlib.import_module(entry)
        tell(event="library", version=getattr(library, "__version__", ""), path=library.__file__ or "")
    if library is not None and entry == "flash_attn":
        for module in ("flash_attn.bert_padding", "flash_attn.layers.rotary"):
            with Step("import " + module):
                importlib.import_module(module)
    return library


def attend(torch: Any, q: Any, k: Any, v: Any, case: Case, upcast: bool) -> Any:
    """The plain formula for one batch (batch, length, heads, dim), in float32 or in the inputs' own precision."""
    if upcast:
        q, k, v = q.float(), k.float(), v.float()
    group = q.shape[2] // k.shape[2]
    k, v = (x.repeat_interleave(group, dim=2) for x in (k, v))
    scores = torch.einsum("bqhd,bkhd->bhqk", q / math.sqrt(q.shape[-1]), k)
    hidden = mask(torch, q.shape[1], case, q.device)
    probabilities = torch.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1)
    return torch.einsum("bhqk,bkhd->bqhd", probabilities, v)


def mask(torch: Any, length: int, case: Case, device: Any) -> Any:
    """True where a query must not look: after itself when causal, farther than the window on either side."""
    distance = torch.arange(length, device=device)[None, :] - torch.arange(length, device=device)[:, None]
    hidden = torch.zeros(length, length, dtype=torch.bool, device=device)
    if case.causal:
        hidden |= distance > 0
    left, right = case.window
    if left >= 0:
        hidden |= distance < -left
    if right >= 0:
        hidden |= distance > right
    return hidden


class Case:
    """One way to call the library: `layout` dense or varlen, heads as (query, key)."""

    def __init__(
        self, dtype: str, head_dim: int, layout: str, causal: bool, heads: Any, window: Any = NO_WINDOW
    ) -> None:
        self.dtype, self.head_dim, self.layout = dtype, head_dim, layout
        self.causal, self.heads, self.window = causal, heads, window

    def name(self) -> str:
        parts = [self.layout, self.dtype, "d%d" % self.head_dim, "causal" if self.causal else "full"]
        parts += ["heads %d:%d" % self.heads] + (["window %d:%d" % self.window] if self.window != NO_WINDOW else [])
        return " ".join(parts)

    def inputs(self, torch: Any, device: Any, seed: int) -> Any:
        """q, k, v and the gradient of the output; varlen packs the sequences into one dimension."""
        generator = torch.Generator(device="cpu").manual_seed(seed)
        lead = DENSE if self.layout == "dense" else (sum(LENGTHS),)

        def draw(heads: int) -> Any:
            x = torch.randn(*lead, heads, self.head_dim, generator=generator)
            return x.to(device=device, dtype=getattr(torch, self.dtype))

        query, key = self.heads
        q, k, v = (draw(heads).requires_grad_() for heads in (query, key, key))
        return q, k, v, draw(query)

    def reference(self, torch: Any, q: Any, k: Any, v: Any, upcast: bool) -> Any:
        def one(q: Any, k: Any, v: Any) -> Any:
            return attend(torch, q, k, v, self, upcast)

        if self.layout == "dense":
            return one(q, k, v)
        pieces = zip(*(x.split(list(LENGTHS)) for x in (q, k, v)))
        return torch.cat([one(*(x[None] for x in piece))[0] for piece in pieces])

    def call(self, torch: Any, library: Any, q: Any, k: Any, v: Any) -> Any:
        """Through the public functions; arguments that this version does not know are not passed."""
        dense = self.layout == "dense"
        function = library.flash_attn_func if dense else library.flash_attn_varlen_func
        options = {"causal": self.causal, "dropout_p": 0.0}
        if self.window != NO_WINDOW:
            options["window_size"] = self.window
        if not dense:
            starts = torch.tensor([0, *itertools.accumulate(LENGTHS)], dtype=torch.int32, device=q.device)
            options.update(cu_seqlens_q=starts, cu_seqlens_k=starts)
            options.update(max_seqlen_q=max(LENGTHS), max_seqlen_k=max(LENGTHS))
        known = inspect.signature(function).parameters
        out = function(q, k, v, **{name: value for name, value in options.items() if name in known})
        return out[0] if isinstance(out, tuple) else out


def poison(torch: Any, like: Any) -> None:
    """Fill memory of that size with NaN and give it back: an output that is never written will show it."""
    for _ in range(4):
        torch.full_like(like, float("nan"), requires_grad=False)


def gradients(torch: Any, out: Any, inputs: Any, upstream: Any) -> Any:
    return torch.autograd.grad(out, inputs, upstream.to(out.dtype))


def compare(torch: Any, case: Case, library: Any, device: Any, seed: int) -> str:
    """What is wrong with this case, as a sentence; nothing when it is right."""
    q, k, v, upstream = case.inputs(torch, device, seed)
    wanted = case.reference(torch, q, k, v, upcast=True)
    plain = case.reference(torch, q, k, v, upcast=False)
    wanted_grads = gradients(torch, wanted, (q, k, v), upstream)
    plain_grads = gradients(torch, plain, (q, k, v), upstream)
    given = [x.detach().clone() for x in (q, k, v)]
    poison(torch, q)
    out = case.call(torch, library, q, k, v)
    kinds = ["%s %s on %s" % (tuple(x.shape), x.dtype, x.device) for x in (out, q)]
    if kinds[0] != kinds[1]:
        return "the output is %s, the input %s" % tuple(kinds)
    fault = judge("output", out, wanted, plain, OUTPUT_FACTOR, ABSOLUTE[case.dtype])
    if fault:
        return fault
    poison(torch, q)
    for name, got, want, low in zip("qkv", gradients(torch, out, (q, k, v), upstream), wanted_grads, plain_grads):
        fault = judge("gradient of " + name, got, want, low, GRADIENT_FACTOR, ABSOLUTE[case.dtype])
        if fault:
            return fault
    kept = all(torch.equal(x, copy) for x, copy in zip((q, k, v), given))
    return "" if kept else "the library changed its inputs"


def judge(what: str, got: Any, wanted: Any, plain: Any, factor: float, absolute: float) -> str:
    if not bool(got.isfinite().all()):
        return "the %s holds NaN or infinity" % what
    error = float((got.float() - wanted.float()).abs().max())
    allowed = factor * float((plain.float() - wanted.float()).abs().max()) + absolute
    return "" if error <= allowed else "the %s is off by %.3g, allowed %.3g" % (what, error, allowed)


def cases(head_dims: list[int], windowed: bool) -> Iterator[Case]:
    """Every precision, head dimension, layout and mask; grouped heads on every second one; windows on top."""
    grid = itertools.product(("float16", "bfloat16"), head_dims, ("dense", "varlen"), (False, True))
    for number, (dtype, dim, layout, causal) in enumerate(grid):
        yield Case(dtype, dim, layout, causal, (8, 8) if number % 2 else (8, 2), NO_WINDOW)
    if windowed:
        for dtype, layout in itertools.product(("float16", "bfloat16"), ("dense", "varlen")):
            yield Case(dtype, head_dims[0], layout, True, (8, 2), WINDOW)


def prove(torch: Any, library: Any, device: Any, options: dict[str, Any]) -> bool:
    """Every case on one device; a wrong answer is repeated with two seeds and counts when one of them is wrong too.

    Whether all was well: one fault is enough, and after a CUDA error every later call of this process fails too.
    """
    function = getattr(library, "flash_attn_func", None)
    windowed = function is not None and "window_size" in inspect.signature(function).parameters
    seed = options.get("seed") or time.time_ns() % (1 << 31)
    for case in cases(options["head_dims"], windowed):
        with Step("case", case=case.name(), device=str(device)) as step:
            fault = compare(torch, case, library, device, seed)
            if fault:
                again = sum(bool(compare(torch, case, library, device, seed + more)) for more in (1, 2))
                step.failed = again > 0
                tell(event="fault", case=case.name(), device=str(device), fault=fault, again=again)
        if step.failed:
            return False
        seed += 10
    return True


def race(torch: Any, library: Any, device: Any) -> None:
    """TFLOP/s in bf16: the library and torch's own attention, forward, causal; and the chip's ceiling.

    The ceiling is what a large matrix product reaches on this very chip, now: no data sheet knows its clock.
    """
    shape = (2, 4096, 16, 128) if device.type == "cuda" else (1, 512, 4, 64)
    q, k, v = (torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3))
    work = 2 * shape[0] * shape[2] * shape[1] ** 2 * shape[3]

    def rate(call: Any, work: float) -> float:
        call()
        seconds = min(timed(torch, call, device) for _ in range(5))
        return round(work / seconds / 1e12, 4)

    size = 8192 if device.type == "cuda" else 512
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    turned = [x.transpose(1, 2) for x in (q, k, v)]
    sdpa = torch.nn.functional.scaled_dot_product_attention
    tell(
        event="speed",
        device=str(device),
        library=rate(lambda: library.flash_attn_func(q, k, v, causal=True), work),
        sdpa=rate(lambda: sdpa(*turned, is_causal=True), work),
        matmul=rate(lambda: matrix @ matrix, 2.0 * size**3),
    )


def timed(torch: Any, call: Any, device: Any) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def use(library: Any, options: dict[str, Any]) -> None:
    """Prove it on every device, and where it is right measure it."""
    torch = importlib.import_module("torch")
    every = ["cuda:%d" % index for index in range(torch.cuda.device_count())]
    found = [torch.device(name) for name in (every if options["device"] == "cuda" else [options["device"]])]
    tell(event="devices", devices=[str(device) for device in found])
    for device in found:
        with Step("use", device=str(device)):
            torch.set_float32_matmul_precision("highest")  # in TF32 the reference would be none
            torch.zeros(1, device=device).add_(1).cpu()
            if prove(torch, library, device, options):
                with Step("speed", case="long inputs", device=str(device)):
                    race(torch, library, device)


def main() -> None:
    options = json.loads(sys.argv.pop(1))
    keep_channel(options["mark"])
    library = import_all(options["entry"])
    if library is not None and not options.get("import_only"):
        use(library, options)
    tell(event="finished")


if __name__ == "__main__":
    main()
