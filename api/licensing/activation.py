"""What plug-ins ask about the code that somebody has typed into them; none of it takes a key or a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import wraps
from hashlib import sha256
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import JSONBody, PathParameter
from msgspec import UNSET, Meta, Struct, UnsetType, json

from api.auth import anonymous, counted_address, header
from api.kernel import stored
from api.licensing.ports import Ports
from api.problems import refused
from api.rates import MINUTE_SECONDS, by_both, by_failure, rate
from commands.licensing.licenses import ActivateMachine, DeactivateMachine, NoteMachineSeen, RecogniseMachine
from commands.licensing.settings import Licensing
from domain.kernel import Refusal
from domain.ledger import Context
from domain.licensing.codes import InvalidCode, check_fingerprints, check_machine_id, normal_code
from domain.licensing.licenses import CodeNotFound, CodeRevoked, License, MaxActivationsReached, Verdict, licenses
from domain.licensing.signing_keys import signing_keys
from domain.studio.projects import projects
from projections.kernel import seconds

#: By address and code, so that a studio behind one address works.
ONE_CODE = by_both("activation", Licensing, lambda settings: settings.activation_limit_per_minute, MINUTE_SECONDS)
#: Nobody tries codes without end.
UNKNOWN_CODES = by_failure(
    "unknown-codes", Licensing, lambda settings: settings.unknown_code_limit_per_minute, MINUTE_SECONDS
)
LIMITED = rate(ONE_CODE, UNKNOWN_CODES)

Connection = Request[Any, Any, Any]

#: What the client of the original looks for in `error`, where the documented codes would tell it nothing.
_TEXTS: dict[type[Refusal], str] = {
    InvalidCode: "Invalid activation code",
    CodeNotFound: "Invalid activation code",
    CodeRevoked: "License revoked",
    MaxActivationsReached: "Activation limit reached",
}


def _is_the_original(request: Connection) -> bool:
    """Whether the client of the original asks: it has an `apikey`, or what JUCE sends for it.

    As published it drops the options that hold its headers, so JUCE calls its JSON a form, which nobody else does.
    """
    kind = header(request, b"content-type") or ""
    return header(request, b"apikey") is not None or kind.startswith("application/x-www-form-urlencoded")


#: Drawn anew by the client for each request, so that no old answer passes for a new one.
Nonce = Annotated[str, Meta(min_length=8, max_length=128, pattern=r"^[\x21-\x7e]+\Z")]
KeyId = Annotated[str, Meta(max_length=64)]
EXAMPLE = "3f0c5f6e-52c4-4b8e-9d33-0a6a1c1d9e55"
Code = Annotated[str, Meta(examples=[EXAMPLE])]
InPath = Annotated[str, PathParameter(examples=[Example(value=EXAMPLE)])]


class OnMachine(Struct):
    """A code, and the machine it is about. The client of the original also says for which plug-in: its project."""

    code: Code
    machine_id: str
    plugin_id: str | None = None


class Activating(OnMachine):
    """A code to be used on a machine.

    With a `nonce` the answer is signed, by the key of this `key_id`, or by the newest. `fingerprints` are three to ten
    components of the machine, always in the same order: with one of them changed it is the same machine still.
    `released_at` is when the version of the plug-in that asks was released.
    """

    nonce: Nonce | None = None
    key_id: KeyId | None = None
    fingerprints: list[str] | None = None
    machine_name: Annotated[str, Meta(max_length=100)] = ""
    released_at: datetime | None = None


class Validating(OnMachine):
    """A code that should be good on a machine; see `Activating`. The license must have all the `entitlements` named."""

    nonce: Nonce | None = None
    key_id: KeyId | None = None
    fingerprints: list[str] | None = None
    released_at: datetime | None = None
    entitlements: Annotated[list[str], Meta(max_length=50)] = []


class Beating(Validating, forbid_unknown_fields=True):
    """A code, and the machine that shows itself."""


class SignedAnswer(Struct):
    """What was answered, signed: `sig` is Ed25519 over `response/` and `enc`, which is base64 of a `SignedVerdict`."""

    enc: str
    sig: str
    alg: str
    key_id: str


class SignedVerdict(Struct):
    """What is in `enc`: SHA-256 of code and machine in hex, and when and for which nonce it was said."""

    nonce: str
    project_id: str
    code: str
    machine: str
    verdict: str
    issued: str


class Activated(Struct):
    """The seats of a license, one of them this machine's."""

    success: bool
    activations: int
    max_activations: int
    remaining: int
    activated_at: str | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET
    entitlements: tuple[str, ...] | UnsetType = UNSET
    signed: SignedAnswer | UnsetType = UNSET


