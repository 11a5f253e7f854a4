"""What of accounts and teams belongs to somebody else."""

from __future__ import annotations

from typing import Any

from tests.identity.crowd import new_email
from tests.victims import Make, made

PUBLIC = (
    # becoming known, and proving it
    "POST /v1/auth/register",
    "POST /v1/auth/verify-email",
    "POST /v1/auth/email/start",
    "POST /v1/auth/email/verify",
    # the letter's token is the proof
    "POST /v1/account/team/invitations/{invitation_id}/decline",
)
THEIRS: dict[str, Make] = {
    "api_key_id": lambda them, _: str(them.key()["id"]),
    "invitation_id": lambda them, _: made(them, "/v1/account/team/invitations", {"email": new_email()}),
    "session_id": lambda them, _: str(them.get("/v1/auth/sessions").json()[0]["id"]),
    "user_id": lambda them, _: them.user_id,
    "workspace_id": lambda them, _: them.workspace_id,
}
BODIES: dict[str, Any] = {
    "PATCH /v1/account/team/members/{user_id}": {"role": "viewer"},
    "PATCH /v1/account/workspaces/{workspace_id}": {"workspace_name": "Theirs"},
    "POST /v1/account/team/invitations/{invitation_id}/accept": {"token": "bzi_x"},
    "POST /v1/api-keys/{api_key_id}/rotate": {},
}
