"""What a process needs for a moment, whole recordings among it, and what becomes of it when the process is killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_PREFIX = "ledgerline-role-"
#: Locked by the process whose directory it is, for as long as it lives.
_LOCK = ".in-use"
#: A directory without a lock is being made, or whoever made it died at that moment.
_MAKING_SECONDS = 3_600.0


@contextmanager
def own_temporary_directory() -> Iterator[Path]:
    """Put everything temporary of this process and its children into a directory that ends with it.

    What killed processes have left behind in the same place goes first: nobody else would ever remove it.
    """
    place = Path(tempfile.gettempdir())
    _sweep(place)
    own, lock = _made(place)
    before = os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(own)
    try:
        yield own
    finally:
        tempfile.tempdir = None
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
        shutil.rmtree(own, ignore_errors=True)
        os.close(lock)


def _made(place: Path) -> tuple[Path, int]:
    """A new directory and its lock, which is held."""
    while True:
        own = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        lock = os.open(own / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (own / _LOCK).exists():  # else somebody who swept was quicker
            return own, lock
        os.close(lock)


def _sweep(place: Path) -> None:
    swept = 0
    for found in place.glob(f"{_PREFIX}*"):
        # Of other users nothing is ours to remove, and a link leads anywhere.
        with suppress(OSError):
            about = found.lstat()
            if about.st_uid == os.getuid() and found.is_dir() and not found.is_symlink() and _is_left(found):
                shutil.rmtree(found)
                swept += 1
    if swept:
        log.info("temporary.swept", directories=swept)


def _is_left(directory: Path) -> bool:
    """Whether the process whose directory this is lives no more."""
    try:
        lock = os.open(directory / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return time.time() - directory.stat().st_mtime > _MAKING_SECONDS
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
