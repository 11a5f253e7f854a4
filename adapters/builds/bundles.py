"""What a run at GitHub has left, as zip files of strangers: unpacked within limits, and searched for plug-ins.

An artifact comes without permissions and links, and one that was made of a single folder comes without that folder.
So each is unpacked into a folder of its own name, and what begins as a program does counts as one.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from adapters.runner.collecting import Found, collect, head, pack, unique
from adapters.runner.failures import BuildFailed
from commands.builds.ports import NotDone, PlugIn
from domain.studio.projects import FORMATS, PLATFORMS, Platform

ENTRIES_MAX = 50_000
#: What programs are packed to is a fifth to a half of them; what unpacks to so many times its size is no program.
RATIO_MAX = 200
#: Below which nobody looks at that.
RATIO_FROM_BYTES = 1 << 20
NAME_LENGTH_MAX = 200
DEPTH_MAX = 32
_CHUNK_BYTES = 1 << 20
_ELF, _PE, _MACH = b"\x7fELF", b"MZ", (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xfe\xed\xfa\xcf")


@dataclass
class Unpacking:
    """Unpacks zip files below one folder; together they may have so many bytes and entries."""

    root: Path
    bytes_max: int
    _bytes: int = 0
    _entries: int = 0

    def take(self, file: Path, name: str, content_type: str) -> None:
        """Take an artifact as GitHub's store gives it: a zip file, or the one file that it is; raises NotDone."""
        with file.open("rb") as opened:
            begins = opened.read(2)
        if "zip" in content_type or begins == b"PK":
            self.unpack(file, name)
            return
        self._entries += 1
        self._bytes += file.stat().st_size
        if self._entries > ENTRIES_MAX or self._bytes > self.bytes_max:
            raise _refused(name, f"it is more than {self.bytes_max} bytes")
        folder = self.root / name
        folder.mkdir()
        kept = shutil.copyfile(file, folder.joinpath(*_parts(name, name)))
        if head(kept)[:4] == _ELF:
            kept.chmod(0o755)

    def unpack(self, archive: Path, name: str) -> None:
        """Unpack an artifact into a folder of its name, and zip files in it beside themselves; raises NotDone."""
        folder = self.root / name
        folder.mkdir()
        try:
            self._unpack(archive, folder, name)
            for inner in sorted(folder.rglob("*.zip")):
                if inner.is_file() and not inner.is_symlink() and zipfile.is_zipfile(inner):
                    place = inner.with_name(f"{inner.name}.unpacked")
                    place.mkdir()
                    self._unpack(inner, place, name)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError, ValueError) as problem:
            if isinstance(problem, OSError) and problem.errno is not None and not isinstance(problem, FileExistsError):
                raise
            raise _refused(name, "it is no zip file that can be read") from problem

    def _unpack(self, archive: Path, folder: Path, name: str) -> None:
        packed = archive.stat().st_size
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            self._entries += len(entries)
            if self._entries > ENTRIES_MAX:
                raise _refused(name, f"it has more than {ENTRIES_MAX} entries")
            unpacked = 0
            for entry in entries:
                target = folder.joinpath(*_parts(entry.filename, name))
                if entry.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise _refused(name, f"{entry.filename[:100]} is a link")
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, target.open("xb") as out:
                    for piece in _read(source):
                        unpacked += len(piece)
                        self._bytes += len(piece)
                        if self._bytes > self.bytes_max:
                            raise _refused(name, f"it unpacks to more than {self.bytes_max} bytes")
                        if unpacked > RATIO_FROM_BYTES and unpacked > packed * RATIO_MAX:
                            raise _refused(name, f"it unpacks to more than {RATIO_MAX} times its size")
                        out.write(piece)
                if entry.external_attr >> 16 & 0o111 or head(target)[:4] == _ELF:
                    target.chmod(0o755)


def _read(source: IO[bytes]) -> Iterator[bytes]:
    while piece := source.read(_CHUNK_BYTES):
        yield piece


def _parts(text: str, name: str) -> tuple[str, ...]:
    """The parts of a path in an archive; raises NotDone for one that leads out of it, or is none everywhere."""
    parts = PurePosixPath(text).parts
    if (
        not parts
        or len(parts) > DEPTH_MAX
        or text.startswith("/")
        or any(each == ".." or len(each.encode()) > NAME_LENGTH_MAX or set(each) & set("\\\0:") for each in parts)
    ):
        raise _refused(name, f"the path {text[:100]!r} in it cannot be used")
    return parts


def _refused(name: str, why: str) -> NotDone:
    return NotDone("artifact_refused", f"The artifact {name[:100]} of the run cannot be taken: {why}.")


def plug_ins(root: Path, packed: Path) -> list[PlugIn]:
    """The plug-ins below a folder, each packed into another one as it is kept; raises NotDone."""
    made: list[PlugIn] = []
    for platform in PLATFORMS:
        found = collect((root,), wanted=lambda each, platform=platform: platform in platforms_of(each))  # type: ignore[misc]
        for each in unique(found):
            target = packed / str(len(made))
            try:
                pack(each, target)
            except BuildFailed as refusal:
                raise NotDone(refusal.code, str(refusal)) from refusal
            with target.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            made.append(
                PlugIn(
                    platform=platform,
                    format=next(kind for kind in FORMATS if kind == each.format),
                    file_name=each.file_name,
                    path=target,
                    size=target.stat().st_size,
                    sha256=digest,
                    content_type="application/zip" if each.is_bundle else "application/octet-stream",
                )
            )
    return made


def platforms_of(found: Found) -> set[Platform]:
    """The platforms that a plug-in has programs for: a bundle of VST3 may have several."""
    files: Iterable[Path] = (found.path,) if not found.is_bundle else found.path.rglob("*")
    return {platform for path in files if path.is_file() and (platform := _platform(head(path)))}


def _platform(begins: bytes) -> Platform | None:
    if begins[:4] == _ELF:
        return "linux"
    if begins[:2] == _PE:
        return "windows"
    return "macos" if begins[:4] in _MACH else None
