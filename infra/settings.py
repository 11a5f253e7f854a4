"""Everything an operator can turn: `LEDGERLINE_*` in the environment, read once into one typed value.

Any setting may be read from a file instead, for secrets that an orchestrator mounts:
`LEDGERLINE_SECRET_KEY_FILE=/run/secrets/key`.
"""

from __future__ import annotations

import difflib
import hmac
import ipaddress
import math
import os
import re
import shlex
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta
from msgspec.structs import fields, replace

from domain.kernel import Value

PREFIX = "LEDGERLINE_"

#: What one address may do in an hour while somebody develops against a server of their own.
DEVELOPMENT_LIMIT_PER_HOUR = 1_000

SECRET_KEY_LENGTH_MIN = 32


class CannotStart(Exception):
    """Something that only a person can mend; the message is a sentence for the one at the keyboard."""


class SettingsError(CannotStart):
    """The environment does not describe a service that can start; the message names the setting."""


class Secret:
    """A text that is shown to nobody by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"

    __str__ = __repr__


class Url(str):
    """A URL whose password, if it has one, stays out of reprs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_without_password(self))


#: Where a user without a password has a name. Elsewhere, as for NATS, what stands there alone is a token.
_NAMES_USERS = ("postgresql", "postgres", "smtp", "smtps")


def _without_password(url: str) -> str:
    # A password may itself have an `@`, so the host begins after the last one; several URLs are told by their `://`.
    open_host = re.sub(r"(\w+)://([^/]*)@", _without_credentials, str(url))
    return re.sub(r"([?&])([^=&]*)=([^&]*)", _without_value, open_host)


def _without_credentials(found: re.Match[str]) -> str:
    scheme, (user, colon, _) = found[1], found[2].partition(":")
    name = user if colon or scheme.lower() in _NAMES_USERS else "***"
    return f"{scheme}://{name}{':***' if colon else ''}@"


def _without_value(found: re.Match[str]) -> str:
    is_secret = re.search("password|secret|token|scram", unquote(found[2]), re.IGNORECASE)
    return f"{found[1]}{found[2]}=***" if is_secret else found[0]


Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


def _says(text: str) -> Meta:
    """The line of the settings table."""
    return Meta(description=text)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _data_home() -> Path:
    from platformdirs import user_data_path

    return user_data_path("ledgerline", appauthor=False)


