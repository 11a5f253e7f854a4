"""GitHub Actions as the service asks for it, on this machine: workflows, their runs, and what those leave."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

INPUTS = frozenset(
    "build_id commit_sha version_number build_number platforms formats release_type flags clean_build".split()  # noqa: SIM905
)
HEAD = "a" * 40
Query = dict[str, list[str]]


PRIMARY = (
    403,
    "API rate limit exceeded for installation ID 7.",
    {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1790000000"},
)
#: What GitHub says of the keys of a dispatch.
PERMITTED = frozenset({"ref", "inputs", "return_run_details"})
INPUTS_MAX, INPUT_CHARACTERS_MAX = 25, 65_535
PER_PAGE, PER_PAGE_MAX = 30, 100


@dataclass
class Run:
    """One run of a workflow, and what has come of it so far."""

    id: int
    workflow: str
    ref: str
    inputs: dict[str, str]
    title: str
    status: str = "queued"
    conclusion: str | None = None
    jobs: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    #: Names of artifacts that were left as the one file that they are, and of those that GitHub has thrown away.
    unzipped: set[str] = field(default_factory=set)
    expired: set[str] = field(default_factory=set)
    logs: dict[int, bytes] = field(default_factory=dict)
    url: str = "https://github.com/ada/my-plugin/actions/runs/1"

    def told(self) -> dict[str, Any]:
        """As GitHub tells of it."""
        return {
            "id": self.id,
            "display_title": self.title,
            "event": "workflow_dispatch",
            "path": f".github/workflows/{self.workflow}",
            "status": self.status,
            "conclusion": self.conclusion,
            "head_sha": HEAD,
            "html_url": self.url,
        }

    def runs(self, job: str, *steps: tuple[str, str]) -> None:
        """It is at one of these steps, each with its status."""
        self.status = "in_progress"
        told = [{"name": name, "status": status, "conclusion": None} for name, status in steps]
        self.jobs = [{"id": self.id * 10, "name": job, "status": "in_progress", "conclusion": None, "steps": told}]

    def succeeds(self, **artifacts: bytes) -> None:
        """It is over, and has left these."""
        self.status, self.conclusion, self.artifacts = "completed", "success", artifacts

    def fails(self, job: str, step: str, printed: str = "") -> None:
        """A step of a job has failed."""
        self.status, self.conclusion = "completed", "failure"
        steps = [
            {"name": "Set up job", "status": "completed", "conclusion": "success"},
            {"name": step, "status": "completed", "conclusion": "failure"},
        ]
        self.jobs = [{"id": self.id * 10, "name": job, "status": "completed", "conclusion": "failure", "steps": steps}]
        self.logs[self.id * 10] = printed.encode()


class LittleActions:
    """The workflows and runs of ada's repositories. `old` knows no `return_run_details`, as servers of one's own."""

    def __init__(self, store: str) -> None:
        self.workflows = {"build.yml": INPUTS}
        #: Inputs that the workflow wants, and workflows that nobody may dispatch, with what GitHub says of that.
        self.required = frozenset({"build_id", "commit_sha"})
        self.not_dispatched: dict[str, str] = {}
        self.runs: list[Run] = []
        self.named = True
        #: The status with which an older server refuses a wish that it does not know; 0: it knows it.
        self.old = 0
        #: What is asked next so often is one question too many, and how that is said.
        self.busy = 0
        self.busy_says: tuple[int, str, dict[str, str]] = PRIMARY
        #: Whether the repository is called otherwise by now.
        self.moved = False
        self.version_file: str | None = None
        self.tags: dict[str, str] = {}
        self.branches = {"main": HEAD, "next": "b" * 40}
        self.granted = True
        self._store = store

    def run_of(self, build_id: str) -> Run:
        """The one run of a build."""
        found = [each for each in self.runs if each.inputs.get("build_id") == build_id]
        assert len(found) == 1, f"{len(found)} runs of {build_id}"
        return found[0]

    def answer(self, method: str, path: str, query: str, sent: Any) -> tuple[int, Any, dict[str, str]]:
        """What is asked of `/repos/ada/my-plugin` and what is in it: status, body, headers."""
        if self.busy:
            self.busy -= 1
            status, message, limits = self.busy_says
            return status, {"message": message}, limits
        if self.moved:
            place = {"Location": f"{self._store}/repositories/1{path}"}
            return 301 if method == "GET" else 307, {"message": "Moved Permanently"}, place
        for pattern, method_of, answer in (
            (r"", "GET", self._repository),
            (r"/commits/(.+)", "GET", self._commit),
            (r"/tags", "GET", self._tags),
            (r"/contents/VERSION", "GET", self._version),
            (r"/actions/workflows/([^/]+)/dispatches", "POST", self._dispatch),
            (r"/actions/workflows/([^/]+)/runs", "GET", self._runs),
            (r"/actions/runs/(\d+)", "GET", self._run),
            (r"/actions/runs/(\d+)/jobs", "GET", self._jobs),
            (r"/actions/runs/(\d+)/cancel", "POST", self._cancel),
            (r"/actions/runs/(\d+)/artifacts", "GET", self._artifacts),
            (r"/actions/artifacts/(\d+)/zip", "GET", self._moved),
            (r"/actions/jobs/(\d+)/logs", "GET", self._log),
        ):
            found = re.fullmatch(pattern, path)
            if found and method_of == method:
                return answer(*found.groups(), query=parse_qs(query), sent=sent)
        return 404, {"message": "Not Found"}, {}

    def stored(self, name: str) -> tuple[bytes, str] | None:
        """What lies in the store elsewhere, to which GitHub leads, and its type."""
        kind, _, number = name.partition("-")
        for run in self.runs:
            if kind == "log" and int(number) in run.logs:
                return run.logs[int(number)], "text/plain; charset=utf-8"
            for nth, (called, data) in enumerate(run.artifacts.items()):
                if kind == "artifact" and int(number) == run.id * 100 + nth:
                    return data, "application/octet-stream" if called in run.unzipped else "application/zip"
        return None

    def _repository(self, **_: Any) -> tuple[int, Any, dict[str, str]]:
        return 200, {"full_name": "ada/my-plugin", "default_branch": "main"}, {}

    def _commit(self, ref: str, **_: Any) -> tuple[int, Any, dict[str, str]]:
        sha = self.tags.get(ref.removeprefix("tags/")) if ref.startswith("tags/") else self.branches.get(ref)
        return (200, {"sha": sha}, {}) if sha else (422, {"message": f"No commit found for SHA: {ref}"}, {})

    def _tags(self, *, query: Query, **_: Any) -> tuple[int, Any, dict[str, str]]:
        return 200, _page([{"name": name, "commit": {"sha": sha}} for name, sha in self.tags.items()], query), {}

    def _version(self, **_: Any) -> tuple[int, Any, dict[str, str]]:
        if self.version_file is None:
            return 404, {"message": "Not Found"}, {}
        text = base64.b64encode(self.version_file.encode()).decode()
        return 200, {"size": len(self.version_file), "content": text, "encoding": "base64"}, {}

    def _dispatch(self, workflow: str, *, sent: Any, **_: Any) -> tuple[int, Any, dict[str, str]]:
        if workflow not in self.workflows:
            return 404, {"message": "Not Found"}, {}
        unknown = sorted({*sent} - PERMITTED) or (
            ["return_run_details"] if self.old and "return_run_details" in sent else []
        )
        if unknown:
            said = f'Invalid request.\n\n"{unknown[0]}" is not a permitted key.'
            return self.old or 422, {"message": said}, {}
        if workflow in self.not_dispatched:
            return 422, {"message": self.not_dispatched[workflow]}, {}
        inputs = sent.get("inputs", {})
        if not isinstance(sent.get("ref"), str) or not all(isinstance(each, str) for each in inputs.values()):
            return 422, {"message": "Invalid request.\n\nFor 'properties/ref', nil is not a string."}, {}
        if sent["ref"].removeprefix("refs/heads/").removeprefix("refs/tags/") not in {*self.branches, *self.tags}:
            return 422, {"message": f"No ref found for: {sent['ref']}"}, {}
        if len(inputs) > INPUTS_MAX or len(json.dumps(inputs)) > INPUT_CHARACTERS_MAX:
            return 422, {"message": "inputs are too large."}, {}
        if unexpected := sorted({*inputs} - self.workflows[workflow]):
            return 422, {"message": f"Unexpected inputs provided: {json.dumps(unexpected)}"}, {}
        if lacking := sorted(name for name in self.required & self.workflows[workflow] if not inputs.get(name)):
            return 422, {"message": f"Required input '{lacking[0]}' not provided"}, {}
        run = Run(
            id=30433642 + len(self.runs),
            workflow=workflow,
            ref=sent["ref"],
            inputs=sent["inputs"],
            title=f"Build {sent['inputs']['build_id']}" if self.named else "Build",
        )
        self.runs.append(run)
        if not sent.get("return_run_details"):
            return 204, None, {}
        return 200, {"workflow_run_id": run.id, "run_url": f"/runs/{run.id}", "html_url": run.url}, {}

    def _runs(self, workflow: str, *, query: Query, **_: Any) -> tuple[int, Any, dict[str, str]]:
        if workflow not in self.workflows:
            return 404, {"message": "Not Found"}, {}
        found = [each.told() for each in reversed(self.runs) if each.workflow == workflow]
        found = [each for each in found if query.get("event", [each["event"]]) == [each["event"]]]
        return 200, {"total_count": len(found), "workflow_runs": _page(found, query)}, {}

    def _at(self, number: str) -> Run | None:
        return next((each for each in self.runs if each.id == int(number)), None)

    def _run(self, number: str, **_: Any) -> tuple[int, Any, dict[str, str]]:
        run = self._at(number)
        return (200, run.told(), {}) if run else (404, {"message": "Not Found"}, {})

    def _jobs(self, number: str, *, query: Query, **_: Any) -> tuple[int, Any, dict[str, str]]:
        run = self._at(number)
        if run is None:
            return 404, {"message": "Not Found"}, {}
        return 200, {"total_count": len(run.jobs), "jobs": _page(run.jobs, query)}, {}

    def _cancel(self, number: str, **_: Any) -> tuple[int, Any, dict[str, str]]:
        run = self._at(number)
        if run is None:
            return 404, {"message": "Not Found"}, {}
        if run.status == "completed":
            return 409, {"message": "Cannot cancel a workflow run that is completed."}, {}
        run.status, run.conclusion = "completed", "cancelled"
        return 202, {}, {}

    def _artifacts(self, number: str, *, query: Query, **_: Any) -> tuple[int, Any, dict[str, str]]:
        run = self._at(number)
        if run is None:
            return 404, {"message": "Not Found"}, {}
        found = [
            {"id": run.id * 100 + nth, "name": name, "size_in_bytes": len(data), "expired": name in run.expired}
            for nth, (name, data) in enumerate(run.artifacts.items())
        ]
        return 200, {"total_count": len(found), "artifacts": _page(found, query)}, {}

    def _moved(self, number: str, **_: Any) -> tuple[int, Any, dict[str, str]]:
        for run in self.runs:
            for nth, name in enumerate(run.artifacts):
                if int(number) == run.id * 100 + nth and name in run.expired:
                    return 410, {"message": "Artifact has expired"}, {}
        return self._led(f"artifact-{number}")

    def _log(self, number: str, **_: Any) -> tuple[int, Any, dict[str, str]]:
        return self._led(f"log-{number}")

    def _led(self, name: str) -> tuple[int, Any, dict[str, str]]:
        if self.stored(name) is None:
            return 404, {"message": "Not Found"}, {}
        return 302, None, {"Location": f"{self._store}/store/{name}?sig=abc"}


def _page(found: list[Any], query: Query) -> list[Any]:
    """One page of a list: 30 where nobody says how many, and never more than 100."""
    size = min(int(query.get("per_page", [str(PER_PAGE)])[0]), PER_PAGE_MAX)
    begin = (int(query.get("page", ["1"])[0]) - 1) * size
    return found[begin : begin + size]


def zipped(files: Mapping[str, bytes]) -> bytes:
    """An artifact as `actions/upload-artifact` makes it: no permissions, no links."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return made.getvalue()
