"""`ledgerline import`: a file sent to a running service, and what came of it said to people and to machines."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx

from tests.identity.crowd import sign_in
from tests.journeys.kit import Stack, typed


def test_files_are_imported_and_reported(stack: Stack, client: httpx.Client, tmp_path: Path) -> None:
    key = sign_in(client).key("catalogue:read", "catalogue:write")["plaintext_key"]
    good, bad = tmp_path / "plays.csv", tmp_path / "page.csv"
    good.write_text("isrc,date,spotify_streams\nQZABC0000001,2024-03-19,10\nQZABC0000001,2024-03-19,11\n")
    bad.write_text("<html></html>")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return typed("import", "--url", stack.url, *arguments, LEDGERLINE_API_KEY=key)

    (songs := tmp_path / "a-songs-all.csv").write_text(
        "song,listeners,streams,saves,release_date\nA,1,2,3,2024-01-01\n"
    )
    told = run(str(good), str(bad), str(songs))
    assert told.returncode == 1, told.stderr
    assert "plays.csv: imported as own.daily" in told.stdout
    assert "line 3: duplicate_date" in told.stdout
    assert "not in the catalogue: QZABC0000001 (1)" in told.stdout
    assert "page.csv: refused (html)" in told.stdout
    assert "(--period-start, --period-end)" in " ".join(told.stdout.split())
    said = ("--source", "spotify.songs", "--encoding", "utf-8", "--period-end", "2024-03-31")
    waits = run(*said, str(songs), str(good)).stdout
    assert "line 2: title_unknown, waits" in waits
    assert "/api/v1/unresolved" in waits
    assert "plays.csv: refused (unknown_format)" in waits
    again = run("--json", str(good))
    assert json.loads(again.stdout)["counts"]["unchanged"] == 1
