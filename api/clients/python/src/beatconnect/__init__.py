"""A client of the plug-in studio: builds, artifacts, projects, repositories and activation keys.

    from beatconnect import BeatConnectSDK

    sdk = BeatConnectSDK(token="...")
    build = sdk.builds.create(project_id="...", platforms=["linux"], formats=["vst3"])
    status = sdk.builds.get(build["id"])

Answers are the JSON of the service, as dictionaries with the types below. What the service refuses is a
`BeatConnectError` with its status, code, sentence and details; a service that does not answer is an `httpx.HTTPError`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypedDict
from urllib.parse import quote

import httpx

__all__ = [
    "ActivationKey",
    "Artifact",
    "BeatConnectError",
    "BeatConnectSDK",
    "Build",
    "Project",
    "verify_webhook",
]

#: Where the service is that this client was downloaded from; BEATCONNECT_URL and `base_url` say otherwise.
DEFAULT_URL = "http://127.0.0.1:8000"

Platform = Literal["macos", "windows", "linux"]
Format = Literal["vst3", "au", "standalone", "clap", "lv2"]
ReleaseType = Literal["major", "minor", "patch", "dev", "release"]
Status = Literal["pending", "queued", "running", "success", "failed", "cancelled"]


class BuildMetadata(TypedDict):
    """How far a build is."""

    current_step: str | None
    step_progress: int | None


class Build(TypedDict):
    """One build."""

    id: str
    project_id: str
    status: Status
    version_number: str
    build_number: int
    platforms: list[Platform]
    formats: list[Format]
    release_type: ReleaseType
    flags: dict[str, bool | int | str]
    clean_build: bool
    trigger: str
    ref: str
    commit_sha: str | None
    metadata: BuildMetadata
    error_code: str | None
    error_message: str | None
    queued_at: str
    started_at: str | None
    completed_at: str | None
    github_run_url: str | None


class BuildList(TypedDict):
    """A page of builds, newest first."""

    builds: list[Build]
    total: int
    limit: int
    offset: int


class Artifact(TypedDict):
    """One plug-in in one format."""

    id: str
    platform: Platform
    format: Format
    file_name: str
    file_size: int
    checksum_sha256: str
    is_signed: bool
    download_count: int
    created_at: str
    content_type: str
    validation: str
    validation_detail: str


Artifacts = list[Artifact]


class Download(TypedDict):
    """Where an artifact is, for an hour."""

    url: str
    expires_at: str


class Usage(TypedDict):
    """Builds of this month."""

    period: str
    used: int
    limit: int | None
    remaining: int | None
    extra_builds: int
    reset_at: str


class Project(TypedDict):
    """A plug-in."""

    id: str
    name: str
    description: str
    visibility: Literal["private", "public"]
    platforms: list[Platform]
    formats: list[Format]
    rules: dict[str, Any]
    webhook_url: str | None
    created_at: str
    updated_at: str


class ActivationKey(TypedDict):
    """An activation key and how often it is used."""

    code: str
    key_type: str
    max_activations: int
    current_activations: int
    is_revoked: bool
    notes: str | None
    created_at: str


class BeatConnectError(Exception):
    """What the service has refused: its HTTP status, its code for machines, its sentence, and the particulars."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.status = status
        self.code = code
        self.message = message
        self.details = dict(details or {})


def verify_webhook(payload: bytes | str, signature: str, secret: str) -> bool:
    """Whether `X-BeatConnect-Signature` is that of a webhook's body under the secret of the project."""
    body = payload.encode() if isinstance(payload, str) else payload
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode(errors="replace"))


