"""Deliveries as rules, as reactions, and as they are shown."""

from __future__ import annotations

from asyncio import Barrier, gather
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace

from adapters.log import codec
from adapters.log.memory import MemoryLedger
from adapters.mail.smtp import MailFailed, MailRefused, MailUnavailable
from adapters.web.http import HttpResponse, Unreachable
from adapters.web.memory import MemoryOutbound
from commands.kernel import execute
from commands.ports import Letter
from commands.webhooks import sending
from commands.webhooks.deliveries import AskForDelivery, BeginAttempt, GiveUpDelivery, QueueDelivery, RecordAttempt
from commands.webhooks.ports import Ports
from commands.webhooks.reactions import deliver, end_abandoned_attempt, mail_endpoint_disabled, queue_delivery
from commands.webhooks.sending import send
from domain.analyses.analyses import AnalysisCompleted, AnalysisFailed, AnalysisRequested, analyses
from domain.analyses.findings import Findings
from domain.identity.people import PersonRegistered, people
from domain.identity.workspaces import MemberAdded, WorkspaceOpened, workspaces
from domain.kernel import ERASED, Event
from domain.ledger import History, Recorded
from domain.webhooks.deliveries import (
    DELIVERIES_MAX,
    DeliveryAskedFor,
    DeliveryAttempted,
    DeliveryBegun,
    DeliveryGivenUp,
    DeliveryInProgress,
    DeliveryIsOver,
    DeliveryQueued,
    NoAttemptLeft,
    NoSuchDelivery,
    TooManyDeliveries,
    deliveries,
    redelivery_counts,
)
from domain.webhooks.endpoints import (
    EndpointDisabled,
    EndpointFailing,
    EndpointMoved,
    EndpointRecovered,
    EndpointRemoved,
    EndpointSecretRotated,
    endpoint_books,
)
from domain.webhooks.signing import Outgoing, standard_webhooks
from projections.audit.actions import particulars
from projections.webhooks.attempts import webhook_logs
from projections.webhooks.deliveries import DeliveryLog, delivery_logs
from tests import history
from tests.scene import NOON, WORKSPACE, Letters, Notes, Scene
from tests.webhooks.test_endpoints import registered

URL = "https://example.com/hook"
BODY = '{"type":"analysis.completed","timestamp":"2026-11-22T12:00:00Z","data":{"id":"A"}}'
ABOUT: dict[str, Any] = {"subject_kind": "analysis", "subject_id": "A"}
MINUTE = timedelta(minutes=1)

MOVED = EndpointMoved(endpoint_id="E", workspace_id=WORKSPACE, url="https://example.org/new", moved_at=NOON)


class Unwanted(Letters):
    """A mail server that does not take letters."""

    def __init__(self, problem: MailFailed) -> None:
        super().__init__()
        self._problem = problem

    async def send(self, letter: Letter) -> None:
        """Refuse it."""
        raise self._problem


def answer(status: int, retry_after_seconds: float | None = None) -> HttpResponse:
    return HttpResponse(status=status, retry_after_seconds=retry_after_seconds, body_prefix="", duration_seconds=0.25)


def queued(delivery_id: str = "D", **more: Any) -> DeliveryQueued:
    facts: dict[str, Any] = {
        "workspace_id": WORKSPACE,
        "subject_kind": "analysis",
        "subject_id": "A",
        "url": URL,
        "message_type": "analysis.completed",
        "queued_at": NOON,
        "endpoint_id": "E",
        "body": BODY,
    }
    return DeliveryQueued(delivery_id=delivery_id, **(facts | more))


def attempted(attempt: int, *, success: bool = False, again: datetime | None = None) -> DeliveryAttempted:
    return DeliveryAttempted(
        delivery_id="D",
        subject_kind="analysis",
        subject_id="A",
        attempt=attempt,
        success=success,
        attempted_at=NOON,
        status_code=200 if success else 500,
        signature=f"v1,{attempt}",
        next_attempt_at=again,
    )


def recorded(attempt: int, *, success: bool = False, again: datetime | None = None, **more: Any) -> RecordAttempt:
    facts: dict[str, Any] = {
        "status_code": 200 if success else 500,
        "error_detail": None,
        "signature": f"v1,{attempt}",
        "duration_seconds": 0.0,
        "next_attempt_at": again,
    }
    return RecordAttempt(delivery_id="D", attempt=attempt, success=success, **(facts | more))


def waiting(*more: Event, **facts: Any) -> tuple[Scene, Recorded]:
    """A message on its way to an endpoint, and the event that says so."""
    scene = Scene()
    scene.given(endpoint_books, WORKSPACE, registered())
    last = scene.given(deliveries, "D", queued(**facts), *more)
    return scene, last


