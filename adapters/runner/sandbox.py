"""What a build is kept in: what this machine has for that, found out at the start, and how a step is run within it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from adapters.runner.failures import BuildFailed, Cancelled
from adapters.runner.logs import Log
from adapters.runner.plans import Places, Step

Level = Literal["strong", "medium", "none"]
LAUNCHER = Path(__file__).parents[1] / "launcher.py"
#: What the launcher ends with when something could not be killed, and when the command could not be started.
SURVIVORS, NOT_STARTED = 250, 251
#: Seconds after which everything of a stopped step must be gone.
STOP_SECONDS_MAX = 5.0
#: How often a step is looked after.
LOOK_SECONDS = 0.1
DISK_LOOK_SECONDS = 1.0

PATH = "/usr/lib/ccache:/usr/local/bin:/usr/bin:/bin"
#: What of /etc a compiler needs, and what one that reaches other machines needs besides.
ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "fonts", "java-11-openjdk")
ETC_NETWORK = ("ssl", "ca-certificates", "pki", "resolv.conf", "hosts", "nsswitch.conf", "gai.conf")


#: Where a build finds its folders in a sandbox: fixed, so that caches hit across fresh directories.
INSIDE = Places(*map(PurePosixPath, ("/src", "/work/build", "/work/stage", "/home/build", "/cache")))


@dataclass(frozen=True)
class Limits:
    """What a build may use: bytes, processes and seconds."""

    memory_bytes: int = 4 << 30
    processes: int = 512
    file_bytes: int = 2 << 30
    disk_bytes: int = 8 << 30
    cache_bytes: int = 4 << 30
    tmp_bytes: int = 1 << 30
    step_seconds: float = 1800
    total_seconds: float = 3600
    fetch_seconds: float = 600
    fetch_bytes: int = 2 << 30
    log_head_bytes: int = 8 << 20
    log_tail_bytes: int = 2 << 20


@dataclass(frozen=True)
class Rooms:
    """Where the folders of one build are on this machine; the cache is where it stays for the next build."""

    root: Path
    cache: Path

    @property
    def source(self) -> Path:
        """The checked-out source."""
        return self.root / "src"

    @property
    def work(self) -> Path:
        """What is built, `build`, and what is installed, `stage`."""
        return self.root / "work"

    @property
    def home(self) -> Path:
        """A home of the build's own."""
        return self.root / "home"

    @property
    def tmp(self) -> Path:
        """Its folder for temporary files, where the sandbox has none of its own."""
        return self.root / "tmp"

    def make(self) -> None:
        """Make all of them, and nothing else is there."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(mode=0o711, parents=True)
        for folder in (self.source, self.work / "build", self.work / "stage", self.home, self.tmp, self.cache):
            folder.mkdir(parents=True, exist_ok=True)

    def places(self, *, inside: bool) -> Places:
        """Where a step finds them: at fixed places `inside` a sandbox, otherwise where they are."""
        if inside:
            return INSIDE
        found = (self.source, self.work / "build", self.work / "stage", self.home, self.cache)
        return Places(*(PurePosixPath(each.as_posix()) for each in found))


@dataclass(frozen=True)
class Sandbox:
    """What this machine keeps builds in."""

    bwrap: str = ""
    landlock: bool = False
    cgroups: tuple[str, ...] = ()
    uid: int | None = None
    linux: bool = True

    @property
    def level(self) -> Level:
        """`strong`: namespaces and limits of the kernel; `medium`: one of them, or Landlock; `none`: neither."""
        if self.bwrap and self.cgroups:
            return "strong"
        return "medium" if self.bwrap or self.landlock else "none"

    @property
    def _path(self) -> str:
        return PATH if self.linux else os.environ.get("PATH", PATH)

    @property
    def inside(self) -> bool:
        """Whether builds see folders at places of their own."""
        return bool(self.bwrap)

    def facts(self) -> dict[str, Any]:
        """What it is made of, for people."""
        return {
            "level": self.level,
            "bubblewrap": bool(self.bwrap),
            "landlock": self.landlock,
            "cgroups": [Path(each).name for each in self.cgroups],
            "own_user": self.uid is not None,
        }

    def reaches(self, folder: Path) -> bool:
        """Whether the build's user may look into a folder of this machine."""
        if self.uid is None:
            return folder.exists()
        try:
            return all(each.stat().st_mode & 0o001 for each in (folder.resolve(), *folder.resolve().parents))
        except OSError:
            return False

    def program(self, step: Step) -> str | None:
        """Where the program of a step is, None where this machine lacks it; what lies in the source is not looked for.

        On Windows npm and others are scripts, which are only found by their whole name.
        """
        name = step.argv[0]
        if "/" in name or "PATH" in step.env:
            return name
        return shutil.which(name, path=self._path)

    def own(self, folder: Path) -> None:
        """Give everything in a folder to the build's user."""
        if self.uid is None:
            return
        for place, folders, files in os.walk(folder):
            os.chown(place, self.uid, self.uid, follow_symlinks=False)
            for name in (*folders, *files):
                os.chown(Path(place, name), self.uid, self.uid, follow_symlinks=False)

    def specification(self, step: Step, rooms: Rooms, limits: Limits) -> dict[str, Any]:
        """What the launcher is told of a step."""
        network = step.network
        places = rooms.places(inside=self.inside)
        temporary = "/tmp" if self.inside else str(rooms.tmp)  # noqa: S108 - a file system of its own
        env = {
            "PATH": self._path,
            "HOME": str(places.home),
            "TMPDIR": temporary,
            "USER": "build",
            "LOGNAME": "build",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            **step.env,
        }
        argv = list(step.argv)
        if not self.linux:
            argv[0] = self.program(step) or argv[0]
        cwd = str(step.folder)
        landlock = None
        if self.bwrap:
            argv = [*self._bwrap(step, rooms, places, limits), "--chdir", cwd, "--", *argv]
            cwd = "/"
        elif self.landlock:
            system = ["/usr", "/bin", "/lib", "/lib64", "/sbin", "/proc/self", "/dev/urandom"]
            etc = [f"/etc/{name}" for name in (*ETC, *(ETC_NETWORK if network else ()))]
            ours = [rooms.source, rooms.work, rooms.home, rooms.tmp, rooms.cache]
            landlock = {
                "read": [*system, *etc, *step.reads],
                "write": [*map(str, ours), "/dev/null", "/dev/zero", "/dev/tty"],
            }
        processes = {} if self.cgroups or self.uid is None else {"RLIMIT_NPROC": limits.processes}
        return {
            "argv": argv,
            "env": env,
            "cwd": cwd,
            "uid": self.uid,
            "limits": {
                "RLIMIT_FSIZE": limits.file_bytes,
                "RLIMIT_CORE": 0,
                "RLIMIT_NOFILE": 4096,
                **({} if self.cgroups else {"RLIMIT_DATA": limits.memory_bytes}),
                **processes,
            },
            "cgroups": [],
            "landlock": landlock,
        }

    def _bwrap(self, step: Step, rooms: Rooms, places: Places, limits: Limits) -> list[str]:
        def bound(kind: str, there: str, here: str = "") -> list[str]:
            return [kind, there, here or there] if Path(there).exists() else []

        argv = [self.bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
        argv += ["--new-session", "--die-with-parent", "--hostname", "build"]
        argv += ["--share-net"] if step.network else []
        argv += bound("--ro-bind", "/usr")
        for name in ("bin", "lib", "lib32", "lib64", "libx32", "sbin"):
            place = Path("/", name)
            if place.is_symlink():
                argv += ["--symlink", str(place.readlink()), str(place)]
            else:
                argv += bound("--ro-bind", str(place))
        for name in (*ETC, *(ETC_NETWORK if step.network else ())):
            argv += bound("--ro-bind", str(Path("/etc", name).resolve()), f"/etc/{name}")
        argv += ["--ro-bind", str(rooms.root / "passwd"), "/etc/passwd"]
        argv += ["--proc", "/proc", "--dev", "/dev", "--size", str(limits.tmp_bytes), "--tmpfs", "/tmp"]  # noqa: S108
        argv += ["--bind", str(rooms.source), str(places.source), "--bind", str(rooms.work), str(places.build.parent)]
        argv += ["--bind", str(rooms.home), str(places.home), "--bind", str(rooms.cache), str(places.cache)]
        # Last, because what is read may lie below one of the folders above.
        return argv + [part for each in step.reads for part in bound("--ro-bind", each)]

    def run(
        self, step: Step, rooms: Rooms, log: Log, limits: Limits, *, stop: Callable[[], bool], deadline: float
    ) -> int:
        """Run a step and give its status, with nothing of it left alive.

        Raises BuildFailed (`timeout`, `disk_full`, `survivors`) and Cancelled.
        """
        (rooms.root / "passwd").write_text(f"build:x:{self.uid or os.getuid() if self.linux else 0}:0::/home/build:\n")
        what = self.specification(step, rooms, limits)
        with self._group(limits) as groups:
            process = self._start(what | {"cgroups": groups})
            assert process.stdout is not None
            reader = threading.Thread(target=_read, args=(process.stdout.fileno(), log), daemon=True)
            reader.start()
            try:
                alone = None if self.linux else process
                why = _look_after(reader, alone, rooms, limits, stop, deadline)
            finally:
                status = self._end(process, stopped=reader.is_alive())
                reader.join(STOP_SECONDS_MAX)
                # On Windows what has begun a life of its own may hold the pipe, and closing it would wait for that.
                if not reader.is_alive():
                    process.stdout.close()
        log.flush()
        if status == SURVIVORS:
            raise BuildFailed("survivors", f"Something of the step {step.name} could not be killed.")
        if why is not None:
            raise why
        return status

    def _start(self, what: dict[str, Any]) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        if not self.linux:
            return subprocess.Popen(  # noqa: S603 - what the project's recipe says is what is to be run
                what["argv"], stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT,
                cwd=what["cwd"], env=what["env"], start_new_session=os.name != "nt",
                creationflags=0x00000200 if os.name == "nt" else 0,
            )  # fmt: skip
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", str(LAUNCHER)], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, env={}
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(what).encode() + b"\n")
            process.stdin.flush()
        return process

    def _end(self, process: subprocess.Popen[bytes], *, stopped: bool) -> int:
        """Stop what still runs; the launcher sweeps when its input closes."""
        if not stopped:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS_MAX)
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        else:
            _kill_tree(process)
        try:
            return process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return SURVIVORS

    @contextlib.contextmanager
    def _group(self, limits: Limits) -> Iterator[list[str]]:
        """Control groups for one step: one of their own, gone afterwards."""
        made = []
        try:
            for parent in self.cgroups:
                group = Path(parent, f"step-{os.getpid()}-{time.monotonic_ns()}")
                group.mkdir()
                made.append(group)
                for name, number in (
                    ("memory.limit_in_bytes", limits.memory_bytes),
                    ("memory.max", limits.memory_bytes),
                    ("memory.swap.max", 0),
                    ("pids.max", limits.processes),
                ):
                    if (group / name).exists():
                        (group / name).write_text(str(number))
            yield [str(each) for each in made]
        finally:
            for group in made:
                for _ in range(50):
                    try:
                        group.rmdir()
                        break
                    except OSError:
                        time.sleep(0.02)