class BeatConnectSDK:
    """The studio, asked with a token: a session's or an API key. To be closed, or used in a `with` statement."""

    def __init__(
        self,
        token: str = "",
        *,
        base_url: str | None = None,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        url = (base_url or os.environ.get("BEATCONNECT_URL") or DEFAULT_URL).rstrip("/")
        headers = {"Accept": "application/json", "User-Agent": "beatconnect-python/1.0.0"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(base_url=f"{url}/functions/v1", headers=headers, timeout=timeout, transport=transport)
        self.builds = Builds(self._ask)
        self.projects = Projects(self._ask)
        self.repositories = Repositories(self._ask)
        self.github = Github(self._ask)
        self.activation = Activation(self._ask)
        self.sdk = Sdk(self._ask)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        answer = self._http.request(method, path, json=_given(body) if body is not None else None, params=_given(query))
        if answer.is_success:
            return answer.json() if answer.content else None
        try:
            told = answer.json()
        except ValueError:
            told = {}
        if not isinstance(told, dict):
            told = {}
        message = str(told.get("message") or answer.reason_phrase)
        raise BeatConnectError(answer.status_code, str(told.get("error", "")), message, told.get("details"))


def _given(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What was said; what is None was not."""
    return None if values is None else {name: value for name, value in values.items() if value is not None}


def _part(text: str) -> str:
    return quote(text, safe="")


class _Asking:
    def __init__(self, ask: Any) -> None:
        self._ask = ask


class Builds(_Asking):
    """Builds of plug-ins."""

    def create(
        self,
        project_id: str,
        *,
        platforms: Sequence[Platform] | None = None,
        formats: Sequence[Format] | None = None,
        release_type: ReleaseType | None = None,
        flags: Mapping[str, bool | int | str] | None = None,
        clean_build: bool | None = None,
        project_version_id: str | None = None,
        ref: str | None = None,
    ) -> Build:
        """Start a build. What is left out is as the project says."""
        body = {
            "project_id": project_id,
            "platforms": None if platforms is None else list(platforms),
            "formats": None if formats is None else list(formats),
            "release_type": release_type,
            "flags": None if flags is None else dict(flags),
            "clean_build": clean_build,
            "project_version_id": project_version_id,
            "ref": ref,
        }
        build: Build = self._ask("POST", "/builds", body)
        return build

    def get(self, build_id: str) -> Build:
        """How a build is now."""
        build: Build = self._ask("GET", f"/builds/{_part(build_id)}")
        return build

    def list(
        self,
        *,
        project_id: str | None = None,
        status: Status | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> BuildList:
        """Builds, newest first."""
        query = {"project_id": project_id, "status": status, "limit": limit, "offset": offset}
        found: BuildList = self._ask("GET", "/builds", None, query)
        return found

    def wait(self, build_id: str, *, timeout: float = 3600.0, every: float = 2.0) -> Build:
        """A build once it is over, whichever way; raises TimeoutError when that takes longer than `timeout` seconds."""
        ends = time.monotonic() + timeout
        while True:
            build = self.get(build_id)
            if build["status"] in ("success", "failed", "cancelled"):
                return build
            if time.monotonic() > ends:
                raise TimeoutError(f"the build {build_id} is still {build['status']}")
            time.sleep(every)

    def artifacts(self, build_id: str) -> Artifacts:
        """What came of a build."""
        found: Artifacts = self._ask("GET", f"/builds/{_part(build_id)}/artifacts")["artifacts"]
        return found

    def download(self, build_id: str, artifact_id: str) -> Download:
        """A link to an artifact, good for an hour."""
        found: Download = self._ask("GET", f"/builds/{_part(build_id)}/download/{_part(artifact_id)}")
        return found

    def cancel(self, build_id: str) -> dict[str, str]:
        """Cancel a build that is not over."""
        found: dict[str, str] = self._ask("POST", f"/builds/{_part(build_id)}/cancel")
        return found

    def usage(self) -> Usage:
        """How many builds of this month are used."""
        found: Usage = self._ask("GET", "/builds/usage")
        return found


class Projects(_Asking):
    """Plug-ins."""

    def create(self, name: str, **more: Any) -> Project:
        """A new project; `more` is as the reference has it: platforms, formats, rules, webhook_url ..."""
        project: Project = self._ask("POST", "/projects", {"name": name, **more})
        return project

    def get(self, project_id: str) -> Project:
        """One project."""
        project: Project = self._ask("GET", f"/projects/{_part(project_id)}")
        return project

    def list(self, *, limit: int | None = None, offset: int | None = None) -> list[Project]:
        """A page of projects, newest first."""
        found: list[Project] = self._ask("GET", "/projects", None, {"limit": limit, "offset": offset})["projects"]
        return found

    def change(self, project_id: str, **changes: Any) -> Project:
        """Change what is named."""
        project: Project = self._ask("PATCH", f"/projects/{_part(project_id)}", changes)
        return project


class Repositories(_Asking):
    """Where the sources of projects are."""

    def discover(self, *, every: bool = False) -> list[dict[str, Any]]:
        """Repositories of the connected account that have the topic beatconnect-plugin, or every one."""
        query = {"all": "true"} if every else None
        found: list[dict[str, Any]] = self._ask("GET", "/plugin-repos/discover", None, query)["repos"]
        return found

    def link(self, project_id: str, repo_full_name: str, *, branch: str | None = None) -> dict[str, Any]:
        """Link a repository to a project."""
        body = {"project_id": project_id, "repo_full_name": repo_full_name, "branch": branch}
        found: dict[str, Any] = self._ask("POST", "/plugin-repos/link", body)
        return found

    def unlink(self, project_id: str) -> dict[str, Any]:
        """Take the link away."""
        found: dict[str, Any] = self._ask("POST", "/plugin-repos/unlink", {"project_id": project_id})
        return found

    def create_and_link(
        self,
        repo_full_name: str,
        name: str,
        *,
        description: str | None = None,
        visibility: Literal["private", "public"] | None = None,
    ) -> dict[str, str]:
        """A new project with its source."""
        body = {
            "repo_full_name": repo_full_name,
            "name": name,
            "description": description,
            "visibility": visibility,
        }
        found: dict[str, str] = self._ask("POST", "/plugin-repos/create-and-link", body)
        return found


class Github(_Asking):
    """The connection with GitHub."""

    def status(self) -> dict[str, Any]:
        """Whether it is there, and with which account."""
        found: dict[str, Any] = self._ask("GET", "/github-app-callback/status")
        return found

    def disconnect(self) -> dict[str, Any]:
        """End it."""
        found: dict[str, Any] = self._ask("DELETE", "/github-app-callback/disconnect")
        return found


class Activation(_Asking):
    """Activation keys, and what plug-ins ask about them."""

    def activate(self, code: str, machine_id: str, **more: Any) -> dict[str, Any]:
        """Activate a license on a machine."""
        return self._about("activate", code, machine_id, more)

    def deactivate(self, code: str, machine_id: str, **more: Any) -> dict[str, Any]:
        """Take it off a machine."""
        return self._about("deactivate", code, machine_id, more)

    def validate(self, code: str, machine_id: str, **more: Any) -> dict[str, Any]:
        """Whether it is good on a machine: `valid`, and if not the `reason`."""
        return self._about("validate", code, machine_id, more)

    def _about(self, what: str, code: str, machine_id: str, more: Mapping[str, Any]) -> dict[str, Any]:
        body = {"code": code, "machine_id": machine_id, **more}
        found: dict[str, Any] = self._ask("POST", f"/plugin-activation/{what}", body)
        return found

    def status(self, code: str) -> dict[str, Any]:
        """The seats of a license."""
        found: dict[str, Any] = self._ask("GET", f"/plugin-activation/status/{_part(code)}")
        return found

    def generate(
        self, project_id: str, *, max_activations: int | None = None, notes: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """A new key of a project."""
        body = {"project_id": project_id, "max_activations": max_activations, "notes": notes, **more}
        found: dict[str, Any] = self._ask("POST", "/plugin-activation/generate", body)
        return found

    def keys(self, project_id: str) -> list[ActivationKey]:
        """The keys of a project."""
        path = f"/plugin-activation/project/{_part(project_id)}/keys"
        found: list[ActivationKey] = self._ask("GET", path)["keys"]
        return found


class Sdk(_Asking):
    """What there is to download."""

    def status(self) -> dict[str, Any]:
        """Whether the SDK is available, and which version."""
        found: dict[str, Any] = self._ask("GET", "/sdk/status")
        return found

    def download(self) -> dict[str, str]:
        """A link to the archive of clients."""
        found: dict[str, str] = self._ask("GET", "/sdk/download")
        return found
