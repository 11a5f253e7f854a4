"""Under which keys artifacts, logs and secrets lie in the object store."""

from __future__ import annotations

import hashlib


def artifact(workspace_id: str, build_id: str, artifact_id: str, file_name: str) -> str:
    """An artifact, named as it is downloaded."""
    return f"{of_workspace(workspace_id)}{build_id}/{artifact_id}/{file_name}"


def upload(workspace_id: str, build_id: str, artifact_id: str) -> str:
    """What a runner sends for an artifact, until it has been looked at."""
    return f"{uploads(workspace_id, build_id)}{artifact_id}"


def uploads(workspace_id: str, build_id: str) -> str:
    """What all uploads for a build begin with."""
    return f"{of_workspace(workspace_id)}{build_id}/uploads/"


def log_chunk(workspace_id: str, build_id: str, platform: str, fence: int, start: int, text: bytes) -> str:
    """A piece of a log. Of two that are sent at once for one place, each lies under a key of its own."""
    digest = hashlib.sha256(text).hexdigest()[:16]
    return f"{of_workspace(workspace_id)}{build_id}/log/{platform}/{start:012d}-{fence}-{digest}"


def secret(workspace_id: str, secret_id: str) -> str:
    """A secret of a project, sealed."""
    return f"{of_workspace(workspace_id)}secrets/{secret_id}"


def of_workspace(workspace_id: str) -> str:
    """What all artifacts, logs and secrets of a workspace begin with."""
    return f"builds/{workspace_id}/"
