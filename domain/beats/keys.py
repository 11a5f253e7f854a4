"""Under which keys the files of beats lie in the object store."""

from __future__ import annotations

import re


def of_workspace(workspace_id: str) -> str:
    """What all files of a workspace's beats begin with."""
    return f"beats/{workspace_id}/"


def of_version(workspace_id: str, beat_id: str, version_id: str) -> str:
    """What all files of a version begin with."""
    return f"{of_workspace(workspace_id)}{beat_id}/{version_id}/"


def file(workspace_id: str, beat_id: str, version_id: str, title: str, ending: str) -> str:
    """One file, called as it is to be saved: browsers take the name from the end of the key."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:80] or "beat"
    return f"{of_version(workspace_id, beat_id, version_id)}{name}{ending}"