def signature(scene: Scene, body: bytes, secret_id: str, delivery_id: str = "D") -> str:
    """How Standard Webhooks signs the message of these tests."""
    return standard_webhooks(
        Outgoing(
            message_id=f"msg_{delivery_id}",
            message_type="analysis.completed",
            sent_at=NOON,
            body=body,
            secrets=[scene.vault.signing_secret(secret_id)],
        )
    )["webhook-signature"]


def begin(sender: str = "one", attempt: int = 1, *, force: bool = False) -> BeginAttempt:
    return BeginAttempt(delivery_id="D", attempt=attempt, sender=sender, timeout=MINUTE, force=force)


# --- what was stored before -------------------------------------------------------------------------------------------

OLD = [
    (line, json.decode(line.facts))
    for line in history.lines()
    if line.name.startswith("webhooks.Delivery") and b'"analysis_id"' in line.facts
]


def test_all_old_shapes_are_on_file() -> None:
    assert {(line.name.partition(".")[2], line.schema_version) for line, _ in OLD} == {
        ("DeliveryQueued", 1),
        ("DeliveryQueued", 2),
        ("DeliveryAttempted", 1),
        ("DeliveryGivenUp", 1),
        ("DeliveryAskedFor", 1),
    }


@pytest.mark.parametrize(("line", "facts"), OLD, ids=[f"{line.name}-{line.schema_version}" for line, _ in OLD])
def test_an_old_line_means_what_it_meant(line: history.Line, facts: dict[str, Any]) -> None:
    def now(**changed: Any) -> Any:
        return codec.decode(line.name, line.schema_version, json.encode(facts | changed))

    assert (now().subject_kind, now().subject_id) == ("analysis", facts["analysis_id"])
    for field in facts.keys() - {"analysis_id", "url"}:
        assert json.encode(getattr(now(), field)) == json.encode(facts[field]).replace(b"+00:00", b"Z"), field
    # A ping was about no analysis; where its endpoint was named, it is about that.
    ping = now(analysis_id="")
    assert (ping.subject_kind, ping.subject_id) == ("endpoint", facts.get("endpoint_id") or "")


def test_the_log_of_deliveries_shows_old_ones_as_it_did() -> None:
    for line, facts in OLD:
        event = codec.decode(line.name, line.schema_version, line.facts)
        if isinstance(event, DeliveryQueued):
            assert shown_first(event).job_id == facts["analysis_id"]
            assert (event.signer, event.body) == ("standard-webhooks", None)
        if isinstance(event, DeliveryAttempted):
            assert webhook_logs.concerns(event) == facts["analysis_id"]
        if isinstance(event, DeliveryAskedFor):
            assert redelivery_counts.fold([event]).deliveries == facts["number"]
        if isinstance(event, DeliveryAskedFor | DeliveryAttempted | DeliveryGivenUp):
            assert particulars(event)["analysis_id"] == facts["analysis_id"]
            assert not particulars(event).keys() & {"subject_id", "subject_kind"}


def shown_first(event: DeliveryQueued) -> DeliveryLog:
    document = delivery_logs.evolve(None, event)
    assert isinstance(document, DeliveryLog)
    return document


# --- rules ----------------------------------------------------------------------------------------------------------


async def test_a_message_is_queued_once() -> None:
    wish = QueueDelivery(
        delivery_id="D",
        workspace_id=WORKSPACE,
        subject_kind="endpoint",
        subject_id="E",
        url=URL,
        message_type="webhook.ping",
        body=BODY,
        endpoint_id="E",
    )
    scene = await Scene().when(wish)
    scene.then(queued(subject_kind="endpoint", subject_id="E", message_type="webhook.ping"))
    (await scene.when(wish)).then()


def once_more(number: int, seen: int = 1) -> AskForDelivery:
    return AskForDelivery(
        delivery_id=f"again {number}",
        workspace_id=WORKSPACE,
        subject_kind="analysis",
        subject_id="A",
        url=URL,
        message_type="analysis.completed",
        body=BODY,
        endpoint_id="E",
        seen=seen,
    )


def asked(number: int) -> DeliveryAskedFor:
    return DeliveryAskedFor(
        subject_kind="analysis",
        subject_id="A",
        workspace_id=WORKSPACE,
        delivery_id=f"again {number}",
        number=number,
        asked_at=NOON,
    )


async def test_a_job_is_told_so_often_and_no_more_whatever_its_askers_have_seen() -> None:
    scene = Scene()
    (await scene.when(once_more(2))).then(asked(2), queued("again 2"))
    (await scene.when(once_more(2))).then()
    for number in range(3, DELIVERIES_MAX + 1):
        (await scene.when(once_more(number, seen=0))).then(asked(number), queued(f"again {number}"))
    await scene.refused(once_more(DELIVERIES_MAX + 1, seen=0), TooManyDeliveries)
    (await scene.when(once_more(DELIVERIES_MAX))).then()
    await Scene().refused(once_more(1, seen=DELIVERIES_MAX), TooManyDeliveries)


