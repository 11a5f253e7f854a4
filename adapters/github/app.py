"""Our app at GitHub: who installed it, and which repositories it may see."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

import jwt
from msgspec import DecodeError, Struct, json

from adapters.provides import provides
from adapters.web.parties import NoAnswer, Party
from domain.kernel import Unavailable
from domain.repositories.settings import Github

#: How long one answer may take, and all that one person's request needs together.
ANSWER_SECONDS_MAX = 15.0
SECONDS_MAX = 30.0
#: A page of a hundred repositories is about 700 KB.
ANSWER_BYTES_MAX = 8 * 1024 * 1024
PAGES_MAX = 10
#: Tokens of installations are good for an hour; these are kept so long and so many of them.
TOKEN_SECONDS, TOKENS_MAX = 3000.0, 512
#: What workflows are run and followed with.
WORKFLOW_PERMISSIONS = {"actions": "write", "contents": "read"}
VERSION = "2022-11-28"
#: How long GitHub is not asked again where it says "too often" and not for how long, and the longest that is believed.
LIMITED_SECONDS, LIMITED_SECONDS_MAX = 60.0, 3600.0


class GithubUnavailable(Unavailable):
    """GitHub gives no answer at the moment. Try again shortly."""


class GithubIsBusy(GithubUnavailable):
    """GitHub takes no more questions of our app for a while, because there were too many. Try again later."""


class GithubKnowsNoApp(GithubUnavailable):
    """GitHub does not accept this service's app. Its operator has to mend the app's id or its private key."""


class Told(NamedTuple):
    """What GitHub has answered: its status and headers, and its JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Account(Struct, frozen=True):
    """An account at GitHub that has installed the app."""

    login: str
    type: str


class Repo(Struct, frozen=True):
    """A repository, as far as it is shown."""

    name: str
    full_name: str
    description: str | None
    html_url: str
    topics: list[str]
    default_branch: str


