"""What is published of identity."""

from __future__ import annotations

from domain.identity.api_keys import (
    ApiKeyIssued,
    ApiKeyRetired,
    ApiKeyRevoked,
)
from domain.identity.sessions import (
    SessionClosed,
    SessionOpened,
)
from domain.identity.workspaces import (
    InvitationAccepted,
    InvitationDeclined,
    InvitationRevoked,
    InvitationSent,
    MemberAdded,
    MemberRemoved,
    MemberRoleChanged,
    OwnershipTransferred,
    WorkspaceOpened,
    WorkspaceRenamed,
)
from domain.published import published

PUBLISHED = (
    published(WorkspaceOpened),
    published(WorkspaceRenamed),
    published(MemberAdded),
    published(MemberRemoved),
    published(MemberRoleChanged),
    published(OwnershipTransferred),
    published(InvitationSent),
    published(InvitationAccepted),
    published(InvitationDeclined),
    published(InvitationRevoked),
    published(ApiKeyIssued),
    published(ApiKeyRetired),
    published(ApiKeyRevoked),
    published(SessionOpened, hidden=("membership",)),
    published(SessionClosed),
)