def _too_much(rooms: Rooms, limits: Limits) -> BuildFailed | None:
    if disk_use(rooms.root) > limits.disk_bytes:
        return BuildFailed("disk_full", f"The build wrote more than it may ({limits.disk_bytes >> 20} MiB).")
    if disk_use(rooms.cache) > limits.cache_bytes:
        return BuildFailed(
            "disk_full", f"The build wrote more into its cache than it may ({limits.cache_bytes >> 20} MiB)."
        )
    return None


def _look_after(
    reader: threading.Thread,
    alone: subprocess.Popen[bytes] | None,
    rooms: Rooms,
    limits: Limits,
    stop: Callable[[], bool],
    deadline: float,
) -> Exception | None:
    """Wait until nobody can print any more; why a step has failed, None when it has ended within limits.

    `alone` is a command without a launcher that ends whatever it has left running: then its own end is the end.
    """
    ends = time.monotonic() + limits.step_seconds
    next_look = time.monotonic() + DISK_LOOK_SECONDS
    while True:
        reader.join(LOOK_SECONDS)
        if not reader.is_alive() or (alone is not None and alone.poll() is not None):
            # What is written between two looks counts as well.
            return _too_much(rooms, limits)
        now = time.monotonic()
        if stop():
            return Cancelled()
        if now > ends:
            return BuildFailed("timeout", f"A step took longer than it may ({limits.step_seconds:g} s).")
        if now > deadline:
            return BuildFailed("timeout", "The build took longer than it may.")
        if now > next_look:
            if (problem := _too_much(rooms, limits)) is not None:
                return problem
            # A tree that takes long to look at is looked at less often.
            next_look = time.monotonic() + max(DISK_LOOK_SECONDS, 10 * (time.monotonic() - now))


