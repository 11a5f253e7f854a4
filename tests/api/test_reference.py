"""What people read to call the service: a page, a text, parts of the contract, and examples that work as they stand."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema_rs
import pytest

from api.samples import HERE, call_of, curl, node, operations, python, value_of
from tests.identity.crowd import Visitor, sign_in

Contract = Mapping[str, Any]


@pytest.fixture(scope="module")
def contract(client: httpx.Client) -> Contract:
    """The document as it is served."""
    found: Contract = client.get("/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def page(client: httpx.Client) -> httpx.Response:
    """The page as it is served."""
    answer = client.get("/docs")
    assert answer.status_code == 200
    return answer


def test_the_page_shows_every_operation_once_and_leads_to_it(contract: Contract, page: httpx.Response) -> None:
    for method, path, operation in operations(contract):
        name = operation["operationId"]
        assert page.text.count(f'id="{name}"') == 1, (method, path)
        assert page.text.count(f'href="#{name}"') == 1, (method, path)


def test_the_page_needs_nothing_from_elsewhere_and_runs_its_own_script_only(page: httpx.Response) -> None:
    policy = page.headers["content-security-policy"]
    [script] = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert re.findall(r'(?:src|href)="(?!#|/)[^"]*"', page.text) == []


@pytest.mark.parametrize("path", ["/docs", "/docs/api.md", "/docs/events", "/docs/webhooks", "/llms.txt"])
def test_a_text_names_its_charset_once(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    kind = "text/markdown" if path.endswith((".md", ".txt")) else "text/html"
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{kind}; charset=utf-8")


def test_the_operations_of_a_contract_stand_together(contract: Contract, page: httpx.Response) -> None:
    places = [
        (operation["tags"][0], page.text.index(f'id="{operation["operationId"]}"'))
        for _, _, operation in operations(contract)
    ]
    in_order = [tag for tag, _ in sorted(places, key=lambda each: each[1])]
    changes = [tag for number, tag in enumerate(in_order) if number == 0 or in_order[number - 1] != tag]
    assert len(changes) == len(set(changes)), changes


def test_every_operation_is_in_the_document_of_one_surface_with_all_it_refers_to(
    client: httpx.Client, contract: Contract
) -> None:
    found: list[tuple[str, str]] = []
    for tag in contract["tags"]:
        part = client.get(f"/openapi/{tag['name'].lower().replace(' ', '-')}.json").json()
        found += [(method, path) for method, path, _ in operations(part)]
        shapes = part["components"]["schemas"]
        named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(part)))
        assert named == set(shapes), tag
    assert sorted(found) == sorted((method, path) for method, path, _ in operations(contract))


def test_a_surface_that_there_is_not_is_answered_with_those_that_there_are(client: httpx.Client) -> None:
    answer = client.get("/openapi/nonsense.json")
    assert answer.status_code == 404
    assert "platform.json" in answer.json()["detail"]


def test_language_models_are_told_every_operation_and_where_it_stands(
    client: httpx.Client, contract: Contract, page: httpx.Response
) -> None:
    text = client.get("/llms.txt").text
    assert text.startswith("# Ledgerline\n\n> ")
    told = re.findall(r"^- \[(\w+) (/\S*)\]\(/docs#(\w+)\): \S", text, re.MULTILINE)
    assert sorted(told) == sorted(
        (method, path, operation["operationId"]) for method, path, operation in operations(contract)
    )


# --- examples -------------------------------------------------------------------------------------------------------


def test_an_example_holds_what_is_required_and_prefers_what_the_contract_shows() -> None:
    schema = {"components": {"schemas": {"Tone": {"enum": ["major", "minor"]}}}}
    shape = {
        "type": "object",
        "required": ["tone", "email", "parts", "count"],
        "properties": {
            "tone": {"$ref": "#/components/schemas/Tone"},
            "email": {"type": "string"},
            "count": {"oneOf": [{"type": "null"}, {"type": "integer", "minimum": 4}]},
            "parts": {"type": "array", "items": {"type": "string", "examples": ["drums"]}},
            "left_out": {"type": "string"},
            "shown": {"type": "string", "examples": ["this"]},
        },
    }
    assert value_of(schema, shape, "body") == {
        "tone": "major",
        "email": "sam@example.com",
        "count": 4,
        "parts": ["drums"],
        "shown": "this",
    }


def test_refusals_are_shown_as_they_are_told(client: httpx.Client, contract: Contract) -> None:
    """As their contract's own renderer writes them, and with the fields that a refusal really has."""
    seen = 0
    shapes = contract["components"]["schemas"]
    checkers: dict[str, jsonschema_rs.Validator] = {}
    for method, path, operation in operations(contract):
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json", {})
            if int(status) < 400 or "example" not in content:
                continue
            seen += 1
            name = content["schema"]["$ref"].rpartition("/")[2]
            checker = checkers.setdefault(name, jsonschema_rs.validator_for(shapes[name]))
            assert checker.is_valid(content["example"]), (method, path, status, content["example"])
            if status == "401" and method == "GET" and operation.get("security"):
                told = client.get(re.sub(r"{\w+}", "x", path))
                assert (told.status_code, told.json().keys()) == (401, content["example"].keys()), (path, told.text)
    assert seen > 500


