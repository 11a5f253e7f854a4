"""Where a project's webhook is when a message is sent, and which secrets sign it."""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta

import pytest
from standardwebhooks import Webhook

from adapters.web.http import HttpResponse
from commands.webhooks.reactions import deliver, queue_delivery
from domain.builds.builds import BuildQueued, BuildStarted, builds
from domain.kernel import Event
from domain.ledger import Recorded
from domain.studio.projects import ProjectCreated, ProjectWebhookRemoved, ProjectWebhookSet, projects
from domain.webhooks.deliveries import DeliveryAttempted, DeliveryGivenUp, DeliveryQueued
from tests.builds.test_builds import asked
from tests.scene import NOON, WORKSPACE, Scene

URL = "https://studio.example/hook"
ASKED = (
    asked.__class__(
        build_id="B", workspace_id=WORKSPACE, project_id="P", platforms=("linux",), formats=("clap",),
        release_type="patch", version_number="0.0.1", build_number=1, asked_at=NOON,
    ),
    BuildQueued(build_id="B", queued_at=NOON),
    BuildStarted(build_id="B", started_at=NOON, ends_by=NOON + timedelta(hours=2)),
)  # fmt: skip


def told_at(url: str, secret_id: str, after: timedelta = timedelta(0)) -> ProjectWebhookSet:
    return ProjectWebhookSet(project_id="P", workspace_id=WORKSPACE, url=url, secret_id=secret_id, set_at=NOON + after)


async def waiting(*changed: Event) -> tuple[Scene, Recorded]:
    """A message that a build has begun is queued for the first address; then its project is changed."""
    scene = Scene()
    scene.given(projects, "P", ProjectCreated(project_id="P", workspace_id=WORKSPACE, name="Tube", created_at=NOON))
    scene.given(projects, "P", told_at(URL, "S1"))
    await scene.follows(queue_delivery, scene.given(builds, "B", *ASKED))
    queued = scene.last(DeliveryQueued)
    if changed:
        scene.given(projects, "P", *changed)
    return scene, queued


def signers(scene: Scene, *secret_ids: str) -> tuple[str, list[str]]:
    """Whose signature the last message carries after BeatConnect's document, and whose after Standard Webhooks."""
    sent = scene.web.sent[-1]
    own, standard = "", []
    for secret_id in secret_ids:
        secret = scene.vault.signing_secret(secret_id)
        digest = hmac.new(secret.encode(), sent.body, hashlib.sha256).hexdigest()
        own = secret_id if sent.headers["X-BeatConnect-Signature"] == f"sha256={digest}" else own
        signed = Webhook(secret).sign(sent.headers["webhook-id"], scene.now, sent.body.decode())
        standard += [secret_id] if signed in sent.headers["webhook-signature"].split() else []
    return own, standard


@pytest.mark.parametrize(
    ("changed", "url", "own", "standard"),
    [
        ((), URL, "S1", ["S1"]),
        ((told_at(URL, "S2"),), URL, "S2", ["S2", "S1"]),
        ((told_at(URL, "S2"), told_at(URL, "S3")), URL, "S3", ["S3", "S2", "S1"]),
        # Whoever is behind another address has never known the secrets of the one before it.
        ((told_at("https://other.example/", "S2"),), "https://other.example/", "S2", ["S2"]),
        ((told_at("https://other.example/", "S2"), told_at(URL, "S3")), URL, "S3", ["S3"]),
        ((ProjectWebhookRemoved(project_id="P", removed_at=NOON), told_at(URL, "S2")), URL, "S2", ["S2"]),
    ],
    ids=["none", "anew", "twice", "moved", "moved-back", "removed-and-set"],
)
async def test_what_is_queued_goes_to_where_the_webhook_is_now_under_its_secrets_now(
    changed: tuple[Event, ...], url: str, own: str, standard: list[str]
) -> None:
    scene, queued = await waiting(*changed)
    await scene.follows(deliver, queued)
    [sent] = scene.web.sent
    assert sent.url == url
    assert signers(scene, "S3", "S2", "S1") == (own, standard)


async def test_each_attempt_is_signed_anew_and_the_old_secret_for_a_day_only() -> None:
    scene, queued = await waiting()
    scene.web.answers[URL] = [HttpResponse(status=500, retry_after_seconds=None, body_prefix="", duration_seconds=0.0)]
    await scene.follows(deliver, queued)
    assert signers(scene, "S1") == ("S1", ["S1"])
    scene.given(projects, "P", told_at(URL, "S2", timedelta(hours=1)))
    for hours, expected in ((24.9, ["S2", "S1"]), (25.1, ["S2"])):
        scene.now = NOON + timedelta(hours=hours)
        await scene.follows(deliver, scene.last(DeliveryAttempted))
        assert signers(scene, "S2", "S1") == ("S2", expected)


async def test_nothing_is_sent_to_an_address_that_has_been_taken_away() -> None:
    scene, queued = await waiting(ProjectWebhookRemoved(project_id="P", removed_at=NOON))
    await scene.follows(deliver, queued)
    assert scene.web.sent == []
    given_up = scene.last(DeliveryGivenUp).event
    assert isinstance(given_up, DeliveryGivenUp)
    assert given_up.because == "removed"
