"""Everything an operator can turn: `LEDGERLINE_*` in the environment, read once into typed sections.

The sections stand beside what they configure (see `domain.sections`) and are found there, those of extensions too. Any
setting may be read from a file instead, for secrets that an orchestrator mounts:
`LEDGERLINE_SECRET_KEY_FILE=/run/secrets/key`.
"""

from __future__ import annotations

import difflib
import math
import os
import shlex
import types
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from msgspec.structs import fields, replace

from commands.settings import Service
from domain.discovery import LAYERS, extensions, modules
from domain.sections import (
    PREFIX,
    CannotStart,
    Port,
    Seconds,
    Secret,
    Section,
    Url,
    says,
    told,
    variable,
    without_password,
)

S = TypeVar("S", bound=Section)


class SettingsError(CannotStart):
    """The environment does not describe a service that can start; the message names the setting."""


def _data_home() -> Path:
    from platformdirs import user_data_path

    return user_data_path("ledgerline", appauthor=False)


class Operation(Section, frozen=True):
    """How its processes run."""

    extensions: Annotated[str, says("Packages that bring further contexts, with commas")] = ""
    data_dir: Annotated[Path, says("Where `up` keeps the embedded servers' files and the secret key")] = msgspec.field(
        default_factory=_data_home
    )
    health_host: Annotated[str, says("Address of `/health` and `/ready` of the roles that do not serve")] = "127.0.0.1"
    health_port: Annotated[Port, says("Their port; 0 takes a free one and logs it")] = 0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], says("The least important level to log")] = (
        "info"
    )
    log_format: Annotated[
        Literal["auto", "json", "console"], says("`auto` writes for people on a terminal and JSON lines elsewhere")
    ] = "auto"
    drain_seconds_max: Annotated[Seconds, says("How long work in progress may take to end when a process stops")] = 20.0
    role_silence_seconds_max: Annotated[
        Seconds, says("How long a role below `up` may leave its `/health` unanswered before it is started again")
    ] = 30.0

    def problems(self) -> Iterator[str]:
        """A directory that there can never be."""
        try:
            self.data_dir.exists()
        except OSError as problem:
            yield f"{variable('data_dir')} cannot be a directory: {(problem.strerror or '').lower()}."


def sections() -> tuple[type[Section], ...]:
    """Every section there is, ours first; those of a layer as a whole before those of its contexts."""
    return _sections(extensions())


@cache
def _sections(_extended_by: tuple[str, ...]) -> tuple[type[Section], ...]:
    found: dict[type[Section], None] = {}
    # What contexts limit stands last: the domain is the layer of few settings.
    for layer in (*LAYERS[1:], LAYERS[0]):
        for module in sorted(modules(layer, "settings"), key=lambda each: each.__name__.count(".")):
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, Section) and value.__module__ == module.__name__:
                    found[value] = None
    return tuple(found)


def settings_fields() -> dict[str, type[Section]]:
    """The name of every setting, and the section that it stands in."""
    return _fields(sections())


@cache
def _fields(among: tuple[type[Section], ...]) -> dict[str, type[Section]]:
    found: dict[str, type[Section]] = {}
    for section in among:
        for field in fields(section):
            if field.name in found:
                raise TypeError(f"{variable(field.name)} is a setting of {found[field.name]} and of {section}.")
            if field.required:
                raise TypeError(f"{variable(field.name)} of {section} has no default.")
            found[field.name] = section
    return found


@cache
def _hints(section: type[Section]) -> dict[str, Any]:
    return get_type_hints(section, include_extras=True)


