"""Root looks at another user's environment: the command is given again as that user, whose code it then runs.

Nothing of root's goes along but the terminal: no variable that could hold a secret, no cache, no group, and no
controlling terminal, into which another process of that user could otherwise type.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.cli.passthrough import forwarded_signals
from flash_doctor.errors import CommandFailed, ForeignTarget
from flash_doctor.system.foreign import Account
from flash_doctor.system.owner import user_name
from flash_doctor.system.process import Command, SystemRunner, launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHECKED = 30.0  # seconds for that user to start the doctor
# what a look at a machine, a compile and a screen depend on, and what holds no secret
_KEPT = (
    "PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "VIRTUAL_ENV",
    "CONDA_PREFIX", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES", "MAX_JOBS", "NVCC_THREADS", "TORCH_CUDA_ARCH_LIST", "CC", "CXX", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "FLASH_DOCTOR_PROGRAM", "FLASH_DOCTOR_FACTS",
    "FLASH_DOCTOR_DEBUG",
)  # fmt: skip
# addresses: kept where they hold no login
_ADDRESSES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "FLASH_DOCTOR_MIRROR")
# -I leaves out the current folder and PYTHONPATH, so where we ourselves lie is said
_START = """\
import runpy, sys
sys.path.append(sys.argv.pop(1))
runpy.run_module("flash_doctor", run_name="__main__", alter_sys=True)
"""
_HOME = Path(__file__).parents[2]


def run_as_owner(foreign: ForeignTarget, arguments: Sequence[str]) -> int:
    """The exit code of the same command, given by the owner of its target.

    Raises:
        ForeignTarget: that cannot be done; with what to do instead.
    """
    if foreign.uid is None:
        raise foreign
    account, environment = account_of(foreign.uid, os.environ)
    _demand_start(foreign, account, environment)
    if sys.stderr:
        told = f"this environment belongs to {user_name(foreign.uid)}; the rest is done as that user"
        sys.stderr.write(f"flash-doctor: {told}\n")
        sys.stderr.flush()
    argv = (sys.executable, "-I", "-c", _START, str(_HOME), *arguments)
    with forwarded_signals(own_session=True) as hand_over:
        process = launch(argv, account=account, environment=environment)
        hand_over(process)
        code = process.wait()
    return 128 - code if code < 0 else code


def account_of(uid: int, environ: Mapping[str, str]) -> tuple[Account, dict[str, str]]:
    """A user's number and groups, and the variables that he gets: his own home, and little else."""
    import pwd

    kept = {name: environ[name] for name in _KEPT if name in environ}
    kept |= {name: value for name, value in environ.items() if name.startswith("LC_")}
    kept |= {name: environ[name] for name in _ADDRESSES if "@" not in environ.get(name, "@")}
    try:
        user = pwd.getpwuid(uid)
    except KeyError:  # a number without a name, as in containers
        return Account(uid=uid, gid=uid, groups=()), {**kept, "HOME": "/nonexistent"}
    own = {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "SHELL": user.pw_shell}
    groups = tuple(os.getgrouplist(user.pw_name, user.pw_gid))
    return Account(uid=uid, gid=user.pw_gid, groups=groups), {**kept, **own}


def _demand_start(foreign: ForeignTarget, account: Account, environment: dict[str, str]) -> None:
    """Whether that user can start this doctor at all: it may lie in root's home."""
    reach = f"import sys; sys.path.append({str(_HOME)!r}); import flash_doctor.cli.check, flash_doctor.facts as f; "
    reach += "list(f.default_folder().iterdir())[0].stat()"
    command = Command(
        argv=(sys.executable, "-I", "-B", "-c", reach),
        account=account,
        environment={**dict.fromkeys(os.environ), **environment},
        timeout=_CHECKED,
    )
    try:
        done = SystemRunner().run(command)
        said = "" if done.returncode == 0 else (done.errors.strip().splitlines() or ["it does not start"])[-1]
    except CommandFailed as error:
        said = error.message
    if said:
        evidence = (*foreign.evidence, f"it could not be done as that user: {said}")
        raise ForeignTarget(foreign.message, uid=account.uid, evidence=evidence, advice=foreign.advice)