class Deactivated(Struct):
    """The seats of a license, without this machine."""

    success: bool
    activations: int
    max_activations: int
    message: str


class Validity(Struct):
    """Whether a code is good on a machine, and if not, why."""

    valid: bool
    reason: Verdict | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET
    entitlements: tuple[str, ...] | UnsetType = UNSET
    heartbeat_seconds: int | UnsetType = UNSET
    signed: SignedAnswer | UnsetType = UNSET


class Status(Struct):
    """What anybody who has a code may know of its license."""

    activations: int
    max_activations: int
    available: int
    is_revoked: bool


def shows(kind: type[Struct]) -> dict[int, ResponseSpec]:
    """The answer of a route that writes it itself."""
    return {200: ResponseSpec(kind, generate_examples=False, description=" ".join((kind.__doc__ or "").split()))}


Route = Callable[..., Awaitable[Response[bytes]]]


def refusing_in_its_words(route: Route) -> Route:
    """Refuse signed where a nonce was sent, and in the words that the original's client looks for where it asks.

    That client sends `plugin_id` and its marks, and takes any other `error` for a fault of the server. The documented
    code is in `code` then.
    """

    @wraps(route)
    async def said(request: Connection, data: OnMachine, ports: Ports) -> Response[bytes]:
        try:
            return await route(request=request, data=data, ports=ports)
        except Refusal as refusal:
            text = None
            if data.plugin_id is not None and _is_the_original(request):
                text = _TEXTS.get(type(refusal))
            nonce = data.nonce if isinstance(data, (Activating, Validating)) else None
            if text is None and nonce is None:
                raise
            answer = refused(request, refusal)
            body = json.decode(answer.content)
            if isinstance(data, (Activating, Validating)) and (signed := await _signed(ports, data, body["error"])):
                body["signed"] = signed
            if text is not None:
                body |= {"error": text, "code": body["error"]}
            return Response(
                json.encode(body),
                status_code=answer.status_code,
                media_type="application/json",
                headers={name: value for name, value in answer.headers.items() if name.lower() == "retry-after"},
            )

    return said


async def _signed(ports: Ports, data: Activating | Validating, verdict: str) -> SignedAnswer | None:
    """The proof of a verdict, where one is asked for, and where it is known whose plug-in asks."""
    if data.nonce is None:
        return None
    try:
        code = normal_code(data.code)
    except InvalidCode:
        code = data.code
    project_id = (await ports.states.state(licenses, ports.vault.license_id(code))).project_id
    if data.plugin_id is not None:
        # What it was built to believe, whatever the code is of.
        project_id = data.plugin_id if (await ports.states.state(projects, data.plugin_id)).workspace_id else ""
    if not project_id:
        return None
    number = await signing_number(ports, project_id, data.key_id)
    payload = SignedVerdict(
        nonce=data.nonce,
        project_id=project_id,
        code=sha256(code.encode()).hexdigest(),
        machine=sha256(data.machine_id.encode()).hexdigest(),
        verdict=verdict,
        issued=seconds(ports.now()),
    )
    signed = ports.signer.sign(project_id, number, "response", json.encode(payload))
    return SignedAnswer(enc=signed.enc, sig=signed.sig, alg=signed.alg, key_id=ports.signer.key_id(project_id, number))


async def signing_number(ports: Ports, project_id: str, key_id: str | None) -> int:
    """The key that a client knows, as long as it signs; otherwise the newest."""
    keys = await ports.states.state(signing_keys, project_id)
    if key_id is not None:
        for number in keys.valid(ports.now()):
            if ports.signer.key_id(project_id, number) == key_id:
                return number
    return keys.newest


