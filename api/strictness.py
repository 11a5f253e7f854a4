"""What a route of our own does not know it refuses: a misspelt filter would otherwise answer with everything.

Routes that a published contract documents go on taking whatever their originals took. A context with a contract of its
own says so in its surface.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from urllib.parse import parse_qsl

from litestar.enums import ParamType
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg

from domain.kernel import Invalid

#: What the analysis and the platform contract document, and what browsers and probes ask for.
LENIENT = frozenset(
    {
        "GET /",
        "GET /docs",
        "GET /docs/api.md",
        "GET /health",
        "GET /openapi.json",
        # Of a link nothing may be changed at all, which its signature sees to.
        "GET /objects/{}",
        "PUT /objects/{}",
        "GET /ready",
        "POST /v1/account/analyses",
        "GET /v1/account/analyses/{}",
        "GET /v1/account/analyses/{}/events",
        "GET /v1/account/analyses/{}/result",
        "GET /v1/account/profile",
        "PATCH /v1/account/profile",
        "GET /v1/account/team",
        "POST /v1/account/team/invitations",
        "DELETE /v1/account/team/invitations/{}",
        "DELETE /v1/account/team/members/{}",
        "PATCH /v1/account/team/members/{}",
        "POST /v1/account/team/members/{}/transfer-ownership",
        "GET /v1/account/workspaces",
        "POST /v1/account/workspaces/{}/session",
        "POST /v1/analyses",
        "GET /v1/analyses/{}",
        "GET /v1/analyses/{}/events",
        "GET /v1/analyses/{}/result",
        "POST /v1/analyses/{}/webhook-deliveries",
        "GET /v1/analysis/{}",
        "GET /v1/analysis/{}/full",
        "GET /v1/analysis/{}/webhooks",
        "POST /v1/analyze/batch",
        "POST /v1/analyze/upload",
        "POST /v1/analyze/url",
        "GET /v1/api-keys",
        "POST /v1/api-keys",
        "DELETE /v1/api-keys/{}",
        "GET /v1/audit-events",
        "POST /v1/auth/email/start",
        "POST /v1/auth/email/verify",
        "POST /v1/auth/logout",
        "POST /v1/auth/register",
        "POST /v1/auth/verify-email",
        "GET /v1/auth/session",
        "POST /v1/batch",
        "POST /v1/billing/checkout-sessions",
        "POST /v1/billing/portal-sessions",
        "GET /v1/billing/status",
        "POST /v1/billing/stripe/webhook",
        "GET /v1/demo/analysis/{}",
        "POST /v1/demo/analyze/url",
        "POST /v1/storage-objects",
        "GET /v1/usage",
        "GET /v1/webhook-deliveries",
        "POST /v1/webhook-deliveries/deliver",
        "POST /v1/webhook-endpoints",
        "GET /version",
        "POST /webhooks/stripe",
    }
)

_NOT_ASKED = frozenset({"request", "ports", "asker", "data", "headers", "cookies", "state", "scope", "socket", "body"})


class UnknownParameter(Invalid):
    """There is no parameter {name} here. {known}"""


def check_query(
    handler: HTTPRouteHandler,
    method: str,
    template: str,
    query: bytes,
    lenient: frozenset[str],
    also: Collection[str] = (),
) -> None:
    """Refuse a query that asks for something this route does not know, nor `also`; raises UnknownParameter."""
    if not query or takes_anything(method, template, lenient):
        return
    known = _known(handler)
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in known and name not in also:
            said = f"It knows {', '.join(sorted(known))}." if known else "It takes none."
            raise UnknownParameter(name=repr(name[:64]), known=said, loc=("query", name[:64]))


def takes_anything(method: str, template: str, lenient: frozenset[str]) -> bool:
    """Whether a route takes whatever is asked beside what it knows."""
    return f"{'GET' if method == 'HEAD' else method} {_plain(template)}" in lenient


@cache
def _plain(template: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", template)


@cache
def _known(handler: HTTPRouteHandler) -> frozenset[str]:
    """The query parameters of a route, by the names they have outside."""
    in_path = {name for path in handler.paths for name in re.findall(r"\{(\w+)", path)}
    known = set()
    for name, field in handler.parsed_fn_signature.parameters.items():
        told = field.kwarg_definition
        elsewhere = isinstance(told, ParameterKwarg) and told.param_type in (ParamType.HEADER, ParamType.COOKIE)
        if name not in in_path | _NOT_ASKED and not elsewhere:
            known.add(getattr(told, "query", None) or getattr(told, "name", None) or name)
    return frozenset(known)
