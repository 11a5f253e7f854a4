"""One way of logging for everything that runs: dotted event names with fields, one line each, no secrets."""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, Any, Literal

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from domain.tracing import TRACE, trace_id

#: What may never be read in a log, and what is read instead. The order matters: URLs before addresses.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(bz[dios]?_|whsec_|whsk_|sk_live_|sk_test_|gh[pousr]_)[A-Za-z0-9+/=_-]{4,}"), r"\1***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), r"\1 ***"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"), "jwt ***"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/@:'\"]*):[^\s/@'\"]+@"), r"\1:***@"),
    (
        re.compile(
            r"(?i)([?&](?:x-amz-signature|x-amz-credential|x-amz-security-token|signature|sig|token|access_token|key"
            r"|api_key|apikey|secret|password|code)=)[^&\s'\"]+"
        ),
        r"\1***",
    ),
    (
        re.compile(
            r"(?i)\b((?:password|passwd|secret|token|api[_-]?key)['\"]?\s*[=:]\s*['\"]?)(?!\*\*\*)[^\s'\",;&})]+"
        ),
        r"\1***",
    ),
    (re.compile(r"(?<![A-Za-z0-9:/*])[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b"), "***@***"),
)

#: Fields whose whole value is hidden, whatever it looks like.
_HIDDEN_FIELDS = re.compile(
    r"(?i)(^|_)(password|passwd|secret|secret_key|token|session_token|api_key|apikey|x-api-key|authorization|cookie|email)$"
)

_DEPTH_MAX = 6

#: Lines that wait for whoever reads them, some megabytes at most.
_LINES_MAX = 5_000
#: So long others may join a line before they are written together. To wake a thread for each of them, which then wants
#: the interpreter from whoever wrote it, costs more than the lines themselves.
_BATCH_SECONDS = 0.01
_TOGETHER_MAX = 100


def redact(text: str) -> str:
    """The text without keys, tokens, passwords, signatures and e-mail addresses."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def _redacted(value: Any, depth: int = 0) -> Any:
    match value:
        case str():
            return redact(value)
        case bytes():
            return redact(value.decode("utf-8", "replace"))
        case bool() | int() | float() | None:
            return value
        case Mapping() if depth < _DEPTH_MAX:
            return {
                redact(str(key)): "***" if _HIDDEN_FIELDS.search(str(key)) and inner else _redacted(inner, depth + 1)
                for key, inner in value.items()
            }
        case list() | tuple() | set() | frozenset() if depth < _DEPTH_MAX:
            return [_redacted(inner, depth + 1) for inner in value]
        case _:
            return redact(str(value))


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide what is secret or personal in every field of a log line, tracebacks included."""
    for key, value in event.items():
        if key not in ("timestamp", "level", "role"):
            event[key] = "***" if _HIDDEN_FIELDS.search(key) and value else _redacted(value)
    return event


