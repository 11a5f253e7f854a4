"""Gets a commit with its submodules and tags: network, but no hooks, no other transports, and no credentials left."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from adapters.runner.addresses import REF, Outside, pinned
from adapters.runner.failures import BuildFailed
from adapters.runner.logs import Log
from adapters.runner.plans import Step
from adapters.runner.sandbox import Limits, Rooms, Sandbox

SUBMODULE_DEPTH_MAX = 8
SUBMODULES_MAX = 128
VERSION_FILE_BYTES_MAX = 256


@dataclass(frozen=True)
class Source:
    """Where a commit is: an address, a branch or tag (empty: what the repository itself has out), maybe its hash."""

    url: str
    ref: str = ""
    commit: str = ""
    token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The token as the password that GitHub takes it for."""
        return base64.b64encode(f"x-access-token:{self.token}".encode()).decode() if self.token else ""

    def is_near(self, url: str) -> bool:
        """Whether an address is of the same owner at the same place: whoever gave this token may give one for that."""
        mine, other = urlsplit(self.url), urlsplit(url)
        owners = [each.path.casefold().split("/")[1:2] for each in (mine, other)]
        return (mine.scheme, mine.netloc, owners[0]) == (other.scheme, other.netloc, owners[1])


@dataclass(frozen=True)
class Checkout:
    """What was checked out: the commit, its tags, and what the file VERSION says."""

    commit: str
    tags: tuple[str, ...]
    version_file: str | None


@dataclass(frozen=True)
class Git:
    """Runs git for one build, as the build's user, in the runner's own network."""

    sandbox: Sandbox
    rooms: Rooms
    limits: Limits
    log: Log
    outside: Outside
    stop: Callable[[], bool]
    deadline: float

    def __call__(self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None, local: bool = False) -> str:
        """What a git command prints; raises BuildFailed with `fetch_failed`."""
        printed = Log(head=1 << 20, tail=1 << 16)
        status = self._run(folder, arguments, printed, env or {}, local=local)
        printed.close()
        text = printed.take(2 << 20).decode(errors="replace")
        if status:
            self.log.write(text.encode())
            said = next((line for line in text.splitlines() if line.startswith(("fatal:", "error:"))), "git failed.")
            raise BuildFailed("fetch_failed", f"The source could not be fetched: {said[:300]}")
        return text

    def _run(
        self, folder: Path, arguments: tuple[str, ...], printed: Log, env: Mapping[str, str], *, local: bool
    ) -> int:
        # Where the repository is a folder of ours, only we can read it; git is told that it may.
        own = replace(self.sandbox, bwrap="", landlock=False, uid=None if local else self.sandbox.uid)
        config = self.rooms.root / "gitconfig"
        config.write_text("[safe]\n\tdirectory = *\n[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n")
        settings = ("protocol.allow=never", "protocol.https.allow=always", "http.followRedirects=false")
        allowed = ("protocol.http.allow=always",) if self.outside.allow else ()
        files = ("protocol.file.allow=always",) if local else ()
        options = [part for each in (*settings, *allowed, *files) for part in ("-c", each)]
        git = shutil.which("git") or "git"
        step = Step(
            "fetching",
            (git, *options, *arguments),
            PurePosixPath(folder.as_posix()),
            {
                "GIT_CONFIG_GLOBAL": str(config),
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_TERMINAL_PROMPT": "0",
                "GIT_ASKPASS": "/bin/false",
                "GIT_LFS_SKIP_SMUDGE": "1",
                "HOME": str(self.rooms.home),
                **env,
            },
            network=True,
        )
        limits = replace(self.limits, disk_bytes=self.limits.fetch_bytes, step_seconds=self.limits.fetch_seconds)
        return own.run(step, self.rooms, printed, limits, stop=self.stop, deadline=self.deadline)


def fetch(source: Source, git: Git, token_for: Callable[[str], str] = lambda _: "") -> Checkout:
    """Check a commit out into the rooms' source folder, submodules and all.

    Submodules of the same owner have tokens of their own: `token_for` an address, empty where there is none.
    """
    git.log.say(f"Fetching {source.url}" + (f" at {source.ref}" if source.ref else ""))
    for name in filter(None, (source.commit or source.ref,)):
        if not REF.fullmatch(name) or ".." in name or name.endswith((".lock", "/")):
            raise BuildFailed("source_refused", "That is not the name of a branch, a tag or a commit.")
    git.sandbox.own(git.rooms.root)
    local = git.outside.local(source.url)
    folder = git.rooms.source
    env = _credentials(source)
    options = () if local else tuple(pinned(source.url, git.outside))
    address = str(local) if local else source.url
    cloning = ("clone", "--quiet", "--no-checkout", "--no-local", "--template=", "--origin=origin", "--", address, ".")
    git(folder, *options, *cloning, env=env, local=bool(local))
    refs = _refs(git, folder, local=bool(local))
    commit = _resolve(source, refs)
    git(folder, "checkout", "--quiet", "--detach", "--force", commit, local=bool(local))
    _submodules(source, git, folder, token_for, local=bool(local))
    git.sandbox.own(folder)
    tags = [
        name.removeprefix("refs/tags/") for name, at in refs.items() if at == commit and name.startswith("refs/tags/")
    ]
    git.log.say(f"Checked out {commit}" + (f" ({', '.join(tags)})" if tags else ""))
    return Checkout(commit, tuple(sorted(tags)[:32]), _version_file(folder))


