"""Proofs for machines without a network, and the keys that prove answers and certificates."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct, json

from adapters.licensing.signing import certificate
from api.auth import Asker, needs
from api.kernel import IdempotencyKey, stored
from api.licensing.activation import (
    LIMITED,
    Activating,
    Connection,
    activate_machine,
    refusing_in_its_words,
    shows,
    signing_number,
)
from api.licensing.ports import Ports
from api.rates import MINUTE_SECONDS, by_address, rate
from api.studio.settings import StudioRates
from commands.licensing.signing_keys import RotateSigningKey
from domain.licensing.codes import normal_code
from domain.licensing.licenses import License, NotActivated
from domain.licensing.signing_keys import SigningKeys, signing_keys
from domain.studio.projects import NoSuchProject, projects
from projections.kernel import seconds

HOUR_SECONDS = 3600
MONTH_SECONDS = 30 * 24 * HOUR_SECONDS
#: No cap but the calendar's: who works on a ship for years is no worse a customer.
YEARS_SECONDS = 50 * 366 * 24 * HOUR_SECONDS

#: Public keys are for everybody, and no reason to keep a service busy.
PUBLIC_KEYS = by_address("public-keys", StudioRates, lambda rates: rates.studio_limit_per_minute, MINUTE_SECONDS)


class Offline(Activating, forbid_unknown_fields=True):
    """A machine that is to work by itself for `ttl_seconds`, thirty days by default, and an hour at least.

    With `encrypt` the files can be read with the code only, and the machine's only with its machine_id too.
    """

    ttl_seconds: Annotated[int, Meta(ge=HOUR_SECONDS, le=YEARS_SECONDS)] = MONTH_SECONDS
    encrypt: bool = False


class OfflineFiles(Struct):
    """Two files, each signed: the license, and the license on one machine. They are good until `expires_at`."""

    license_file: str
    machine_file: str
    issued_at: str
    expires_at: str
    key_id: str


class PublicKey(Struct):
    """One key: what a plug-in is compiled with, as base64 of 32 bytes, and when it ends, if it does."""

    key_id: str
    public_key: str
    ends_at: str | None = None


class PublicKeys(Struct):
    """The key that signs now, and all that sign for who asks for them."""

    project_id: str
    algorithm: str
    key_id: str
    public_key: str
    keys: list[PublicKey]


class Rotation(Struct, forbid_unknown_fields=True):
    """After how many days the keys before end; none: never, so that plug-ins that know them go on working."""

    old_keys_end_after_days: Annotated[int, Meta(ge=0, le=3650)] | None = None


@post(
    "/functions/v1/plugin-activation/offline",
    status_code=200,
    tags=["plug-in activation"],
    opt=LIMITED | {"statuses": ("403",)},
    responses=shows(OfflineFiles),
)
@refusing_in_its_words
async def activate_offline(
    request: Connection, data: JSONBody[Offline], ports: NamedDependency[Ports]
) -> Response[bytes]:
    """Activate a license on a machine that has no network, and get the files that prove it there."""
    license_id, found, machine = await activate_machine(request, ports, data)
    activation = found.machines.get(machine)
    if activation is None:
        # Released from elsewhere in the same moment.
        raise NotActivated
    code = normal_code(data.code)
    number = await signing_number(ports, found.project_id, data.key_id)
    issued_at = ports.now()
    expires_at = issued_at + timedelta(seconds=data.ttl_seconds)
    # Where machines must show themselves, one that does not loses its seat: its files are good no longer than that.
    for end in (found.ends_at, found.dead_at(issued_at)):
        expires_at = expires_at if end is None else min(expires_at, end)
    meta = {"issued": seconds(issued_at), "expiry": seconds(expires_at), "ttl": data.ttl_seconds}
    license_data = _license(license_id, code, found)
    machine_data = {
        "type": "machines",
        "id": activation.activation_id,
        "attributes": {
            "fingerprint": data.machine_id,
            "project_id": found.project_id,
            "name": data.machine_name,
            "activated_at": seconds(activation.activated_at),
        },
        "relationships": {"license": {"data": {"type": "licenses", "id": license_id}}},
    }
    license_payload = json.encode({"data": license_data, "included": [], "meta": meta})
    machine_payload = json.encode({"data": machine_data, "included": [license_data], "meta": meta})
    license_secret = code.encode() if data.encrypt else None
    machine_secret = (code + data.machine_id).encode() if data.encrypt else None
    sign = ports.signer.sign
    files = OfflineFiles(
        license_file=certificate("license", sign(found.project_id, number, "license", license_payload, license_secret)),
        machine_file=certificate("machine", sign(found.project_id, number, "machine", machine_payload, machine_secret)),
        issued_at=seconds(issued_at),
        expires_at=seconds(expires_at),
        key_id=ports.signer.key_id(found.project_id, number),
    )
    return stored(json.encode(files))


def _license(license_id: str, code: str, license: License) -> dict[str, Any]:  # noqa: A002 - the noun
    def told(moment: datetime | None) -> str | None:
        return None if moment is None else seconds(moment)

    return {
        "type": "licenses",
        "id": license_id,
        "attributes": {
            "key": code,
            "project_id": license.project_id,
            "key_type": license.key_type,
            "max_activations": license.max_activations,
            "expires_at": told(license.ends_at),
            "updates_until": told(license.updates_until),
            "entitlements": list(license.entitlements),
            "created_at": told(license.issued_at),
        },
    }


@get(
    "/functions/v1/plugin-activation/public-key",
    tags=["plug-in activation"],
    opt={**rate(PUBLIC_KEYS), "statuses": ("404",)},
)
async def get_public_key(
    ports: NamedDependency[Ports],
    project_id: Annotated[str, QueryParameter(max_length=64, description="The project of the plug-in")],
) -> PublicKeys:
    """Read the keys that a project's answers and files are signed with. A plug-in is compiled with one of them."""
    if not (await ports.states.state(projects, project_id)).workspace_id:
        raise NoSuchProject
    return _public(ports, project_id, await ports.states.state(signing_keys, project_id))


@post(
    "/functions/v1/plugin-activation/project/{project_id:str}/signing-keys",
    status_code=201,
    tags=["plug-in activation"],
    opt=needs("licences:manage", "admin"),
)
async def rotate_signing_key(
    request: Request[Any, Any, Any],
    project_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    data: JSONBody[Rotation | None] = None,
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `claims`, declared here for the contract
) -> PublicKeys:
    """Sign with a new key. Plug-ins that were compiled with an old one name it, and are answered with it as long as it
    has not ended."""
    days = (data or Rotation()).old_keys_end_after_days
    keys = await ports.states.state(signing_keys, project_id)
    await ports.execute(
        RotateSigningKey(
            project_id=project_id,
            workspace_id=asker.workspace_id,
            number=keys.newest + 1,
            old_end_after=None if days is None else timedelta(days=days),
            once=ports.claims.of(request, asker.tenant, data),
        ),
        asker.context,
    )
    return _public(ports, project_id, await ports.states.state(signing_keys, project_id))


def _public(ports: Ports, project_id: str, keys: SigningKeys) -> PublicKeys:
    valid = keys.valid(ports.now())
    shown = [
        PublicKey(
            key_id=ports.signer.key_id(project_id, number),
            public_key=b64encode(ports.signer.public_key(project_id, number)).decode(),
            ends_at=None if end is None else seconds(end),
        )
        for number, end in keys.keys
        if number in valid
    ]
    newest = shown[0]
    return PublicKeys(
        project_id=project_id, algorithm="ed25519", key_id=newest.key_id, public_key=newest.public_key, keys=shown
    )
