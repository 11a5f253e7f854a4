"""A developer with a project and keys, and what plug-ins ask, over HTTP."""

from __future__ import annotations

import re
from typing import Any

import httpx

from tests.identity.crowd import Visitor

ACTIVATION = "/functions/v1/plugin-activation"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

Json = dict[str, Any]


def new_project(who: Visitor, name: str = "Warm Tube") -> str:
    """A project's id."""
    answer = who.post("/functions/v1/projects", {"name": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def new_code(who: Visitor, project_id: str, **more: Any) -> str:
    """An activation code of a project."""
    answer = who.post(f"{ACTIVATION}/generate", {"project_id": project_id, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["code"])


def ask(http: httpx.Client, what: str, code: str, machine: str = "studio-mac", **more: Any) -> httpx.Response:
    """What a plug-in asks about a code on a machine."""
    return http.post(f"{ACTIVATION}/{what}", json={"code": code, "machine_id": machine, **more})


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of an error as documented, and nothing else in it."""
    body = answer.json()
    assert set(body) == {"error", "message", "details"}, body
    assert isinstance(body["message"], str)
    assert body["message"]
    assert isinstance(body["details"], dict)
    return answer.status_code, body["error"]