def test_examples_are_correct_programs(contract: Contract) -> None:
    scripts = []
    for method, path, operation in operations(contract):
        call = call_of(contract, method, path, operation)
        ast.parse(python(call))
        scripts.append(node(call))
    if (program := shutil.which("node")) is None:
        pytest.skip("no Node.js on this machine")
    # All in one program, each in a block of its own: to start it once for each takes a minute.
    imports = {line for script in scripts for line in script.splitlines() if line.startswith("import ")}
    bodies = ["\n".join(line for line in script.splitlines() if line not in imports) for script in scripts]
    whole = "\n".join([*imports, *(f"{{\n{body}\n}}" for body in bodies)])
    checked = subprocess.run(
        [program, "--input-type=module", "--check", "-"], input=whole, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


#: What an example cannot know: a code or an answer of somebody else that only the moment gives.
ONLY_THE_MOMENT_KNOWS = {"/v1/auth/verify-email", "/v1/auth/email/verify"}


def asked(visitor: Visitor, command: str, song: bytes) -> httpx.Response:
    """Ask what a call of curl asks, as its own reading of these few options would."""
    method, headers, data, files, url = "GET", {}, None, {}, ""
    words = iter(shlex.split(command.replace("\\\n", " "))[1:])
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, value = next(words).split(": ", 1)
                headers[name] = value
            case "-d":
                data = next(words)
            case "-F":
                name, value = next(words).split("=", 1)
                files[name] = ("song.mp3", song, "audio/mpeg") if value.startswith("@") else (None, value)
            case _:
                url = word
    assert url.startswith(HERE)
    headers.pop("X-API-Key", None)
    split = urlsplit(url)
    place = split.path + (f"?{split.query}" if split.query else "")
    return visitor.request(method, place, headers=headers, content=data, files=files or None)


def test_every_example_is_understood_when_it_is_sent_as_it_stands(
    client: httpx.Client, contract: Contract, clip: bytes
) -> None:
    misunderstood = []
    visitor = sign_in(client)
    for method, path, operation in operations(contract):
        call = call_of(contract, method, path, operation)
        if call.file is not None or (call.form and path != "/v1/analyze/upload"):
            continue  # what is in the file only they know who send it
        answer = asked(visitor, curl(call), clip)
        is_odd = answer.status_code in {400, 405, 413, 415, 422} and path not in ONLY_THE_MOMENT_KNOWS
        if is_odd or answer.status_code == 500 or str(answer.status_code) not in operation["responses"]:
            misunderstood.append((method, path, answer.status_code, answer.text[:300]))
        if method != "GET" and answer.is_success:
            # It may have been the last thing that this person could do.
            visitor = sign_in(client)
    assert not misunderstood, "\n".join(map(str, misunderstood))
