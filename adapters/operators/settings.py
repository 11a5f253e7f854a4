"""Settings of what operators do over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from domain.sections import Section, says


class Backups(Section, frozen=True):
    """Where backups go that a program asks for."""

    backup_dir: Annotated[
        str, says("The directory of the backup that `POST /admin/backup` writes; without one it is refused")
    ] = ""

    @property
    def place(self) -> Path | None:
        """The same as a path from the root, if there is one."""
        return Path(self.backup_dir).expanduser().absolute() if self.backup_dir else None