def _credentials(source: Source) -> dict[str, str]:
    """A token in the environment of git alone: not in an argument, and in no file that is left behind."""
    if not source.token:
        return {}
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{source.url}.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {source.basic}",
    }


def _credentials_of(source: Source, url: str, git: Git, token_for: Callable[[str], str]) -> dict[str, str]:
    """What git is given for one submodule, for this one command."""
    if not source.token or not source.is_near(url):
        return {}
    inner = Source(url, token=token_for(url))
    git.log.mask(inner.token, inner.basic)
    return _credentials(inner)


def _refs(git: Git, folder: Path, *, local: bool) -> dict[str, str]:
    """Every branch and tag with the commit it means."""
    listed = git(folder, "for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", local=local)
    parts = [line.split() for line in listed.splitlines()]
    return {each[0]: each[-1] for each in parts if len(each) > 1}


def _resolve(source: Source, refs: Mapping[str, str]) -> str:
    ref = source.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    names = [f"refs/remotes/origin/{ref or 'HEAD'}", f"refs/tags/{ref}"]
    if source.ref.startswith("refs/tags/"):
        del names[0]
    if re.fullmatch("[0-9a-f]{40}", source.commit or source.ref):
        return source.commit or source.ref
    for name in names:
        if name in refs:
            return refs[name]
    raise BuildFailed("fetch_failed", f"The repository has no {source.ref or 'commit yet'}.")


def _submodules(source: Source, git: Git, top: Path, token_for: Callable[[str], str], *, local: bool) -> None:
    """Every submodule at its pinned commit. Each address is checked before git sees it, those below others too."""
    open_ends, seen = [(top, 0)], 0
    while open_ends:
        folder, depth = open_ends.pop()
        if not (folder / ".gitmodules").is_file() or (folder / ".gitmodules").is_symlink():
            continue
        if depth >= SUBMODULE_DEPTH_MAX:
            raise BuildFailed("fetch_failed", "The submodules are nested too deeply.")
        git(folder, "submodule", "--quiet", "init", local=local)
        for name, written in _listed(git, folder, local=local):
            seen += 1
            if seen > SUBMODULES_MAX:
                raise BuildFailed("fetch_failed", f"There are more than {SUBMODULES_MAX} submodules.")
            url = over_https(written)
            near = git.outside.local(url) if local else None
            options = () if near else tuple(pinned(url, git.outside))
            if url != written:
                git(folder, "config", "--local", f"submodule.{name}.url", url, local=local)
                git.log.say(f"The submodule {name} is fetched from {url}")
            env = {} if near else _credentials_of(source, url, git, token_for)
            path = git(folder, "config", "-f", ".gitmodules", f"submodule.{name}.path", local=local).strip()
            update = ("submodule", "--quiet", "update", "--checkout", "--force", "--", path)
            git(folder, *options, *update, env=env, local=local)
            inner = folder / path
            if not inner.resolve().is_relative_to(top.resolve()):
                raise BuildFailed("source_refused", "A submodule lies outside the repository.")
            open_ends.append((inner, depth + 1))


def over_https(url: str) -> str:
    """Where a repository is that is read by SSH, by git's own protocol or by HTTP where it was written down.

    Developers write down what they push to; a runner has no key, and public repositories are at the same place.
    """
    for pattern in _ELSEWHERE:
        if found := pattern.fullmatch(url):
            return f"https://{found[1]}/{found[2]}"
    return url


_ELSEWHERE = (
    re.compile(r"[A-Za-z0-9_.-]+@([A-Za-z0-9.-]+):(?!/)(.+)"),
    re.compile(r"ssh://(?:[A-Za-z0-9_.-]+@)?([A-Za-z0-9.-]+)(?::[0-9]+)?/(.+)"),
    re.compile(r"git://([A-Za-z0-9.-]+)/(.+)"),
)


def _listed(git: Git, folder: Path, *, local: bool) -> Iterator[tuple[str, str]]:
    # Something that every repository has is asked for too, because nothing found is a failure to git: an archive of a
    # release may have kept `.gitmodules` without any submodule.
    names = r"^(submodule\..*\.url|core\.repositoryformatversion)$"
    for line in git(folder, "config", "--local", "--get-regexp", names, local=local).splitlines():
        key, _, url = line.partition(" ")
        if not key.startswith("submodule."):
            continue
        yield key.removeprefix("submodule.").removesuffix(".url"), url


def _version_file(folder: Path) -> str | None:
    """The first line of the file VERSION."""
    path = folder / "VERSION"
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        begins = file.read(VERSION_FILE_BYTES_MAX).decode(errors="replace").replace("\0", "").strip()
    return begins.partition("\n")[0].strip() or None
