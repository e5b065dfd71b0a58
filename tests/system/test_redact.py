"""Secrets and people are masked, whatever stands around them, and nothing else is."""

from __future__ import annotations

import json
import random
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, strategies as st

from flash_doctor.fleet.reading import document_to_keep
from flash_doctor.system import secret_addresses, secret_names, secret_shapes, secret_values
from flash_doctor.system.people import MASK
from flash_doctor.system.redact import Hide, as_json, cut, lines, log_line, redact, secrets
from flash_doctor.system.secret_names import HARMLESS, PROSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

AROUND = st.text(max_size=30)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
# what a password may hold and an address should not, with letters between; never two signs alone
SIGNED = st.lists(st.sampled_from([*"/@:%?#&=+", "aQ", "z7", "kw", "Xp", "3", "%2F", "%40"]), min_size=4, max_size=9)
PASSWORDS = st.one_of(
    st.text(LETTERS, min_size=8, max_size=16).filter(lambda word: word not in PROSE),
    st.text("0123456789", min_size=8, max_size=12),
    SIGNED.map(lambda parts: f"q{''.join(parts)}Jv"),
    SIGNED.map(lambda parts: f"{''.join(parts)}Jv"),
)
SCHEMES = [
    "https",
    "http",
    "git+https",
    "ssh",
    "mongodb",
    "postgres",
    "redis",
    "s3",
    "ftp",
    "amqp",
    "socks5h",
    "svn+ssh",
]
HOSTS = ["h", "db.example", "db.example:5432", "[::1]:6379", "10.1.2.3", "h1:27017,h2:27017"]


def items(text: str) -> list[str]:
    """Its lines; `⏎` stands for a new line in one of them."""
    return [line.replace("⏎", "\n") for line in text.strip("\n").splitlines()]


def pieces(secret: str, around: str) -> list[str]:
    """Every six signs of the secret that the text around does not have itself."""
    found = [secret[at : at + 6] for at in range(max(1, len(secret) - 5))]
    return [piece for piece in found if piece not in around]


def gone(secret: str, template: str, text: str) -> bool:
    return not any(piece in text for piece in pieces(secret, template))


@given(
    password=PASSWORDS,
    scheme=st.sampled_from(SCHEMES),
    host=st.sampled_from(HOSTS),
    path=st.sampled_from(["", "/", "/simple", "/x.whl#sha256=ab", "/db?sslmode=require"]),
    around=st.sampled_from(["{}", "'{}'", '"{}"', "({})", "see {}, please", '{{"url": "{}", "x": "a@b"}}', "A={} B=c"]),
)
@example(password="pa/ssw0rd", scheme="https", host="h", path="/simple", around="{}")
@example(password="p@ssw0rd", scheme="https", host="h", path="/simple", around="{}")
@example(password="12/34567@8", scheme="https", host="h", path="/simple", around="{}")
def test_a_login_is_masked_whatever_signs_it_has(password: str, scheme: str, host: str, path: str, around: str) -> None:
    if "+" in scheme:
        path = path or "/"  # without a repository's path what follows the last @ could be a revision
    template = around.format(f"{scheme}://ada:@{host}{path}")
    told = redact(around.format(f"{scheme}://ada:{password}@{host}{path}"))
    assert gone(password, template, told)
    assert "ada" not in told
    assert f"***@{host.partition(',')[0].removesuffix('/')}" in told


@given(user=PASSWORDS, host=st.sampled_from(["h", "db.example"]))
def test_a_user_alone_is_a_token_and_so_is_one_with_strange_signs(user: str, host: str) -> None:
    for text in (f"https://{user}@{host}/simple", f"https://{user}:x@{host}/simple"):
        assert gone(user, f"https://:x@{host}/simple", redact(text))


def test_several_addresses_in_one_text() -> None:
    for between in (" ", ",", ", ", "', '", "\n", "|"):
        told = redact(f"https://a:sec/ret1@h/x{between}https://b:sec@ret2@i/y{between}https://j/z?token=secret3")
        assert "ret" not in told
        assert [host for host in "hij" if f"{host}/" in told] == ["h", "i", "j"]


