"""The contract as published: OpenAPI 3.1 that names every route, and every route of the analysis API as documented."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg
from msgspec import Struct, inspect
from msgspec.structs import fields

from api.app import routes
from api.surfaces import PLATFORM, surface_at
from domain.kernel import Invalid
from tests.identity.crowd import sign_in

#: Every operation that the document of the analysis API shows, and the statuses it shows or names for it.
DOCUMENTED = {
    ("post", "/v1/auth/register"): {"201", "422", "429", "503"},
    ("post", "/v1/auth/verify-email"): {"200", "422", "429", "503"},
    ("post", "/v1/analyze/url"): {"202", "401", "403", "409", "422", "429", "503"},
    ("post", "/v1/analyze/upload"): {"202", "401", "403", "409", "413", "422", "429", "503"},
    ("post", "/v1/batch"): {"202", "401", "403", "409", "422", "429", "503"},
    ("post", "/v1/analyze/batch"): {"202", "401", "403", "409", "422", "429", "503"},
    ("get", "/v1/analysis/{job_id}"): {"200", "401", "403", "404", "429", "503"},
    ("get", "/v1/analysis/{job_id}/full"): {"200", "401", "403", "404", "429", "503"},
    ("get", "/v1/analysis/{job_id}/webhooks"): {"200", "401", "403", "404", "429", "503"},
    ("post", "/v1/demo/analyze/url"): {"202", "422", "429", "503"},
    ("get", "/v1/demo/analysis/{job_id}"): {"200", "404", "503"},
    ("get", "/v1/usage"): {"200", "401", "403", "429", "503"},
    ("get", "/v1/webhook-secret"): {"200", "401", "403", "429", "503"},
    ("post", "/v1/webhook-secret/rotate"): {"200", "401", "403", "429", "503"},
}
#: Pages about the contract are not part of it.
ABOUT = re.compile(r"/$|/(docs|openapi|asyncapi|schemas|llms|console|admin|metrics|\.well-known)\b")


@pytest.fixture(scope="module")
def contract(client: httpx.Client) -> dict[str, Any]:
    """The document as it is served."""
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    document: dict[str, Any] = answer.json()
    return document


def operations(contract: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, item in contract["paths"].items()
        for method, operation in item.items()
        if method in {"get", "post", "put", "patch", "delete"}
    }


def patterns_of(kind: object) -> Iterator[str]:
    """What texts are held to within the type of a field; a struct in it says that of its own fields."""
    match kind:
        case inspect.StructType():
            return
        case inspect.StrType(pattern=str() as pattern):
            yield pattern
        case inspect.Type():
            for name in kind.__struct_fields__:
                yield from patterns_of(getattr(kind, name))
        case tuple():
            for each in kind:
                yield from patterns_of(each)


def structs(kind: type[Struct] = Struct) -> Iterator[type[Struct]]:
    """Whatever is read or written anywhere."""
    for each in kind.__subclasses__():
        yield each
        yield from structs(each)


def test_a_form_holds_to_the_last_character() -> None:
    """`$` lets a line break through behind what was asked for."""
    asked = [
        each.kwarg_definition
        for route in routes()
        if isinstance(route, HTTPRouteHandler)
        for each in route.parsed_fn_signature.parameters.values()
    ]
    found = {each.pattern for each in asked if isinstance(each, ParameterKwarg) and each.pattern is not None}
    for shape in structs():
        if shape.__module__.startswith(("api.", "adapters.")):
            found.update(pattern for field in fields(shape) for pattern in patterns_of(inspect.type_info(field.type)))

    assert len(found) > 10
    assert [each for each in found if each.endswith("$")] == []


def test_a_form_is_published_as_json_schema_writes_it(contract: dict[str, Any]) -> None:
    assert r"^[a-z0-9][a-z0-9._-]{0,63}$" in str(contract["components"]["schemas"]["NewAccount"]["properties"])
    assert r"\Z" not in json.dumps(contract)


def test_an_object_of_a_type_with_a_line_break_is_refused_before_it_is_sent(client: httpx.Client) -> None:
    asked = {"content_type": "audio/mpeg\n", "purpose": "upload", "size_bytes": 3}
    assert sign_in(client).post("/v1/storage-objects", asked).status_code == 422


def test_it_is_openapi_3_1(contract: dict[str, Any]) -> None:
    assert contract["openapi"].startswith("3.1")


@pytest.mark.parametrize(("operation", "statuses"), DOCUMENTED.items(), ids=lambda each: "")
def test_every_documented_operation_is_in_it_with_its_statuses(
    contract: dict[str, Any], operation: tuple[str, str], statuses: set[str]
) -> None:
    assert statuses <= set(operations(contract)[operation]["responses"]), operation


def test_every_route_is_in_it_and_nothing_else(contract: dict[str, Any]) -> None:
    served = {
        (method.lower(), re.sub(r"{(\w+):\w+}", r"{\1}", path))
        for handler in routes()
        for path in handler.paths
        for method in handler.http_methods
        if method != "OPTIONS" and not ABOUT.match(path)
    }
    assert served == set(operations(contract))


def test_every_operation_has_a_name_of_its_own_a_sentence_and_a_tag(contract: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(contract).values()]
    assert len(set(names)) == len(names)
    for where, operation in operations(contract).items():
        assert re.search(r"\w.*[.:?]", operation.get("description", "")), where
        assert operation.get("tags"), where


def test_what_succeeds_is_never_told_in_the_shape_of_a_refusal_and_json_says_what_is_in_it(
    contract: dict[str, Any],
) -> None:
    refusals = {
        body["schema"]["$ref"]
        for operation in operations(contract).values()
        for status, answer in operation["responses"].items()
        for body in answer.get("content", {}).values()
        if status >= "400"
    }
    says_nothing: list[Any] = [{}, {"type": "string"}]
    for where, operation in operations(contract).items():
        for status, answer in operation["responses"].items():
            if status < "400":
                for media, body in answer.get("content", {}).items():
                    schema = body["schema"]
                    assert schema.get("$ref") not in refusals, (where, status)
                    assert media != "application/json" or schema not in says_nothing, (where, status)


def test_every_reference_leads_somewhere(contract: dict[str, Any]) -> None:
    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*(references(each) for each in part.values()))
        if isinstance(part, list):
            return set().union(*(references(each) for each in part))
        return set()

    for reference in references(contract):
        found: Any = contract
        for step in reference.removeprefix("#/").split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~")]


def test_uploads_are_described_as_forms_with_a_file(contract: dict[str, Any]) -> None:
    upload = operations(contract)["post", "/v1/analyze/upload"]
    form = upload["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"file", "webhook_url"} <= set(form["properties"])


def test_protected_operations_say_how_to_show_who_asks(contract: dict[str, Any]) -> None:
    for where, operation in operations(contract).items():
        assert ("401" in operation["responses"]) == bool(operation.get("security")), where


def test_whoever_types_the_address_of_the_service_comes_to_read_about_it(client: httpx.Client) -> None:
    answer = client.get("/", follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/docs")
    assert "<h1>Ledgerline" in answer.text


def closed_lists(contract: dict[str, Any]) -> list[tuple[str, str, str, str, list[str], bool]]:
    """Every place of a request that takes only certain words: method, path, body or query, name, words, is a list."""

    def words(part: dict[str, Any]) -> tuple[list[str], bool]:
        if "$ref" in part:
            return words(contract["components"]["schemas"][part["$ref"].rsplit("/", 1)[1]])
        if part.get("type") == "array":
            return words(part["items"])[0], True
        choices = [words(each) for each in part.get("oneOf", part.get("anyOf", []))]
        own = part.get("enum") or ([part["const"]] if "const" in part else [])
        found = [word for each in (own, *(taken for taken, _ in choices)) for word in each if isinstance(word, str)]
        return found, any(is_list for _, is_list in choices)

    found = []
    for (method, path), operation in operations(contract).items():
        places = [("query", each["name"], each["schema"]) for each in operation.get("parameters", [])]
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in body:
            body = contract["components"]["schemas"][body["$ref"].rsplit("/", 1)[1]]
        places += [("body", name, schema) for name, schema in body.get("properties", {}).items()]
        for where, name, schema in places:
            taken, is_list = words(schema)
            if taken:
                found.append((method, path, where, name, taken, is_list))
    return found


def test_whoever_uses_a_word_that_is_not_taken_is_told_those_that_are(
    client: httpx.Client, contract: dict[str, Any]
) -> None:
    person = sign_in(client)
    places = closed_lists(contract)
    assert {name for _, _, _, name, _, _ in places} >= {"scopes", "role", "only", "purpose", "format"}
    for method, path, where, name, taken, is_list in places:
        wrong = ["dance"] if is_list else "dance"
        answer = client.request(
            method,
            re.sub(r"{\w+}", "3f0c5f6e-52c4-4b8e-9d33-0a6a1c1d9e55", path),
            headers={"Authorization": f"Bearer {person.token}"},
            params={name: wrong} if where == "query" else None,
            json={name: wrong} if where == "body" else None,
        )
        surface = surface_at(path)
        assert answer.status_code == surface.status(Invalid), (method, path, answer.text)
        if surface is not PLATFORM:
            # Other contracts say it in other shapes: the place and the words are there.
            for word in (name, *taken):
                assert word in answer.text, (method, path, answer.text)
            continue
        [mistake] = answer.json()["detail"]
        assert mistake["loc"] == [where, name, *([0] if is_list else [])], (method, path)
        assert (mistake["type"], mistake["msg"]) == ("literal_error", f"Input should be {mistake['ctx']['expected']}")
        assert set(re.findall(r"'([^']+)'", mistake["msg"])) == set(taken), (method, path)


@pytest.mark.parametrize("path", ["/docs", "/docs/api.md", "/openapi.json"])
def test_a_page_is_sent_once_to_whoever_keeps_it(client: httpx.Client, path: str) -> None:
    first = client.get(path)
    tag = first.headers["etag"]
    again = client.get(path, headers={"If-None-Match": tag})

    assert first.headers["cache-control"] == "public, max-age=60"
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"If-None-Match": '"another"'}).content == first.content


def test_to_read_the_page_costs_its_rendering_once(client: httpx.Client) -> None:
    client.get("/docs")
    times = [client.get("/docs").elapsed.total_seconds() for _ in range(5)]

    assert min(times) < 0.05
