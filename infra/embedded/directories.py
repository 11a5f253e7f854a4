"""Directories that one process at a time may use, and files that only their owner may read."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from pathlib import Path

from domain.sections import CannotStart

#: How long a new start waits for the servers of a killed predecessor to finish closing their files.
ORPHAN_SECONDS_MAX = 20.0
#: Whoever looks whether a directory is in use holds its lock for an instant.
LOOK_SECONDS_MAX = 0.2


class EmbeddedServerError(CannotStart):
    """A server could not be started; the message is a sentence for the person at the keyboard."""


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Make the directory and its parents, or say in a sentence why that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
        with tempfile.TemporaryFile(dir=path):
            pass
    except FileExistsError as error:
        raise EmbeddedServerError(f"{path} is not a directory. Move that file away or choose another place.") from error
    except NotADirectoryError as error:
        raise EmbeddedServerError(f"{path} cannot be made: one of its parents is a file.") from error
    except PermissionError as error:
        raise EmbeddedServerError(
            f"{path} is not writable for user {_user_name()}. Choose another directory or change its owner."
        ) from error
    except OSError as error:
        raise EmbeddedServerError(f"{path} cannot be used: {error.strerror}.") from error


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


class DirectoryLock:
    """Exclusive use of a directory, held through an open file that children may inherit and hold on to."""

    def __init__(self, directory: Path, what: str) -> None:
        self.directory = directory
        self.what = what
        self._held: list[int] = []

    def take(self, retry_seconds: float = ORPHAN_SECONDS_MAX) -> int:
        """Lock it and return the file to hand to children; wait only for leftovers of a dead owner.

        There are two locks: `owner` is ours alone, `lock` is shared with the children. Where the first is free and the
        second is not, the owner was killed and its servers are still closing their files.
        """
        owner = self._open("owner")
        deadline = time.monotonic() + LOOK_SECONDS_MAX
        while not (is_ours := _locked(owner)) and time.monotonic() < deadline:
            time.sleep(0.02)  # somebody may just be looking whether it is held
        pid = os.pread(owner, 32, 0).decode(errors="replace").strip()
        if not is_ours:
            os.close(owner)
            raise self._in_use(f"process {pid}" if pid else "another process")
        shared = self._open("lock")
        deadline = time.monotonic() + retry_seconds
        while not _locked(shared):
            if time.monotonic() > deadline:
                os.close(shared)
                os.close(owner)
                raise self._in_use(f"what process {pid} left behind when it was killed")
            time.sleep(0.02)
        os.ftruncate(owner, 0)
        os.pwrite(owner, str(os.getpid()).encode(), 0)
        self._held = [shared, owner]
        return shared

    def _open(self, name: str) -> int:
        path = self.directory / name
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EmbeddedServerError(f"{path} cannot be opened: {error.strerror}.") from error

    def _in_use(self, who: str) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"{self.directory} ({self.what}) is in use by {who}. Stop it first, or choose another directory."
        )

    def is_held(self) -> bool:
        """Whether somebody uses the directory now."""
        if not (self.directory / "owner").exists():
            return False
        owner = self._open("owner")
        try:
            return not _locked(owner)
        finally:
            os.close(owner)

    def release(self) -> None:
        """Let go of it; children that inherited it keep it locked until they end."""
        for fd in self._held:
            os.close(fd)
        self._held = []


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
