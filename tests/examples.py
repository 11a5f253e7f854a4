"""One ordinary example of every command, and what must have been done before it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from commands.analyses.analyses import (
    CancelAnalysis,
    CompleteAnalysis,
    FailAnalysis,
    Item,
    NoteReport,
    NoteSourceDeleted,
    Once,
    RequestAnalyses,
    StartAnalysis,
)
from commands.analyses.objects import ExpireObject, OfferUpload
from commands.billing.subscriptions import LinkCustomer, NoteCheckout, NoteInvoice, ObserveSubscription
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
from commands.kernel import Command
from commands.webhooks.deliveries import AskForDelivery, BeginAttempt, GiveUpDelivery, QueueDelivery, RecordAttempt
from commands.webhooks.endpoints import ChangeEndpoint, RegisterEndpoint, RemoveEndpoint, RotateEndpointSecret
from commands.webhooks.secrets import RotateSigningSecret
from domain.analyses.analyses import Artifact
from domain.analyses.findings import Findings
from domain.identity.people import Preferences
from tests.spec import NOW
from tests.strategies import ordinary


class Example(NamedTuple):
    """A command, after these. `repeats` says why a command may write something every time it is sent."""

    command: Command
    before: Sequence[Command] = ()
    repeats: str = ""


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
door = NewSession(session_id="session-1", digest="digest-of-token", lifetime=timedelta(days=30))
opened = OpenSession(person_id="ada", workspace_id="w1", door=door)

requested = RequestAnalyses(
    subject_id="an-1",
    workspace_id="w1",
    items=(Item(analysis_id="an-1", origin="url", source_url="https://example.com/a.mp3"),),
    once=Once(claim_id="once-1", payload_digest="digest", lifetime=timedelta(hours=24)),
    monthly_limit=10,
)
completed = CompleteAnalysis(analysis_id="an-1", findings=ordinary(Findings), detail_key="details/an-1")
offered = OfferUpload(
    storage_object_id="obj-1",
    workspace_id="w1",
    purpose="upload",
    content_type="audio/mpeg",
    object_key="uploads/obj-1",
    link_lifetime=timedelta(0),
    lifetime=timedelta(0),
)

endpoint = RegisterEndpoint(endpoint_id="end-1", workspace_id="w1", url="https://example.com/hook", secret_id="sec-1")
queued = QueueDelivery(
    delivery_id="del-1",
    workspace_id="w1",
    analysis_id="an-1",
    url="https://example.com/hook",
    message_type="analysis.completed",
)
begun = BeginAttempt(delivery_id="del-1", attempt=1, sender="worker", patience=timedelta(minutes=1))

_EXAMPLES = (
    Example(requested),
    Example(StartAnalysis(analysis_id="an-1"), [requested]),
    Example(completed, [requested]),
    Example(FailAnalysis(analysis_id="an-1", reason="It is empty."), [requested]),
    Example(CancelAnalysis(analysis_id="an-1", workspace_id="w1"), [requested]),
    Example(
        NoteReport(
            analysis_id="an-1",
            artifacts=(Artifact(name="report", object_key="r/1.png", content_type="image/png", size=1),),
        ),
        [requested, completed],
    ),
    Example(NoteSourceDeleted(analysis_id="an-1", object_key="uploads/1"), [requested]),
    Example(offered),
    Example(ExpireObject(storage_object_id="obj-1"), [offered]),
    Example(LinkCustomer(workspace_id="w1", customer_id="cus-1")),
    Example(NoteCheckout(workspace_id="w1", checkout_id="check-1", plan="pro")),
    Example(
        ObserveSubscription(
            workspace_id="w1",
            subscription_id="sub-1",
            plan="pro",
            status="active",
            observed_at=NOW,
            current_period_end=None,
            cancel_at_period_end=False,
        )
    ),
    Example(NoteInvoice(workspace_id="w1", invoice_id="in-1", amount=900, currency="eur", paid=True)),
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
        SignIn(challenge_id="challenge-1", right=True, person_id="ada", workspace_id="w1", door=door), [ada, challenge]
    ),
    Example(opened, [ada]),
    Example(CloseSession(session_id="session-1", reason="logout"), [ada, opened]),
    Example(RefuseToken(session_id="session-9", digest="digest-9")),
    Example(OpenWorkspace(workspace_id="w3", person_id="ada", name="Studio"), [ada]),
    Example(RenameWorkspace(workspace_id="w1", by="ada", name="Garage"), [ada]),
    Example(invited, [ada, ben]),
    Example(RevokeInvitation(workspace_id="w1", invitation_id="inv-1", by="ada"), [ada, ben, invited]),
    Example(accepted, [ada, ben, invited]),
    Example(DeclineInvitation(workspace_id="w1", invitation_id="inv-1"), [ada, ben, invited]),
    Example(ChangeRole(workspace_id="w1", person_id="ben", by="ada", role="viewer"), team),
    Example(RemoveMember(workspace_id="w1", person_id="ben", by="ada"), team),
    Example(TransferOwnership(workspace_id="w1", to_person_id="ben", by="ada"), team),
    Example(ForgetWorkspace(workspace_id="w1", by="ada"), [ada]),
    Example(
        ForgetInvitee(workspace_id="w1", email_digest="digest-of-ben"),
        [ada, ben, invited],
        repeats="an address may have been invited again since it was last forgotten",
    ),
    Example(endpoint),
    Example(ChangeEndpoint(endpoint_id="end-1", workspace_id="w1", description="Ours"), [endpoint]),
    Example(
        RotateEndpointSecret(endpoint_id="end-1", workspace_id="w1", secret_id="sec-2", overlap=timedelta(hours=1)),
        [endpoint],
    ),
    Example(RemoveEndpoint(endpoint_id="end-1", workspace_id="w1"), [endpoint]),
    Example(queued),
    Example(
        AskForDelivery(
            delivery_id="del-2",
            workspace_id="w1",
            analysis_id="an-1",
            url="https://example.com/hook",
            message_type="analysis.completed",
            told=1,
        ),
        [queued],
    ),
    Example(begun, [queued]),
    Example(
        RecordAttempt(
            delivery_id="del-1",
            attempt=1,
            success=True,
            status_code=200,
            error_detail=None,
            signature="v1,x",
            duration_seconds=0.1,
            next_attempt_at=None,
        ),
        [queued, begun],
    ),
    Example(GiveUpDelivery(delivery_id="del-1", because="exhausted", reason="no attempt is left"), [queued]),
    Example(RotateSigningSecret(workspace_id="w1", secret_id="sig-2")),
)

EXAMPLES: dict[type[Command], Example] = {type(example.command): example for example in _EXAMPLES}
