"""One build from its source to packed plug-ins, for whoever reports on it."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from adapters.runner.addresses import Outside
from adapters.runner.collecting import Found, collect, pack, unique
from adapters.runner.failures import BuildFailed
from adapters.runner.fetching import Checkout, Git, Source, fetch
from adapters.runner.logs import Log
from adapters.runner.plans import Step, Wish, detect, plan, preparation, web_interfaces, write_project_data
from adapters.runner.recipes import Recipe
from adapters.runner.sandbox import NOT_STARTED, PATH, Limits, Rooms, Sandbox, disk_use

CHECKS = Path(__file__).with_name("checks.py")
CHECK_SECONDS = 60.0
FOUND_INSTEAD_MAX = 8
#: How codesign, notarytool, signtool and osslsigncode begin to say why; what follows is less and less about that.
REFUSAL = re.compile(
    r"(?i)\b(?:error|fail(?:ed|ure)|cannot|could not|denied|invalid|unauthorized|not supported)\b.*\w+ \w"
)


@dataclass(frozen=True)
class Job:
    """What is to be built. `facts` go into project_data.json; `secrets` to the signing step alone."""

    source: Source
    name: str
    project_id: str
    formats: tuple[str, ...]
    version: str
    build_number: int
    flags: Mapping[str, Any] = field(default_factory=dict)
    clean: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    seconds_max: float = float("inf")


@dataclass(frozen=True)
class Made:
    """One packed plug-in. `validation` is passed, failed or skipped, with what was found."""

    format: str
    file_name: str
    path: Path
    size: int
    sha256: str
    content_type: str
    is_signed: bool
    validation: str
    validation_detail: str


class Reports(Protocol):
    """Whoever wants to know how far a build is."""

    def step(self, name: str) -> None:
        """A step begins."""

    def checked_out(self, checkout: Checkout) -> str:
        """The source is here; what version it is."""

    def token_for(self, url: str) -> str:
        """What lets git read a submodule at this address; empty where there is nothing."""

    def stop(self) -> bool:
        """Whether the build is to stop."""


@dataclass(frozen=True)
class Workshop:
    """What builds share on one runner."""

    sandbox: Sandbox
    limits: Limits
    outside: Outside
    room: Path
    jobs: int = 2

    def build(self, job: Job, log: Log, reports: Reports) -> list[Made]:
        """Build a job; raises BuildFailed and Cancelled. What was made lies below `room` until the next build."""
        cache = self.room / "cache" / (job.project_id or "none")
        rooms = Rooms(self.room / "build", self.room / "build" / "cache" if job.clean else cache)
        rooms.make()
        deadline = time.monotonic() + min(self.limits.total_seconds, job.seconds_max)
        run = _Run(self, job, rooms, log, reports, deadline)
        try:
            return run.all()
        finally:
            self._bound(cache)

    def clear(self) -> None:
        """Remove what the last build has left, but for its cache."""
        shutil.rmtree(self.room / "build", ignore_errors=True)

    def _bound(self, cache: Path) -> None:
        """Let the caches of all projects not grow beyond their size: the ones longest unused go first."""
        if cache.is_dir():
            cache.touch()
        folders = sorted((self.room / "cache").glob("*"), key=lambda each: each.stat().st_mtime, reverse=True)
        total = 0
        for each in folders:
            total += disk_use(each)
            if total > self.limits.cache_bytes:
                shutil.rmtree(each, ignore_errors=True)


@dataclass
class _Run:
    shop: Workshop
    job: Job
    rooms: Rooms
    log: Log
    reports: Reports
    deadline: float

    def all(self) -> list[Made]:
        sandbox = self.shop.sandbox
        self.log.say(f"Isolation of this build: {sandbox.level}")
        self.reports.step("fetching")
        git = Git(sandbox, self.rooms, self.shop.limits, self.log, self.shop.outside, self.reports.stop, self.deadline)
        checkout = fetch(self.job.source, git, self.reports.token_for)
        version = self.reports.checked_out(checkout)
        self.log.say(f"Version {version}, build {self.job.build_number}")
        tool, recipe = detect(self.rooms.source)
        self.log.say(f"Building with {tool}")
        self._check_packages(recipe)
        wish = Wish(
            self.job.name, version, self.job.build_number, self.job.flags, self.shop.jobs, bool(shutil.which("ccache"))
        )
        places = self.rooms.places(inside=sandbox.inside)
        if write_project_data(self.rooms.source, recipe, self.job.facts, wish):
            self.log.say("Wrote resources/project_data.json")
        sandbox.own(self.rooms.root)
        sandbox.own(self.rooms.cache)
        if recipe.network != "prepare":
            for name in web_interfaces(self.rooms.source, recipe):
                self.log.say(f'{name}/ is taken as it is: for npm the recipe has to say network = "prepare"')
        for step in (*preparation(self.rooms.source, recipe, places), *plan(tool, recipe, wish, places)):
            self._run(step)
        found = self._collect(recipe)
        signed = self._sign(recipe, found)
        return self._pack(recipe, found, signed)

    def _run(self, step: Step) -> None:
        self.reports.step(step.name)
        self.log.say(f"{step.name}: {' '.join(step.argv)}"[:2000])
        if self.shop.sandbox.program(step) is None and not step.optional:
            tool = step.argv[0]
            raise BuildFailed("tool_missing", f"This runner has no {tool}, which the step {step.name} needs.")
        status = self._status(step, self.log)
        if not status:
            return
        if step.optional:
            self.log.say(f"The step {step.name} ended with status {status}; going on with what there is")
            return
        code = "step_failed" if status != NOT_STARTED else "tool_missing"
        reason = self.log.first_error or f"The step {step.name} ended with status {status}."
        raise BuildFailed(code, reason)

    def _status(self, step: Step, log: Log, seconds: float | None = None) -> int:
        limits = self.shop.limits if seconds is None else replace(self.shop.limits, step_seconds=seconds)
        return self.shop.sandbox.run(step, self.rooms, log, limits, stop=self.reports.stop, deadline=self.deadline)

    def _check_packages(self, recipe: Recipe) -> None:
        if not recipe.packages or not shutil.which("dpkg-query"):
            return
        missing = [each for each in recipe.packages if not _is_installed(each)]
        if missing:
            raise BuildFailed("packages_missing", f"This runner lacks what the recipe needs: {', '.join(missing)}.")

    def _collect(self, recipe: Recipe) -> list[Found]:
        self.reports.step("collecting")
        rooms = self.rooms
        found = collect((rooms.work / "stage", rooms.work / "build", rooms.source, rooms.home), recipe.artifacts)
        wanted = [each for each in found if not self.job.formats or each.format in self.job.formats]
        missing = [each for each in self.job.formats if not any(one.format == each for one in wanted)]
        if missing or not wanted:
            instead = sorted({f"{each.file_name} ({each.format})" for each in found})[:FOUND_INSTEAD_MAX]
            said = f"Found instead: {', '.join(instead)}." if instead else "No plug-in was found at all."
            wish = ", ".join(missing) or "any that is known"
            raise BuildFailed("no_artifacts", f"Nothing was built in the format {wish}. {said}")
        return unique(wanted)

    def _sign(self, recipe: Recipe, found: list[Found]) -> bool:
        if not recipe.sign or not self.job.secrets:
            if recipe.sign:
                self.log.say("Not signed: the project has no secrets for that")
            return False
        self.reports.step("signing")
        places = self.rooms.places(inside=self.shop.sandbox.inside)
        for each in found:
            artifact = self._inside(each.path)
            for line in recipe.sign:
                env = {**self.job.secrets, "ARTIFACT": artifact, "FORMAT": each.format}
                folder = places.source / recipe.subdir
                step = Step("signing", ("/bin/sh", "-ec", line), folder, env, network=True)
                printed = Log(head=1 << 16, tail=1 << 16, masked=self.job.secrets.values())
                status = self._status(step, printed)
                printed.close()
                told = printed.take(1 << 18)
                self.log.write(told)
                if status:
                    lines = [one.strip() for one in told.decode(errors="replace").splitlines() if one.strip()]
                    telling = [one for one in lines if REFUSAL.search(one)] or lines[-1:]
                    reason = telling[0] if telling else f"the tool ended with status {status}"
                    raise BuildFailed("signing_failed", f"{each.file_name} could not be signed: {reason[:300]}")
        return True

    def _pack(self, recipe: Recipe, found: list[Found], signed: bool) -> list[Made]:
        packed = self.rooms.root / "packed"
        packed.mkdir()
        made = []
        for number, each in enumerate(found):
            verdict, detail = self._validate(recipe, each)
            target = packed / str(number)
            pack(each, target)
            with target.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            kind = "application/zip" if each.is_bundle else "application/octet-stream"
            size = target.stat().st_size
            made.append(Made(each.format, each.file_name, target, size, digest, kind, signed, verdict, detail))
            self.log.say(f"{each.file_name} ({each.format}): {size} bytes, sha256 {digest}")
        return made

    def _validate(self, recipe: Recipe, found: Found) -> tuple[str, str]:
        """Whether the plug-in can be loaded, and what was said of it; a strict recipe wants it to be."""
        if recipe.validate == "none":
            return "skipped", "the recipe asks for none"
        self.reports.step("validating")
        checker = _checker(found.format, self.shop.sandbox)
        if checker is None:
            return "skipped", _LACKING.get(found.format, f"there is no check for {found.format}")
        place = self._inside(found.path)
        folder = PurePosixPath(place).parent
        # A copy, because the user of builds may not be let to where this program lies.
        checks = shutil.copyfile(CHECKS, self.rooms.root / CHECKS.name)
        checks.chmod(0o644)
        reads = (str(checks), *checker.reads)
        command = (*checker.argv, str(checks), found.format, place)
        step = Step("validating", command, folder, checker.env, reads=reads)
        printed = Log(head=1 << 16, tail=1 << 14)
        try:
            status = self._status(step, printed, CHECK_SECONDS)
        except BuildFailed as problem:
            if problem.code != "timeout":
                raise
            status = 1
            printed.write(b"it did not end within its time")
        printed.close()
        said = " ".join(printed.take(1 << 17).decode(errors="replace").split())[-500:]
        self.log.say(f"{found.file_name}: {'loads' if not status else 'does not load'}: {said}")
        if status and recipe.validate == "strict":
            raise BuildFailed("validation_failed", f"{found.file_name} does not load: {said}")
        return ("failed" if status else "passed"), said

    def _inside(self, path: Path) -> str:
        """Where a step finds a file of this machine."""
        if not self.shop.sandbox.inside:
            return str(path)
        places = self.rooms.places(inside=True)
        for here, there in (
            (self.rooms.source, places.source),
            (self.rooms.work, places.build.parent),
            (self.rooms.home, places.home),
        ):
            if path.is_relative_to(here):
                return str(there / path.relative_to(here).as_posix())
        raise AssertionError(path)


@dataclass(frozen=True)
class _Checker:
    """A Python that a step can run, and what of this machine it reads for that."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()


#: What a runner would need to check a format.
_LACKING = {
    "lv2": "this runner has no lv2info (lilv-utils) to read it with",
    "vst3": "this runner has no pedalboard to load it with",
}


def _checker(kind: str, sandbox: Sandbox) -> _Checker | None:
    if kind == "clap" or (kind == "lv2" and shutil.which("lv2info")):
        return _Checker(("python3", "-I"))
    found = importlib.util.find_spec("pedalboard") if kind == "vst3" else None
    if found is None or found.origin is None:
        return None
    libraries = Path(found.origin).parents[1]
    own = (sys.prefix, sys.base_prefix, str(libraries))
    if all(sandbox.reaches(Path(each)) for each in own):
        return _Checker((sys.executable,), reads=tuple(dict.fromkeys(own)))
    # Ours lies where the user of builds may not go, as in root's home; the machine's own takes the same libraries.
    python = Path("/usr/bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    if python.exists() and sandbox.reaches(libraries):
        return _Checker((str(python),), {"PYTHONPATH": str(libraries)}, (str(libraries),))
    return None


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", "--", package]
    found = subprocess.run(query, check=False, capture_output=True, text=True, env={"PATH": PATH})  # noqa: S603
    return found.returncode == 0 and found.stdout.startswith("installed")
