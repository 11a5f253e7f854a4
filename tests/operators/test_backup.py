"""Whatever is in a backup comes back byte by byte, and whoever changes one is found out."""

from __future__ import annotations

import base64
import errno
import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import zstandard

from adapters.log.data_keys import Cipher, export_keys, rotate
from adapters.log.seals import Sealer, seal_key
from adapters.operators import backup
from adapters.operators.sealed_log import check_log
from infra import cli
from infra.migrate import migrate
from tests.conftest import Bucket, Databases
from tests.core.conftest import _migrate
from tests.core.orchard import SECRET

PASSPHRASE = "correct horse battery staple"
KEY = seal_key(SECRET)


class Place:
    """A database and a bucket, and the commands on them."""

    def __init__(self, url: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.url = url
        self.bucket = bucket
        self._monkeypatch = monkeypatch
        self.directory = tmp_path / "backup"
        self.passphrase = tmp_path / "passphrase"
        self.passphrase.write_text(PASSPHRASE + "\n")

    def run(self, *words: str, status: int = 0) -> None:
        environment = {
            "POSTGRES_URL": self.url,
            "NATS_URL": "nats://127.0.0.1:1",
            "S3_URL": self.bucket.url,
            "S3_ACCESS_KEY": self.bucket.access_key,
            "S3_SECRET_KEY": self.bucket.secret_key,
            "S3_BUCKET": self.bucket.name,
            "SECRET_KEY": SECRET.decode(),
        }
        for name, text in environment.items():
            self._monkeypatch.setenv(f"LEDGERLINE_{name}", text)
        self._monkeypatch.setattr("infra.telemetry.configure", lambda *_: None)
        arguments = [*words, str(self.directory), "--passphrase-file", str(self.passphrase), "--json"]
        assert (cli.main(arguments) or 0) == status

    def ask(self, query: str, *parameters: Any) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def put(self, key: str, data: bytes) -> None:
        import io

        self.bucket.client.put_object(self.bucket.name, key, io.BytesIO(data), len(data), content_type="audio/wav")

    def objects(self) -> dict[str, tuple[bytes, str | None]]:
        found = {}
        for each in self.bucket.client.list_objects(self.bucket.name, recursive=True):
            answer = self.bucket.client.get_object(self.bucket.name, str(each.object_name))
            found[str(each.object_name)] = (answer.read(), answer.headers.get("content-type"))
            answer.close()
        return found

    def everything(self) -> dict[str, list[Any]]:
        """Each row that must come back."""
        with psycopg.connect(self.url) as connection:
            names = [*backup.tables(connection), "ledger_events", "log_seals"]
        return {name: self.ask(f"SELECT t::text FROM {name} t ORDER BY 1") for name in names}


def _grow(url: str, first: int, count: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(first, first + count):
            state = b"\xff\xfe" if number == 2 else f'{{"who":"Zoë {number}"}}'.encode()
            connection.execute(
                "INSERT INTO ledger_events (originator_id, originator_version, topic, state, traceparent) "
                "VALUES (%s, %s, 't', %s, %s)",
                (
                    f"tree-{number % 3}",
                    number // 3 + 1,
                    state,
                    f"00-{number + 1:032x}-{1:016x}-01" if number % 2 else None,
                ),
            )
            if number % 7 == 3:
                connection.execute("SELECT nextval('ledger_events_notification_id_seq')")
        sealer = Sealer(url, KEY, seconds=1)
        while sealer.seal(connection) is not None:
            pass


def _fill(url: str) -> None:
    migrate(url)
    _grow(url, 0, 12)
    wrapping = Cipher(SECRET, "data keys")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO data_keys (subject, wrapped) VALUES ('zoe', %s)", (wrapping.wrap(b"z" * 32, "zoe"),)
        )
        connection.execute("INSERT INTO data_keys (subject, wrapped, destroyed_at) VALUES ('gone', NULL, now())")
        connection.execute("INSERT INTO checkpoints (name, version, live, position) VALUES ('jobs', 1, true, 4)")
        connection.execute(
            "INSERT INTO jobs (reaction, position, stream, due_at, state, problem) "
            "VALUES ('x', 4, 's', now(), 'parked', 'n')"
        )
        connection.execute(
            "INSERT INTO request_origins (workspace_id, correlation_id, ip) VALUES ('w', gen_random_uuid(), '::1')"
        )
        connection.execute("INSERT INTO catalogue_workspaces (workspace_id) VALUES ('w1'), ('w2')")
        connection.execute(
            "INSERT INTO catalogue_plays (recording, day, workspace, spotify, apple, import) "
            "VALUES (1, '2026-01-01', 1, 100, NULL, 1), (1, '2026-01-02', 1, 10, 1, 1)"
        )
        connection.execute(
            "INSERT INTO build_jobs (build_id, platform, project_id, workspace_id, formats, state) "
            "VALUES ('b', 'linux', 'p', 'w', '{vst3}', 'over')"
        )
        connection.execute("INSERT INTO build_log_chunks VALUES ('b', 'linux', 0, 5, 'builds/w/b/log')")
        connection.execute("SELECT nextval('browser_profile_ids')")


@pytest.fixture
def place(databases: Databases, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    made = Place(databases.copy_of("backed-up", _fill), bucket, monkeypatch, tmp_path)
    made.put("analyses/1/detail.json", b"{}")
    made.put("builds/w/b/log", b"built")
    yield made
    databases.drop(made.url)


@pytest.fixture
def empty(
    place: Place, databases: Databases, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Place]:
    """Somewhere to restore the same backup into."""
    other = bucket._replace(name=f"t{uuid4().hex}")
    made = Place(databases.copy_of("core", _migrate), other, monkeypatch, tmp_path)
    yield made
    for each in other.client.list_objects(other.name, recursive=True) if other.client.bucket_exists(other.name) else ():
        other.client.remove_object(other.name, str(each.object_name))
    if other.client.bucket_exists(other.name):
        other.client.remove_bucket(other.name)
    databases.drop(made.url)


def test_everything_comes_back_from_a_backup_and_what_was_added_to_it(place: Place, empty: Place) -> None:
    place.run("backup")
    _grow(place.url, 12, 9)
    place.put("analyses/2/detail.json", b"[]")
    place.put("builds/w/b/log", b"built again")
    place.ask("UPDATE jobs SET attempts = 3")
    place.run("backup")
    place.run("backup")  # nothing is new, and the part is none the less whole

    assert [manifest.events for _, manifest in backup.parts(place.directory)] == [12, 9, 0]
    empty.run("restore")
    assert empty.everything() == place.everything()
    assert empty.objects() == place.objects()
    assert empty.ask("SELECT name, live, position FROM checkpoints") == [("jobs", True, 4)]
    found = check_log(empty.url, KEY.public_key().public_bytes_raw())
    assert (found.events, found.findings, found.unsealed) == (21, (), 0)
    # Sequences go on where they were.
    newest = "INSERT INTO ledger_events (originator_id, originator_version, topic, state) VALUES ('n', 1, 't', '')"
    assert empty.ask(f"{newest} RETURNING notification_id > {found.sealed_until}") == [(True,)]
    assert empty.ask("INSERT INTO catalogue_workspaces (workspace_id) VALUES ('w3') RETURNING number") == [(3,)]
    assert empty.ask("SELECT nextval('browser_profile_ids')") == [(1002,)]


@pytest.mark.parametrize("left_out", [True, False], ids=["left out", "in the backup of an earlier version"])
def test_sums_come_back_once(place: Place, empty: Place, monkeypatch: pytest.MonkeyPatch, left_out: bool) -> None:
    """The database adds them up as what they are sums of comes back."""
    names = ["catalogue_day_plays", "catalogue_month_plays"]
    with monkeypatch.context() as earlier:
        if not left_out:
            earlier.setattr(backup, "LEFT_OUT", backup.LEFT_OUT - set(names))
        place.run("backup")
    empty.run("restore")
    for sums in (f"SELECT * FROM {name} ORDER BY 1, 2, 3" for name in names):
        assert empty.ask(sums) == place.ask(sums) != []


def test_keys_come_back_as_they_were_and_forgotten_ones_do_not(place: Place, empty: Place) -> None:
    place.run("backup")
    empty.run("restore")
    with psycopg.connect(empty.url) as connection:
        assert export_keys(connection, SECRET) == {"zoe": base64.b64encode(b"z" * 32).decode(), "gone": None}
    assert empty.ask("SELECT destroyed_at IS NOT NULL FROM data_keys WHERE subject = 'gone'") == [(True,)]


def test_no_key_and_no_secret_lies_open_in_a_backup(place: Place) -> None:
    place.run("backup")
    for path in place.directory.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        for secret in (SECRET, b"z" * 32, base64.b64encode(b"z" * 32), PASSPHRASE.encode()):
            assert secret not in data, path


def test_another_passphrase_opens_nothing(place: Place, empty: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.run("backup")
    place.passphrase.write_text("another passphrase")
    for words in ("restore", "backup"):
        empty.run(words, status=1)
        assert "not the one that this backup was made with" in capsys.readouterr().err
    place.passphrase.write_text("short")
    place.run("backup", status=2)
    assert empty.ask("SELECT count(*) FROM ledger_events") == [(0,)]


def test_a_file_that_is_not_what_it_was_is_found_before_anything_is_restored(
    place: Place, empty: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("backup")
    [(part, _)] = backup.parts(place.directory)
    for name in ("log.ndjson.zst", "tables/jobs.copy.zst", "keys.sealed", "state.json", "objects.ndjson.zst"):
        data = (part / name).read_bytes()
        for changed in (data[:-1] + bytes([data[-1] ^ 1]), None):
            if changed is None:
                (part / name).unlink()
            else:
                (part / name).write_bytes(changed)
            empty.run("restore", status=1)
            assert f"{part / name} is missing or was changed." in capsys.readouterr().err
            assert empty.ask("SELECT count(*) FROM ledger_events") == [(0,)]
        (part / name).write_bytes(data)
    empty.run("restore")


def test_a_part_that_is_missing_and_an_object_that_was_changed_are_found(
    place: Place, empty: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("backup")
    _grow(place.url, 12, 3)
    place.run("backup")
    first, second = (part for part, _ in backup.parts(place.directory))
    first.rename(place.directory / "away")
    empty.run("restore", status=1)
    assert f"{second} does not follow the part before it" in capsys.readouterr().err
    (place.directory / "away").rename(first)
    digest = sha256(b"built").hexdigest()
    (place.directory / "objects" / digest[:2] / digest).write_bytes(b"other")
    empty.run("restore", status=1)
    assert "The object builds/w/b/log is missing in the backup, or was changed." in capsys.readouterr().err
    # Whoever finds the object elsewhere, and puts it back, restores into the same place.
    (place.directory / "objects" / digest[:2] / digest).write_bytes(b"built")
    empty.run("restore")


def test_events_that_are_not_those_that_were_sealed_are_not_restored(
    place: Place, empty: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever changes a backup can make its manifest fit as well, but no seal."""
    place.run("backup")
    [(part, manifest)] = backup.parts(place.directory)
    path = part / "log.ndjson.zst"
    text = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    path.write_bytes(zstandard.ZstdCompressor().compress(text.replace("Zoë 5".encode(), b"Eve 55")))
    files = {**manifest.files, "log.ndjson.zst": backup.digest_of(path)}
    told = json.loads((part / "manifest.json").read_bytes()) | {"files": files}
    (part / "manifest.json").write_text(json.dumps(told))
    empty.run("restore", status=1)
    assert "are not those that seal 1 is over" in capsys.readouterr().err
    assert empty.ask("SELECT count(*) FROM ledger_events") == [(0,)]


def test_what_is_not_empty_is_not_restored_into(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.run("backup")
    place.run("restore", status=1)
    assert "There are events in this database already." in capsys.readouterr().err


def test_a_backup_that_is_interrupted_leaves_nothing_behind(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> list[str]:
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr(backup, "tables", away)
    place.run("backup", status=1)
    assert [each.name for each in place.directory.iterdir()] == [".lock"]


def test_what_a_killed_backup_has_begun_is_cleared_away_by_the_next(place: Place) -> None:
    place.run("backup")
    left = place.directory / ".part-killed"
    left.mkdir()
    (left / "log.ndjson.zst").write_bytes(b"half")
    (place.directory / "objects" / ".part-half").write_bytes(b"half")
    place.run("backup")
    assert not list(place.directory.rglob(".part-*"))
    assert len(backup.check(place.directory)) == 2


def test_two_do_not_write_the_same_backup_at_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with backup.alone(place.directory):
        place.run("backup", status=1)
    assert "Somebody else is writing a backup into" in capsys.readouterr().err
    place.run("backup")
    assert len(backup.check(place.directory)) == 1


def test_a_place_that_cannot_be_written_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.directory = place.passphrase / "below-a-file"
    place.run("backup", status=1)
    assert capsys.readouterr().err == f"ledgerline: {place.directory}: Not a directory.\n"


def test_a_full_disk_is_told_in_a_sentence_and_leaves_nothing_behind(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> list[str]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # without a name, as every write in pieces has it

    monkeypatch.setattr(backup, "tables", full)
    place.run("backup", status=1)
    assert capsys.readouterr().err == "ledgerline: The disk: No space left on device.\n"
    assert [each.name for each in place.directory.iterdir()] == [".lock"]


def test_keys_that_were_rotated_are_in_a_backup_as_well(place: Place, empty: Place) -> None:
    with psycopg.connect(place.url, autocommit=True) as connection:
        assert rotate(connection, SECRET) == 2
        before = export_keys(connection, SECRET)
    place.run("backup")
    empty.run("restore")
    with psycopg.connect(empty.url) as connection:
        assert export_keys(connection, SECRET) == before
