"""Workflows of GitHub Actions: run for a build, followed, ended, and what they leave (REST API 2022-11-28)."""

from __future__ import annotations

import asyncio
import base64
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from adapters.builds.bundles import Unpacking, plug_ins
from adapters.github.app import GithubApp, GithubUnavailable
from adapters.provides import provides
from adapters.runner.logs import Log
from commands.builds import ports
from commands.builds.ports import FoundSource, NotDone, NotNow, Place, PlugIn, RunFailure, RunLook, RunPlace
from commands.ports import Web
from domain.builds.settings import Builds

PAGES_MAX = 10
#: Runs that are looked through for one with the id of a build in its name: those of the last while.
RUNS_LOOKED_AT = 100
ARTIFACTS_MAX = 100
LOG_BYTES_MAX = 64 << 20
DOWNLOAD_SECONDS_MAX = 1200.0
LOG_SECONDS_MAX = 60.0
STEP_LENGTH_MAX = 60
VERSION_FILE_BYTES_MAX = 256
COMMIT = re.compile("[0-9a-f]{40}")
#: What GitHub puts before every line of a log.
_MOMENT = re.compile(rb"^\xef?\xbb?\xbf?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ", re.MULTILINE)
_WORD = re.compile("[^a-z_]")

#: What the conclusions of a run mean, where no step of it has failed.
CONCLUSIONS = {
    "timed_out": "The run took longer than GitHub allows.",
    "action_required": "The run needs an approval at GitHub before it may go on.",
    "neutral": "The run ended at GitHub without saying that it worked.",
    "skipped": "GitHub has skipped the run: the conditions of its workflow let no job run.",
    "stale": "GitHub has given the run up, because nothing was heard of it for too long.",
    "startup_failure": "GitHub could not start the run: look for mistakes in the workflow's file.",
}


