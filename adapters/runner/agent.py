"""The loop of a runner: claim a job, build it, say how it went, and go on whatever happens."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from adapters.runner.addresses import Outside
from adapters.runner.building import Job, Made, Workshop
from adapters.runner.failures import BuildFailed, Cancelled
from adapters.runner.fetching import Checkout, Source
from adapters.runner.logs import Log
from adapters.runner.sandbox import Limits, probe
from adapters.runner.service import Away, Refused, Service

VERSION = "1"
PLATFORM = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
FORMATS = {"macos": ("vst3", "au", "standalone", "clap", "lv2")}.get(PLATFORM, ("vst3", "standalone", "clap", "lv2"))
LOG_SECONDS = 0.5
LOG_BYTES = 256 * 1024
IDLE_SECONDS = 2.0
#: A service that starts anew is away for less; what is longer is told.
SILENCE_SECONDS = 60.0
STATE_BYTES_MAX = 64 * 1024
#: The user that builds run as where the runner is root: far from those of people and of systemd.
BUILD_UID = 61_700


@dataclass
class Assignment:
    """One claimed job: heartbeats and the log go on beside the build, each in a thread of its own."""

    service: Service
    facts: dict[str, Any]
    log: Log
    stopping: threading.Event
    cancelled: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    lost: bool = False

    @property
    def path(self) -> str:
        """Where the service hears of it."""
        return f"/jobs/{self.facts['job_id']}"

    def tell(self, what: str, **body: Any) -> Any:
        """Say something of it under its fence. Whoever else has it now makes this one give up."""
        try:
            return self.service.ask("POST", f"{self.path}/{what}", {"fence": self.facts["fence"], **body})
        except Refused as refused:
            if refused.status == 409:
                self.lost = True
                self.cancelled.set()
                raise Cancelled from refused
            raise

    # -- what a build reports

    def step(self, name: str) -> None:
        """A step begins."""
        self._step = name
        self.log.progress = 0
        if self.tell("steps", current_step=name, step_progress=0)["cancel"]:
            self.cancelled.set()

    def checked_out(self, checkout: Checkout) -> str:
        """The source is here; the service knows which version that makes it."""
        answer = self.tell(
            "source", commit_sha=checkout.commit, tags=list(checkout.tags), version_file=checkout.version_file
        )
        return str(answer["version_number"])

    def token_for(self, url: str) -> str:
        """What lets git read a submodule; a service that knows none is as good as one that gives none."""
        try:
            return str(self.tell("submodule-token", url=url)["token"])
        except Refused:
            return ""

    def stop(self) -> bool:
        """Whether the build is to stop."""
        return self.cancelled.is_set() or self.stopping.is_set()

    # -- beside the build

    def beat(self) -> None:
        """Keep the job, tell how far it is, and hear whether anybody still wants it."""
        told = -1
        heard = time.monotonic()
        while not self.over.wait(self.facts["heartbeat_seconds"]):
            try:
                if self.tell("heartbeat")["cancel"]:
                    self.cancelled.set()
                    return
                heard = time.monotonic()
                if self.log.progress != told:
                    told = self.log.progress
                    self.tell("steps", current_step=self._step, step_progress=told)
            except Cancelled:
                return
            except (Away, Refused):
                # Without a lease the job is another runner's by now, and this one would build for nobody.
                if time.monotonic() - heard > self.facts["lease_seconds"]:
                    self.lost = True
                    self.cancelled.set()
                    return

    _step: str = "fetching"

    def send_log(self) -> None:
        """Send what has been printed, again and again; what the service has already it takes once."""
        offset, pending = self.facts["log_offset"], b""
        room = self.facts["log_bytes_max"]
        while True:
            ended = self.over.is_set()
            pending = pending or self.log.take(LOG_BYTES)
            if not pending:
                if ended:
                    return
                self.over.wait(LOG_SECONDS)
                continue
            pending = pending[: max(room - offset, 0)]
            if not pending:
                return
            try:
                size = self.service.log(self.facts["job_id"], self.facts["fence"], offset, pending)
            except Refused:
                return
            except Away:
                # Kept, and sent when the service is back.
                if ended or self.lost:
                    return
                self.over.wait(IDLE_SECONDS)
                continue
            pending = pending[max(size - offset, 0) :]
            offset = size


def build(assignment: Assignment, shop: Workshop) -> None:
    """Build one job and say how it ended."""
    facts, log = assignment.facts, assignment.log
    beside = [threading.Thread(target=each, daemon=True) for each in (assignment.beat, assignment.send_log)]
    for each in beside:
        each.start()
    told: dict[str, Any] | None
    try:
        made = shop.build(job_of(facts), log, assignment)
        assignment.step("uploading")
        for each_made in made:
            upload(assignment, each_made)
        told = {"status": "success"}
    except Cancelled:
        log.say("Cancelled")
        told = None
        if assignment.stopping.is_set() and not assignment.cancelled.is_set():
            told = {"status": "failed", "error_code": "runner_stopped", "error_message": "The runner was stopped."}
    except BuildFailed as problem:
        log.say(f"Failed: {problem.sentence}")
        told = {"status": "failed", "error_code": problem.code, "error_message": problem.sentence[:2000]}
    except (Away, Refused, OSError) as problem:
        log.say(f"Failed: {problem}")
        told = {
            "status": "failed",
            "error_code": "runner_failed",
            "error_message": f"The runner failed: {problem}"[:2000],
        }
    except Exception as problem:  # noqa: BLE001 - what nobody has thought of in one source ends no other build
        traceback.print_exc()
        log.say(f"Failed: {type(problem).__name__}")
        said = "The runner met something in this source that nobody has thought of, and wrote down what it was."
        told = {"status": "failed", "error_code": "runner_failed", "error_message": said}
    log.close()
    assignment.over.set()
    for thread in beside:
        thread.join(60)
    if told is not None and not assignment.lost:
        with suppress(Cancelled, Refused, Away):
            assignment.tell("finish", **told)


def job_of(facts: dict[str, Any]) -> Job:
    """What the service says of a job, as a build needs it."""
    source = facts["source"]
    return Job(
        source=Source(source["url"], source["ref"], source["commit_sha"], source["token"]),
        name=facts["project_name"],
        project_id=facts["project_id"],
        formats=tuple(facts["formats"]),
        version=facts["version_number"],
        build_number=facts["build_number"],
        flags=facts["flags"],
        clean=facts["clean_build"],
        facts=facts["facts"],
        secrets=facts["secrets"],
        seconds_max=facts["seconds_max"],
    )


def upload(assignment: Assignment, made: Made) -> None:
    """Upload a plug-in; the service looks at what it has got itself."""
    about = {
        "format": made.format,
        "file_name": made.file_name,
        "file_size": made.size,
        "checksum_sha256": made.sha256,
        "content_type": made.content_type,
    }
    place = assignment.tell("artifacts", **about)
    assignment.service.upload(place["upload_url"], place["headers"], made.path)
    about |= {"is_signed": made.is_signed, "validation": made.validation}
    about["validation_detail"] = made.validation_detail[:500]
    assignment.tell(f"artifacts/{place['artifact_id']}/complete", **about)


def _say(sentence: str) -> None:
    print(f"runner: {sentence}", file=sys.stderr, flush=True)


class Silence:
    """How long the service has not answered: told once, when it lasts, and once more when it is over."""

    def __init__(self, say: Callable[[str], None] = _say, clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._since: float | None = None
        self._is_told = False

    def goes_on(self, problem: Exception) -> None:
        """It has not answered this time either."""
        now = self._clock()
        self._since = now if self._since is None else self._since
        if not self._is_told and now - self._since >= SILENCE_SECONDS:
            self._is_told = True
            self._say(f"the service has not answered for {now - self._since:.0f} s, and is asked again: {problem}")

    def ends(self) -> None:
        """It has answered."""
        if self._is_told:
            self._say("the service answers again")
        self._since, self._is_told = None, False


def work(service: Service, shop: Workshop, stopping: threading.Event, *, once: bool = False) -> None:
    """Take jobs until told to stop. Whatever becomes of one, the next is taken."""
    silence = Silence()
    while not stopping.is_set():
        try:
            facts = service.ask("POST", "/claim", {}, patient=False)
        except (Away, Refused) as problem:
            if isinstance(problem, Refused) and problem.status == 401:
                raise
            silence.goes_on(problem)
            stopping.wait(IDLE_SECONDS)
            continue
        silence.ends()
        if facts is None:
            continue
        limits = shop.limits
        job = job_of(facts)
        masked = (*job.secrets.values(), job.source.token, job.source.basic)
        log = Log(head=limits.log_head_bytes, tail=limits.log_tail_bytes, masked=masked)
        _say(f"building {facts['build_id']}")
        build(Assignment(service, facts, log, stopping), shop)
        shop.clear()
        if once:
            return


def _token_in(state: Path) -> str:
    """The token of the runner that this machine was before."""
    with state.open(encoding="utf-8") as file:
        return str(json.loads(file.read(STATE_BYTES_MAX))["token"])


def registered(service: Service, state: Path, token: str, isolation: str, name: str) -> None:
    """Be a runner: the one that this machine was before, or a new one."""
    if state.exists():
        service.token = _token_in(state)
        return
    answer = service.ask(
        "POST",
        "/register",
        {
            "token": token,
            "name": name,
            "platforms": [PLATFORM],
            "formats": list(FORMATS),
            "isolation": isolation,
            "version": VERSION,
        },
    )
    state.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(state, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"runner_id": answer["runner_id"], "token": answer["token"]}, file)
    service.token = answer["token"]


def own_room(parent: Path) -> Path:
    """A folder of this runner's own, always the same one, so that caches hit; the user of builds may pass through."""
    parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    status = parent.lstat()
    if parent.is_symlink() or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        raise SystemExit(f"ledgerline: {parent} is somebody else's. Choose another --work-dir.")
    for number in range(64):
        room = parent / f"slot-{number}"
        room.mkdir(mode=0o711, exist_ok=True)
        if _take(room / "lock"):
            return room
    raise SystemExit(f"ledgerline: there are too many runners in {parent}.")


