"""A Baserow on loopback that behaves like the real one where we use it: fields, pages, batches, and what it refuses."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "wpYrt7UjhLittleBaserow"
LIMIT = 200
TRACKS, RELEASES = 731, 732
_DATE, _NUMBER = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"-?\d+(\.\d+)?")

Answer = tuple[int, Any]


def field(name: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    """A field of a table."""
    return {"id": abs(hash(name)) % 10_000, "name": name, "type": kind, "read_only": False, **more}


class LittleBaserow:
    """Its tables, what was asked of it, and what it is told to answer before it does anything."""

    def __init__(self) -> None:
        self.fields: dict[int, list[dict[str, Any]]] = {
            TRACKS: [
                field("Ledgerline ID"), field("ISRC"), field("Title"), field("Artist"), field("Notes", "long_text"),
                field("Release date", "date"), field("Duration (ms)", "number"), field("Label", "multiple_select"),
                field("UPC", "formula", read_only=True),
            ],
            RELEASES: [field("Ledgerline ID"), field("Title"), field("Genre"), field("Version", "number")],
        }  # fmt: skip
        self.rows: dict[int, dict[int, dict[str, Any]]] = {TRACKS: {}, RELEASES: {}}
        self.asked: list[tuple[str, str]] = []
        #: Answers that are given first, one for each request.
        self.first: list[tuple[int, Any, dict[str, str]]] = []
        #: Answers that are given instead, once a batch was written.
        self.lost: list[tuple[int, Any]] = []
        #: The batches of which its webhooks tell.
        self.told: list[int] = []
        #: Done before a batch is changed.
        self.meanwhile: Callable[[], None] = lambda: None
        self._next = 0
        self._lock = threading.Lock()

    def add(self, table: int, **cells: Any) -> int:
        """A row that somebody typed there."""
        self._next += 1
        blank: dict[str, Any] = {"date": None, "number": None, "multiple_select": []}
        empty = {each["name"]: blank.get(each["type"], "") for each in self.fields[table]}
        self.rows[table][self._next] = {**empty, **cells}
        return self._next

    def shown(self, table: int) -> list[dict[str, Any]]:
        """The rows of a table."""
        return list(self.rows[table].values())

    def answer(self, method: str, target: str, token: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        """What it says."""
        with self._lock:
            self.asked.append((method, target))
            if self.first:
                return self.first.pop(0)
            if token != f"Token {TOKEN}":
                return (
                    401,
                    {"error": "ERROR_TOKEN_DOES_NOT_EXIST", "detail": "The provided token does not exist."},
                    {},
                )
            return (*self._answer(method, target, body), {})

    def _answer(self, method: str, target: str, body: bytes) -> Answer:
        parts = urlsplit(target)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        found = re.fullmatch(r"/api/database/(fields|rows)/table/(\d+)/(?:(batch|\d+)/)?", parts.path)
        if found is None:
            return 404, {"error": "URL_NOT_FOUND", "detail": "URL not found."}
        what, table, which = found[1], int(found[2]), found[3]
        if table not in self.rows:
            return 404, {"error": "ERROR_TABLE_DOES_NOT_EXIST", "detail": "The requested table does not exist."}
        if what == "fields":
            return 200, self.fields[table]
        assert asked["user_field_names"] == "true"
        if which == "batch":
            written = self._batch(method, table, json.loads(body)["items"])
            if asked.get("send_webhook_events") != "false":
                self.told.append(table)
            return self.lost.pop() if self.lost else written
        if which is not None:
            row = self.rows[table].get(int(which))
            gone = {"error": "ERROR_ROW_DOES_NOT_EXIST", "detail": f"The rows [{which}] do not exist."}
            return (404, gone) if row is None else (200, {"id": int(which), "order": "1.00", **row})
        return self._page(table, int(asked["page"]), int(asked["size"]))

    def _page(self, table: int, page: int, size: int) -> Answer:
        if not 1 <= size <= LIMIT:
            return 400, {"error": "ERROR_PAGE_SIZE_LIMIT", "detail": "The page size is limited to 200."}
        rows = sorted(self.rows[table].items())
        part = rows[(page - 1) * size : page * size]
        if not part and page > 1:
            return 400, {"error": "ERROR_INVALID_PAGE", "detail": "Invalid page."}
        more = f"http://elsewhere.example/?page={page + 1}" if len(rows) > page * size else None
        results = [{"id": number, "order": "1.00", **row} for number, row in part]
        return 200, {"count": len(rows), "next": more, "previous": None, "results": results}

    def _batch(self, method: str, table: int, items: list[dict[str, Any]]) -> Answer:
        if not 1 <= len(items) <= LIMIT:
            detail: Any = {
                "items": [{"error": "Ensure this field has no more than 200 elements.", "code": "max_length"}]
            }
            return 400, {"error": "ERROR_REQUEST_BODY_VALIDATION", "detail": detail}
        self.meanwhile()
        if method == "PATCH":
            numbers = [each["id"] for each in items]
            if twice := sorted({each for each in numbers if numbers.count(each) > 1}):
                detail = f"The provided row ids {twice} are not unique."
                return 400, {"error": "ERROR_ROW_IDS_NOT_UNIQUE", "detail": detail}
            gone = [each for each in numbers if each not in self.rows[table]]
            if gone:
                return 404, {"error": "ERROR_ROW_DOES_NOT_EXIST", "detail": f"The rows {gone} do not exist."}
        kinds = {each["name"]: each for each in self.fields[table]}
        for number, item in enumerate(items):
            for name, value in item.items():
                if name != "id" and not _takes(kinds[name], value):
                    detail = {"items": {str(number): {name: [{"error": "Not valid.", "code": "invalid"}]}}}
                    return 400, {"error": "ERROR_REQUEST_BODY_VALIDATION", "detail": detail}
        written = []
        for item in items:
            cells = {name: _kept(kinds[name], value) for name, value in item.items() if name != "id"}
            number = self.add(table) if method == "POST" else item["id"]
            self.rows[table][number].update(cells)
            written.append({"id": number, "order": "1.00", **self.rows[table][number]})
        return 200, {"items": written}


def _takes(kind: dict[str, Any], value: Any) -> bool:
    if kind["read_only"]:
        return False
    match kind["type"]:
        case "text" | "long_text":
            return isinstance(value, str)
        case "number":
            negative = kind.get("number_negative", False)
            return value is None or (
                bool(_NUMBER.fullmatch(str(value))) and (negative or not str(value).startswith("-"))
            )
        case "date":
            return value is None or bool(_DATE.fullmatch(str(value)))
    return isinstance(value, list)


def _kept(kind: dict[str, Any], value: Any) -> Any:
    """A value as it is shown afterwards."""
    if value is not None and kind["type"] == "number" and (places := kind.get("number_decimal_places", 0)):
        return f"{float(value):.{places}f}"
    return f"{value}T00:00:00Z" if value is not None and kind.get("date_include_time") else value


@contextmanager
def little_baserow() -> Iterator[tuple[str, LittleBaserow]]:
    """Its address, and itself."""
    there = LittleBaserow()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            status, said, headers = there.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    for method in ("GET", "POST", "PATCH"):
        setattr(Handler, f"do_{method}", Handler._do)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", there
    finally:
        server.shutdown()
        server.server_close()