async def test_of_those_who_ask_together_for_the_last_message_one_gets_it() -> None:
    all_have_read = Barrier(3)

    class Crowd(MemoryLedger):
        """Nobody writes before everybody has read."""

        async def last(self, stream: str) -> History:
            """The same answer for all who come first."""
            history = await super().last(stream)
            if history.version == 1:
                await all_have_read.wait()
            return history

    scene = Scene(log=Crowd())
    scene.given(redelivery_counts, "A", asked(DELIVERIES_MAX - 1))
    wishes = [execute(once_more(200 + each), scene.log, NOON, scene.context) for each in range(3)]
    answers = await gather(*wishes, return_exceptions=True)
    assert sum(isinstance(each, TooManyDeliveries) for each in answers) == 2
    assert sum(isinstance(each.event, DeliveryQueued) for each in scene.log.all) == 1


async def test_one_sender_at_a_time() -> None:
    scene, _ = waiting()
    (await scene.when(begin("one"))).then(DeliveryBegun(delivery_id="D", attempt=1, begun_at=NOON, begun_by="one"))
    await scene.refused(begin("two"), DeliveryInProgress)
    (await scene.when(begin("one"))).then()
    scene.later(seconds=61)
    assert isinstance((await scene.when(begin("two"))).news[0], DeliveryBegun)


async def test_what_is_over_is_not_begun_unless_it_is_forced() -> None:
    given_up = DeliveryGivenUp(delivery_id="D", **ABOUT, reason="r", given_up_at=NOON)
    scene, _ = waiting(attempted(1), given_up)
    await scene.refused(begin(attempt=2), DeliveryIsOver)
    assert isinstance((await scene.when(begin(attempt=2, force=True))).news[0], DeliveryBegun)
    scene, _ = waiting(attempted(1, success=True))
    await scene.refused(begin(attempt=2, force=True), DeliveryIsOver)
    scene, _ = waiting(attempted(1, again=NOON + MINUTE))
    await scene.refused(begin(attempt=1), DeliveryIsOver)


async def test_an_attempt_is_written_down_once() -> None:
    scene, _ = waiting()
    (await scene.when(recorded(1, success=True))).then(attempted(1, success=True))
    (await scene.when(recorded(1, success=True))).then()
    (await scene.when(recorded(2))).then()


async def test_a_delivery_without_a_next_attempt_is_given_up() -> None:
    scene, _ = waiting(endpoint_id=None)
    (await scene.when(recorded(1, reason="enough"))).then(
        attempted(1), DeliveryGivenUp(delivery_id="D", **ABOUT, reason="enough", given_up_at=NOON)
    )


async def test_what_is_over_is_not_given_up_again() -> None:
    wish = GiveUpDelivery(delivery_id="D", because="removed", reason="r")
    scene, _ = waiting()
    (await scene.when(wish)).then(
        DeliveryGivenUp(delivery_id="D", **ABOUT, reason="r", given_up_at=NOON, because="removed")
    )
    (await scene.when(wish)).then()


# --- the health of an endpoint --------------------------------------------------------------------------------------


async def test_an_endpoint_begins_to_fail_once_and_recovers_once() -> None:
    scene, _ = waiting()
    again = NOON + MINUTE
    (await scene.when(recorded(1, again=again))).then(
        attempted(1, again=again), EndpointFailing(endpoint_id="E", workspace_id=WORKSPACE, failing_since=NOON)
    )
    (await scene.when(recorded(2, again=again))).then(attempted(2, again=again))
    (await scene.when(recorded(3, success=True))).then(
        attempted(3, success=True),
        EndpointRecovered(endpoint_id="E", workspace_id=WORKSPACE, recovered_at=NOON),
    )


@pytest.mark.parametrize(("hours", "disabled"), [(119.9, False), (120, True)])
async def test_an_endpoint_that_only_failed_for_120_hours_is_disabled(hours: float, disabled: bool) -> None:
    scene, _ = waiting()
    scene.given(endpoint_books, WORKSPACE, EndpointFailing(endpoint_id="E", workspace_id=WORKSPACE, failing_since=NOON))
    scene.later(hours=hours)
    await scene.when(recorded(1, again=scene.now + MINUTE))
    expected = EndpointDisabled(endpoint_id="E", workspace_id=WORKSPACE, because="failing", disabled_at=scene.now)
    assert (expected in scene.news) is disabled


async def test_a_success_in_between_begins_the_hours_anew() -> None:
    scene, _ = waiting()
    await scene.when(recorded(1, again=NOON + MINUTE))
    await scene.later(hours=119).when(recorded(2, success=True))
    scene.given(deliveries, "D2", queued("D2"))
    await scene.later(hours=2).when(RecordAttempt(**{**_facts(recorded(1, again=NOON)), "delivery_id": "D2"}))
    assert not any(isinstance(event, EndpointDisabled) for event in scene.news)


async def test_an_endpoint_that_is_gone_is_disabled_at_once() -> None:
    scene, _ = waiting()
    await scene.when(recorded(1, gives_up="gone"))
    assert scene.news[-1] == EndpointDisabled(endpoint_id="E", workspace_id=WORKSPACE, because="gone", disabled_at=NOON)


