"""Activation keys of a project, for its people: made, listed, read, changed, revoked, given to somebody else."""

from __future__ import annotations

import asyncio
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType, json, to_builtins

from api.auth import Asker, needs
from api.kernel import IdempotencyKey, stored
from api.licensing.activation import EXAMPLE, shows
from api.licensing.ports import Ports
from commands.kernel import derived_id
from commands.licensing.licenses import (
    IssueLicenses,
    NewLicense,
    ReinstateLicense,
    ReleaseMachine,
    RevokeLicense,
    SetLicenseTerms,
    TransferLicense,
)
from domain.idempotency import claims
from domain.kernel import TooLarge
from domain.licensing import sheets
from domain.licensing.codes import normal_code
from domain.licensing.licenses import MACHINES_MAX, CodeNotFound, KeyType, License, licenses
from domain.licensing.sheets import InvalidSheet, read_sheet, write_sheet
from domain.studio.projects import projects
from projections.kernel import seconds
from projections.licensing.licenses import (
    ActivationDocument,
    LicenseDocument,
    activation_documents,
    license_documents,
)

MANAGE = needs("licences:manage", "member")
#: Keys of one project in one look at the read model.
PAGE = 1000
#: More than a thousand lines with long notes.
SHEET_BYTES_MAX = 1024 * 1024

Seats = Annotated[int, Meta(ge=1, le=MACHINES_MAX)]
Notes = Annotated[str, Meta(max_length=sheets.NOTES_LENGTH_MAX)]
Entitlements = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=sheets.ENTITLEMENT_LENGTH_MAX)]],
    Meta(max_length=sheets.ENTITLEMENTS_MAX),
]
TrialDays = Annotated[int, Meta(ge=1, le=sheets.TRIAL_DAYS_MAX)]
Heartbeat = Annotated[int, Meta(ge=sheets.HEARTBEAT_SECONDS[0], le=sheets.HEARTBEAT_SECONDS[1])]
Code = Annotated[str, Meta(max_length=64, examples=[EXAMPLE])]


class Terms(Struct):
    """What a key allows; what is left out is as documented. A trial's time begins with its first activation."""

    max_activations: Seats = 2
    notes: Notes = ""
    key_type: KeyType = "project_test"
    expires_at: datetime | None = None
    trial_days: TrialDays | None = None
    entitlements: Entitlements = []
    updates_until: datetime | None = None
    heartbeat_seconds: Heartbeat | None = None


class NewKey(Terms, kw_only=True):
    """A key to be."""

    project_id: Annotated[str, Meta(max_length=64)]


class NewKeys(Terms, forbid_unknown_fields=True):
    """So many keys to be, each with the same terms."""

    count: Annotated[int, Meta(ge=1, le=sheets.ROWS_MAX)] = 1


class OneKey(Struct, forbid_unknown_fields=True):
    """A key that exists."""

    code: Code


class Revocation(OneKey, forbid_unknown_fields=True):
    """A key to be revoked, and why, for who reads it later."""

    reason: Notes = ""


class Transfer(OneKey, forbid_unknown_fields=True):
    """A key that goes to somebody else; without notes it keeps those it has."""

    notes: Notes | None = None


class TermsChange(Struct, forbid_unknown_fields=True):
    """What is to be different; what is left out stays as it is, and null takes a limit away."""

    max_activations: Seats | UnsetType = UNSET
    notes: Notes | UnsetType = UNSET
    expires_at: datetime | UnsetType | None = UNSET
    entitlements: Entitlements | UnsetType = UNSET
    updates_until: datetime | UnsetType | None = UNSET
    heartbeat_seconds: Heartbeat | UnsetType | None = UNSET


class GeneratedKey(Struct):
    """A new key."""

    code: str
    key_type: KeyType
    max_activations: int
    created_at: str


class GeneratedKeys(Struct):
    """New keys, in the order in which they were asked for."""

    keys: list[GeneratedKey]


class Key(Struct, omit_defaults=True):
    """A key and what has become of it; limits that it does not have are left out."""

    code: str
    key_type: KeyType
    max_activations: int
    current_activations: int
    is_revoked: bool
    notes: str
    created_at: str
    expires_at: str | None = None
    trial_days: int | None = None
    trial_ends_at: str | None = None
    entitlements: tuple[str, ...] = ()
    updates_until: str | None = None
    heartbeat_seconds: int | None = None
    last_activated_at: str | None = None