_LOCKS: list[Any] = []


def _take(path: Path) -> bool:
    """Lock a file for as long as this process lives."""
    file = path.open("w")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _LOCKS.append(file)
    return True


def default_room() -> Path:
    """Where builds happen: not in a home, which the user of builds could not enter."""
    base = Path("/var/tmp") if Path("/var/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108
    who = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "runner")
    return base / f"ledgerline-runner-{who}"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What a runner is told at its start."""
    parser.add_argument("--url", required=True, help="address of the service")
    parser.add_argument("--token", default="", help="registration token; or LEDGERLINE_RUNNER_TOKEN in the environment")
    parser.add_argument("--name", default=socket.gethostname() or platform.node() or "runner")
    parser.add_argument("--work-dir", type=Path, default=None, help="where builds happen")
    parser.add_argument("--state", type=Path, default=None, help="file that remembers the registration")
    parser.add_argument("--local-root", type=Path, action="append", default=[], help="build local repositories below")
    parser.add_argument("--allow-host", action="append", default=[], help="fetch from this host although not public")
    parser.add_argument("--allow-unisolated", action="store_true", help="build although nothing isolates builds here")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at once")
    parser.add_argument("--once", action="store_true", help="end after one job")


def _fault(given: argparse.Namespace) -> str | None:
    """What a runner cannot start with, in a sentence."""
    if not given.url.startswith(("http://", "https://")):
        return "--url is the address of the service, such as https://ledgerline.example."
    try:
        host, _ = urlsplit(given.url).hostname, urlsplit(given.url).port
        given.url.encode("ascii")
    except ValueError:
        host = None
    if not host:
        return "--url names no host that could be asked."
    for name, path in (("--work-dir", given.work_dir), ("--state", given.state and given.state.parent)):
        try:
            if path is not None:
                path.mkdir(mode=0o711, parents=True, exist_ok=True)
        except OSError as problem:
            return f"{name}: {path} cannot be made: {problem.strerror}."
    try:
        if given.state is not None and given.state.exists():
            _token_in(given.state)
    except (OSError, ValueError, LookupError, TypeError):
        return f"--state: {given.state} holds no registration of a runner. Remove it, or name another file."
    return None


def run(argv: Sequence[str]) -> int:
    """A runner, until a signal asks it to end."""
    parser = argparse.ArgumentParser(prog="ledgerline runner", description=__doc__)
    arguments(parser)
    given = parser.parse_args(argv)
    if (fault := _fault(given)) is not None:
        print(f"ledgerline: {fault}", file=sys.stderr)
        return 2
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    room = own_room(given.work_dir or default_room())
    slot = int(room.name.rpartition("-")[2])
    (room / "cache").mkdir(mode=0o711, exist_ok=True)
    sandbox = probe(room, BUILD_UID + slot)
    print(f"runner: isolation {json.dumps(sandbox.facts())}", file=sys.stderr, flush=True)
    if sandbox.level == "none" and not given.allow_unisolated:
        print(
            "ledgerline: nothing on this machine keeps a build from reading and changing what you can. Install "
            "bubblewrap, or say --allow-unisolated if all projects are your own.",
            file=sys.stderr,
        )
        return 2
    service = Service(given.url)
    state = given.state or room / "runner.json"
    outside = Outside(frozenset(given.allow_host), tuple(given.local_root))
    shop = Workshop(sandbox, Limits(), outside, room, max(given.jobs, 1))
    token = given.token or os.environ.get("LEDGERLINE_RUNNER_TOKEN", "")
    waiting = threading.Thread(target=_serve, args=(service, state, token, given, shop, stopping), daemon=True)
    waiting.start()
    # Signals are heard by this thread; a question that waits for a job is not waited for.
    while waiting.is_alive() and not stopping.is_set():
        waiting.join(0.2)
    waiting.join(20 if (shop.room / "build").exists() else 0.1)
    shutil.rmtree(shop.room / "build", ignore_errors=True)
    return 1 if _PROBLEMS else 0


_PROBLEMS: list[str] = []


def _serve(
    service: Service,
    state: Path,
    token: str,
    given: argparse.Namespace,
    shop: Workshop,
    stopping: threading.Event,
) -> None:
    for attempt in (1, 2):
        try:
            registered(service, state, token, shop.sandbox.level, given.name)
            print("runner: ready", file=sys.stderr, flush=True)
            work(service, shop, stopping, once=given.once)
        except Refused as refused:
            # What this machine was known as before is forgotten there: register anew.
            if refused.status == 401 and attempt == 1 and token:
                state.unlink(missing_ok=True)
                service.token = ""
                continue
            _PROBLEMS.append(str(refused))
            print(f"ledgerline: the service takes no runner: {refused}", file=sys.stderr, flush=True)
        except Away as away:
            _PROBLEMS.append(str(away))
            print(f"ledgerline: the service does not answer: {away}", file=sys.stderr, flush=True)
        return


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