def disk_use(folder: Path) -> int:
    """Bytes that a tree takes on the disk, not following links; what goes away meanwhile counts as nothing."""
    total, open_ends = 0, [str(folder)]
    while open_ends:
        try:
            with os.scandir(open_ends.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        total += getattr(status, "st_blocks", status.st_size // 512) * 512
                        if entry.is_dir(follow_symlinks=False):
                            open_ends.append(entry.path)
        except OSError:
            continue
    return total


def _read(pipe: int, log: Log) -> None:
    while True:
        try:
            piece = os.read(pipe, 1 << 16)
        except OSError:
            return
        if not piece:
            return
        log.write(piece)


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Where there is no launcher: the session, also when who began it has ended, or what Windows calls the tree."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], check=False, capture_output=True)  # noqa: S603, S607
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def probe(room: Path, uid: int | None) -> Sandbox:
    """What this machine has, each part tried in `room` rather than looked up; `uid` is for builds where we are root."""
    if sys.platform != "linux":
        return Sandbox(linux=False)
    uid = uid if os.geteuid() == 0 else None
    found = Sandbox(bwrap=shutil.which("bwrap") or "", uid=uid)
    if found.bwrap and not _works(found, room):
        found = Sandbox(uid=uid)
    landlock = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-I", "-S", str(LAUNCHER), "--landlock"], check=False, capture_output=True
    )
    return Sandbox(**asdict(found) | {"landlock": int(landlock.stdout or 0) > 0, "cgroups": tuple(_cgroups())})


def _works(sandbox: Sandbox, room: Path) -> bool:
    rooms = Rooms(room / "probe", room / "probe" / "cache")
    rooms.make()
    sandbox.own(rooms.root)
    step = Step("probing", ("/bin/sh", "-c", "true > /src/a && test ! -e /root"), PurePosixPath("/src"))
    try:
        status = sandbox.run(step, rooms, Log(), Limits(), stop=lambda: False, deadline=time.monotonic() + 20)
    except BuildFailed:
        return False
    finally:
        shutil.rmtree(rooms.root, ignore_errors=True)
    return status == 0


def _cgroups() -> Iterator[str]:
    """Groups that ours can be made in, with limits for memory and processes; none unless there are both."""
    top = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError):
        if (top / "cgroup.controllers").exists():
            yield from _unified(top)
        else:
            yield from _separate(top)


def _unified(top: Path) -> list[str]:
    own = Path("/proc/self/cgroup").read_text().split("::", 1)[1].strip().lstrip("/")
    parent = top if os.geteuid() == 0 else top / own
    ours = parent / "ledgerline-builds"
    ours.mkdir(exist_ok=True)
    try:
        _delegate(parent)
    except OSError:
        # A group with processes in it cannot have limited groups below it, so this process moves down first.
        beside = parent / "ledgerline-runner"
        beside.mkdir(exist_ok=True)
        (beside / "cgroup.procs").write_text(str(os.getpid()))
        _delegate(parent)
    _delegate(ours)
    return [str(ours)]


def _delegate(group: Path) -> None:
    (group / "cgroup.subtree_control").write_text("+memory +pids")


def _separate(top: Path) -> list[str]:
    made = [top / "memory" / "ledgerline-builds", top / "pids" / "ledgerline-builds"]
    for each in made:
        each.mkdir(exist_ok=True)
        if not any((each / name).exists() for name in ("memory.limit_in_bytes", "pids.max")):
            return []
    return [str(each) for each in made]
