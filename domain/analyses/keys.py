"""Under which keys recordings and reports lie in the object store."""

from __future__ import annotations

#: The part of a report that is always there.
DETAIL = "detail.json"


def room(workspace_id: str, storage_object_id: str) -> str:
    """The recording that a client puts into a storage object."""
    return f"{_rooms(workspace_id)}{storage_object_id}"


def upload(workspace_id: str, analysis_id: str) -> str:
    """The recording that came in a form."""
    return f"{uploads(workspace_id)}{analysis_id}"


def report(analysis_id: str, name: str = DETAIL) -> str:
    """A file of a report: its detail, or a picture."""
    return f"{reports(analysis_id)}{name}"


def uploads(workspace_id: str | None = None) -> str:
    """What all recordings that came in forms begin with, or those of one workspace."""
    return "uploads/" if workspace_id is None else f"uploads/{workspace_id}/"


def reports(analysis_id: str) -> str:
    """What all files of a report begin with."""
    return f"analyses/{analysis_id}/"


def of_workspace(workspace_id: str) -> tuple[str, ...]:
    """What all recordings of a workspace begin with."""
    return (_rooms(workspace_id), uploads(workspace_id))


def _rooms(workspace_id: str) -> str:
    return f"storage/{workspace_id}/"
