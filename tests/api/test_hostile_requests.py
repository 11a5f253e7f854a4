"""Requests made up from the published contract, most of them wrong: none is a 5xx, none gets an undocumented status."""

from __future__ import annotations

from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from commands.settings import Service
from tests.identity.crowd import sign_in
from tests.journeys.kit import Process

#: What would take the ground from under the requests that follow; tested elsewhere.
ENDS_THE_VISIT = {
    ("POST", "/v1/auth/logout"),
    ("DELETE", "/v1/account/profile"),
    ("DELETE", "/v1/account/workspaces/{workspace_id}"),
    ("POST", "/v1/account/team/leave"),
}


@pytest.fixture(scope="module")
def url(everything_on: Process) -> str:
    """A service with everything turned on."""
    return f"http://127.0.0.1:{everything_on.settings[Service].port}"


@pytest.fixture(scope="module")
def contract(url: str) -> Any:
    """The contract as the running service publishes it."""
    return schemathesis.openapi.from_url(f"{url}/openapi.json")


@pytest.fixture(scope="module")
def bearer(url: str) -> dict[str, str]:
    """Somebody who may do everything in a workspace of their own."""
    with httpx.Client(base_url=url, timeout=30) as http:
        return {"Authorization": f"Bearer {sign_in(http).token}"}


@pytest.fixture
def session(bearer: dict[str, str]) -> Iterator[requests.Session]:
    """Their connection, which is kept: a new one for each request takes half as long as what is asked. No cookies."""
    with requests.Session() as kept:
        kept.headers.update(bearer)
        kept.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield kept


def test_no_request_is_answered_with_a_server_error_or_an_undocumented_status(
    contract: Any, session: requests.Session
) -> None:
    failures = []
    tried = 0
    for found in contract.get_all_operations():
        operation = found.ok()
        if (operation.method.upper(), operation.path) in ENDS_THE_VISIT:
            continue
        tried += 1
        problem = _hammer(operation, session)
        if problem is not None:
            failures.append(f"{operation.method.upper()} {operation.path}: {problem}")

    assert tried > 50
    assert not failures, "\n\n".join(failures)


def _hammer(operation: Any, session: requests.Session) -> str | None:
    """Send a handful of made-up requests to one operation; what went wrong, or None."""

    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @_given(operation)  # type: ignore[untyped-decorator]  # hypothesis cannot type a strategy made at run time
    def attempt(case: Any) -> None:
        case.call_and_validate(
            session=session,
            timeout=30,
            checks=[not_a_server_error, status_code_conformance, content_type_conformance],
        )

    try:
        attempt()
    except BaseExceptionGroup as problems:
        return "; ".join(str(each) for each in problems.exceptions)[:1500]
    except Exception as problem:  # noqa: BLE001 - every operation is tried before the test says what it found
        return str(problem)[:1500]
    return None


def _given(operation: Any) -> Any:
    from hypothesis import given
    from schemathesis import GenerationMode

    positive = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    negative = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    return given(case=positive | negative)
