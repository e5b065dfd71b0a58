"""Stand-ins for flash_attn that really compute attention with torch on the CPU, and ways in which they go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HONEST = """
import torch

__version__ = "9.9"


def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1)):
    length, group = q.shape[1], q.shape[2] // k.shape[2]
    distance = torch.arange(length)[None, :] - torch.arange(length)[:, None]
    seen = torch.ones(length, length, dtype=torch.bool)
    if causal:
        seen &= distance <= 0
    if window_size[0] >= 0:
        seen &= distance >= -window_size[0]
    if window_size[1] >= 0:
        seen &= distance <= window_size[1]
    k, v = (x.repeat_interleave(group, 2) for x in (k, v))
    q32, k32, v32 = (x.float().transpose(1, 2) for x in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q32, k32, v32, attn_mask=seen)
    return spoil(out.transpose(1, 2).to(q.dtype), q)


def flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0,
                           softmax_scale=None, causal=False, window_size=(-1, -1)):
    cuts = cu_seqlens_q.tolist()
    pieces = [
        flash_attn_func(q[None, a:b], k[None, a:b], v[None, a:b], causal=causal, window_size=window_size)[0]
        for a, b in zip(cuts, cuts[1:])
    ]
    return torch.cat(pieces)
"""

WRONG_GRADIENT = """
class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, upstream):
        return upstream * 1.5


def spoil(out, q):
    return Wrong.apply(out)
"""

FORGED = r"""
import json, os
def say(**event): os.write(1, (json.dumps(event) + "\n").encode())
for part in ("flash_attn", "flash_attn.bert_padding", "flash_attn.layers.rotary"):
    say(event="end", step="import " + part, ok=True)
say(event="devices", devices=["cuda:0"])
say(event="begin", step="case", case="dense", device="cuda:0")
say(event="end", step="case", ok=True)
say(event="finished")
os._exit(0)
"""
HONESTLY = "def spoil(out, q): return out\n"

# honest libraries with bad manners: what they do at their import
MANNERS = {
    "prints without an end of line": "print('loading kernels', end='', flush=True)",
    "floods": "for _ in range(400): print('x' * 100_000, flush=True)",
    "leaves a process behind": (
        "import os, time\nif not os.fork():\n"
        "    open(__file__ + '.pid', 'w').write(str(os.getpid()))\n    time.sleep(90)\n    os._exit(0)"
    ),
    "lets float32 be imprecise": "torch.set_float32_matmul_precision('medium')",
}

# name of the disease -> the function through which every output goes
SPOILS = {
    "honest": "def spoil(out, q): return out",
    "garbage": "def spoil(out, q): return out + torch.randn_like(out)",
    "nan": "def spoil(out, q): return out * float('nan')",
    "one nan": "def spoil(out, q):\n    out = out.clone()\n    out[0, -1, -1, -1] = float('nan')\n    return out",
    "zeros": "def spoil(out, q): return out * 0",
    "the input": "def spoil(out, q): return q * 1",
    "a tenth off": "def spoil(out, q): return out * 1.1",
    "unwritten tail": "def spoil(out, q):\n    x = torch.ones_like(out)\n    x[:, -8:] = 0\n    return out * x",
    "wrong gradients": WRONG_GRADIENT,
    "wrong precision": "def spoil(out, q): return out.float()",
    "no kernel image": "def spoil(out, q): raise RuntimeError('CUDA error: no kernel image is available')",
    "out of memory": "def spoil(out, q): raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')",
    "segfault": "def spoil(out, q):\n    import ctypes\n    ctypes.string_at(0)",
    "abort": "def spoil(out, q):\n    import os\n    os.abort()",
    "killed from outside": "def spoil(out, q):\n    import os\n    os.kill(os.getpid(), 9)",
    "hang": "def spoil(out, q):\n    import time\n    time.sleep(600)",
    "exit": "def spoil(out, q):\n    import os\n    os._exit(0)",
    "changes its inputs": "def spoil(out, q):\n    q.detach()[0, -1] = 0\n    return out",
    "crash on long inputs": "def spoil(out, q):\n    import os\n    return os.abort() if q.shape[1] == 512 else out",
    "exit at import": HONESTLY + "import os; os._exit(0)",
    "forged results": HONESTLY + FORGED,
}


def make(folder: Path, disease: str, manners: str = "") -> Path:
    """A flash_attn with that disease, or with those manners; the folder goes on PYTHONPATH."""
    package = folder / "flash_attn"
    (package / "layers").mkdir(parents=True)
    (package / "__init__.py").write_text(HONEST + "\n\n" + SPOILS[disease] + "\n" + manners + "\n")
    for name in ("bert_padding.py", "layers/__init__.py", "layers/rotary.py"):
        (package / name).touch()
    return folder
