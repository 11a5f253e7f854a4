"""Recordings do not outlive for long the process that was killed over them, wherever it ran."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from infra.temporary import own_temporary_directory
from tests.infra.test_cli import Running, role
from tests.journeys.kit import eventually


def fetched(running: Running, place: Path) -> Path:
    """The recording that a role works on."""

    def noted() -> Path:
        notes = dict(line.rsplit(" ", 1) for line in (place / "notes").read_text().splitlines())
        return Path(notes[f"fetched {running.process.pid}"])

    return eventually(noted)


def test_what_a_killed_worker_had_fetched_goes_when_the_next_one_starts_and_nobody_elses_does(tmp_path: Path) -> None:
    place, temporary = tmp_path / "data", tmp_path / "tmp"
    for each in (place, temporary):
        each.mkdir()
    (place / "notes").touch()
    hoards = {"SMALL_ROLES": "react=hoards", "TMPDIR": str(temporary), "place": place}
    with role("react", **hoards) as living:  # type: ignore[arg-type]  # the place is one of them
        kept = fetched(living, place)
        with role("react", **hoards) as killed:  # type: ignore[arg-type]
            lost = fetched(killed, place)
            killed.process.kill()
        assert lost.read_bytes() == kept.read_bytes() == b"somebody's song"
        with role("react", **hoards) as next_one:  # type: ignore[arg-type]
            own = fetched(next_one, place)
            assert (lost.exists(), kept.exists(), own.exists()) == (False, True, True)
            next_one.process.terminate()
            assert next_one.process.wait(20) == 0
        living.process.terminate()
        assert living.process.wait(20) == 0
    assert list(temporary.iterdir()) == []


def test_what_is_only_being_made_or_leads_elsewhere_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    being_made, old, elsewhere = (tmp_path / name for name in ("ledgerline-role-new", "ledgerline-role-old", "else"))
    for each in (being_made, old, elsewhere):
        each.mkdir()
    (elsewhere / ".in-use").touch()
    (tmp_path / "ledgerline-role-link").symlink_to(elsewhere)
    os.utime(old, (0, 0))
    with own_temporary_directory() as own:
        assert Path(tempfile.mkdtemp()).parent == own == Path(os.environ["TMPDIR"])
        assert being_made.exists()
        assert (elsewhere / ".in-use").exists()
        assert not old.exists()
    assert not own.exists()
    assert os.environ["TMPDIR"] == str(tmp_path)
