"""Runs one command so that nothing of it outlives it; a program of its own, `python -I launcher.py`.

It is the reaper of all orphans below it (`PR_SET_CHILD_SUBREAPER`), so that daemons come back to it however they
detach. When the command has ended, or when its standard input closes (the runner is gone, or wants it to stop), it
kills everything below it until nothing is left, and only then ends with the command's status. What to run is the first
line of its input, where nobody else can read it: JSON with `argv`, `env`, `cwd`, `uid` (null: as it is), `limits`
(name of a RLIMIT_*: number), `cgroups` (folders whose `cgroup.procs` the command joins), and `landlock` (null, or what
may be read and what written: {"read": [...], "write": [...]}).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
#: Seconds that the sweep has before it says that something could not be killed.
SWEEP_SECONDS_MAX = 4.0
#: The status that says so.
SURVIVORS = 250
NOT_STARTED = 251

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
#: Rights over files by the version of Landlock that brought them, see linux/landlock.h.
FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
READ_RIGHTS = (1 << 0) | (1 << 2) | (1 << 3)  # execute, read files, read folders
ONLY_FILES = (1 << 0) | (1 << 1) | (1 << 2) | (1 << 14) | (1 << 15)

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """Which version of Landlock this kernel speaks; 0 where it speaks none."""
    return max(int(_libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1)), 0)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("folder", ctypes.c_int32))


def can_shut_in() -> bool:
    """Whether this kernel can keep a process to some files (Landlock)."""
    return sys.platform.startswith("linux") and landlock_version() > 0


def restrict(read: list[str], write: list[str]) -> None:
    """Take every right over files away from this process for good, but for reading and writing below these."""
    version = landlock_version()
    every = sum(rights for since, rights in FILE_RIGHTS.items() if since <= version)
    # From the sixth version on it also parts processes: no signals and no abstract sockets to the outside.
    attributes = _Ruleset(every, 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 8
    ruleset = _libc.syscall(LANDLOCK_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    for places, rights in ((read, READ_RIGHTS), (write, every)):
        for place in places:
            if not Path(place).exists():
                continue
            folder = os.open(place, os.O_PATH | os.O_CLOEXEC)
            allowed = rights & every if Path(place).is_dir() else rights & every & ONLY_FILES
            rule = _Beneath(allowed, folder)
            if _libc.syscall(LANDLOCK_ADD_RULE, ruleset, 1, ctypes.byref(rule), 0):
                raise OSError(ctypes.get_errno(), f"landlock_add_rule {place}")
            os.close(folder)
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")


def children() -> list[int]:
    """Every process whose ancestor this one is."""
    below: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                status = Path(entry.path, "stat").read_bytes()
            except OSError:
                continue
            parent = int(status[status.rindex(b")") + 4 :].split()[0])
            below.setdefault(parent, []).append(int(entry.name))
    found, open_ends = [], [os.getpid()]
    while open_ends:
        kin = below.get(open_ends.pop(), [])
        found += kin
        open_ends += kin
    return found


def reap() -> None:
    """Collect everybody who has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def sweep() -> bool:
    """Kill everything below this process; whether nothing is left."""
    give_up = time.monotonic() + SWEEP_SECONDS_MAX
    while left := children():
        # Stopped first, so that what forks without end cannot run away from the killing.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for child in left:
                try:
                    os.kill(child, number)
                except ProcessLookupError:
                    continue
        reap()
        if time.monotonic() > give_up:
            return not children()
        time.sleep(0.005)
    return True


def _start(what: dict[str, Any]) -> None:
    """Become the command; in the child, never returns."""
    os.setsid()
    for folder in what["cgroups"]:
        Path(folder, "cgroup.procs").write_text("0")
    for name, number in what["limits"].items():
        which = getattr(resource, name)
        most = resource.getrlimit(which)[1]
        limit = number if most == resource.RLIM_INFINITY else min(number, most)
        resource.setrlimit(which, (limit, limit))
    if what["uid"] is not None:
        os.setgroups([])
        os.setresgid(what["uid"], what["uid"], what["uid"])
        os.setresuid(what["uid"], what["uid"], what["uid"])
    # Asked for only now, because a change of user takes it back.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.chdir(what["cwd"])
    os.umask(0o022)
    if what["landlock"] is not None:
        restrict(**what["landlock"])
    for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(what["argv"][0], what["argv"], what["env"])  # noqa: S606 - this is what it is for


def main() -> int:
    """Run what the first line of input describes; `--landlock` says which version of Landlock there is instead."""
    if sys.argv[1:] == ["--landlock"]:
        print(landlock_version())
        return 0
    what = json.loads(sys.stdin.buffer.readline() or "null")
    if what is None:
        return NOT_STARTED
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDONLY)
    child = os.fork()
    if not child:
        try:
            os.dup2(nothing, 0)
            _start(what)
        except BaseException as problem:  # noqa: BLE001 - a child must never go on as its parent
            print(f"{what['argv'][0]}: {problem}", file=sys.stderr, flush=True)
        os._exit(NOT_STARTED)
    # What it prints goes to the pipe by itself; a copy held here would keep the pipe open.
    os.dup2(nothing, 1)
    waiting = select.poll()
    waiting.register(os.pidfd_open(child), select.POLLIN)
    waiting.register(0, select.POLLIN | select.POLLHUP)
    stopped = any(ready == 0 for ready, _ in waiting.poll())
    status = None if stopped else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not sweep():
        return SURVIVORS
    if status is None:
        return 128 + signal.SIGKILL
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
