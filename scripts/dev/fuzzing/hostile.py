"""Values that stand where a reader expects another: texts, numbers, JSON that json.dumps would not write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Raw:
    """JSON that json.dumps would not write."""

    text: str


TEXTS = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\ud800",
        "\x1b[31mx\x9b2J",
        "\u202e",
        "\u2028",
        "\r",
        "²",
        "٣",
        "İ",
        "ß" * 300,
        "é\u0301",
    ),
    *(
        "../../../etc/passwd",
        "/etc/passwd",
        "/dev/zero",
        "/proc/self/mem",
        "~root",
        ".",
        "..",
        "/",
        "//",
        "C:\\x",
        "a/" * 300,
    ),
    *(
        "x" * 300,
        "x" * 70_000,
        "9" * 50,
        "9" * 5000,
        "-1",
        "0",
        "-0",
        "1e999",
        "nan",
        "inf",
        "0x10",
        "1_000",
        "007",
        "१२",
    ),
    *("1." * 3000, "1!2.3.dev4+x", "1.0.0rc1", "999999999999.0", "v1", "1.0+", "1.*", ">=1,<0", "==9" + "9" * 5000),
    *(
        "https://[::1",
        "https://h:99999999/x",
        "https://u:p@h/",
        "https://h\\@i/",
        "file:///etc",
        "http://",
        "//",
        "://",
        "?#@",
    ),
    *(
        "$(touch x)",
        "`x`",
        "a;b",
        "a\nb",
        '"',
        "'",
        "'\"",
        "%",
        "%s%n",
        "{}",
        "{0}",
        "[",
        "]",
        "<a href='x'>",
        "<!--",
        "<![x",
    ),
    *("flash_attn-2.8.3-cp311-cp311-linux_x86_64.whl", "x-1-py3-none-any.whl", "a.b" * 100 + "-1-a.b-c.d-e.f.whl"),
    *("torch ; (" + "(" * 500, "torch>=2; python_version<'3'", "torch[" + "a," * 500 + "]", "-r x", "--hash=sha256:x"),
    *(
        "9.0",
        "9.0a",
        "9",
        "sm_90",
        "nan.0",
        "90.",
        "1" * 30 + ".0",
        "cp312-cp312-linux_x86_64",
        "-".join(["a" + ".a" * 99] * 3),
    ),
)
NUMBERS = (
    *(
        0,
        1,
        -1,
        2,
        7,
        255,
        256,
        65535,
        65536,
        -(2**31),
        2**31,
        2**32,
        2**63 - 1,
        2**63,
        -(2**63),
        2**64,
        10**19,
        10**38,
        10**39,
    ),
    *(0.0, -0.0, 0.5, 1e-300, 1e300, -1e300, 3.5, 1e18, 1e30),
)
RAWS = (
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1" * 41,
        "-" + "9" * 4301,
        "1E400",
        "0.1e-999",
        "1.",
        "01",
        "+1",
        "--1",
    ),
    *(
        "[" * 70 + "]" * 70,
        "[" * 3000 + "]" * 3000,
        '{"a":' * 70 + "1" + "}" * 70,
        '{"a":1,"a":2}',
        "undefined",
        "'x'",
        "tru",
    ),
)
SCALARS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [{}], {"": 0}, {"absent": "x"}, {"unknown": 1}, ["x"] * 40)