@post(
    "/functions/v1/plugin-activation/activate",
    status_code=200,
    tags=["plug-in activation"],
    opt=LIMITED | {"statuses": ("403",)},
    responses=shows(Activated),
)
@refusing_in_its_words
async def activate(request: Connection, data: JSONBody[Activating], ports: NamedDependency[Ports]) -> Response[bytes]:
    """Activate a license on a machine. Activating it again on the same machine takes no further seat."""
    _, found, machine = await activate_machine(request, ports, data)
    used = len(found.machines)
    answer = Activated(
        success=True,
        activations=used,
        max_activations=found.max_activations,
        remaining=max(0, found.max_activations - used),
        expires_at=UNSET if found.ends_at is None else seconds(found.ends_at),
        entitlements=found.entitlements or UNSET,
    )
    if data.plugin_id is not None and (at := found.machines.get(machine)):
        answer.activated_at = seconds(at.activated_at)
    answer.signed = await _signed(ports, data, "valid") or UNSET
    return stored(json.encode(answer))


async def activate_machine(request: Connection, ports: Ports, data: Activating) -> tuple[str, License, str]:
    """Activate the license of a code: its id, its state, and the digest that the machine is known by there."""
    machine_id = check_machine_id(data.machine_id)
    components = check_fingerprints(data.fingerprints)
    license_id = await counted(request, ports, data.code)
    found = await known(request, ports, license_id)
    machine = ports.vault.machine_digest(license_id, machine_id)
    wish = ActivateMachine(
        license_id=license_id,
        activation_id=ports.vault.new_id(),
        machine=machine,
        churn_max=ports.settings.activation_churn_per_day,
        fingerprints=digests(ports, license_id, components),
        name=data.machine_name,
        project_id=data.plugin_id,
        released_at=data.released_at,
    )
    async with ports.turns.of(license_id):
        await ports.execute(wish, on_behalf_of(found))
        return license_id, await ports.states.state(licenses, license_id), machine


@post(
    "/functions/v1/plugin-activation/deactivate",
    status_code=200,
    tags=["plug-in activation"],
    opt=LIMITED,
    responses=shows(Deactivated),
)
@refusing_in_its_words
async def deactivate(request: Connection, data: JSONBody[OnMachine], ports: NamedDependency[Ports]) -> Response[bytes]:
    """Remove the activation of a license from a machine. Doing it twice is no error."""
    machine_id = check_machine_id(data.machine_id)
    license_id = await counted(request, ports, data.code)
    found = await known(request, ports, license_id)
    machine = ports.vault.machine_digest(license_id, machine_id)
    async with ports.turns.of(license_id):
        wish = DeactivateMachine(license_id=license_id, machine=machine, project_id=data.plugin_id)
        await ports.execute(wish, on_behalf_of(found))
        found = await ports.states.state(licenses, license_id)
    answer = Deactivated(
        success=True,
        activations=len(found.machines),
        max_activations=found.max_activations,
        message="Machine deactivated successfully",
    )
    return stored(json.encode(answer))


@post(
    "/functions/v1/plugin-activation/validate",
    status_code=200,
    tags=["plug-in activation"],
    opt=LIMITED,
    responses=shows(Validity),
)
async def validate(request: Connection, data: JSONBody[Validating], ports: NamedDependency[Ports]) -> Response[bytes]:
    """Check whether a license is valid on a machine."""
    return await _validated(request, data, ports)