async def test_the_failure_of_a_removed_or_absent_endpoint_is_nobodys() -> None:
    for facts in ({"endpoint_id": None}, {"endpoint_id": "another"}):
        scene, _ = waiting(**facts)
        await scene.when(recorded(1, again=NOON))
        assert [type(event) for event in scene.news] == [DeliveryAttempted]


async def test_the_owner_is_written_to_once_when_an_endpoint_is_disabled_by_itself() -> None:
    scene = Scene()
    scene.given(
        workspaces,
        WORKSPACE,
        WorkspaceOpened(workspace_id=WORKSPACE, name="studio", opened_at=NOON),
        MemberAdded(workspace_id=WORKSPACE, person_id="ada", role="owner", added_at=NOON),
        MemberAdded(workspace_id=WORKSPACE, person_id="bob", role="admin", added_at=NOON),
    )
    for name in ("ada", "bob"):
        scene.given(people, name, PersonRegistered(person_id=name, email=f"{name}@example.com", registered_at=NOON))
    asked, failing = (
        EndpointDisabled(endpoint_id="E", workspace_id=WORKSPACE, because=why, disabled_at=NOON)
        for why in ("asked", "failing")
    )
    last = scene.given(endpoint_books, WORKSPACE, registered(url="https://example.com/hook?key=s3cret"), failing)
    for _ in range(2):
        await scene.follows(mail_endpoint_disabled, last)
    [letter] = scene.letters.sent.values()
    assert letter.to == "ada@example.com"
    assert "disabled" in letter.subject
    assert "https://example.com/hook" in letter.text
    assert "s3cret" not in letter.text
    assert not mail_endpoint_disabled.concerns(asked)


@pytest.mark.parametrize("problem", [MailRefused("No such mailbox."), MailUnavailable("Come again.")])
async def test_only_a_letter_that_some_server_may_take_is_tried_again(problem: MailFailed) -> None:
    scene = Scene(letters=Unwanted(problem))
    opened = WorkspaceOpened(workspace_id=WORKSPACE, name="studio", opened_at=NOON)
    owner = MemberAdded(workspace_id=WORKSPACE, person_id="ada", role="owner", added_at=NOON)
    scene.given(workspaces, WORKSPACE, opened, owner)
    scene.given(people, "ada", PersonRegistered(person_id="ada", email="ada@example.com", registered_at=NOON))
    gone = EndpointDisabled(endpoint_id="E", workspace_id=WORKSPACE, because="gone", disabled_at=NOON)
    last = scene.given(endpoint_books, WORKSPACE, registered(), gone)
    with pytest.raises(MailUnavailable) if problem.transient else nullcontext():
        await scene.follows(mail_endpoint_disabled, last)


# --- who is told ----------------------------------------------------------------------------------------------------


def requested(**more: Any) -> AnalysisRequested:
    facts: dict[str, Any] = {"origin": "url", "source_url": URL, "requested_at": NOON}
    return AnalysisRequested(analysis_id="A", workspace_id=WORKSPACE, **(facts | more))


async def told(end: Event, *endpoints: Event, **job: Any) -> list[tuple[str | None, str, str]]:
    """Whom the end of a job is told: endpoint, address and type of each message."""
    scene = Scene()
    if endpoints:
        scene.given(endpoint_books, WORKSPACE, *endpoints)
    last = scene.given(analyses, "A", requested(**job), end)
    await scene.follows(queue_delivery, last)
    first: list[tuple[str | None, str, str]] = [
        (e.endpoint_id, e.url, e.message_type) for e in scene.news if isinstance(e, DeliveryQueued)
    ]
    assert len(first) == len(scene.news)
    (await scene.follows(queue_delivery, last)).then()
    return first


DONE = AnalysisCompleted(analysis_id="A", findings=Findings(), detail_key=None, completed_at=NOON)
FAILED = AnalysisFailed(analysis_id="A", reason="r", failed_at=NOON)


async def test_all_endpoints_that_want_to_are_told_each_once() -> None:
    endpoints = (
        registered("all"),
        registered("done", event_types=("analysis.completed",)),
        registered("failed", event_types=("analysis.failed",)),
        registered("off", enabled=False),
        registered("gone"),
        EndpointRemoved(endpoint_id="gone", workspace_id=WORKSPACE, removed_at=NOON),
    )
    assert await told(DONE, *endpoints) == [
        ("all", URL, "analysis.completed"),
        ("done", URL, "analysis.completed"),
    ]
    assert await told(FAILED, *endpoints) == [("all", URL, "analysis.failed"), ("failed", URL, "analysis.failed")]


async def test_a_jobs_own_endpoint_is_told_whatever_it_chose_unless_it_is_gone() -> None:
    mine = registered("mine", event_types=("analysis.failed",))
    assert await told(DONE, mine, webhook_endpoint_id="mine") == [("mine", URL, "analysis.completed")]
    assert await told(DONE, webhook_endpoint_id="mine") == []


