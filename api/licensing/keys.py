"""Activation keys of a project, for its people: made and listed."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct, json

from api.auth import Asker, needs
from api.kernel import IdempotencyKey, stored
from api.licensing.activation import shows
from api.licensing.ports import Ports
from commands.licensing.licenses import IssueLicenses, NewLicense
from domain.idempotency import claims
from domain.licensing.licenses import MACHINES_MAX, KeyType, licenses
from domain.studio.projects import projects
from projections.kernel import seconds
from projections.licensing.licenses import LicenseDocument, license_documents

MANAGE = needs("licences:manage", "member")
#: Keys of one project in one look at the read model.
PAGE = 1000

Seats = Annotated[int, Meta(ge=1, le=MACHINES_MAX)]
Notes = Annotated[str, Meta(max_length=500)]


class NewKey(Struct):
    """A key to be; what is left out is as documented."""

    project_id: Annotated[str, Meta(max_length=64)]
    max_activations: Seats = 2
    notes: Notes = ""
    key_type: KeyType = "project_test"


class GeneratedKey(Struct):
    """A new key."""

    code: str
    key_type: KeyType
    max_activations: int
    created_at: str


class Key(Struct):
    """A key and what has become of it."""

    code: str
    key_type: KeyType
    max_activations: int
    current_activations: int
    is_revoked: bool
    notes: str
    created_at: str


class Keys(Struct):
    """The keys of a project, newest first."""

    keys: list[Key]


@post(
    "/functions/v1/plugin-activation/generate",
    status_code=201,
    tags=["plug-in activation"],
    opt=MANAGE,
)
async def generate(
    request: Request[Any, Any, Any],
    data: JSONBody[NewKey],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `claims`, declared here for the contract
) -> GeneratedKey:
    """Generate an activation key."""
    claim = ports.claims.of(request, asker.tenant, data)
    batch_id = ports.vault.new_id()
    code = ports.vault.activation_code(batch_id, 0)
    item = NewLicense(
        license_id=ports.vault.license_id(code),
        code=code,
        key_type=data.key_type,
        max_activations=data.max_activations,
        notes=data.notes,
    )
    await ports.execute(
        IssueLicenses(
            batch_id=batch_id,
            workspace_id=asker.workspace_id,
            project_id=data.project_id,
            items=(item,),
            once=claim,
        ),
        asker.context,
    )
    if claim is not None:
        batch_id = (await ports.log.state(claims, claim.claim_id)).subject_id
        code = ports.vault.activation_code(batch_id, 0)
    made = await ports.states.state(licenses, ports.vault.license_id(code))
    assert made.issued_at is not None
    return GeneratedKey(
        code=code, key_type=made.key_type, max_activations=made.max_activations, created_at=seconds(made.issued_at)
    )


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
    (await ports.states.state(projects, project_id)).belongs_to(asker.workspace_id)
    keys: list[Key] = []
    before: int | None = None
    while True:
        page = await ports.views.page(
            license_documents, asker.workspace_id, limit=PAGE, before=before, parent=project_id
        )
        keys.extend(_shown(json.decode(each.body, type=LicenseDocument)) for each in page)
        if len(page) < PAGE:
            return stored(json.encode(Keys(keys=keys)))
        before = page[-1].created


def _shown(document: LicenseDocument) -> Key:
    return Key(
        code=document.code,
        key_type=document.key_type,
        max_activations=document.max_activations,
        current_activations=document.current_activations,
        is_revoked=document.is_revoked,
        notes=document.notes,
        created_at=document.created_at,
    )