class Keys(Struct):
    """The keys of a project, newest first."""

    keys: list[Key]


class Activations(Struct):
    """The machines that a key is active on, newest first: the beginning of a digest, and the name it gave itself."""

    activations: list[Activation]


class Activation(Struct):
    """One machine."""

    id: str
    machine: str
    name: str
    activated_at: str


class Revoked(Struct):
    """Whether a key is revoked now."""

    success: bool
    code: str
    is_revoked: bool


class Transferred(GeneratedKey, kw_only=True):
    """The new code of a license; the old one is revoked for good."""

    success: bool
    old_code: str


class Released(Struct):
    """The seats of a license, without the machine."""

    success: bool
    activations: int
    max_activations: int


class SheetIsTooLarge(TooLarge):
    """A sheet of keys has a mebibyte at most. Send it in parts."""


# --- making them ------------------------------------------------------------------------------------------------------


@post("/functions/v1/plugin-activation/generate", status_code=201, tags=["plug-in activation"], opt=MANAGE)
async def generate(
    request: Request[Any, Any, Any],
    data: JSONBody[NewKey],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `claims`, declared here for the contract
) -> GeneratedKey:
    """Generate an activation key."""
    [made] = await _generate(request, ports, asker, data.project_id, data, 1)
    return made


@post(
    "/functions/v1/plugin-activation/project/{project_id:str}/keys",
    status_code=201,
    tags=["plug-in activation"],
    opt=MANAGE,
)
async def generate_keys(
    request: Request[Any, Any, Any],
    project_id: FromPath[str],
    data: JSONBody[NewKeys],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `claims`, declared here for the contract
) -> GeneratedKeys:
    """Generate up to 1,000 activation keys with the same terms: all of them or none."""
    return GeneratedKeys(keys=await _generate(request, ports, asker, project_id, data, data.count))


async def _generate(
    request: Request[Any, Any, Any], ports: Ports, asker: Asker, project_id: str, data: Terms, count: int
) -> list[GeneratedKey]:
    claim = ports.claims.of(request, asker.tenant, data)
    batch_id = ports.vault.new_id()
    items = tuple(_new(ports, ports.vault.activation_code(batch_id, number), data) for number in range(count))
    await ports.execute(
        IssueLicenses(
            batch_id=batch_id, workspace_id=asker.workspace_id, project_id=project_id, items=items, once=claim
        ),
        asker.context,
    )
    if claim is not None:
        batch_id = (await ports.log.state(claims, claim.claim_id)).subject_id
    return await _made(ports, [ports.vault.activation_code(batch_id, number) for number in range(count)])


def _new(ports: Ports, code: str, terms: Terms | sheets.Row) -> NewLicense:
    return NewLicense(
        license_id=ports.vault.license_id(code),
        code=code,
        key_type=terms.key_type,
        max_activations=terms.max_activations,
        notes=terms.notes,
        expires_at=terms.expires_at,
        trial_days=terms.trial_days,
        entitlements=tuple(terms.entitlements),
        updates_until=terms.updates_until,
        heartbeat_seconds=terms.heartbeat_seconds,
    )


async def _made(ports: Ports, codes: list[str]) -> list[GeneratedKey]:
    states = await asyncio.gather(*(ports.states.state(licenses, ports.vault.license_id(code)) for code in codes))
    return [_generated(code, each) for code, each in zip(codes, states, strict=True)]


def _generated(code: str, license: License) -> GeneratedKey:  # noqa: A002 - the noun
    assert license.issued_at is not None
    return GeneratedKey(
        code=code,
        key_type=license.key_type,
        max_activations=license.max_activations,
        created_at=seconds(license.issued_at),
    )