NAMES = items(
    """
password
PGPASSWORD
MYSQL_PWD
passphrase
client_secret
API_KEY
apiKey
x-api-key
HF_TOKEN
hub_token
aws_secret_access_key
credential
AccountKey
DB_PASS
_authToken
jwt
COMET_API_KEY
private_key
"""
)
FORMS = items(
    r"""
{name}={value}
{name} = {value}
{name}: {value}
"{name}": "{value}"
'{name}': '{value}'
--{name} {value}
--{name}={value}
{{"{name}":"{value}","x":1}}
\"{name}\": \"{value}\"
export {name}='{value}'
os.environ["{name}"] = "{value}"
<{name}>{value}</{name}>
{name}: str = '{value}'
ERROR {name}={value} is bad
{name}: |⏎    {value}⏎
setenv {name} {value}
x.yaml:3: {name} = {value}
{name}=b'{value}'
({name}='{value}')
"""
)


@given(name=st.sampled_from(NAMES), form=st.sampled_from(FORMS), value=PASSWORDS.filter(lambda word: word[0] != "="))
def test_what_a_name_calls_secret_is_masked(name: str, form: str, value: str) -> None:
    assert gone(value, form.format(name=name, value=""), redact(form.format(name=name, value=value)))


@given(key=st.text(LETTERS, min_size=3, max_size=9), value=st.text(LETTERS + "0123456789", min_size=8, max_size=20))
def test_a_query_shows_only_what_is_known_to_be_harmless(key: str, value: str) -> None:
    told = redact(f"https://h.example/x?{key}={value}&sha256=abc#access_token={value}")
    assert f"={value}" not in told or key in HARMLESS
    assert "sha256=abc" in told


BODY = st.text("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789", min_size=36, max_size=36)
PREFIXES = [
    "hf_",
    "ghp_",
    "gho_",
    "github_pat_",
    "glpat-",
    "sk-",
    "sk-proj-",
    "sk-ant-api03-",
    "pypi-",
    "nvapi-",
    "dckr_pat_",
    "npm_",
    "r8_",
    "gsk_",
    "ya29.",
    "AIza",
    "sk_live_",
    "rk_test_",
    "whsec_",
    "xai-",
    "GOCSPX-",
    "hvs.",
    "pcsk_",
    "glsa_",
    "eyJ",
    "SG.abcdefghijkl.",
    "lin_api_",
    "shpat_" + "a1" * 16,
    "AKIA" + "A1" * 8,
    "xoxb-1234567890-",
    "dapi" + "a1" * 16,
]


@given(prefix=st.sampled_from(PREFIXES), body=BODY, before=AROUND, after=AROUND)
def test_tokens_go_by_their_shape(prefix: str, body: str, before: str, after: str) -> None:
    body = "" if len(prefix) >= 20 else body  # a whole token already
    assert (body or prefix) not in redact(f"{before} {prefix}{body} {after}")