class GithubWorkflows(ports.Workflows):
    """See `commands.builds.ports.Workflows`."""

    def __init__(self, app: GithubApp, web: Web, artifact_bytes_max: int) -> None:
        self._app = app
        self._web = web
        self._artifact_bytes_max = artifact_bytes_max

    def repository(self, source_url: str) -> str | None:
        """The full name of a repository at GitHub; None for what is elsewhere."""
        if not self._app.is_set_up or not source_url.startswith(self._app.web):
            return None
        return source_url.removeprefix(self._app.web).removesuffix("/").removesuffix(".git")

    async def source(self, place: Place, ref: str, commit_sha: str) -> FoundSource:
        """What a branch, a tag or a commit is; the repository's own branch where neither is given."""
        name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        branch = name
        if not name or COMMIT.fullmatch(name):
            # A workflow is run on a branch or a tag; the commit is told to it.
            branch = str((await self._told(place, "")).get("default_branch") or "main")
        commit = commit_sha or (name if COMMIT.fullmatch(name) else "")
        if not commit:
            kind = "tags/" if ref.startswith("refs/tags/") else ""
            # GitHub calls a name that nothing has unprocessable, and a repository without any commit a conflict.
            found = await self._told(
                place, f"/commits/{quote(kind + branch)}", missing=f"no branch or tag {branch}", absent=(404, 409, 422)
            )
            commit = str(found.get("sha"))
        tags = [name] if ref.startswith("refs/tags/") else await self._tags(place, commit)
        return FoundSource(
            ref=branch, commit_sha=commit, tags=tuple(tags[:32]), version_file=await self._version(place, commit)
        )

    async def _tags(self, place: Place, commit: str) -> list[str]:
        found: list[str] = []
        for page in range(1, PAGES_MAX + 1):
            status, answer = await self._ask(place, "GET", f"/tags?per_page=100&page={page}")
            listed = answer if status == 200 and isinstance(answer, list) else []
            found += [str(each["name"]) for each in listed if each["commit"]["sha"] == commit]
            if len(listed) < 100:
                break
        return found

    async def _version(self, place: Place, commit: str) -> str | None:
        status, answer = await self._ask(place, "GET", f"/contents/VERSION?ref={commit}")
        if status != 200 or not isinstance(answer, dict):
            return None
        try:
            begins = base64.b64decode(str(answer.get("content")))[:VERSION_FILE_BYTES_MAX]
            return begins.decode(errors="replace").strip().partition("\n")[0].strip() or None
        except ValueError:
            return None

    async def dispatch(self, place: Place, workflow: str, ref: str, inputs: Mapping[str, str]) -> RunPlace | None:
        """Run a workflow; None where GitHub does not say which run that has become."""
        path = f"/actions/workflows/{quote(workflow)}/dispatches"
        body: dict[str, Any] = {"ref": ref, "inputs": dict(inputs)}
        status, answer = await self._ask(place, "POST", path, {**body, "return_run_details": True})
        if status in (400, 422):
            # Servers of one's own that are older know no such wish; whatever else is wrong is wrong again.
            status, answer = await self._ask(place, "POST", path, body)
        if status == 204:
            return None
        if status == 200 and isinstance(answer, dict) and isinstance(answer.get("workflow_run_id"), int):
            return RunPlace(run_id=answer["workflow_run_id"], url=str(answer.get("html_url", "")))
        raise _refusal(status, answer, place, workflow)

    async def find(self, place: Place, workflow: str, build_id: str) -> RunPlace | None:
        """The run that has the id of a build in its name, if there is one."""
        path = f"/actions/workflows/{quote(workflow)}/runs?event=workflow_dispatch&per_page={RUNS_LOOKED_AT}"
        status, answer = await self._ask(place, "GET", path)
        if status != 200 or not isinstance(answer, dict):
            raise _refusal(status, answer, place, workflow)
        for each in answer.get("workflow_runs", []):
            if build_id in str(each.get("display_title", "")):
                return RunPlace(run_id=int(each["id"]), url=str(each.get("html_url", "")))
        return None

    async def look(self, place: Place, run_id: int) -> RunLook:
        """How a run stands."""
        run = await self._told(place, f"/actions/runs/{run_id}", missing="no such run any more")
        status, conclusion = str(run.get("status")), str(run.get("conclusion") or "")
        if status == "completed":
            over = {"success": "success", "cancelled": "cancelled"}.get(conclusion, "failed")
            return RunLook(status=over, conclusion=conclusion)  # type: ignore[arg-type]  # one of the three
        if status != "in_progress":
            return RunLook(status="queued")
        step, progress = _progress(await self._jobs(place, run_id))
        return RunLook(status="running", step=step, progress=progress)

    async def _jobs(self, place: Place, run_id: int) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = []
        for page in range(1, PAGES_MAX + 1):
            path = f"/actions/runs/{run_id}/jobs?per_page=100&page={page}"
            found = (await self._told(place, path, missing="no such run any more")).get("jobs", [])
            jobs += found
            if len(found) < 100:
                break
        return jobs

    async def failure(self, place: Place, run_id: int, conclusion: str) -> RunFailure:
        """Why a run that is over has come to nothing."""
        code = f"run_{_WORD.sub('', conclusion) or 'failed'}"[:60]
        sentence = CONCLUSIONS.get(conclusion, "The run failed at GitHub.")
        job = next((each for each in await self._jobs(place, run_id) if _has_failed(each)), None)
        if job is None:
            return RunFailure(code=code, sentence=sentence)
        where = f"the job “{job.get('name')}”"
        if step := next((each for each in job.get("steps") or [] if _has_failed(each)), None):
            where = f"the step “{step.get('name')}” of {where}"
        if conclusion == "failure":
            sentence = f"{where[0].upper()}{where[1:]} failed at GitHub."
        printed = await self._log(place, int(job.get("id") or 0))
        log = Log()
        log.write(printed)
        log.close()
        if log.first_error:
            sentence = f"{log.first_error} ({where})"
        return RunFailure(code=code, sentence=sentence[:2000], log=log.take(LOG_BYTES_MAX))

    async def _log(self, place: Place, job_id: int) -> bytes:
        """What a job has printed; nothing where GitHub does not keep it."""
        try:
            with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
                path = Path(directory, "log")
                await self._download(
                    place, f"/actions/jobs/{job_id}/logs", path, LOG_BYTES_MAX, LOG_SECONDS_MAX, "its log"
                )
                return _MOMENT.sub(b"", await asyncio.to_thread(path.read_bytes))
        except (NotDone, NotNow):
            return b""

    async def cancel(self, place: Place, run_id: int) -> None:
        """End a run; nothing happens where it is over."""
        status, answer = await self._ask(place, "POST", f"/actions/runs/{run_id}/cancel")
        if status not in (202, 404, 409):
            raise _refusal(status, answer, place, "")

    async def plug_ins(self, place: Place, run_id: int, folder: Path) -> Sequence[PlugIn]:
        """The plug-ins among the artifacts of a run, packed into a folder."""
        found = await self._told(
            place, f"/actions/runs/{run_id}/artifacts?per_page={ARTIFACTS_MAX}", missing="no such run any more"
        )
        listed: list[dict[str, Any]] = found.get("artifacts", [])
        if found.get("total_count", 0) > ARTIFACTS_MAX:
            raise NotDone("artifact_refused", f"The run has left more than {ARTIFACTS_MAX} artifacts.")
        unpacked, packed = folder / "unpacked", folder / "packed"
        unpacked.mkdir()
        packed.mkdir()
        unpacking = Unpacking(unpacked, 2 * self._artifact_bytes_max)
        # A run that was begun again may have left the same name twice: the later one counts.
        newest = {str(each.get("name")): each for each in sorted(listed, key=lambda one: int(one["id"]))}
        for name, each in sorted(newest.items()):
            if each.get("expired") or not re.fullmatch(r"[^/\\\x00-\x1f:]{1,200}", name) or name in (".", ".."):
                continue
            archive = folder / "artifact.zip"
            path = f"/actions/artifacts/{int(each['id'])}/zip"
            kind = await self._download(
                place, path, archive, self._artifact_bytes_max, DOWNLOAD_SECONDS_MAX, f"the artifact {name}"
            )
            await asyncio.to_thread(unpacking.take, archive, name, kind)
            archive.unlink()
        return await asyncio.to_thread(plug_ins, unpacked, packed)

    async def _download(self, place: Place, path: str, to: Path, size_max: int, seconds_max: float, what: str) -> str:
        """Fetch what GitHub keeps elsewhere: it answers where, and nothing of ours is told there. Gives its type."""
        answer = await self._request(place, "GET", path)
        location = answer.headers.get("Location", "")
        if answer.status not in (301, 302, 307) or not location:
            raise NotDone("artifact_refused", f"GitHub does not give out {what} of the run any more.")
        try:
            return (await self._web.fetch(location, to, size_max=size_max, seconds_max=seconds_max)).content_type
        except Exception as problem:
            if not hasattr(problem, "transient"):
                raise
            said = f"GitHub's store did not give out {what} of the run: {problem}"
            raise (NotNow(said) if problem.transient else NotDone("artifact_refused", said)) from problem

    async def _told(
        self, place: Place, path: str, missing: str = "no such repository", absent: Collection[int] = (404,)
    ) -> dict[str, Any]:
        status, answer = await self._ask(place, "GET", path)
        if status in absent:
            raise NotDone("not_at_github", f"GitHub shows our app {missing} in {place.full_name}.")
        if status != 200 or not isinstance(answer, dict):
            raise _refusal(status, answer, place, "")
        return answer

    async def _ask(self, place: Place, method: str, path: str, body: object = None) -> tuple[int, Any]:
        answer = await self._request(place, method, path, body)
        return answer.status, answer.body

    async def _request(self, place: Place, method: str, path: str, body: object = None) -> Any:
        try:
            answer = await self._app.as_installation(
                place.installation_id, place.full_name, method, f"/repos/{place.full_name}{path}", body
            )
        except GithubUnavailable as away:
            raise NotNow(str(away)) from away
        if answer is None:
            raise NotDone(
                "workflow_not_allowed",
                f"GitHub gives our app no token for {place.full_name}: its installation there must include this "
                "repository and have the permission Actions, read and write.",
            )
        return answer


