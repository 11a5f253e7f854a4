"""Distribution accounts: where releases are handed in, and which browser profile signs in there."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct, json

from api.auth import Asker, needs
from api.catalogue.ports import Ports
from api.catalogue.releases import WRITE
from api.catalogue.tracks import LIMIT, READ, Done, Limit, Offset, Pagination, one, paged
from commands.catalogue.accounts import AddAccount, AssignProfile, RemoveAccount, RenameAccount
from commands.kernel import Command
from domain.catalogue.accounts import ACCOUNTS_MAX, TooManyAccounts
from projections.catalogue.accounts import AccountDocument, account_counts, account_documents
from projections.catalogue.releases import ReleaseDocument, release_documents

#: Whoever decides which session signs in somewhere decides as whom.
ASSIGN = needs("distribution:write", "admin")

Name = Annotated[str, Meta(min_length=1, max_length=120, examples=["Night Shift Records"])]


class NewAccount(Struct, forbid_unknown_fields=True):
    """An account at a distributor or a store; its password is not asked for and not kept."""

    service: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z", examples=["distrokid"])]
    name: Name


class AccountChange(Struct, forbid_unknown_fields=True):
    """What it is to be called."""

    name: Name


class AssignedProfile(Struct, forbid_unknown_fields=True):
    """The browser profile that signs in; null: none does."""

    profile_id: Annotated[int, Meta(ge=1, le=2**62)] | None


class AccountAnswer(Struct):
    """One account."""

    data: AccountDocument


class AccountList(Struct):
    """A page of accounts, newest first."""

    data: list[AccountDocument]
    pagination: Pagination


class ReleasesOfAccount(Struct):
    """A page of releases, newest first."""

    data: list[ReleaseDocument]


_release = json.Decoder(ReleaseDocument).decode
_document = json.Decoder(AccountDocument).decode
ONE = ResponseSpec(AccountAnswer, generate_examples=False, description="The account as it is kept.")


@post("/api/v1/distribution-accounts", status_code=201, tags=["distribution"], opt={**WRITE, "statuses": ("409",)},
      responses={201: ONE})  # fmt: skip
async def add_distribution_account(
    data: JSONBody[NewAccount], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Say under which account at a distributor or a store releases are handed in."""
    there = (await ports.views.sums(account_counts, [asker.workspace_id], asker.workspace_id))[asker.workspace_id]
    if there >= ACCOUNTS_MAX:
        raise TooManyAccounts(accounts_max=ACCOUNTS_MAX)
    account_id = ports.vault.new_id()
    wish = AddAccount(account_id=account_id, workspace_id=asker.workspace_id, service=data.service, name=data.name)
    return await _account(ports, asker, account_id, wish, status=201)


@get("/api/v1/distribution-accounts", tags=["distribution"], opt=READ)
async def list_distribution_accounts(
    ports: NamedDependency[Ports], asker: NamedDependency[Asker], limit: Limit = LIMIT, offset: Offset = 0
) -> AccountList:
    """List the accounts under which the workspace hands releases in, newest first."""
    found, page = await paged(ports, account_documents, account_counts, asker.workspace_id, limit, offset)
    return AccountList([_document(each) for each in found], page)


@get("/api/v1/distribution-accounts/{account_id:str}", tags=["distribution"], opt=READ, responses={200: ONE})
async def get_distribution_account(
    account_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read an account: which service it is at, and the number of the browser profile that signs in."""
    return await _account(ports, asker, account_id)


@get("/api/v1/distribution-accounts/{account_id:str}/releases", tags=["distribution"], opt=READ)
async def list_releases_of_account(
    account_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    limit: Limit = LIMIT,
    offset: Offset = 0,
) -> ReleasesOfAccount:
    """List the releases that are handed in under an account, newest first."""
    await ports.views.get(account_documents, account_id, asker.workspace_id)
    found = await ports.views.page(release_documents, asker.workspace_id, limit=limit, offset=offset, parent=account_id)
    return ReleasesOfAccount([_release(each.body) for each in found])


@patch("/api/v1/distribution-accounts/{account_id:str}", tags=["distribution"], opt=WRITE, responses={200: ONE})
async def rename_distribution_account(
    account_id: FromPath[str],
    data: JSONBody[AccountChange],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Call an account otherwise."""
    wish = RenameAccount(account_id=account_id, workspace_id=asker.workspace_id, name=data.name)
    return await _account(ports, asker, account_id, wish)


@put(
    "/api/v1/distribution-accounts/{account_id:str}/profile",
    status_code=200,
    tags=["distribution"],
    opt={**ASSIGN, "security_notes": ("Assigning a profile shows nothing of its cookies, to nobody.",)},
    responses={200: ONE},
)
async def assign_browser_profile(
    account_id: FromPath[str],
    data: JSONBody[AssignedProfile],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Say which browser profile signs in to an account. A profile that is removed signs in nowhere any more."""
    wish = AssignProfile(account_id=account_id, workspace_id=asker.workspace_id, profile_id=data.profile_id)
    return await _account(ports, asker, account_id, wish)


@delete(
    "/api/v1/distribution-accounts/{account_id:str}",
    status_code=200,
    tags=["distribution"],
    opt={**WRITE, "statuses": ("409",)},
)
async def remove_distribution_account(
    account_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Done:
    """Remove an account under which nothing is being handed in. What was handed in stays written down."""
    await ports.execute(RemoveAccount(account_id=account_id, workspace_id=asker.workspace_id), asker.context)
    return Done()


async def _account(
    ports: Ports, asker: Asker, account_id: str, wish: Command | None = None, status: int = 200
) -> Response[bytes]:
    return await one(ports, asker, account_documents, account_id, wish, status=status)