class Settings(Value, frozen=True):
    """How this service runs; each field is the environment variable of its name."""

    # where it runs
    env: Annotated[
        Literal["development", "production"],
        _says(
            "`development` returns sign-in codes in answers and lifts hourly limits; `up` on a loopback address sets it"
        ),
    ] = "production"
    host: Annotated[str, _says("Address to serve on")] = "127.0.0.1"
    port: Annotated[Port, _says("Port to serve on")] = 8000
    public_url: Annotated[Url, _says("How clients reach the service; empty means `http://host:port`")] = Url("")
    extensions: Annotated[str, _says("Packages that bring further contexts, with commas")] = ""
    data_dir: Annotated[Path, _says("Where `up` keeps the embedded servers' files and the secret key")] = msgspec.field(
        default_factory=_data_home
    )
    health_host: Annotated[str, _says("Address of `/health` and `/ready` of the roles that do not serve")] = "127.0.0.1"
    health_port: Annotated[Port, _says("Their port; 0 takes a free one and logs it")] = 0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _says("The least important level to log")] = (
        "info"
    )
    log_format: Annotated[
        Literal["auto", "json", "console"], _says("`auto` writes for people on a terminal and JSON lines elsewhere")
    ] = "auto"
    drain_seconds_max: Annotated[Seconds, _says("How long work in progress may take to end when a process stops")] = (
        20.0
    )
    role_silence_seconds_max: Annotated[
        Seconds, _says("How long a role below `up` may leave its `/health` unanswered before it is started again")
    ] = 30.0

    # what it stands on
    postgres_url: Annotated[Url, _says("`postgresql://...`; empty makes `up` start its own PostgreSQL")] = Url("")
    postgres_connections_max: Annotated[Count, _says("Connections of one process")] = 10
    nats_url: Annotated[Url, _says("`nats://...`, several with commas; empty makes `up` start its own NATS")] = Url("")
    nats_replicas: Annotated[int, Meta(ge=1, le=5), _says("Copies of each stream in a NATS cluster")] = 1
    s3_url: Annotated[Url, _says("`http(s)://...` of any S3 store; empty makes `up` start its own")] = Url("")
    s3_access_key: Annotated[str, _says("Access key id of the S3 store")] = ""
    s3_secret_key: Annotated[Secret, _says("Secret key of the S3 store")] = Secret("")
    s3_bucket: Annotated[str, Meta(min_length=3, max_length=63), _says("Bucket for everything stored")] = "ledgerline"
    s3_region: Annotated[str, _says("Region that S3 requests are signed for")] = "us-east-1"
    s3_public_url: Annotated[Url, _says("How clients reach the S3 store in signed links; empty means `s3_url`")] = Url(
        ""
    )

    # what it trusts
    secret_key: Annotated[
        Secret,
        _says(
            "At least 32 characters; seals stored secrets and hashes keys. `up` makes one in the data directory; "
            "without it no key and no sealed field can be read again"
        ),
    ] = Secret("")
    outbound_allow: Annotated[
        tuple[str, ...], _says("Private hosts (`host` or `host:port`, commas) that outbound requests may reach")
    ] = ()
    email_verification_required: Annotated[
        bool, _says("Whether a key waits for its owner's address to be verified")
    ] = False
    jwt_jwks_url: Annotated[
        Url, _says("Published keys (JWKS) of an outside identity provider whose tokens are accepted; empty means none")
    ] = Url("")
    jwt_issuer: Annotated[str, _says("What its tokens must name as `iss`")] = ""
    jwt_audience: Annotated[str, _says("What its tokens must name as `aud`")] = ""

    # how it writes letters
    smtp_url: Annotated[
        Url, _says("`smtp(s)://[user:password@]host[:port][?starttls=0|1]`; empty means that no mail is sent")
    ] = Url("")
    mail_from: Annotated[str, _says("Sender of all mail: `name@host` or `A Name <name@host>`")] = (
        "Ledgerline <ledgerline@localhost>"
    )

    # what it allows
    rate_limit_per_minute: Annotated[Count, _says("Requests of one key in 60 seconds")] = 60
    demo_limit_per_hour: Annotated[Count, _says("Anonymous demo analyses from one address")] = 5
    register_limit_per_hour: Annotated[
        Count, _says(f"Registrations from one address; {DEVELOPMENT_LIMIT_PER_HOUR} in development on loopback")
    ] = 20
    sign_in_limit_per_hour: Annotated[
        Count, _says(f"Sign-ins from one address; {DEVELOPMENT_LIMIT_PER_HOUR} in development on loopback")
    ] = 60
    code_limit_per_hour: Annotated[
        Count, _says(f"Codes and invitations to one mailbox; {DEVELOPMENT_LIMIT_PER_HOUR} in development on loopback")
    ] = 5
    refused_limit_per_minute: Annotated[
        Count, _says(f"Requests with wrong keys from one address; {DEVELOPMENT_LIMIT_PER_HOUR} in development")
    ] = 300
    session_seconds_max: Annotated[Seconds, _says("How long somebody stays signed in")] = 2_592_000.0
    upload_bytes_max: Annotated[Count, _says("The largest file that is accepted, uploaded or fetched")] = (
        50 * 1024 * 1024
    )
    uploads_at_once_max: Annotated[
        Count,
        _says(
            "Uploads that one process takes at once, a quarter of them of one workspace; more are told to come again"
        ),
    ] = 32
    batch_items_max: Annotated[Count, _says("URLs in one batch")] = 10
    monthly_analysis_limits: Annotated[
        dict[str, int],
        _says("Analyses a month for each plan, as `plan=number` with commas; a plan not named has no limit"),
    ] = msgspec.field(default_factory=dict)
    idempotency_hours: Annotated[Count, _says("How long an `Idempotency-Key` is remembered")] = 24
    upload_link_seconds: Annotated[Count, _says("How long the signed link of a storage object takes an upload")] = 900
    storage_object_hours: Annotated[Count, _says("How long an uploaded object waits for its analysis")] = 24
    audit_origin_days: Annotated[
        Count, _says("How long the audit remembers the address and program behind a request")
    ] = 90
    presigned_seconds: Annotated[Count, _says("How long a signed link to a stored object works")] = 3_600

    # how it is paid for
    stripe_secret_key: Annotated[Secret, _says("Secret API key of a Stripe account; empty turns paying off")] = Secret(
        ""
    )
    stripe_webhook_secrets: Annotated[
        Secret, _says("Signing secrets of the Stripe webhook endpoints, with commas; any of them will do")
    ] = Secret("")
    stripe_prices: Annotated[
        dict[str, str], _says("Stripe price of each plan, as `plan=price_...` with commas; the first is the default")
    ] = msgspec.field(default_factory=dict)
    stripe_api_url: Annotated[Url, _says("Another address of the Stripe API, for tests")] = Url("")

    # how it works
    read_wait_seconds_max: Annotated[Seconds, _says("How long a read waits for the client's own last write")] = 2.0
    lease_seconds: Annotated[Seconds, _says("How long a role may be silent before another process takes over")] = 10.0
    analysis_workers: Annotated[
        int, Meta(ge=0), _says("Analyses at a time in one process; 0 means one per processor")
    ] = 0
    analysis_wall_seconds_max: Annotated[Seconds, _says("Time for one analysis before it is given up")] = 600.0
    analysis_cpu_seconds_max: Annotated[Count, _says("Processor time of one analysis")] = 300
    analysis_memory_bytes_max: Annotated[
        int, Meta(ge=1024**3), _says("Address space of one analysis, 1 GiB at least: any recording needs some 730 MB")
    ] = 2 * 1024**3
    fetch_seconds_max: Annotated[Seconds, _says("Time to fetch the audio of a URL")] = 60.0
    webhook_seconds_max: Annotated[Seconds, _says("Time a webhook's receiver has to answer")] = 15.0
    webhook_retry_seconds: Annotated[
        tuple[float, ...], Meta(min_length=1), _says("Waits before the second and each later attempt, before jitter")
    ] = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
    webhook_disable_hours: Annotated[
        Seconds, _says("How many hours an endpoint may fail, and do nothing else, before it is disabled")
    ] = 120.0
    webhook_jitter: Annotated[float, Meta(ge=0, le=1), _says("The share of each wait that is drawn by chance")] = 0.1

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """How clients reach the service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return str(self.public_url).rstrip("/") or f"http://{host}:{self.port}"

    @property
    def can_mail(self) -> bool:
        """Whether there is a mail server to hand letters to."""
        return bool(self.smtp_url)

    @property
    def analysis_processes(self) -> int:
        """How many analyses one process runs side by side."""
        return self.analysis_workers or _processors()

    def environment(self) -> dict[str, str]:
        """The variables that make another process read the same settings; defaults are left out."""
        default = Settings()
        return {
            variable(name): _written(getattr(self, name))
            for name in _names()
            if getattr(self, name) != getattr(default, name)
        }


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def read_settings(environment: Mapping[str, str] | None = None, **given: object) -> Settings:
    """The settings of this environment; `given` (from the command line) comes before it. Raises `SettingsError`."""
    environment = os.environ if environment is None else environment
    hints = get_type_hints(Settings, include_extras=True)
    values: dict[str, Any] = {
        name: _parsed(f"--{name.replace('_', '-')}", str(value), hints[name])
        for name, value in given.items()
        if value is not None
    }
    for name in _names():
        text = _text(environment, variable(name))
        if name not in values and text is not None and text != "":
            values[name] = _parsed(variable(name), text, hints[name])
    settings = Settings(**values)
    _check(settings)
    if settings.env == "development" and settings.is_loopback:
        relaxed = {
            name: max(getattr(settings, name), DEVELOPMENT_LIMIT_PER_HOUR)
            for name in (
                "register_limit_per_hour",
                "sign_in_limit_per_hour",
                "code_limit_per_hour",
                "refused_limit_per_minute",
            )
            if name not in values
        }
        settings = replace(settings, **relaxed)
    return settings


def shown(settings: Settings) -> Iterator[str]:
    """Each setting as a line that one would write into an environment file or a shell; what is secret reads `***`."""
    for name in _names():
        value = getattr(settings, name)
        if isinstance(value, Secret) and value:
            yield f"{variable(name)}=***"
        else:
            yield f"{variable(name)}={shlex.quote(_public(value)) if _public(value) else ''}"


def _public(value: object) -> str:
    return _without_password(value) if isinstance(value, Url) else _written(value)


def unknown_variables(environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """A sentence about each `LEDGERLINE_*` variable that is no setting, most of them misspelt."""
    environment = os.environ if environment is None else environment
    known = [variable(name) for name in _names()]
    for name in sorted(environment):
        if name.startswith(PREFIX) and name.removesuffix("_FILE") not in known and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is not a setting." + (f" Did you mean {near[0]}?" if near else "")


def require_all(settings: Settings) -> Settings:
    """Refuse settings that lack what a role on its own cannot run without."""
    for name in ("postgres_url", "nats_url", "s3_url", "s3_access_key", "s3_secret_key", "secret_key"):
        if not getattr(settings, name):
            raise SettingsError(f"{variable(name)} is missing. `ledgerline up` runs with servers of its own instead.")
    return settings


def _names() -> list[str]:
    return [field.name for field in fields(Settings)]


def _text(environment: Mapping[str, str], name: str) -> str | None:
    path = environment.get(f"{name}_FILE")
    if path is None:
        return environment.get(name)
    if name in environment:
        raise SettingsError(f"{name} and {name}_FILE are both set. Keep one of them.")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"{name}_FILE names {path}, which cannot be read: {reason}.") from error


def _parsed(name: str, text: str, kind: Any) -> Any:
    """The value a variable's text stands for; the text of a secret is not repeated in the refusal."""
    plain = _bare(kind)
    try:
        if plain is Secret or plain is Url:
            return plain(text)
        raw: Any = text.strip()
        if get_origin(plain) is tuple:
            raw = [part.strip() for part in text.split(",") if part.strip()]
        elif get_origin(plain) is dict:
            raw = dict(part.strip().split("=", 1) for part in text.split(",") if part.strip())
        elif plain is Path:
            return Path(text).expanduser()
        return msgspec.convert(raw, kind, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsError(f"{name} must be {_kind_in_words(kind)}, not {text!r}.") from error


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _kind_in_words(kind: Any) -> str:
    plain = _bare(kind)
    metas = [meta for meta in get_args(kind)[1:] if isinstance(meta, Meta)]
    bounds = {
        bound: value
        for meta in metas
        for bound in ("ge", "gt", "le", "min_length", "max_length")
        if (value := getattr(meta, bound)) is not None
    }
    limits = ""
    if "ge" in bounds and "le" in bounds:
        limits = f" from {bounds['ge']} to {bounds['le']}"
    elif "ge" in bounds:
        limits = f" of at least {bounds['ge']}"
    elif "gt" in bounds:
        limits = f" above {bounds['gt']}"
    elif "min_length" in bounds and plain is str:
        limits = f" of {bounds['min_length']} to {bounds['max_length']} characters"
    if get_origin(plain) is Literal:
        return " or ".join(get_args(plain))
    if get_origin(plain) in (Union, types.UnionType):
        return " or ".join(_kind_in_words(part) for part in get_args(plain))
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if plain in words:
        return words[plain] + limits
    if get_origin(plain) is tuple:
        return "numbers with commas between" if get_args(plain)[0] is float else "a list with commas"
    return "a list like name=number,name=number"


def _written(value: object) -> str:
    """The text that reads as this value."""
    match value:
        case bool():
            return "true" if value else "false"
        case Secret():
            return value.reveal()
        case tuple():
            return ",".join(map(_written, value))
        case dict():
            return ",".join(f"{key}={number}" for key, number in value.items())
        case _:
            return str(value)


_SCHEMES = {
    "public_url": ("http", "https"),
    "postgres_url": ("postgresql", "postgres"),
    "nats_url": ("nats", "tls", "ws", "wss"),
    "s3_url": ("http", "https"),
    "s3_public_url": ("http", "https"),
    "jwt_jwks_url": ("http", "https"),
    "smtp_url": ("smtp", "smtps"),
}


def _check(settings: Settings) -> None:
    """Refuse what the type of a value does not."""
    for name, schemes in _SCHEMES.items():
        for url in filter(None, getattr(settings, name).split(",")):
            if not _is_url(url.strip(), schemes):
                raise SettingsError(f"{variable(name)} must be a URL that starts with {' or '.join(schemes)}://.")
    for entry in settings.outbound_allow:
        if not _is_host_and_port(entry):
            raise SettingsError(f"{variable('outbound_allow')} must be hosts or host:port with commas, not {entry!r}.")
    _check_numbers(settings)
    if settings.jwt_jwks_url and not (settings.jwt_issuer and settings.jwt_audience):
        raise SettingsError(
            f"{variable('jwt_jwks_url')} needs {variable('jwt_issuer')} and {variable('jwt_audience')} beside it."
        )
    if settings.secret_key and len(settings.secret_key.reveal()) < SECRET_KEY_LENGTH_MIN:
        raise SettingsError(f"{variable('secret_key')} must have at least {SECRET_KEY_LENGTH_MIN} characters.")


def _check_numbers(settings: Settings) -> None:
    for name in _names():
        if isinstance(number := getattr(settings, name), float) and not math.isfinite(number):
            raise SettingsError(f"{variable(name)} must be a finite number, not {number}.")
    if not all(math.isfinite(wait) and wait >= 0 for wait in settings.webhook_retry_seconds):
        raise SettingsError(f"{variable('webhook_retry_seconds')} must be numbers of at least 0.")
    if any(limit < 0 for limit in settings.monthly_analysis_limits.values()):
        raise SettingsError(f"{variable('monthly_analysis_limits')} must be numbers of at least 0.")


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        port_is_a_number = parts.port is None or parts.port >= 0
    except ValueError:
        return False
    # A PostgreSQL URL may name its host in the query, for a socket.
    return port_is_a_number and parts.scheme in schemes and bool(parts.netloc or "host=" in parts.query)


def _is_host_and_port(entry: str) -> bool:
    try:
        parts = urlsplit(f"//{entry}")
        _ = parts.port
    except ValueError:
        return False
    bare_ipv6 = entry.count(":") > 1 and not entry.startswith("[")
    if bare_ipv6:
        try:
            ipaddress.IPv6Address(entry)
        except ValueError:
            return False
        return True
    return bool(parts.hostname) and parts.netloc == entry and parts.username is None and "*" not in entry


def markdown() -> str:
    """The settings table for people, made from the fields themselves."""
    lines = ["| Variable | Default | What it is |", "|---|---|---|"]
    hints = get_type_hints(Settings, include_extras=True)
    default = Settings(data_dir=Path("~/.local/share/ledgerline"))
    for name in _names():
        text = next(meta.description for meta in get_args(hints[name]) if isinstance(meta, Meta) and meta.description)
        value = _written(getattr(default, name))
        lines.append(f"| `{variable(name)}` | {f'`{value}`' if value else ''} | {text} |")
    return "\n".join(lines) + "\n"


def with_table(document: str) -> str:
    """The document with today's table between `<!-- settings -->` and `<!-- /settings -->`."""
    start, end = "<!-- settings -->\n", "<!-- /settings -->\n"
    before, found, after = document.partition(start)
    if not found:
        raise SettingsError(f"There is no line {start.strip()} to put the table after.")
    return f"{before}{start}\n{markdown()}\n{end}{after.partition(end)[2] if end in after else after}"