async def _validated(request: Connection, data: Validating, ports: Ports) -> Response[bytes]:
    machine_id = check_machine_id(data.machine_id)
    components = check_fingerprints(data.fingerprints)
    try:
        license_id = ports.vault.license_id(normal_code(data.code))
    except InvalidCode:
        # What is no code exists nowhere, and this route answers 200 to whatever is one or not.
        await ports.limits.take_failure(request, counted_address(request))
        return await _told(ports, data, "code_not_found", None)
    # What every plug-in asks that starts: counted and looked up in one query.
    asking = ports.counted.about(licenses, license_id)
    await ports.limits.take(request, license_id, counted_address(request), draw=asking.draw)
    found = await asking.state()
    if not found.workspace_id:
        await ports.limits.take_failure(request, counted_address(request))
    machine, fingerprints = ports.vault.machine_digest(license_id, machine_id), digests(ports, license_id, components)
    now = ports.now()
    verdict = found.verdict(
        machine,
        now,
        project_id=data.plugin_id,
        fingerprints=fingerprints,
        released_at=data.released_at,
        entitlements=tuple(data.entitlements),
    )
    at = found.find(machine, fingerprints) if verdict == "valid" else None
    if at is not None and at[1].differs(at[0], machine, fingerprints):
        changed = RecogniseMachine(
            license_id=license_id,
            machine=machine,
            fingerprints=fingerprints,
            churn_max=ports.settings.activation_churn_per_day,
        )
        async with ports.turns.of(license_id):
            await ports.execute(changed, on_behalf_of(found))
    elif at is not None and found.heartbeat_seconds is not None and found.is_news(at[1], now):
        wish = NoteMachineSeen(license_id=license_id, activation_id=at[1].activation_id)
        await ports.execute(wish, on_behalf_of(found))
    return await _told(ports, data, verdict, found)


@post(
    "/functions/v1/plugin-activation/heartbeat",
    status_code=200,
    tags=["plug-in activation"],
    opt=LIMITED,
    responses=shows(Validity),
)
async def heartbeat(request: Connection, data: JSONBody[Beating], ports: NamedDependency[Ports]) -> Response[bytes]:
    """Say that a machine still uses a license, and hear whether it may: a question as `validate` is, which counts too.

    Where a license has `heartbeat_seconds`, a machine that says nothing for so long, and a quarter more, gives its seat
    back by itself."""
    return await _validated(request, data, ports)


async def _told(ports: Ports, data: Validating, verdict: Verdict, found: License | None) -> Response[bytes]:
    answer = Validity(valid=verdict == "valid")
    if found is None or verdict != "valid":
        answer.reason = verdict
    elif found.ends_at is None and not (found.entitlements or found.heartbeat_seconds or data.nonce):
        return stored(b'{"valid":true}')
    else:
        answer.expires_at = UNSET if found.ends_at is None else seconds(found.ends_at)
        answer.entitlements = found.entitlements or UNSET
        answer.heartbeat_seconds = found.heartbeat_seconds or UNSET
    answer.signed = await _signed(ports, data, verdict) or UNSET
    return stored(json.encode(answer))


@get(
    "/functions/v1/plugin-activation/status/{code:str}",
    tags=["plug-in activation"],
    opt=LIMITED,
    responses=shows(Status),
)
async def get_status(request: Connection, code: InPath, ports: NamedDependency[Ports]) -> Response[bytes]:
    """Get the public status of a license."""
    license_id = await counted(request, ports, code)
    found = await known(request, ports, license_id)
    used = len(found.machines)
    answer = Status(
        activations=used,
        max_activations=found.max_activations,
        available=max(0, found.max_activations - used),
        is_revoked=found.revoked,
    )
    return stored(json.encode(answer))


async def counted(request: Connection, ports: Ports, code: str) -> str:
    """The license that a code would be of, once the request is counted; raises InvalidCode and RateLimitExceeded."""
    license_id = ports.vault.license_id(normal_code(code))
    await ports.limits.take(request, license_id, counted_address(request))
    return license_id


async def known(request: Connection, ports: Ports, license_id: str) -> License:
    """The state of a license that exists; raises CodeNotFound, and RateLimitExceeded for who asks on and on."""
    found = await ports.states.state(licenses, license_id)
    if not found.workspace_id:
        await ports.limits.take_failure(request, counted_address(request))
        raise CodeNotFound
    return found


def digests(ports: Ports, license_id: str, components: tuple[str, ...]) -> tuple[str, ...]:
    """What is kept of the components of a machine."""
    if not components:
        return ()
    return tuple(ports.vault.fingerprint_digest(license_id, place, each) for place, each in enumerate(components))


def on_behalf_of(license: License) -> Context:  # noqa: A002 - the noun
    """In the license's workspace, as whoever has the code."""
    context = anonymous()
    return Context(correlation_id=context.correlation_id, workspace_id=license.workspace_id, actor="license_holder")