async def test_a_jobs_own_address_is_told_beside_the_endpoints() -> None:
    own = "https://example.org/own"
    assert await told(DONE, registered("E"), webhook_url=own) == [
        (None, own, "analysis.completed"),
        ("E", URL, "analysis.completed"),
    ]


async def test_the_address_and_the_words_of_a_forgotten_workspace_are_neither_told_nor_tried() -> None:
    assert await told(DONE, webhook_url=ERASED) == []
    for erased in ({"url": ERASED, "endpoint_id": None}, {"body": ERASED}):
        scene, last = waiting(**erased)
        await scene.follows(deliver, last)
        [given_up] = scene.news
        assert isinstance(given_up, DeliveryGivenUp)
        assert (given_up.because, given_up.reason) == ("removed", "the workspace is forgotten")
        assert not scene.web.sent


# --- sending --------------------------------------------------------------------------------------------------------


async def test_a_message_is_signed_by_its_endpoint_and_written_down() -> None:
    scene, last = waiting()
    await scene.follows(deliver, last)

    [sent] = scene.web.sent
    begun, done = scene.news
    assert isinstance(begun, DeliveryBegun)
    assert begun.begun_by == str(last.event_id)
    assert isinstance(done, DeliveryAttempted)
    assert (done.success, done.status_code, done.signature) == (True, 200, sent.headers["webhook-signature"])
    assert sent.headers["webhook-id"] == "msg_D"
    assert sent.body == BODY.encode()
    assert sent.headers["webhook-signature"] == signature(scene, sent.body, "S1")


async def test_the_operator_reads_how_each_attempt_went_and_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "log", notes := Notes())
    scene, last = waiting()
    scene.web.answers[URL] = [answer(500), answer(410)]
    for _ in range(2):
        await scene.follows(deliver, last)
        last = scene.last(DeliveryAttempted)
    scene, last = waiting()
    for _ in range(2):
        await scene.follows(deliver, last)

    about = {"delivery_id": "D", "analysis_id": "A", "workspace_id": WORKSPACE, "endpoint_id": "E"}
    assert [line["event"] for line in notes.lines] == [
        "webhook.failed",
        "webhook.failed",
        "webhook.endpoint_disabled",
        "webhook.delivered",
    ]
    assert [line.get("status") for line in notes.lines] == [500, 410, None, 200]
    assert [line.get("attempt") for line in notes.lines] == [1, 2, None, 1]
    assert all(line.items() >= about.items() for line in notes.lines if "status" in line)
    assert "example.com" not in str(notes.lines)


async def test_both_secrets_sign_during_the_day_after_a_rotation() -> None:
    scene, last = waiting()
    scene.given(
        endpoint_books,
        WORKSPACE,
        EndpointSecretRotated(
            endpoint_id="E",
            workspace_id=WORKSPACE,
            secret_id="S2",
            rotated_at=NOON,
            old_expires_at=NOON + timedelta(hours=24),
        ),
    )
    await scene.follows(deliver, last)
    assert len(scene.web.sent[0].headers["webhook-signature"].split()) == 2


async def test_an_address_left_with_a_job_gets_version_1_and_the_workspaces_secret() -> None:
    scene = Scene()
    own = requested(webhook_url="https://example.org/own")
    await scene.follows(queue_delivery, scene.given(analyses, "A", own, DONE))
    last = scene.last(DeliveryQueued)
    assert isinstance(last.event, DeliveryQueued)
    await scene.follows(deliver, last)
    [sent] = scene.web.sent
    assert json.decode(sent.body)["data"]["job_id"] == "A"
    assert json.decode(sent.body)["data"]["status"] == "completed"
    assert sent.headers["webhook-signature"] == signature(scene, sent.body, WORKSPACE, last.event.delivery_id)


async def test_a_message_goes_to_where_its_endpoint_is_now() -> None:
    scene, last = waiting()
    scene.given(
        endpoint_books,
        WORKSPACE,
        EndpointMoved(endpoint_id="E", workspace_id=WORKSPACE, url="https://example.org/new", moved_at=NOON),
    )
    await scene.follows(deliver, last)
    assert scene.web.sent[0].url == "https://example.org/new"


async def test_a_failure_is_tried_again_after_the_next_wait_or_longer_if_asked() -> None:
    scene, last = waiting()
    scene.web.answers[URL] = [answer(503), answer(429, 60.0), answer(200)]
    await scene.follows(deliver, last)
    first = scene.last(DeliveryAttempted)
    assert isinstance(first.event, DeliveryAttempted)
    assert first.event.next_attempt_at == NOON + timedelta(seconds=5)
    assert first.event.error_detail == "The receiver answered 503."

    await scene.follows(deliver, first)
    second = scene.last(DeliveryAttempted)
    assert isinstance(second.event, DeliveryAttempted)
    assert second.event.next_attempt_at == NOON + timedelta(seconds=300)
    await scene.follows(deliver, second)
    assert deliveries.fold((await scene.log.read("delivery-D")).events).delivered