def _has_failed(part: dict[str, Any]) -> bool:
    return part.get("conclusion") in ("failure", "timed_out", "startup_failure")


def _progress(jobs: Sequence[dict[str, Any]]) -> tuple[str, int]:
    """The step that a run is at, and how many of those that are known are done, in percent."""
    steps = [(str(job.get("name")), step) for job in jobs for step in job.get("steps") or []]
    done = sum(step.get("status") == "completed" for _, step in steps)
    now = next((f"{job}: {step.get('name')}" for job, step in steps if step.get("status") == "in_progress"), "")
    return now[:STEP_LENGTH_MAX], 100 * done // len(steps) if steps else 0


def _refusal(status: int, answer: Any, place: Place, workflow: str) -> Exception:
    """What it means that GitHub does not do it."""
    said = str(answer.get("message", ""))[:300] if isinstance(answer, dict) else ""
    if status in (301, 302, 307, 308):
        return NotDone(
            "not_at_github", f"{place.full_name} is called otherwise at GitHub by now. Link the repository again."
        )
    if status == 404:
        return NotDone(
            "workflow_not_found", f"There is no workflow {workflow} in {place.full_name} that our app may see."
        )
    if status == 403:
        return NotDone(
            "workflow_not_allowed",
            f"GitHub does not let our app run workflows in {place.full_name}: {said or 'no reason given'}. "
            "It needs the permission Actions, read and write.",
        )
    if status == 422:
        return NotDone("workflow_refused", f"GitHub does not run {workflow} like that: {said or 'no reason given'}.")
    return NotNow(f"GitHub answered {status}. {said}".strip())


@provides
def workflows(app: GithubApp, web: Web, settings: Builds) -> GithubWorkflows:
    """Workflows at GitHub."""
    return GithubWorkflows(app, web, settings.artifact_bytes_max)