def _with_role(role: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("role", role)
        return event

    return add


def _with_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The trace that whatever is said belongs to."""
    traceparent = TRACE.get()
    if traceparent is not None:
        event.setdefault("trace_id", trace_id(traceparent))
    return event


def _uvicorn_extras_away(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """uvicorn sends each message a second time, coloured."""
    event.pop("color_message", None)
    return event


class Writer:
    """Writes lines in a thread of its own. Where nobody reads them, lines are dropped and counted; work never waits."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._dropped = 0
        self._begin()
        os.register_at_fork(
            after_in_child=self._begin
        )  # threads do not survive a fork, and the parent writes its lines
        atexit.register(self.flush)

    def _begin(self) -> None:
        #: Lines, and events to set once everything before them is written.
        self._lines: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def put(self, line: str) -> None:
        """Have a line written soon."""
        if self._lines.qsize() < _LINES_MAX:
            self._lines.put(line)
        else:
            self._dropped += 1

    def flush(self, seconds_max: float = 0.5) -> None:
        """Wait until everything is written, or that long."""
        written = threading.Event()
        self._lines.put(written)
        written.wait(seconds_max)

    def _write(self) -> None:
        while True:
            taken = [self._lines.get()]
            if self._lines.empty():
                time.sleep(_BATCH_SECONDS)
            while len(taken) < _TOGETHER_MAX and not self._lines.empty():
                taken.append(self._lines.get())
            lines = [each for each in taken if isinstance(each, str)]
            dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.insert(0, json.dumps({"level": "warning", "event": "log.dropped", "lines": dropped}))
            with suppress(OSError, ValueError):  # whoever has closed it wants no more lines
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            for each in taken:
                if isinstance(each, threading.Event):
                    each.set()


class _Lines(logging.Handler):
    """Hands lines to a writer."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits."""
        try:
            self.writer.put(self.format(record))
        except Exception:  # noqa: BLE001 - a line that cannot be written stops nothing
            self.handleError(record)


#: What writes lines for machines in this process, and the role that they are from; None where people read them.
_direct: tuple[Writer, str] | None = None
_encode = msgspec.json.Encoder().encode


def write_clean(event: str, **fields: Any) -> None:
    """One line at info whose fields hold nothing that must be hidden: whoever calls this has seen to that.

    It goes past the steps that look for it, which cost several times what a small answer does.
    """
    if not logging.getLogger().isEnabledFor(logging.INFO):
        return
    if _direct is None:
        structlog.get_logger().info(event, **fields)
        return
    writer, role = _direct
    timestamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    line = {"timestamp": timestamp, "level": "info", "role": role, "event": event, **fields}
    if (traceparent := TRACE.get()) is not None:
        line["trace_id"] = trace_id(traceparent)
    writer.put(_encode(line).decode())


def flush() -> None:
    """Have what was logged so far written before something else is, where anybody reads it."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Lines):
            handler.writer.flush()


def configure(
    role: str,
    level: str = "info",
    style: Literal["auto", "json", "console"] = "auto",
    stream: IO[str] | None = None,
) -> None:
    """Send structlog's and every other library's log lines through the same steps to `stream`.

    Without one they go to stderr, from a thread, so that nobody waits for whoever should be reading there.
    """
    handler: logging.Handler = _Lines(Writer(sys.stderr)) if stream is None else logging.StreamHandler(stream)
    stream = sys.stderr if stream is None else stream
    for_people = style == "console" or (style == "auto" and stream.isatty())
    global _direct  # noqa: PLW0603 - as all of logging, this is one for the process
    _direct = (handler.writer, role) if isinstance(handler, _Lines) and not for_people else None
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_role(role),
        _with_trace,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _uvicorn_extras_away,
        redact_event,
    ]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), sort_keys=False)
        if for_people
        else structlog.processors.JSONRenderer(sort_keys=False)
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.ExtraAdder(),
                _named_after_its_logger,
                *shared,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _event_first, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    logging.captureWarnings(capture=True)
    tame_libraries()


def tame_libraries() -> None:
    """Undo what libraries do to logging when they are imported; call it again after importing them."""
    for name in ("psycopg", "psycopg.pool", "uvicorn", "uvicorn.error", "uvicorn.access", "nats", "litestar"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
    # Each says at info what our own lines say better, or nothing an operator needs.
    for name in ("psycopg.pool", "uvicorn.error", "uvicorn.access", "asyncio", "matplotlib", "PIL", "minio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_not_said_better)
    # And this one warns of each call that it tries again, of whose end we tell.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


#: What is warned of for each request that anybody sends; `connections.refused` counts them, and the rest is answered.
_SAID_BETTER = ("Invalid HTTP request received.", "Unsupported upgrade request.", "No supported WebSocket library")


def _is_not_said_better(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_SAID_BETTER)


def _named_after_its_logger(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A library's sentence becomes the message of an event that carries the library's name."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["message"] = event.get("event")
        event["event"] = f"{record.name.removesuffix('.error')}.said"
    return event


def _event_first(_logger: WrappedLogger, _method: str, event: EventDict) -> MutableMapping[str, Any]:
    """The same order in every line, so that eyes find things."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "role", "event") if key in event}
    return {**first, **event}