class Settings:
    """How this service runs: one value of every section. `settings[Webhooks]` is the section of that type."""

    __slots__ = ("_sections",)

    def __init__(self, **given: Any) -> None:
        """`given` by the names of fields, whatever their section; the rest has its default."""
        home = settings_fields()
        if unknown := [name for name in given if name not in home]:
            raise TypeError(f"There is no setting called {unknown[0]}.")
        self._sections: dict[type[Section], Section] = {
            section: section(**{name: value for name, value in given.items() if home[name] is section})
            for section in sections()
        }

    def __getitem__(self, section: type[S]) -> S:
        found = self._sections[section]
        assert isinstance(found, section)
        return found

    def changed(self, **given: Any) -> Settings:
        """The same with other values for some fields."""
        home = settings_fields()
        other = Settings()
        other._sections = {
            section: replace(value, **{name: new for name, new in given.items() if home[name] is section})
            for section, value in self._sections.items()
        }
        return other

    def value(self, name: str) -> Any:
        """The value of the field of this name."""
        return getattr(self._sections[settings_fields()[name]], name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self._sections == other._sections

    def __hash__(self) -> int:
        raise TypeError("settings are compared, not hashed")

    def __repr__(self) -> str:
        return f"Settings({', '.join(map(repr, self._sections.values()))})"

    def environment(self) -> dict[str, str]:
        """The variables that make another process read the same settings; defaults are left out."""
        default = Settings()
        return {
            variable(name): _written(self.value(name))
            for name in settings_fields()
            if self.value(name) != default.value(name)
        }


def read_settings(environment: Mapping[str, str] | None = None, **given: object) -> Settings:
    """The settings of this environment; `given` (from the command line) comes before it. Raises `SettingsError`."""
    environment = os.environ if environment is None else environment
    home = settings_fields()
    values: dict[str, Any] = {
        name: _parsed(f"--{name.replace('_', '-')}", str(value), _hints(home[name])[name])
        for name, value in given.items()
        if value is not None
    }
    for name, section in home.items():
        text = _text(environment, variable(name))
        if name not in values and text is not None and text != "":
            values[name] = _parsed(variable(name), text, _hints(section)[name])
    settings = Settings(**values)
    for problem in _problems(settings):
        raise SettingsError(problem)
    service = settings[Service]
    if service.env == "development" and service.is_loopback:
        relaxed = {
            name: max(settings.value(name), least)
            for name in home
            if name not in values and (least := (_told(name).extra or {}).get("development"))
        }
        settings = settings.changed(**relaxed)
    return settings


def _told(name: str) -> Meta:
    return told(_hints(settings_fields()[name])[name])


def shown(settings: Settings) -> Iterator[str]:
    """Each setting as a line that one would write into an environment file or a shell; what is secret reads `***`."""
    for name in settings_fields():
        value = settings.value(name)
        if isinstance(value, Secret) and value:
            yield f"{variable(name)}=***"
        else:
            yield f"{variable(name)}={shlex.quote(public(value)) if public(value) else ''}"


def public(value: object) -> str:
    """A value as it may be shown."""
    return (
        "***"
        if isinstance(value, Secret) and value
        else without_password(_written(value))
        if isinstance(value, Url)
        else _written(value)
    )


def unknown_variables(environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """A sentence about each `LEDGERLINE_*` variable that is no setting, most of them misspelt."""
    environment = os.environ if environment is None else environment
    known = [variable(name) for name in settings_fields()]
    for name in sorted(environment):
        if name.startswith(PREFIX) and name.removesuffix("_FILE") not in known and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is not a setting." + (f" Did you mean {near[0]}?" if near else "")


def require_all(settings: Settings) -> Settings:
    """Refuse settings that lack what a role on its own cannot run without."""
    missing = [
        variable(name)
        for name in settings_fields()
        if (_told(name).extra or {}).get("needed") and not settings.value(name)
    ]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise SettingsError(
            f"{', '.join(missing)} {verb} missing. `ledgerline up` runs with servers of its own instead."
        )
    return settings


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
    if get_origin(plain) is Literal:
        return " or ".join(get_args(plain))
    if get_origin(plain) in (Union, types.UnionType):
        return " or ".join(_kind_in_words(part) for part in get_args(plain))
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if plain in words:
        return words[plain] + _limits(kind)
    if get_origin(plain) is tuple:
        item = get_args(plain)[0]
        return f"numbers{_limits(item)} with commas between" if _bare(item) is float else "a list with commas"
    item = get_args(plain)[1]
    what = "text" if _bare(item) is str else "number"
    return f"a list like name={what},name={what}" + (f", each {what}{limits}" if (limits := _limits(item)) else "")


def _limits(kind: Any) -> str:
    """The bounds of a type, to be put behind its name."""
    bounds = {
        bound: value
        for meta in get_args(kind)[1:]
        if isinstance(meta, Meta)
        for bound in ("ge", "gt", "le", "min_length", "max_length")
        if (value := getattr(meta, bound)) is not None
    }
    if "ge" in bounds and "le" in bounds:
        return f" from {bounds['ge']} to {bounds['le']}"
    if "ge" in bounds:
        return f" of at least {bounds['ge']}"
    if "gt" in bounds:
        return f" above {bounds['gt']}"
    if "min_length" in bounds and "max_length" in bounds:
        return f" of {bounds['min_length']} to {bounds['max_length']} characters"
    return ""


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


def _problems(settings: Settings) -> Iterator[str]:
    """What the type of a value does not refuse."""
    for name in settings_fields():
        value = settings.value(name)
        if schemes := (_told(name).extra or {}).get("schemes"):
            for url in filter(None, value.split(",")):
                if not _is_url(url.strip(), schemes):
                    yield f"{variable(name)} must be a URL that starts with {' or '.join(schemes)}://."
        if not isinstance(value, Path) and not _is_text(_written(value)):
            yield f"{variable(name)} is no text in UTF-8."
        numbers = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if isinstance(number, float) and not math.isfinite(number):
                yield f"{variable(name)} must be a finite number, not {number}."
    yield from chain.from_iterable(settings[section].problems() for section in sections())
    yield from chain.from_iterable(settings[section].conflicts(settings) for section in sections())


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a byte of the environment, or of an argument, that stands for no character
        return False
    return True


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        port_is_a_number = parts.port is None or parts.port >= 0
    except ValueError:
        return False
    # A PostgreSQL URL may name its host in the query, for a socket.
    return port_is_a_number and parts.scheme in schemes and bool(parts.netloc or "host=" in parts.query)


def markdown() -> str:
    """The settings for people, a table for each section, made from the fields themselves."""
    default = Settings(data_dir=Path("~/.local/share/ledgerline"))
    tables = []
    for section in sections():
        lines = [(section.__doc__ or "").strip(), "", "| Variable | Default | What it is |", "|---|---|---|"]
        for field in fields(section):
            value = _written(default.value(field.name))
            lines.append(
                f"| `{variable(field.name)}` | {f'`{value}`' if value else ''} | {_told(field.name).description} |"
            )
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def with_table(document: str) -> str:
    """The document with today's table between `<!-- settings -->` and `<!-- /settings -->`."""
    start, end = "<!-- settings -->\n", "<!-- /settings -->\n"
    before, found, after = document.partition(start)
    if not found:
        raise SettingsError(f"There is no line {start.strip()} to put the table after.")
    return f"{before}{start}\n{markdown()}\n{end}{after.partition(end)[2] if end in after else after}"
