"""Every log line is one JSON object with the same head, and none of them tells a secret."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from infra import telemetry

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Logging as the role "test" does it, into memory; what was there before comes back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    telemetry.configure("test", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_an_event_is_one_line_with_its_time_level_role_and_fields(lines: Lines) -> None:
    structlog.get_logger().info("delivery.attempted", delivery_id="dlv_1", status=503, attempt=4)
    (line,) = lines()
    assert list(line)[:4] == ["timestamp", "level", "role", "event"]
    assert line["timestamp"].endswith("Z")
    assert line | {"timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "role": "test",
        "event": "delivery.attempted",
        "delivery_id": "dlv_1",
        "status": 503,
        "attempt": 4,
    }


@pytest.mark.parametrize("library", ["uvicorn.error", "nats.aio.client", "psycopg.pool", "litestar", "anything"])
def test_libraries_log_through_the_same_steps(lines: Lines, library: str) -> None:
    logging.getLogger(library).warning("lost %s", "bz_live_0123456789abcdef")
    (line,) = lines()
    assert line["event"] == f"{library.removesuffix('.error')}.said"
    assert line["message"] == "lost bz_***"
    assert (line["role"], line["level"]) == ("test", "warning")


@pytest.mark.parametrize("said", ["Invalid HTTP request received.", "Unsupported upgrade request."])
def test_what_anybody_can_send_is_no_warning_each_time(lines: Lines, said: str) -> None:
    logging.getLogger("uvicorn.error").warning(said)
    logging.getLogger("uvicorn.error").warning("something else")
    (line,) = lines()
    assert line["message"] == "something else"


def test_importing_the_event_library_silences_nobody() -> None:
    program = (
        "import logging, infra.telemetry as t\n"
        "import eventsourcing.postgres\n"
        "assert logging.getLogger('psycopg').level == logging.ERROR, 'this test proves nothing any more'\n"
        "t.configure('test')\n"
        "logging.getLogger('psycopg').warning('connection lost')\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(result.stderr.splitlines()[-1])["message"] == "connection lost"


SECRETS = [
    ("key bz_live_AbC123xyz789 used", "AbC123xyz789"),
    ("Authorization: Bearer abcDEF123.token-part~x", "abcDEF123"),
    ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8G"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "c2lnbmF0"),
    ("mail to nina.simone+keys@example.co.uk failed", "nina.simone"),
    ("connect postgresql://ledgerline:hunter2@127.0.0.1:5432/x", "hunter2"),
    ("connect nats://u:hun:ter2@h", "ter2"),
    ("GET /b/o?X-Amz-Credential=AKIA1234&X-Amz-Signature=deadbeef01&x=1", "deadbeef01"),
    ("GET /b/o?X-Amz-Credential=AKIA1234&X-Amz-Signature=deadbeef01&x=1", "AKIA1234"),
    ("GET /v1/demo/analysis/1?token=s3cr3tt0ken", "s3cr3tt0ken"),
    ("password=hunter2", "hunter2"),
    ("{'password': 'hunter2'}", "hunter2"),
    ('{"api_key":"hunter2"}', "hunter2"),
    ("github ghp_16C7e42F292c6912E7710c838347Ae178B4a", "16C7e42F"),
    ("stripe sk_test_4eC39HqLyjWDarjtT1zdp7dc", "4eC39Hq"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_secrets_are_hidden_in_events_fields_nested_fields_and_arguments(lines: Lines, text: str, secret: str) -> None:
    structlog.get_logger().info("test.logged", field=text, nested={"list": [{"deep": text}]}, octets=text.encode())
    structlog.get_logger().info(text)
    logging.getLogger("library").warning("%s", text)
    said = lines()
    assert len(said) == 3
    assert secret not in json.dumps(said)


def test_secrets_are_hidden_in_tracebacks(lines: Lines) -> None:
    try:
        int("postgresql://me:hunter2@db")
    except ValueError:
        structlog.get_logger().exception("test.failed")
        logging.getLogger("library").exception("failed")
    said = lines()
    assert len(said) == 2
    assert "hunter2" not in json.dumps(said)
    assert all("ValueError" in line["exception"] for line in said)


@pytest.mark.parametrize(
    "field", ["password", "api_key", "session_token", "authorization", "X-API-Key", "email", "cookie"]
)
def test_fields_that_hold_secrets_are_hidden_whatever_they_look_like(lines: Lines, field: str) -> None:
    structlog.get_logger().info("test.logged", **{field: "plainword"}, headers={field: "plainword"})
    (line,) = lines()
    assert line[field] == "***"
    assert line["headers"][field] == "***"


@pytest.mark.parametrize(
    "text",
    [
        "analysis 8b7a5c17-b1a1-42fd-aab8-51d0c4ff3d2a completed at 12:30:05",
        "http://127.0.0.1:8000/docs",
        "key A minor, 127.8 bpm",
        "token bucket is full",
        "licenses-bz",
        "position 1234 of stream analysis-abc@3",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert telemetry.redact(text) == text


def test_what_was_bound_to_the_context_is_in_every_line(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(correlation_id="req_1"):
        structlog.get_logger().info("request.served")
        logging.getLogger("library").warning("hm")
    assert [line["correlation_id"] for line in lines()] == ["req_1", "req_1"]


def test_lines_below_the_level_are_not_written(lines: Lines) -> None:
    structlog.get_logger().debug("test.logged")
    logging.getLogger("library").debug("hm")
    assert lines() == []


def test_nobody_waits_for_whoever_should_read_the_log(tmp_path: Path) -> None:
    program = (
        "import sys, structlog\n"
        "from infra import telemetry\n"
        "telemetry.configure('busy', style='json')\n"
        "log = structlog.get_logger()\n"
        "for number in range(20_000): log.info('it.happened', number=number, text='x' * 100)\n"
        "open(sys.argv[1], 'w').write('done')\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "note")], stderr=subprocess.PIPE) as busy:
        assert busy.wait(60) == 0  # the pipe holds 64 KB, and nobody has read from it
        assert (tmp_path / "note").read_text() == "done"


def test_lines_that_nobody_read_are_counted() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        writer = telemetry.Writer(stream)
        for number in range(20_000):
            writer.put(f'{{"event": "it.happened", "number": {number}}}')
        read = [json.loads(reader.readline()) for _ in range(5_000)]
        writer.put('{"event": "later"}')
        while (line := json.loads(reader.readline()))["event"] != "later":
            read.append(line)

    happened = [each for each in read if each["event"] == "it.happened"]
    dropped = sum(each["lines"] for each in read if each["event"] == "log.dropped")
    assert dropped > 0
    assert len(happened) + dropped == 20_000