@post(
    "/functions/v1/plugin-activation/project/{project_id:str}/keys/import",
    status_code=200,
    tags=["plug-in activation"],
    opt=MANAGE
    | {
        "request_body": {
            "required": True,
            "description": f"Columns: {', '.join(sheets.COLUMNS)}. A line without a code gets a new one.",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        }
    },
)
async def import_keys(
    request: Request[Any, Any, Any],
    project_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> GeneratedKeys:
    """Import up to 1,000 activation keys from CSV: all of them or none. Those that the project has stay as they are,
    and the same sheet again changes nothing."""
    await _own(ports, asker, project_id)
    body = await request.body()
    if len(body) > SHEET_BYTES_MAX:
        raise SheetIsTooLarge
    try:
        rows = read_sheet(body.decode())
    except UnicodeDecodeError as problem:
        raise InvalidSheet("It is not UTF-8.") from problem
    batch_id = derived_id("sheet of keys", project_id, sha256(body).hexdigest())
    codes = [row.code or ports.vault.activation_code(batch_id, number) for number, row in enumerate(rows)]
    await ports.execute(
        IssueLicenses(
            batch_id=batch_id,
            workspace_id=asker.workspace_id,
            project_id=project_id,
            items=tuple(_new(ports, code, row) for code, row in zip(codes, rows, strict=True)),
        ),
        asker.context,
    )
    return GeneratedKeys(keys=await _made(ports, codes))


# --- reading them -----------------------------------------------------------------------------------------------------


@get(
    "/functions/v1/plugin-activation/project/{project_id:str}/keys",
    tags=["plug-in activation"],
    opt=MANAGE,
    responses=shows(Keys),
)
async def list_keys(
    project_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """List all activation keys of a project, newest first."""
    await _own(ports, asker, project_id)
    return stored(json.encode(Keys(keys=[_shown(each) for each in await _all(ports, asker, project_id)])))


@get(
    "/functions/v1/plugin-activation/project/{project_id:str}/keys/export",
    tags=["plug-in activation"],
    opt=MANAGE,
    responses={200: ResponseSpec(str, generate_examples=False, media_type="text/csv", description="The sheet")},
)
async def export_keys(
    project_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Export all activation keys of a project as CSV with their counts; such a sheet can be imported."""
    await _own(ports, asker, project_id)
    text = write_sheet(to_builtins(each) for each in await _all(ports, asker, project_id))
    headers = {"Content-Disposition": f'attachment; filename="keys-{project_id}.csv"'}
    return Response(text.encode(), media_type="text/csv", headers=headers)


@get(
    "/functions/v1/plugin-activation/project/{project_id:str}/keys/{code:str}",
    tags=["plug-in activation"],
    opt=MANAGE,
    responses=shows(Key),
)
async def get_key(
    project_id: FromPath[str], code: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read an activation key."""
    license_id = await _found(ports, asker, project_id, code)
    return await _key(ports, asker, license_id)


@get(
    "/functions/v1/plugin-activation/project/{project_id:str}/keys/{code:str}/activations",
    tags=["plug-in activation"],
    opt=MANAGE,
)
async def list_activations(
    project_id: FromPath[str], code: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Activations:
    """List the machines that an activation key is active on, newest first."""
    license_id = await _found(ports, asker, project_id, code)
    machines = await activations_of(ports, license_id, asker.workspace_id)
    return Activations(
        activations=[
            Activation(id=each.id, machine=each.machine[:8], name=each.name, activated_at=each.activated_at)
            for each in machines
        ]
    )


async def activations_of(ports: Ports, license_id: str, workspace_id: str) -> list[ActivationDocument]:
    """The machines of a license, newest first."""
    page = await ports.views.page(activation_documents, workspace_id, limit=MACHINES_MAX, parent=license_id)
    return [json.decode(each.body, type=ActivationDocument) for each in page]


# --- changing them ----------------------------------------------------------------------------------------------------


@patch(
    "/functions/v1/plugin-activation/project/{project_id:str}/keys/{code:str}",
    tags=["plug-in activation"],
    opt=MANAGE,
    responses=shows(Key),
)
async def change_key(
    project_id: FromPath[str],
    code: FromPath[str],
    data: JSONBody[TermsChange],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Change what an activation key allows. Machines that are active stay so, also where fewer are allowed."""
    license_id = await _found(ports, asker, project_id, code)
    await ports.execute(
        SetLicenseTerms(
            license_id=license_id,
            workspace_id=asker.workspace_id,
            max_activations=data.max_activations,
            expires_at=data.expires_at,
            entitlements=UNSET if data.entitlements is UNSET else tuple(data.entitlements),
            updates_until=data.updates_until,
            heartbeat_seconds=data.heartbeat_seconds,
            notes=data.notes,
        ),
        asker.context,
    )
    return await _key(ports, asker, license_id)


@delete(
    "/functions/v1/plugin-activation/project/{project_id:str}/keys/{code:str}/activations/{activation_id:str}",
    status_code=200,
    tags=["plug-in activation"],
    opt=MANAGE,
)
async def release_activation(
    project_id: FromPath[str],
    code: FromPath[str],
    activation_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Released:
    """Take an activation key from a machine. Doing it twice is no error."""
    license_id = await _found(ports, asker, project_id, code)
    await ports.execute(ReleaseMachine(license_id=license_id, activation_id=activation_id), asker.context)
    return released(await ports.states.state(licenses, license_id))


def released(license: License) -> Released:  # noqa: A002 - the noun
    """The seats of a license after a machine has gone."""
    return Released(success=True, activations=len(license.machines), max_activations=license.max_activations)


@post("/functions/v1/plugin-activation/revoke", status_code=200, tags=["plug-in activation"], opt=MANAGE)
async def revoke(data: JSONBody[Revocation], ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Revoked:
    """Revoke an activation key, as after a refund. Its machines are told with their next question."""
    code = normal_code(data.code)
    wish = RevokeLicense(license_id=ports.vault.license_id(code), workspace_id=asker.workspace_id, reason=data.reason)
    await ports.execute(wish, asker.context)
    return Revoked(success=True, code=code, is_revoked=True)


@post("/functions/v1/plugin-activation/reinstate", status_code=200, tags=["plug-in activation"], opt=MANAGE)
async def reinstate(data: JSONBody[OneKey], ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Revoked:
    """Let a revoked activation key be used again, on the machines that it was active on."""
    code = normal_code(data.code)
    wish = ReinstateLicense(license_id=ports.vault.license_id(code), workspace_id=asker.workspace_id)
    await ports.execute(wish, asker.context)
    return Revoked(success=True, code=code, is_revoked=False)


@post("/functions/v1/plugin-activation/transfer", status_code=200, tags=["plug-in activation"], opt=MANAGE)
async def transfer(
    data: JSONBody[Transfer], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Transferred:
    """Give a license to somebody else: a new code with the same terms, and the old one revoked for good."""
    code = normal_code(data.code)
    # From the old one, so that the same request sent again gives the same answer.
    new_code = ports.vault.activation_code(f"transfer {code}", 0)
    new_id = ports.vault.license_id(new_code)
    await ports.execute(
        TransferLicense(
            license_id=ports.vault.license_id(code),
            workspace_id=asker.workspace_id,
            to_license_id=new_id,
            to_code=new_code,
            notes=data.notes,
        ),
        asker.context,
    )
    made = _generated(new_code, await ports.states.state(licenses, new_id))
    return Transferred(
        success=True,
        old_code=code,
        code=made.code,
        key_type=made.key_type,
        max_activations=made.max_activations,
        created_at=made.created_at,
    )


# --- finding them -----------------------------------------------------------------------------------------------------


async def _own(ports: Ports, asker: Asker, project_id: str) -> None:
    (await ports.states.state(projects, project_id)).belongs_to(asker.workspace_id)


async def _found(ports: Ports, asker: Asker, project_id: str, code: str) -> str:
    """The license of a code of a project of the asker's."""
    await _own(ports, asker, project_id)
    license_id = ports.vault.license_id(normal_code(code))
    if not (await ports.states.state(licenses, license_id)).is_of(project_id):
        raise CodeNotFound
    return license_id


async def _all(ports: Ports, asker: Asker, project_id: str) -> list[LicenseDocument]:
    found: list[LicenseDocument] = []
    before: int | None = None
    while True:
        page = await ports.views.page(
            license_documents, asker.workspace_id, limit=PAGE, before=before, parent=project_id
        )
        found.extend(json.decode(each.body, type=LicenseDocument) for each in page)
        if len(page) < PAGE:
            return found
        before = page[-1].created


async def _key(ports: Ports, asker: Asker, license_id: str) -> Response[bytes]:
    document = json.decode(
        await ports.views.get(license_documents, license_id, asker.workspace_id), type=LicenseDocument
    )
    return stored(json.encode(_shown(document)))


def _shown(document: LicenseDocument) -> Key:
    return Key(
        code=document.code,
        key_type=document.key_type,
        max_activations=document.max_activations,
        current_activations=document.current_activations,
        is_revoked=document.is_revoked,
        notes=document.notes,
        created_at=document.created_at,
        expires_at=document.expires_at,
        trial_days=document.trial_days,
        trial_ends_at=document.trial_ends_at,
        entitlements=document.entitlements,
        updates_until=document.updates_until,
        heartbeat_seconds=document.heartbeat_seconds,
        last_activated_at=document.last_activated_at,
    )