async def test_a_receiver_may_ask_for_more_patience_from_its_answer_on() -> None:
    scene, last = waiting()
    scene.web.answers[URL] = [answer(429, 60.0)]
    await scene.follows(deliver, last)
    event = scene.last(DeliveryAttempted).event
    assert isinstance(event, DeliveryAttempted)
    assert event.next_attempt_at == NOON + timedelta(seconds=0.25 + 60)


async def test_no_answer_is_a_failure_too() -> None:
    scene, last = waiting()
    scene.web.answers[URL] = [Unreachable("No answer came.")]
    await scene.follows(deliver, last)
    event = scene.last(DeliveryAttempted).event
    assert isinstance(event, DeliveryAttempted)
    assert (event.status_code, event.error_detail) == (None, "No answer came.")
    assert event.next_attempt_at is not None


PRIVATE = "http://10.0.0.1/hook"


async def test_a_place_that_we_do_not_connect_to_is_tried_again_and_the_operator_reads_which_setting_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "log", notes := Notes())
    scene, last = waiting(endpoint_id=None, url=PRIVATE)
    await scene.follows(deliver, last)
    event = scene.last(DeliveryAttempted).event
    assert isinstance(event, DeliveryAttempted)
    assert event.next_attempt_at == NOON + timedelta(seconds=5)
    assert not any(isinstance(each, DeliveryGivenUp) for each in scene.news)
    [line] = notes.lines
    assert line["setting"] == "LEDGERLINE_OUTBOUND_ALLOW"
    assert "private network" in line["problem"]
    assert "LEDGERLINE" not in (event.error_detail or ""), "what tenants read names no settings"


async def test_our_own_refusal_never_disables_an_endpoint_which_works_again_when_it_is_allowed() -> None:
    scene, last = waiting()
    moved = EndpointMoved(endpoint_id="E", workspace_id=WORKSPACE, url=PRIVATE, moved_at=NOON)
    scene.given(endpoint_books, WORKSPACE, moved)
    await scene.follows(deliver, last)
    assert EndpointFailing(endpoint_id="E", workspace_id=WORKSPACE, failing_since=NOON, refused=True) in scene.news
    for number in range(2, 6):
        scene.later(hours=60)
        await scene.follows(deliver, scene.last(DeliveryAttempted))
        assert [type(each) for each in scene.news] == [DeliveryBegun, DeliveryAttempted], number
    # A receiver that then fails by itself has all its hours before it.
    scene.web = MemoryOutbound(allow=["10.0.0.1"])
    scene.web.answers[PRIVATE] = [answer(500), answer(200)]
    await scene.follows(deliver, scene.last(DeliveryAttempted))
    assert EndpointFailing(endpoint_id="E", workspace_id=WORKSPACE, failing_since=scene.now) in scene.news
    await scene.follows(deliver, scene.last(DeliveryAttempted))
    assert scene.last(EndpointRecovered)
    book = endpoint_books.fold((await scene.log.read(endpoint_books.stream(WORKSPACE))).events)
    endpoint = book.endpoints["E"]
    assert (endpoint.enabled, endpoint.failing_since, endpoint.refused) == (True, None, False)


async def test_our_refusal_does_not_end_the_hours_that_an_endpoint_has_failed_by_itself() -> None:
    scene, _ = waiting()
    scene.given(endpoint_books, WORKSPACE, EndpointFailing(endpoint_id="E", workspace_id=WORKSPACE, failing_since=NOON))
    scene.later(hours=200)
    await scene.when(recorded(1, again=scene.now + MINUTE, refused=True))
    assert [type(event) for event in scene.news] == [DeliveryAttempted]
    await scene.when(recorded(2, again=scene.now + MINUTE))
    assert isinstance(scene.news[-1], EndpointDisabled)


class MovedMeanwhile(MemoryOutbound):
    """While the receiver thinks about it, its endpoint moves elsewhere."""

    scene: Scene

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds_max: float) -> HttpResponse:
        if url == URL:
            self.scene.log.keep(endpoint_books.stream(WORKSPACE), MOVED, self.scene.context)
        return await super().post(url, body, headers, seconds_max=seconds_max)


@pytest.mark.parametrize("status", [410, 500])
async def test_what_the_address_before_answers_late_says_nothing_of_the_new_one(status: int) -> None:
    scene, last = waiting()
    scene.web = web = MovedMeanwhile()
    web.scene = scene
    web.answers[URL] = [answer(status)]
    await scene.follows(deliver, last)
    assert [type(each) for each in scene.news] == [DeliveryBegun, EndpointMoved, DeliveryAttempted]

    await scene.follows(deliver, scene.last(DeliveryAttempted))
    assert web.sent[-1].url == MOVED.url
    assert deliveries.fold((await scene.log.read("delivery-D")).events).delivered


