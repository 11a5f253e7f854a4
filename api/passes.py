"""Passes: shown for a workspace by whoever has no credential of it, such as a machine or a browser."""

from __future__ import annotations

from datetime import datetime

from adapters.identity.vault import Vault
from adapters.log.eventlog import EventLog
from api.kernel import whole
from domain.identity.workspaces import workspaces


def new_pass(vault: Vault, purpose: str, workspace_id: str, expires: int, tenancy: int) -> str:
    """A pass that is good for one purpose until so many seconds since 1970.

    It is void once the workspace has begun anew, of which `tenancy` says how often it has.
    """
    proof = vault.token(purpose, f"{workspace_id}/{expires}/{tenancy}")
    return f"{workspace_id}.{expires}.{tenancy}.{proof}"


async def workspace_of(given: str, purpose: str, vault: Vault, log: EventLog, now: datetime) -> str | None:
    """The workspace that a pass is for; None where it is not ours, over or void."""
    workspace_id, *numbers = given.split(".")[:3]
    expires, tenancy = (*map(whole, numbers), None, None)[:2]
    if expires is None or tenancy is None or now.timestamp() > expires:
        return None
    if not vault.same(new_pass(vault, purpose, workspace_id, expires, tenancy), given):
        return None
    # Only what we have signed is looked up.
    return workspace_id if (await log.state(workspaces, workspace_id)).tenancy == tenancy else None