SECRET = "s3cr3tVALUEz"
KINDS = items(
    r"""
Authorization: Bearer S
Authorization: Basic S
authorization: token S
-H "Authorization: Bearer S" https://h
{'Authorization': 'Bearer S'}
Proxy-Authorization: Basic S
Cookie: session=S; a=S
Set-Cookie: sid=S; Path=/
curl -u ada:S https://x
curl --user ada:S https://x
curl -u 'ada:a S' https://x
curl -uada:S https://x
wget --http-passwd=S x
sshpass -p S ssh x
sshpass -pS ssh x
mysql -u root -pS db
mysqldump --password=S
docker login -u x -p S reg
redis-cli -a S ping
machine h login ada password S
  password S
proxy ada:S@proxy.corp:3128
IDENTIFIED BY 'S'
npm config set //r.example/:_authToken S
aws configure set aws_secret_access_key S
openssl rsa -passin pass:S
smbclient //h/x -U ada%S
https://hooks.slack.com/services/T0/B0/S
https://discord.com/api/webhooks/1/S
DefaultEndpointsProtocol=https;AccountName=a;AccountKey=S;EndpointSuffix=x
SharedAccessSignature=sv=1&sig=S
GET /x?sig=S&a=b HTTP/1.1
DATABASE_URL=postgres://ada:S@h/db
WITH PASSWORD 'S'
auth=('ada', 'S')
MLFLOW_TRACKING_PASSWORD='a S b'
$env:HF_TOKEN = "S"
environ({'HF_TOKEN': 'S', 'A': 'b'})
credentials: {"password": "S"}
echo S | docker login --password-stdin
password is S
--hf-token S
['python', 'train.py', '--hf-token', 'S', '--epochs', '3']
["--password", "S"]
argv: [\"--api-key\", \"S\"]
url=https%3A%2F%2Fada%3As3cr3tVALUEz%40host.example%2Fsimple
url=https%253A%252F%252Fada%253As3cr3tVALUEz%2540host.example%252Fsimple
next=%2Flogin%3Fpassword%3Ds3cr3tVALUEz
%22password%22%3A%20%22S%22
&quot;password&quot;:&quot;S&quot;
&#34;token&#34;: &#34;S&#34;
https:\/\/ada:S@host.example\/simple
https:\u002f\u002fada:S@host.example
\u0022password\u0022\u003a \u0022S\u0022
https:/ada:S@h/r.txt: there is no such file
password\x1b[0m=\x1b[31ms3cr3tVALUEz\x1b[0m
{"name": "HF_TOKEN", "value": "S"}
name: DB_PASSWORD, value: S
- name: HF_TOKEN⏎  value: S
<add key="password" value="S"/>
KAGGLE_KEY=S
{"username":"ada","key":"S"}
--pw S
pw=S
password：S
Passwort: S
contraseña=S
密码: S
-----BEGIN RSA PRIVATE KEY----- Ss3cr3tVALUEzs3cr3tVALUEz -----END RSA PRIVATE KEY-----
-----BEGIN OPENSSH PRIVATE KEY-----⏎S⏎S⏎-----END OPENSSH PRIVATE KEY-----
"""
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_of_every_kind(kind: str) -> None:
    text = re.sub(r"(?<![A-Za-z])S(?![A-Za-z])|(?<=-p)S(?= )|S(?=s3)", SECRET, kind)
    assert SECRET in text
    told = redact(text)
    assert SECRET not in told
    assert redact(told) == told


STAYS = items(
    """
git@github.com:Dao-AILab/flash-attention.git
nvidia-cublas-cu12 12.4.5.8 and nvidia-cudnn-cu12==9.1.0.70
invalid token: expected string
127.0.0.1:29500
_ZN3c104cuda9SetDeviceEi
token limit exceeded
git+https://github.com/x/y@0123456789abcdef0123456789abcdef01234567
commit 0123456789abcdef0123456789abcdef01234567
git+https://github.com/x/y.git@feature/abc#egg=foo
RuntimeError: tokenizer has no attribute pad_token
{'loss': 2.31, 'num_tokens': 123456, 'learning_rate': 1e-05}
'pad_token': '<pad>', 'max_new_tokens': 512
password authentication failed
tokenizer: LlamaTokenizer
max_tokens=512
num_key_value_heads: 8
pad_token: </s>
special tokens have been added
HF_TOKEN environment variable is not set
WANDB_API_KEY not set
bypass=true
usage: x [--token TOKEN] [--api-key KEY]
Unexpected token: foo
c10d://node7:29500
tcp://10.1.2.3:29500
https://medium.com/@user/post
http://localhost:8080/a@b/c
docker://reg/x:latest@sha256:abcdef
s3://bucket/key@v1
hf://datasets/user/repo@main/data.csv
GPU-12345678-1234-1234-1234-123456789abc
token: 5
author: ada
PWD=/usr/lib/x
/etc/passwd: Permission denied
backward_pass=0.3
primary_key: id image_key: image
export HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT
machine HOST login USER password PASSWORD
token = tokenizer.decode(ids)
password: str | None = None
HF_TOKEN=${HF_TOKEN}
password=<password>
docker run --user 1000:1000 -p 8080:80
WARNING: Ignoring invalid distribution ~orch (/usr/lib/python3/dist-packages)
https://[::1]:29500/x
memcpy@@GLIBC_2.14
nvcr.io/nvidia/pytorch:24.01-py3@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
f(api_key=None, x=3)
{"api_key":null,"x":1}
trust_remote_code=True, use_auth_token=True
/home/runner/work
Your token has been saved to /root/.cache/huggingface/token
basic authentication required
name @ file:///tmp/x.whl
https://github.com/a/b/releases/download/v2.8.3/flash_attn-2.8.3%2Bcu12torch2.8cxx11abiTRUE-cp311-cp311-linux_x86_64.whl#sha256=ab
"""
)


@pytest.mark.parametrize("text", STAYS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


MARKED = st.lists(
    st.one_of(
        st.sampled_from([*NAMES, *PREFIXES, *"@='\" \n&?#", "://", ": ", "/home/ada", "--", MASK, "-u "]),
        st.text(LETTERS, max_size=8), st.text("ABCabc0123456789+/=_-", max_size=70), st.text(max_size=4),
    ),
    max_size=14,
).map("".join)  # fmt: skip


@given(text=st.one_of(MARKED, st.text(max_size=400)))
def test_masking_twice_changes_nothing_and_never_fails(text: str) -> None:
    for hide in Hide:
        told = redact(text, hide)
        assert redact(told, hide) == told
    assert log_line(log_line(text, 999), 999) == log_line(text, 999)


@given(text=MARKED)
def test_a_text_that_is_cut_short_shows_no_half_of_a_secret(text: str) -> None:
    assert secrets(text).startswith(cut(text, 20))


# ---- people


@given(name=st.text(LETTERS, min_size=3, max_size=12).map(lambda name: f"u{name}q"))
def test_names_of_people_in_paths_go(name: str) -> None:
    places = [
        "/home/{}",
        "/Users/{}",
        "C:\\Users\\{}",
        "D:/Users/{}",
        "/mnt/home/{}",
        "/scratch/users/{}",
        "/data/home/{}",
        "file:///home/{}",
    ]
    for place in places:
        assert name not in redact(f"File {place.format(name)}/x.py, line 3")
    assert name not in redact(
        f"cd ~{name}/x; ssh {name}@gpu7 uptime; {name}@gpu7:~$ mail {name}@example.org; USER={name}"
    )


def test_the_own_home_folder_is_a_tilde_and_another_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/data/ada")
    monkeypatch.setenv("USER", "ada")
    assert redact("/data/ada/venv/bin/python, /home/bob/x") == "~/venv/bin/python, /home/***/x"
    assert redact("file:///data/ada/x.whl and /scratch/ada/run") == "file:///data/***/x.whl and /scratch/***/run"
    assert redact("/data/adam and /usr/lib/ada") == "/data/adam and /usr/lib/ada"
    assert redact("/data/ada/x /home/bob/x", Hide.SECRETS) == "/data/ada/x /home/bob/x"


@pytest.mark.parametrize("home", ["/", "/root", "relative", ""])
def test_a_home_that_is_nobodys_stays(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    assert redact("/root/venv/bin/python /relative/x") == "/root/venv/bin/python /relative/x"


COMMANDS = [
    "pip install --python /data/ada/venv/bin/python flash-attn",
    "pip install --python '/data/ada/my venv/bin/python' x",
    "export LD_LIBRARY_PATH=/data/ada/lib:/data/ada/other",
    'export X="/data/ada/a b"',
    "pip install 'flash-attn @ file:///data/ada/x.whl'",
    "fix --plan=/data/ada/plan.json --python '/data/ada'",
    "rm -r /home/bob/x",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_means_the_same_when_a_shell_has_read_it(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.setenv("HOME", "/data/ada")
    told = redact(command, Hide.COMMAND)
    assert "/data/ada" not in told
    shell = [
        subprocess.run(["bash", "-c", f"printf '%s\\n' {text}"], capture_output=True, check=True)
        for text in (command, told)
    ]
    assert shell[0].stdout == shell[1].stdout


def test_addresses_of_a_network_go_from_a_strangers_log_only() -> None:
    assert log_line("Bootstrap : Using eth0:172.17.0.3<0>", 99) == f"Bootstrap : Using eth0:{MASK}<0>"
    assert redact("node 172.17.0.3:29500") == "node 172.17.0.3:29500"
    assert redact("mail ada.lovelace+x@example.co.uk now") == f"mail {MASK} now"


# ---- documents and lines


def test_a_document_is_masked_by_its_keys_too() -> None:
    document = {
        "variables": {"MY_TOKEN": "abcdefgh", "NCCL_X": "https://u:p/w@h"},
        "argv": ["x", "--password", "abcdefgh", "--n", "1"],
        "max_tokens": 5,
        "note": None,
    }
    told = json.loads(as_json(document))
    assert told["variables"] == {"MY_TOKEN": MASK, "NCCL_X": "https://***@h"}
    assert told["argv"] == ["x", "--password", MASK, "--n", "1"]
    assert told["max_tokens"] == 5


def test_a_private_key_over_many_lines_is_masked_line_by_line() -> None:
    key = ["-----BEGIN PRIVATE KEY-----", "MIIEvAIBADANBgkq", "abcDEF123==", "-----END PRIVATE KEY-----", "after"]
    assert lines(key) == [key[0], MASK, MASK, key[3], "after"]
    assert json.loads(as_json({"evidence": key}))["evidence"] == [key[0], MASK, MASK, key[3], "after"]


def test_a_document_of_another_machine_is_masked_before_it_is_kept() -> None:
    assert json.loads(document_to_keep('{"why": "https://u:p/w@h", "n": 1}')) == {"why": "https://***@h", "n": 1}
    assert document_to_keep("no JSON, password=abcdefgh") == "no JSON, password=***"
    assert document_to_keep("[" * 100_000).startswith("[")


# ---- the time is linear in the text: by the shape of the expressions, and by counted work


def every_pattern() -> Iterator[re.Pattern[str]]:
    modules: list[Any] = [secret_addresses, secret_names, secret_shapes, secret_values]
    for module in modules:
        yield from (value for value in vars(module).values() if isinstance(value, re.Pattern))
    yield from (secret_names.named(), secret_shapes._tokens(), *secret_shapes._options())


@pytest.mark.parametrize("pattern", list(every_pattern()), ids=lambda pattern: pattern.pattern[:30])
def test_no_repetition_without_a_bound_stands_in_another_or_before_its_like(pattern: re.Pattern[str]) -> None:
    parser = __import__("re._parser" if sys.version_info >= (3, 11) else "sre_parse", fromlist=["parse"])
    assert not list(_nested(parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE), inside=False))


def _nested(tree: Any, *, inside: bool) -> Iterator[object]:
    """Repetitions without a bound that stand in another one, unless each turn of it begins with signs of its own."""
    for kind, value in tree:
        name = str(kind)
        if name in {"MAX_REPEAT", "MIN_REPEAT"}:
            least, most, body = value
            endless = int(most) > 100_000
            single = len(body) == 1 and str(body[0][0]) in {"IN", "LITERAL", "NOT_LITERAL", "ANY", "CATEGORY"}
            if endless and inside and least != 1 and not single:
                yield value
            yield from _nested(body, inside=inside or endless)
        elif name == "SUBPATTERN":
            yield from _nested(value[3], inside=inside)
        elif name == "BRANCH":
            for branch in value[1]:
                yield from _nested(branch, inside=inside)


HOSTILE = [
    "password=",
    "token: [",
    'token="',
    "token='x ",
    "unexpected token: [",
    "://",
    "https://a:b",
    "@",
    "a@b.c",
    "https://h/?a=b&",
    "-----BEGIN PRIVATE KEY-----",
    "/home/",
    "eyJaaaaaaaa.",
    "SG.aaaaaaaaaa-",
    "curl -u ",
    "password: |\n  ",
    "cookie: ",
    "Authorization: ",
    "login a ",
    "~ada/",
    "wandb ",
    "x" * 50,
    "https://a/@",
    "a:b@",
    "=",
    "sk-",
    "mysql -p",
    "key ",
    "\\",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_work_grows_with_the_text_and_no_faster(piece: str) -> None:
    few, many = (_work(partial(redact, piece * size)) for size in (300, 1200))
    assert many <= 4.6 * few + 400


def _work(job: Callable[[], object]) -> int:
    """Calls that are made, of Python's functions and of the methods of texts and expressions."""
    calls = 0

    def count(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        job()
    finally:
        sys.setprofile(None)
    return calls


def test_what_one_call_looks_at_is_bounded() -> None:
    """The texts that are judged for one value are cut, so that the calls counted above are of bounded size."""
    seen = random.Random(1).randbytes(5000).hex()
    value = next(iter(secret_values.in_named_values(f"password={seen}")))
    assert value == (9, 9 + len(seen))
    assert secret_values._JUDGED < 1000


def test_a_word_without_end_is_not_searched_anew_from_each_of_its_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []

    class Space:
        """The search for a space, with the characters that it may look at counted."""

        @staticmethod
        def search(text: str, start: int, stop: int | None = None) -> re.Match[str] | None:
            searched.append((len(text) if stop is None else stop) - start)
            return re.compile(r"\s").search(text, start, len(text) if stop is None else stop)

    monkeypatch.setattr(secret_addresses, "_SPACE", Space)
    text = "a:b@" * 20_000
    assert list(secret_addresses.in_bare_logins(text)) == []
    assert sum(searched) <= 2 * len(text)