async def test_an_endpoint_that_has_moved_has_all_its_hours_before_it() -> None:
    scene, _ = waiting()
    failing = EndpointFailing(endpoint_id="E", workspace_id=WORKSPACE, failing_since=NOON)
    scene.given(endpoint_books, WORKSPACE, failing, MOVED)
    scene.later(hours=200)
    await scene.when(recorded(1, again=scene.now + MINUTE))
    assert scene.news[1:] == [replace(failing, failing_since=scene.now)]


@pytest.mark.parametrize("problem", ["The server's TLS certificate is not valid.", "There is no such host."])
async def test_what_may_be_mended_at_the_other_end_disables_nothing_at_once(problem: str) -> None:
    scene, last = waiting()
    scene.web.answers[URL] = [Unreachable(problem, transient=False), answer(200)]
    await scene.follows(deliver, last)
    assert not any(isinstance(each, DeliveryGivenUp | EndpointDisabled) for each in scene.news)
    await scene.follows(deliver, scene.last(DeliveryAttempted))
    assert deliveries.fold((await scene.log.read("delivery-D")).events).delivered


async def test_how_long_it_took_is_on_file_also_when_nobody_answered() -> None:
    scene, last = waiting()
    scene.web.answers[URL] = [Unreachable("The server did not finish within 2 seconds.", duration_seconds=2.1)]
    await scene.follows(deliver, last)
    [attempt] = [each for each in scene.news if isinstance(each, DeliveryAttempted)]
    assert (attempt.status_code, attempt.duration_seconds) == (None, 2.1)


async def test_after_the_last_wait_it_is_given_up() -> None:
    scene, last = waiting()
    scene.settings = {"webhook_retry_seconds": (1.0, 2.0)}
    scene.web.answers[URL] = [answer(500)]
    for _ in range(3):
        await scene.follows(deliver, last)
        last = scene.last(DeliveryAttempted)
    assert len(scene.web.sent) == 3
    assert isinstance(scene.last(DeliveryGivenUp).event, DeliveryGivenUp)
    assert not deliver.concerns(last.event)


async def test_a_ping_is_sent_once_even_when_it_fails() -> None:
    scene, last = waiting(message_type="webhook.ping", subject_kind="endpoint", subject_id="E", body=None)
    scene.web.answers[URL] = [answer(500)]
    await scene.follows(deliver, last)
    assert b'"data":{"endpoint_id":"E","workspace_id":"workspace-1"}' in scene.web.sent[0].body
    assert isinstance(scene.last(DeliveryGivenUp).event, DeliveryGivenUp)


@pytest.mark.parametrize("because", ["removed", "disabled"])
async def test_a_message_to_an_endpoint_that_is_off_or_gone_is_not_sent(because: str) -> None:
    scene, last = waiting()
    end: Event = (
        EndpointRemoved(endpoint_id="E", workspace_id=WORKSPACE, removed_at=NOON)
        if because == "removed"
        else EndpointDisabled(endpoint_id="E", workspace_id=WORKSPACE, because="asked", disabled_at=NOON)
    )
    scene.given(endpoint_books, WORKSPACE, end)
    await scene.follows(deliver, last)
    [given_up] = scene.news
    assert isinstance(given_up, DeliveryGivenUp)
    assert given_up.because == because
    assert scene.web.sent == []
    forced = await send("D", await scene.ports(Ports), scene.context, sender="me", force=True)
    assert forced == ("skipped" if because == "removed" else "delivered")


async def test_the_same_job_done_twice_sends_and_writes_once() -> None:
    scene, last = waiting()
    await scene.follows(deliver, last)
    (await scene.follows(deliver, last)).then()
    assert len(scene.web.sent) == 1


async def test_a_job_that_comes_again_after_its_attempt_failed_does_not_hurry_the_next_one() -> None:
    scene, last = waiting()
    scene.web.answers[URL] = [answer(500)]
    await scene.follows(deliver, last)
    (await scene.follows(deliver, last)).then()
    assert len(scene.web.sent) == 1


async def test_a_job_that_crashed_while_sending_is_taken_up_again() -> None:
    scene, last = waiting()
    scene.given(
        deliveries,
        "D",
        DeliveryBegun(delivery_id="D", attempt=1, begun_at=NOON, begun_by=str(last.event_id)),
    )
    await scene.follows(deliver, last)
    assert [type(event) for event in scene.news] == [DeliveryAttempted]


async def test_while_somebody_sends_it_nobody_else_does() -> None:
    scene, last = waiting(DeliveryBegun(delivery_id="D", attempt=1, begun_at=NOON, begun_by="somebody"))
    first = next(each for each in scene.log.all if isinstance(each.event, DeliveryQueued))
    with pytest.raises(DeliveryInProgress):
        await scene.follows(deliver, first)
    assert scene.web.sent == []
    del last


