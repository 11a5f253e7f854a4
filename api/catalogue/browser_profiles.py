"""Browser profiles: sessions at other services, taken in sealed and never given out again."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct, json

from api.auth import Asker, needs
from api.catalogue.ports import Ports
from api.catalogue.tracks import Done
from commands.catalogue.browser_profiles import ImportBrowserProfile, RemoveBrowserProfile
from domain.catalogue.browser_profiles import EncryptionNotConfigured, NoSuchBrowserProfile
from domain.kernel import Invalid, Refusal, Unavailable
from projections.catalogue.browser_profiles import BrowserProfileDocument, browser_profile_documents

COOKIES_MAX = 500
NAME_BYTES_MAX = 256
VALUE_BYTES_MAX = 8 * 1024
PROFILES_SHOWN_MAX = 200
MESSAGE = "Browser profile and securely encrypted session cookies successfully imported."

WRITE = needs("distribution:write", "admin")


class BadCookie(Invalid):
    """{problem}"""


class NewBrowserProfile(Struct):
    """A name for people, and the cookies of the session; of each cookie, domain, name and value are required."""

    name: Annotated[str, Meta(min_length=1, max_length=120)]
    cookies: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=COOKIES_MAX)]


class ImportedBrowserProfile(Struct):
    """Browser profile created and cookie payload stored in encrypted form."""

    success: bool
    message: str
    profile_id: int
    name: str


class BrowserProfileList(Struct):
    """The profiles of the workspace, newest first."""

    data: list[BrowserProfileDocument]


@post(
    "/api/v1/browser-profiles/import",
    status_code=201,
    tags=["distribution"],
    opt={
        **WRITE,
        "statuses": ("503",),
        "security_notes": (
            "This endpoint is disabled unless cookie encryption is configured on the server.",
            "Payload validation enforces bounded cookie counts and sizes before any encrypted storage occurs.",
        ),
    },
)
async def import_browser_profile(
    data: JSONBody[NewBrowserProfile], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> ImportedBrowserProfile:
    """Keep the cookies of a browser session in encrypted form, for automation of the workspace to use."""
    if not ports.cookies.is_configured:
        raise EncryptionNotConfigured(retry_after_seconds=3600)
    for number, cookie in enumerate(data.cookies):
        _check(number, cookie)
    profile_id = await ports.cookies.keep(asker.workspace_id, json.encode(data.cookies))
    wish = ImportBrowserProfile(
        profile_id=profile_id, workspace_id=asker.workspace_id, name=data.name, cookie_count=len(data.cookies)
    )
    try:
        await ports.execute(wish, asker.context)
    except Refusal as refusal:
        # With the log away nobody knows whether it was written down; what no event tells of, nobody can use.
        if not isinstance(refusal, Unavailable):
            await ports.cookies.forget(asker.workspace_id, profile_id)
        raise
    return ImportedBrowserProfile(success=True, message=MESSAGE, profile_id=profile_id, name=data.name)


def _check(number: int, cookie: dict[str, Any]) -> None:
    for field, most in (("domain", NAME_BYTES_MAX), ("name", NAME_BYTES_MAX), ("value", VALUE_BYTES_MAX)):
        value = cookie.get(field)
        where = ("body", "cookies", number, field)
        if not isinstance(value, str) or (field != "value" and not value):
            raise BadCookie(problem=f"Every cookie has a {field}, which is a text.", loc=where)
        if len(value.encode("utf-8", "surrogatepass")) > most:
            raise BadCookie(problem=f"The {field} of a cookie has {most} bytes at most.", loc=where)


@get("/api/v1/browser-profiles", tags=["distribution"], opt=needs("distribution:write", "viewer"))
async def list_browser_profiles(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> BrowserProfileList:
    """List the profiles of the workspace, newest first: names, numbers and uses, never what is in them."""
    found = await ports.views.page(browser_profile_documents, asker.workspace_id, limit=PROFILES_SHOWN_MAX)
    return BrowserProfileList([json.decode(each.body, type=BrowserProfileDocument) for each in found])


@delete("/api/v1/browser-profiles/{profile_id:str}", status_code=200, tags=["distribution"], opt=WRITE)
async def remove_browser_profile(
    profile_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Done:
    """Delete a profile and its cookies."""
    if not (profile_id.isascii() and profile_id.isdigit() and len(profile_id) < 19):
        raise NoSuchBrowserProfile
    number = int(profile_id)
    await ports.execute(RemoveBrowserProfile(profile_id=number, workspace_id=asker.workspace_id), asker.context)
    await ports.cookies.forget(asker.workspace_id, number)
    return Done()
