"""A small Stripe: keeps customers, checkouts, subscriptions, honours idempotency keys, and signs like the real one."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.answering import Answering


class LittleStripe:
    """One account; `secret` signs its webhooks."""

    def __init__(self, secret: str = "whsec_little") -> None:
        self.secret = secret
        self.customers: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.is_away = False
        self.page_size = 100
        #: The customer everybody gets, as from an account that was mixed up.
        self.gives_always: str | None = None
        #: What happens while an answer about a subscription is on its way.
        self.meanwhile: Callable[[], None] = lambda: None
        self._answers: dict[str, dict[str, Any]] = {}
        self._asked: dict[str, dict[str, str]] = {}
        # Ids of one account never meet those of another, as with the real one.
        self._account = token_hex(4)
        #: Status and body of every answer, whatever is asked; and whether pages count as closed already.
        self.answers_always: tuple[int, dict[str, Any]] | None = None
        self.expires_nothing = False
        self._numbers = count(1)
        self._lock = threading.Lock()
        self.url = ""

    # --- what its API answers ------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, form: dict[str, str], key: str | None) -> tuple[int, dict[str, Any]]:
        """Status and body of a request; the same idempotency key gives the same answer."""
        with self._lock:
            if self.is_away:
                return 503, {"error": {"type": "api_error", "message": "away"}}
            if self.expires_nothing and path.endswith("/expire"):
                return 400, {"error": _CLOSED}
            if self.answers_always is not None:
                return self.answers_always
            if key is not None and key in self._answers:
                if self._asked[key] != form:
                    return 400, {"error": {"type": "idempotency_error", "message": "another request had this key"}}
                return 200, self._answers[key]
            match method, path.split("/")[2:]:
                case "POST", ["customers"] if self.gives_always is not None:
                    made = self.customers[self.gives_always]
                case "POST", ["customers"]:
                    made = self._keep(self.customers, "cus", metadata={"workspace_id": form["metadata[workspace_id]"]})
                case "POST", ["checkout", "sessions"]:
                    made = self._checkout(form)
                case "POST", ["checkout", "sessions", session_id, "expire"]:
                    made = self.sessions[session_id]
                    if made["status"] != "open":
                        return 400, {"error": _CLOSED}
                    made["status"] = "expired"
                case "GET", ["checkout", "sessions", session_id]:
                    made = self.sessions[session_id]
                case "POST", ["billing_portal", "sessions"] if form["customer"] in self.customers:
                    number = next(self._numbers)
                    made = {"id": f"bps_{number}", "object": "billing_portal.session", "url": f"{self.url}/p/{number}"}
                case "GET", ["subscriptions"] if form["customer"] not in self.customers:
                    return 400, {"error": _missing("customer", form["customer"])}
                case "GET", ["subscriptions"]:
                    made = self._listed(form)
                case "DELETE", ["subscriptions", subscription_id] if self._runs(subscription_id):
                    made = self.subscriptions[subscription_id]
                    made["status"] = "canceled"
                case "DELETE", ["subscriptions", subscription_id]:
                    return 404, {"error": _missing("subscription", subscription_id)}
                case "GET", ["subscriptions", subscription_id] if subscription_id in self.subscriptions:
                    made = self.subscriptions[subscription_id]
                case _:
                    return 404, {"error": {"type": "invalid_request_error", "message": f"no such thing: {path}"}}
            if key is not None:
                # What is asked for again is told as it was, whatever has become of it.
                self._answers[key], self._asked[key] = deepcopy(made), form
            return 200, made

    def _runs(self, subscription_id: str) -> bool:
        found = self.subscriptions.get(subscription_id)
        return found is not None and found["status"] != "canceled"

    def _listed(self, form: dict[str, str]) -> dict[str, Any]:
        """As with the real one, what was canceled is not in the list, what expired is, and a page has an end."""
        mine = [each for each in self.subscriptions.values() if each["customer"] == form["customer"]]
        if "starting_after" in form:
            mine = mine[[each["id"] for each in mine].index(form["starting_after"]) + 1 :]
        left = [each for each in mine if each["status"] != "canceled"]
        limit = min(int(form.get("limit", "10")), self.page_size)
        return {"object": "list", "url": "/v1/subscriptions", "data": left[:limit], "has_more": len(left) > limit}

    def _checkout(self, form: dict[str, str]) -> dict[str, Any]:
        assert form["customer"] in self.customers
        return self._keep(
            self.sessions,
            "cs",
            object="checkout.session",
            url=f"{self.url}/c/{form['client_reference_id']}",
            client_reference_id=form["client_reference_id"],
            customer=form["customer"],
            price=form["line_items[0][price]"],
            metadata={"workspace_id": form["subscription_data[metadata][workspace_id]"]},
            subscription=None,
            status="open",
        )

    def _keep(self, where: dict[str, dict[str, Any]], prefix: str, **fields: Any) -> dict[str, Any]:
        made = {"id": f"{prefix}_{self._account}{next(self._numbers)}", "object": prefix, **fields}
        where[made["id"]] = made
        return made

    def pages(self, workspace_id: str, status: str) -> list[str]:
        """The checkouts of a workspace that are open, or whatever they are."""
        with self._lock:
            mine = [each for each in self.sessions.values() if each["client_reference_id"] == workspace_id]
        return [each["id"] for each in mine if each["status"] == status]

    # --- what people do there ------------------------------------------------------------------------------------

    def pay(self, session_id: str, *, status: str = "active") -> dict[str, Any]:
        """Somebody completes a checkout: there is a subscription now."""
        session = self.sessions[session_id]
        subscription = self._keep(
            self.subscriptions,
            "sub",
            object="subscription",
            customer=session["customer"],
            metadata=session["metadata"],
            status=status,
            cancel_at_period_end=False,
            items={
                "object": "list",
                "data": [
                    {
                        "id": "si_1",
                        "object": "subscription_item",
                        "current_period_end": int(time.time()) + 2_592_000,
                        "price": {"id": session["price"], "object": "price"},
                    }
                ],
            },
        )
        session["subscription"], session["status"] = subscription["id"], "complete"
        return subscription

    # --- what it tells -------------------------------------------------------------------------------------------

    def event(self, kind: str, about: dict[str, Any]) -> bytes:
        """The body of a webhook about an object as it is now."""
        number = next(self._numbers)
        return json.dumps(
            {
                "id": f"evt_{number}",
                "object": "event",
                "type": kind,
                "created": int(time.time()),
                "data": {"object": dict(about)},
            }
        ).encode()

    def signature(self, body: bytes, *, age_seconds: int = 0, secret: str | None = None) -> str:
        """The `Stripe-Signature` of a body, as Stripe's documentation describes it."""
        at = int(time.time()) - age_seconds
        mac = hmac.new((secret or self.secret).encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        return f"t={at},v1={mac}"


_CLOSED = {"type": "invalid_request_error", "message": "Only what is open expires."}


def _missing(kind: str, name: str) -> dict[str, str]:
    return {"type": "invalid_request_error", "code": "resource_missing", "message": f"No such {kind}: '{name}'"}


@contextmanager
def little_stripe() -> Iterator[LittleStripe]:
    """A small Stripe that listens on loopback."""
    stripe = LittleStripe()

    class Handler(Answering, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_DELETE(self) -> None:
            self._serve()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked = urlsplit(self.path)
            form, path = dict(parse_qsl(asked.query) + parse_qsl(body.decode())), asked.path
            status, answer = stripe.answer(self.command, path, form, self.headers.get("idempotency-key"))
            data = json.dumps(answer).encode()
            if path.startswith("/v1/subscriptions/"):
                stripe.meanwhile()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stripe.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield stripe
    finally:
        server.shutdown()
        server.server_close()