async def test_a_message_is_forced_so_many_times_and_no_more() -> None:
    scene, _ = waiting()
    scene.web.answers[URL] = [answer(500)]
    for _ in range(60):
        await send("D", await scene.ports(Ports), scene.context, sender="me", force=True)
    assert len(scene.web.sent) == 50
    refusal = await scene.refused(begin("me", 51, force=True), NoAttemptLeft)
    assert refusal.sentence.startswith("This message has been sent 50 times already.")


async def test_a_forced_attempt_whose_sender_died_comes_to_an_end() -> None:
    given_up = DeliveryGivenUp(delivery_id="D", **ABOUT, reason="r", because="gone", given_up_at=NOON)
    scene, _ = waiting(attempted(1), given_up)
    await scene.when(begin("a process that dies", 2, force=True))
    begun = scene.last(DeliveryBegun)
    assert end_abandoned_attempt.due(begun.event) == NOON + timedelta(minutes=1)
    with pytest.raises(DeliveryInProgress):
        await scene.follows(end_abandoned_attempt, begun)
    scene.later(minutes=1)
    await scene.follows(end_abandoned_attempt, begun)
    [ended, *_] = scene.news
    assert isinstance(ended, DeliveryAttempted)
    assert (ended.attempt, ended.success, ended.next_attempt_at is not None) == (2, False, True)
    assert "ended before" in (ended.error_detail or "")
    (await scene.follows(end_abandoned_attempt, begun)).then()
    document: Any = None
    for each in scene.log.all:
        if delivery_logs.concerns(each.event):
            document = delivery_logs.evolve(document, each.event)
    assert document.status == "pending"


async def test_a_forced_attempt_that_has_ended_is_left_alone() -> None:
    scene, _ = waiting()
    await send("D", await scene.ports(Ports), scene.context, sender="me", force=True)
    scene.later(minutes=5)
    (await scene.follows(end_abandoned_attempt, scene.last(DeliveryBegun))).then()
    scene, _ = waiting()
    await scene.when(begin("a process that dies", force=True))
    abandoned = scene.last(DeliveryBegun)
    await scene.later(minutes=1).when(begin("another", force=True))
    (await scene.follows(end_abandoned_attempt, abandoned)).then()
    unforced, last = waiting()
    await unforced.follows(deliver, last)
    assert not end_abandoned_attempt.concerns(unforced.last(DeliveryBegun).event), "a job takes it up again"


def test_the_log_of_a_job_shows_its_last_attempts_and_counts_all() -> None:
    log: Any = webhook_logs.evolve(None, requested(webhook_url=URL))
    for number in range(1, 251):
        log = webhook_logs.evolve(log, attempted(number, success=number % 2 == 0))
    assert [each.attempt for each in log.deliveries] == list(range(151, 251))
    assert (log.latest_attempt, log.success_count) == (250, 125)


async def test_a_delivery_that_never_was_cannot_be_sent() -> None:
    scene = Scene()
    with pytest.raises(NoSuchDelivery):
        await send("D", await scene.ports(Ports), scene.context, sender="me")


# --- the view -------------------------------------------------------------------------------------------------------


def shown(*events: Event) -> DeliveryLog:
    """The delivery after these events."""
    document = None
    for event in events:
        assert delivery_logs.concerns(event) == "D"
        document = delivery_logs.evolve(document, event)
    assert isinstance(document, DeliveryLog)
    return document


BEGUN = DeliveryBegun(delivery_id="D", attempt=1, begun_at=NOON, begun_by="me")


def test_a_delivery_is_pending_delivering_and_delivered() -> None:
    assert (shown(queued()).status, shown(queued()).signature) == ("pending", "")
    assert shown(queued(), BEGUN).status == "delivering"
    failed = shown(queued(), BEGUN, attempted(1, again=NOON + MINUTE))
    assert (failed.status, failed.attempt_count, failed.next_attempt_at) == ("pending", 1, "2026-11-22T12:01:00Z")
    done = shown(queued(), BEGUN, attempted(1, again=NOON), attempted(2, success=True))
    assert (done.status, done.attempt_count, done.signature) == ("delivered", 2, "v1,2")
    assert [each.attempt for each in done.attempts] == [1, 2]


@pytest.mark.parametrize(
    ("because", "status"),
    [("exhausted", "failed"), ("gone", "disabled"), ("disabled", "disabled"), ("removed", "disabled")],
)
def test_a_given_up_delivery_says_whether_its_receiver_failed_or_was_off(because: Any, status: str) -> None:
    given_up = DeliveryGivenUp(delivery_id="D", **ABOUT, reason="r", given_up_at=NOON, because=because)
    assert shown(queued(), given_up).status == status
    assert shown(queued(), given_up, attempted(1, success=True)).status == "delivered"


def _facts(command: RecordAttempt) -> dict[str, Any]:
    return {name: getattr(command, name) for name in command.__struct_fields__}
