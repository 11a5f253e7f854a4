"""The log is looked through, and one request is followed to everything that it has led to."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from uuid import uuid4

import psycopg
import pytest

from adapters.postgres.settings import Postgres
from infra import cli
from infra.migrate import migrate
from tests.conftest import Databases
from tests.infra.test_cli import COMPLETE
from tests.journeys.kit import Account, Neighbour, Stack
from tests.operators.conftest import Ask


@pytest.fixture
def analysed(account: Callable[[], Account], audio: Neighbour, clip: bytes) -> tuple[Account, str, str]:
    """Somebody, the id of a request of theirs, and the analysis that it led to."""
    person, request_id = account(), f"request-{uuid4()}"
    url = audio.put(f"{uuid4()}.wav", clip)
    answer = person.post("/v1/analyze/url", json={"url": url}, headers={"X-Request-ID": request_id})
    job_id = answer.json()["job_id"]
    assert person.finished(job_id)["status"] == "completed"
    return person, request_id, job_id


def test_a_request_is_followed_to_the_result_that_it_led_to(ask: Ask, analysed: tuple[Account, str, str]) -> None:
    _, request_id, job_id = analysed
    [found] = ask("log", "explain", request_id)
    assert found["origin"]["request_id"] == request_id
    [requested] = [each for each in found["events"] if each["type"] == "analyses.AnalysisRequested"]
    assert requested["stream"] == f"analysis-{job_id}"
    assert {"reaction": "analyse-audio", "state": "done"}.items() <= next(
        job for job in requested["jobs"] if job["reaction"] == "analyse-audio"
    ).items()
    assert "platform_analyses" in [*requested["read_models"]["folded"], *requested["read_models"]["behind"]]
    caused = {each["type"]: each for each in requested["effects"]}
    assert {"analyses.AnalysisStarted", "analyses.AnalysisCompleted"} <= set(caused)
    assert all(each["causation_id"] == requested["event_id"] for each in caused.values())


@pytest.mark.parametrize("by", ["position", "event_id", "correlation_id", "stream"])
def test_whatever_names_an_event_leads_to_the_same_tree(ask: Ask, analysed: tuple[Account, str, str], by: str) -> None:
    _, request_id, _ = analysed
    [found] = ask("log", "explain", request_id)
    [again] = ask("log", "explain", str(found["events"][0][by]))
    assert again["correlation_id"] == found["correlation_id"]
    assert [each["event_id"] for each in again["events"]] == [each["event_id"] for each in found["events"]]


def test_the_id_of_a_thing_leads_to_what_happened_to_it_last(ask: Ask, analysed: tuple[Account, str, str]) -> None:
    _, request_id, job_id = analysed
    [found] = ask("log", "explain", request_id)
    [again] = ask("log", "explain", job_id)
    # How far those who follow are, may be another answer by now.
    assert again["correlation_id"] == found["correlation_id"]
    assert [each["event_id"] for each in again["events"]] == [each["event_id"] for each in found["events"]]


def test_the_tree_is_drawn_for_people_with_times(
    on_stack: Stack, analysed: tuple[Account, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, request_id, job_id = analysed
    assert not cli.main(["log", "explain", request_id])
    drawn = capsys.readouterr().out.splitlines()
    [root] = [line for line in drawn if line.startswith("analyses.AnalysisRequested")]
    assert f"analysis-{job_id} v1" in root
    # What was appended together was written down one after the other, some microseconds apart.
    assert drawn[2].endswith("+0.000 s")
    assert re.search(r"\+0\.\d{3} s$", root)
    assert any(line.startswith("   analyses.AnalysisCompleted") for line in drawn)
    assert any(line.strip() == "job analyse-audio: done" for line in drawn)


def test_a_job_that_was_given_up_is_in_the_tree_with_its_problem(
    ask: Ask, on_stack: Stack, analysed: tuple[Account, str, str]
) -> None:
    _, request_id, job_id = analysed
    [found] = ask("log", "explain", request_id)
    position = found["events"][0]["position"]
    with psycopg.connect(on_stack.settings[Postgres].postgres_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO jobs (reaction, position, stream, due_at, state, attempts, problem) "
            "VALUES ('send-letter', %s, %s, now(), 'parked', 4, 'no mail server')",
            (position, f"analysis-{job_id}"),
        )
        try:
            [again] = ask("log", "explain", request_id)
        finally:
            connection.execute("DELETE FROM jobs WHERE position = %s AND reaction = 'send-letter'", (position,))
    [parked] = [job for job in again["events"][0]["jobs"] if job["state"] == "parked"]
    assert (parked["attempts"], parked["problem"]) == (4, "no mail server")


def test_what_nobody_knows_is_said(on_stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["log", "explain", "nonsense"]) == 1
    assert capsys.readouterr().err == "ledgerline: No event, request, correlation, stream or thing goes by nonsense.\n"
    assert cli.main(["log", "show", "999999999999"]) == 1
    assert cli.main(["log", "search", "--since", "yesterday"]) == 2
    assert "Write 2026-03-01T12:00:00Z" in capsys.readouterr().err


def test_the_log_is_searched_by_each_part_of_an_event(ask: Ask, analysed: tuple[Account, str, str]) -> None:
    person, _, job_id = analysed
    mine = ["--workspace", person.workspace_id]
    everything = ask("log", "search", *mine)
    [requested] = ask("log", "search", "--type", "analyses.AnalysisReq*", *mine)
    assert requested["facts"]["analysis_id"] == job_id
    for option, value in {
        "--stream": f"analysis-{job_id}",
        "--correlation": requested["correlation_id"],
        "--text": job_id,
        "--since": requested["recorded_at"],
    }.items():
        found = ask("log", "search", option, value, *mine)
        assert requested in found, option
        assert len(found) < len(everything), option
    before = ask("log", "search", "--before", str(requested["position"]), *mine)
    after = ask("log", "search", "--after", str(requested["position"]), *mine)
    assert [*before, requested, *after] == everything
    assert ask("log", "search", "--actor", "nobody", *mine, status=1) == []
    # What people type in is no pattern but for the star.
    assert ask("log", "search", "--type", "analyses_AnalysisRequested", *mine, status=1) == []


def test_personal_texts_are_not_shown(ask: Ask, account: Callable[[], Account]) -> None:
    person = account()
    found = ask("log", "search", "--workspace", person.workspace_id)
    assert any("(personal)" in json.dumps(event["facts"]) for event in found)
    assert person.email not in json.dumps(found)
    assert "sealed:" not in json.dumps(found)


def test_whoever_follows_the_log_sees_each_new_event_once(stack: Stack, account: Callable[[], Account]) -> None:
    account()  # so that there is something to be seen at once
    variables = COMPLETE | {"LEDGERLINE_POSTGRES_URL": stack.settings[Postgres].postgres_url}
    follower = subprocess.Popen(
        [sys.executable, "-m", "infra.cli", "log", "tail", "-f", "-n", "1", "--json"],
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    with follower:
        assert follower.stdout is not None
        try:
            follower.stdout.readline()  # it looks now
            seen: list[tuple[int, str]] = []
            for _ in range(3):
                wanted = account().workspace_id
                while wanted not in {workspace_id for _, workspace_id in seen}:
                    event = json.loads(follower.stdout.readline())
                    seen.append((event["position"], event["workspace_id"]))
                    assert seen == sorted(set(seen))
            # Not Ctrl-C: whoever runs tests in the background may have had it ignored.
            follower.send_signal(signal.SIGTERM)
            assert follower.wait(60) == -signal.SIGTERM
        finally:
            follower.kill()


def test_an_event_that_no_version_can_read_is_shown_as_it_lies_there(
    databases: Databases, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.create()
    migrate(url)
    monkeypatch.setenv("LEDGERLINE_POSTGRES_URL", url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO ledger_events (originator_id, originator_version, topic, state, workspace_id) "
            "VALUES ('strange-1', 1, 'strange.Event', %s, 'nobody')",
            (b"\xff not json",),
        )
    [event] = ask("log", "search", "--type", "strange.*")
    assert "unreadable" in event["facts"]
    [found] = ask("log", "explain", "strange-1")
    assert found["events"][0]["jobs"] == []
    databases.drop(url)