class GithubApp:
    """The app: its own token is signed with its private key, and each installation has one for an hour."""

    def __init__(self, settings: Github, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        #: Until when GitHub is not asked in the name of whom: the app, an installation, or a person's token.
        self._limited: dict[str, float] = {}
        self._api = str(settings.github_api_url).rstrip("/")
        self._tokens: OrderedDict[tuple[int, str], tuple[str, float]] = OrderedDict()
        self._party = Party(seconds_max=ANSWER_SECONDS_MAX, bytes_max=ANSWER_BYTES_MAX)

    @property
    def is_set_up(self) -> bool:
        """Whether there is an app."""
        return bool(self._settings.github_app_id and self._settings.github_private_key)

    @property
    def web(self) -> str:
        """Where repositories are, with a slash at the end."""
        return f"{str(self._settings.github_url).rstrip('/')}/"

    def signed(self, body: bytes) -> str | None:
        """How GitHub signs what it tells us; None where no secret was agreed on."""
        secret = self._settings.github_webhook_secret.reveal()
        if not secret:
            return None
        return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"

    def install_url(self, state: str) -> str:
        """Where a person installs the app, to come back with this state."""
        place = f"{self.web}apps/{self._settings.github_app_slug}/installations/new"
        return f"{place}?{urlencode({'state': state})}"

    async def account_of(self, installation_id: int, code: str) -> Account | None:
        """The account of an installation that the person who brings this code may see; None when they may not.

        The id in the address they come back with can be made up, so GitHub itself is asked in their name.
        """
        async with _in_time():
            return await self._account_of(installation_id, code)

    async def _account_of(self, installation_id: int, code: str) -> Account | None:
        body = {
            "client_id": self._settings.github_app_id,
            "client_secret": self._settings.github_client_secret.reveal(),
            "code": code,
        }
        url = f"{self.web}login/oauth/access_token"
        status, answer = await self._ask("POST", url, body=body)
        token = answer.get("access_token") if status == 200 else None
        if not isinstance(token, str):
            return None
        for page in range(1, PAGES_MAX + 1):
            status, answer = await self._ask("GET", f"{self._api}/user/installations?per_page=100&page={page}", token)
            found = answer.get("installations", []) if status == 200 else []
            for each in found:
                if each.get("id") == installation_id:
                    account = each.get("account") or {}
                    kind = "Organization" if account.get("type") == "Organization" else "User"
                    return Account(str(account.get("login", "")), kind)
            if len(found) < 100:
                return None
        return None

    async def repositories(self, installation_id: int) -> list[Repo]:
        """What an installation may see; none where it has gone."""
        async with _in_time():
            return await self._repositories(installation_id)

    async def _repositories(self, installation_id: int) -> list[Repo]:
        token = await self._token(installation_id)
        if token is None:
            return []
        repos: list[Repo] = []
        for page in range(1, PAGES_MAX + 1):
            url = f"{self._api}/installation/repositories?per_page=100&page={page}"
            status, answer = await self._ask("GET", url, token, limited_as=f"{installation_id}")
            found = answer.get("repositories", []) if status == 200 else []
            repos += map(_repo, found)
            if len(found) < 100:
                break
        return repos

    async def token_for(self, installation_id: int, full_name: str) -> str | None:
        """A token that reads one repository and nothing else, for an hour; None where the installation may not."""
        narrowed = {"repositories": [full_name.rpartition("/")[2]], "permissions": {"contents": "read"}}
        return await self._token(installation_id, narrowed)

    async def _token(self, installation_id: int, narrowed: dict[str, Any] | None = None) -> str | None:
        """A token of an installation, for an hour."""
        url = f"{self._api}/app/installations/{installation_id}/access_tokens"
        status, answer = await self._ask("POST", url, self._own_token(), body=narrowed or {}, limited_as="app")
        if status == 401:
            raise GithubKnowsNoApp
        return str(answer["token"]) if status == 201 else None

    async def as_installation(
        self, installation_id: int, full_name: str, method: str, path: str, body: object = None
    ) -> Told | None:
        """Ask about one repository in the name of an installation; None where it is given no token for that."""
        key = (installation_id, full_name.casefold())
        told: Told | None = None
        for _ in range(2):
            token = await self._kept_token(key, full_name)
            if token is None:
                return None
            told = await self._tell(method, f"{self._api}{path}", token, body=body, limited_as=f"{installation_id}")
            if told.status != 401:
                return told
            # It was taken back before its time.
            self._tokens.pop(key, None)
        return told

    async def _kept_token(self, key: tuple[int, str], full_name: str) -> str | None:
        kept, until = self._tokens.get(key, ("", 0.0))
        now = self._clock()
        if kept and now < until:
            return kept
        narrowed = {"repositories": [full_name.rpartition("/")[2]], "permissions": WORKFLOW_PERMISSIONS}
        token = await self._token(key[0], narrowed)
        if token is not None:
            self._tokens[key] = (token, now + TOKEN_SECONDS)
            self._tokens.move_to_end(key)
            if len(self._tokens) > TOKENS_MAX:
                self._tokens.popitem(last=False)
        return token

    def _own_token(self) -> str:
        """The app's own: clocks differ, so it was made a minute ago; ten minutes are the most that is taken."""
        now = int(time.time())
        key = self._settings.github_private_key.reveal().replace("\\n", "\n")
        return jwt.encode({"iat": now - 60, "exp": now + 540, "iss": self._settings.github_app_id}, key, "RS256")

    async def _ask(
        self, method: str, url: str, token: str | None = None, *, body: object = None, limited_as: str = ""
    ) -> tuple[int, dict[str, Any]]:
        told = await self._tell(method, url, token, body=body, limited_as=limited_as)
        return told.status, told.body if isinstance(told.body, dict) else {}

    async def _tell(
        self, method: str, url: str, token: str | None = None, *, body: object = None, limited_as: str = ""
    ) -> Told:
        # Whoever goes on asking while a limit holds may be banned.
        limited_as = limited_as or token or ""
        if self._clock() < self._limited.get(limited_as, 0.0):
            raise GithubIsBusy
        headers = {
            "Accept": "application/vnd.github+json",
            "User-Agent": "Ledgerline",
            "X-GitHub-Api-Version": VERSION,
        }
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if "/login/" in url:
            headers["Accept"] = "application/json"
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            sent = None if body is None else json.encode(body)
            answer = await self._party.ask(method, url, headers=headers, body=sent)
            told = json.decode(answer.body) if answer.body and answer.status < 500 else None
            if _is_limited(answer.status, answer.headers, told):
                now = self._clock()
                self._limited = {each: until for each, until in self._limited.items() if now < until}
                self._limited[limited_as] = now + _limited_seconds(answer.headers)
                raise GithubIsBusy
            if answer.status >= 500:
                raise GithubUnavailable
            return Told(answer.status, answer.headers, told)
        except (NoAnswer, DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise GithubUnavailable from problem

    async def close(self) -> None:
        """Give the connections back."""
        await self._party.close()


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """All that is asked in here, page by page, ends in time."""
    try:
        async with asyncio.timeout(SECONDS_MAX):
            yield
    except TimeoutError as late:
        raise GithubUnavailable from late


def _is_limited(status: int, headers: Mapping[str, str], told: object) -> bool:
    """Whether a refusal is for now only: GitHub says 403 to those who ask too often, too, sometimes in words alone."""
    if status != 403:
        return status == 429
    said = str(told.get("message", "")) if isinstance(told, dict) else ""
    return headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in headers or "rate limit" in said.lower()


def _limited_seconds(headers: Mapping[str, str]) -> float:
    """How long to wait: so many seconds, or until a moment in seconds since 1970, or a minute where nothing is said."""
    try:
        if "Retry-After" in headers:
            seconds = float(headers["Retry-After"])
        elif headers.get("X-RateLimit-Remaining") == "0":
            seconds = float(headers["X-RateLimit-Reset"]) - time.time()
        else:
            seconds = LIMITED_SECONDS
    except (KeyError, ValueError):
        seconds = LIMITED_SECONDS
    return min(max(seconds, 0.0), LIMITED_SECONDS_MAX) if seconds == seconds else LIMITED_SECONDS  # noqa: PLR0124


def _repo(facts: dict[str, Any]) -> Repo:
    return Repo(
        name=str(facts.get("name", "")),
        full_name=str(facts.get("full_name", "")),
        description=facts.get("description"),
        html_url=str(facts.get("html_url", "")),
        topics=[str(each) for each in facts.get("topics") or []],
        default_branch=str(facts.get("default_branch") or "main"),
    )


def is_code(text: str) -> bool:
    """Whether this may be a code that GitHub gave somebody."""
    return re.fullmatch(r"[A-Za-z0-9_-]{1,128}", text) is not None


@provides
def github(settings: Github) -> GithubApp:
    """Our app at GitHub."""
    return GithubApp(settings)
