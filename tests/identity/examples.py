"""One ordinary example of every command of identity."""

from __future__ import annotations

from datetime import timedelta

from commands.identity.api_keys import IssueApiKey, RevokeApiKey, RotateApiKey
from commands.identity.challenges import IssueChallenge
from commands.identity.people import (
    ChangePreferences,
    ForgetPerson,
    LinkIdentity,
    RegisterPerson,
    VerifyEmail,
)
from commands.identity.sessions import CloseSession, NewSession, OpenSession, RefuseToken, SignIn
from commands.identity.teams import (
    AcceptInvitation,
    ChangeProfile,
    ChangeRole,
    DeclineInvitation,
    ForgetInvitee,
    ForgetWorkspace,
    InviteMember,
    OpenWorkspace,
    RemoveMember,
    RenameWorkspace,
    RevokeInvitation,
    TransferOwnership,
)
from domain.identity.people import Preferences
from tests.examples import Example

ada = RegisterPerson(
    person_id="ada",
    workspace_id="w1",
    api_key_id="key-1",
    email="ada@example.com",
    email_digest="digest-of-ada",
    key_prefix="ll_abc",
    key_digest="digest-of-key",
)
ben = RegisterPerson(
    person_id="ben",
    workspace_id="w2",
    api_key_id="key-2",
    email="ben@example.com",
    email_digest="digest-of-ben",
    key_prefix="ll_def",
    key_digest="digest-of-key-2",
)
invited = InviteMember(
    workspace_id="w1",
    invitation_id="inv-1",
    by="ada",
    email="ben@example.com",
    email_digest="digest-of-ben",
    role="admin",
)
accepted = AcceptInvitation(workspace_id="w1", invitation_id="inv-1", person_id="ben")
team = (ada, ben, invited, accepted)

challenge = IssueChallenge(
    challenge_id="challenge-1", purpose="sign_in", email="ada@example.com", email_digest="digest-of-ada"
)
proof = IssueChallenge(
    challenge_id="challenge-2", purpose="verify_email", email="ada@example.com", email_digest="digest-of-ada"
)
session = NewSession(session_id="session-1", digest="digest-of-token", lifetime=timedelta(days=30))
opened = OpenSession(person_id="ada", workspace_id="w1", session=session)

EXAMPLES = (
    Example(ada),
    Example(
        LinkIdentity(identity_id="google-1", person_id="ada", workspace_id="w1", email="ada@x.org", email_digest=None)
    ),
    Example(ChangePreferences(person_id="ada", preferences=Preferences(billing_updates=False)), [ada]),
    Example(
        ForgetPerson(person_id="ada", email_digest="digest-of-ada"), [ada, ForgetWorkspace(workspace_id="w1", by="ada")]
    ),
    Example(
        IssueApiKey(
            api_key_id="key-3",
            workspace_id="w1",
            person_id="ada",
            name="CI",
            prefix="ll",
            digest="d",
            scopes=("usage:read",),
        ),
        [ada],
    ),
    Example(
        RotateApiKey(
            api_key_id="key-1",
            workspace_id="w1",
            person_id="ada",
            new_api_key_id="key-4",
            prefix="ll",
            digest="d4",
            overlap=timedelta(hours=1),
        ),
        [ada],
    ),
    Example(RevokeApiKey(api_key_id="key-1", workspace_id="w1"), [ada]),
    Example(challenge, [ada]),
    Example(VerifyEmail(challenge_id="challenge-2", right=True, person_id="ada"), [ada, proof]),
    Example(
        SignIn(challenge_id="challenge-1", right=True, person_id="ada", workspace_id="w1", session=session),
        [ada, challenge],
    ),
    Example(opened, [ada]),
    Example(CloseSession(session_id="session-1", reason="logout"), [ada, opened]),
    Example(RefuseToken(session_id="session-9", digest="digest-9")),
    Example(OpenWorkspace(workspace_id="w3", person_id="ada", name="Studio"), [ada]),
    Example(RenameWorkspace(workspace_id="w1", by="ada", name="Garage"), [ada]),
    Example(ChangeProfile(person_id="ada", workspace_id="w1", workspace_name="Garage", product_updates=False), [ada]),
    Example(invited, [ada, ben]),
    Example(RevokeInvitation(workspace_id="w1", invitation_id="inv-1", by="ada"), [ada, ben, invited]),
    Example(accepted, [ada, ben, invited]),
    Example(DeclineInvitation(workspace_id="w1", invitation_id="inv-1"), [ada, ben, invited]),
    Example(ChangeRole(workspace_id="w1", person_id="ben", by="ada", role="viewer"), team),
    Example(RemoveMember(workspace_id="w1", person_id="ben", by="ada"), team),
    Example(TransferOwnership(workspace_id="w1", to_person_id="ben", by="ada"), team),
    Example(ForgetWorkspace(workspace_id="w1", by="ada"), [ada]),
    Example(
        ForgetInvitee(workspace_id="w1", email_digest="digest-of-ben", address_digest="digest-of-ben.0"),
        [ada, ben, invited],
        repeats="an address may have been invited again since it was last forgotten",
    ),
)
