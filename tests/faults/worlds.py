"""What people make in every context, as they know it from answers, and whether the service shows the same afterwards.

This is the model that a campaign is checked against: it knows nothing of events, only what was acknowledged. Each turn
works on something new, so whatever else happens, nobody but the fault can be why it is not as its maker left it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx

from tests.journeys.kit import Neighbour, eventually
from tests.runner.projects import lv2_with_make, repository

KEYS = "/functions/v1/plugin-activation"
BUILDS = "/functions/v1/builds"
RUNNER = "/functions/v1/runner"
CATEGORY = "LoFi – Melodic/Calm"
#: How long a runner goes on with a job that it cannot tell of.
PATIENCE_SECONDS = 20.0
#: Of tracks, which are looked for by their ISRC in all workspaces.
_NUMBERS = count(1)


class Asks(Protocol):
    """Asks in somebody's name, again and again while it is unavailable, and holds to a status."""

    def __call__(self, status: int | tuple[int, ...], method: str, path: str, **options: Any) -> httpx.Response: ...


class Worlds:
    """Projects, licenses, builds, beats and a catalogue of one workspace, and whoever is told of its projects."""

    def __init__(
        self,
        asked: Asks,
        note: Callable[[str, str, str], None],
        http: httpx.Client,
        directory: Path,
        outside: Neighbour,
    ) -> None:
        self._outside = outside
        #: Where it is told of projects.
        self._hook = f"projects-{uuid4().hex}"
        self._asked = asked
        self._note = note
        #: The name of each project that was made in a turn.
        self.projects: dict[str, str] = {}
        #: The machines of each code.
        self.machines: dict[str, set[str]] = {}
        #: The codes that are revoked.
        self.revoked: set[str] = set()
        #: What was asked to be told once more.
        self.replays: set[str] = set()
        #: How each build will end: the code of its error.
        self.builds: dict[str, str] = {}
        #: The title of each track; None: removed.
        self.titles: dict[str, str | None] = {}
        #: Plays of each track by day: on Spotify, on Apple Music.
        self.plays: dict[str, dict[str, tuple[int, int]]] = {}
        self.project_id = str(self._made("/functions/v1/projects", {"name": "Sturdy"})["id"])
        self._source = str(repository(directory / f"source-{uuid4().hex}", lv2_with_make()))
        self._link(self.project_id)
        types = ["studio.ProjectCreated", "repositories.RepositoryLinked"]
        endpoint = {"url": outside.at(self._hook), "event_types": types}
        self._endpoint_id = str(asked(201, "POST", "/v1/webhook-endpoints", json=endpoint).json()["id"])
        self.runner = Played(http, str(asked(201, "POST", "/functions/v1/runners/registration-token").json()["token"]))

    def _made(self, path: str, body: Any, status: int = 201) -> dict[str, Any]:
        """What was made by a request that may be sent again."""
        headers = {"Idempotency-Key": uuid4().hex}
        made: dict[str, Any] = self._asked(status, "POST", path, json=body, headers=headers).json()
        return made

    def _link(self, project_id: str) -> None:
        body = {"project_id": project_id, "repo_full_name": self._source}
        self._asked(200, "POST", "/functions/v1/plugin-repos/link", json=body)

    def project(self, chance: random.Random) -> None:
        """A project that gets its source and is renamed a few times; the endpoint is told that it was made."""
        name = f"Plug-in {uuid4().hex}"
        project_id = str(self._made("/functions/v1/projects", {"name": name})["id"])
        self._note("studio.ProjectCreated", "project_id", project_id)
        self._link(project_id)
        self._note("repositories.RepositoryLinked", "project_id", project_id)
        if chance.random() < 0.4:
            self._asked(200, "POST", "/functions/v1/plugin-repos/unlink", json={"project_id": project_id})
            self._note("repositories.RepositoryUnlinked", "project_id", project_id)
        for _ in range(chance.randrange(3)):
            name = f"Plug-in {uuid4().hex}"
            self._asked(200, "PATCH", f"/functions/v1/projects/{project_id}", json={"name": name})
        self.projects[project_id] = name

    def license(self, chance: random.Random) -> None:
        """A code with two seats, and people who take them and give them back."""
        code = str(self._made(f"{KEYS}/generate", {"project_id": self.project_id, "max_activations": 2})["code"])
        machines = self.machines[code] = set()
        for _ in range(chance.randrange(7)):
            machine = f"machine-{chance.randrange(4)}"
            body = {"code": code, "machine_id": machine}
            if chance.random() < 0.65:
                fits = machine in machines or len(machines) < 2
                answer = self._asked(200 if fits else 403, "POST", f"{KEYS}/activate", json=body)
                if fits:
                    machines.add(machine)
                    assert answer.json()["activations"] == len(machines), "a seat was taken twice, or not at all"
            else:
                # Not activated: it was given back before, or asked twice, because the first answer was lost.
                self._asked((200, 404), "POST", f"{KEYS}/deactivate", json=body)
                machines.discard(machine)
        if chance.random() < 0.3:
            self._revoked(code, chance)
        elif chance.random() < 0.3:
            self._transferred(code)

    def _revoked(self, code: str, chance: random.Random) -> None:
        """A code that is revoked, perhaps reinstated; it says so at once."""
        seat = {"code": code, "machine_id": "machine-0"}
        self._asked(200, "POST", f"{KEYS}/revoke", json={"code": code})
        self.revoked.add(code)
        self._asked(403, "POST", f"{KEYS}/activate", json=seat)
        if chance.random() < 0.5:
            self._asked(200, "POST", f"{KEYS}/reinstate", json={"code": code})
            self.revoked.discard(code)
            if "machine-0" in self.machines[code]:
                self._asked(200, "POST", f"{KEYS}/activate", json=seat)

    def _transferred(self, code: str) -> None:
        """A license that goes to somebody else: its new code is the same when asked again, and the old one is dead."""
        [new] = {self._asked(200, "POST", f"{KEYS}/transfer", json={"code": code}).json()["code"] for _ in range(2)}
        self.revoked.add(code)
        self.machines[code].clear()  # they have no seat any more, under neither code
        self.machines[new] = set()
        self._asked(409, "POST", f"{KEYS}/reinstate", json={"code": code})
        self._asked(403, "POST", f"{KEYS}/activate", json={"code": code, "machine_id": "machine-0"})

    def replay(self, chance: random.Random) -> None:
        """What happened so far, or some of it, told once more."""
        body = {"after": 0, "only": chance.choice(["all", "missed"])}
        headers = {"Idempotency-Key": uuid4().hex}
        path = f"/v1/webhook-endpoints/{self._endpoint_id}/replay"
        answer = self._asked((202, 409), "POST", path, json=body, headers=headers)
        if answer.status_code == 409:  # there are as many as may be
            return
        self.replays.add(answer.json()["id"])
        self._note("webhooks.ReplayAsked", "replay_id", answer.json()["id"])

    def build(self, chance: random.Random) -> None:
        """A build, which the runner takes and fails."""
        made = self._made(BUILDS, {"project_id": self.project_id, "platforms": ["linux"], "formats": ["lv2"]})
        self.builds[made["id"]] = ends_with(made["id"])
        self._note("builds.BuildAsked", "build_id", made["id"])
        if chance.random() < 0.1:
            answer = self._asked((200, 409), "POST", f"{BUILDS}/{made['id']}/cancel")
            if answer.status_code == 200:
                self.builds[made["id"]] = "cancelled"

    def beat(self, _: random.Random) -> None:
        """A beat that is only written down."""
        made = self._made("/api/generate/beat", {"categoryName": CATEGORY, "mode": "metadata_only"}, 200)
        self._note("beats.BeatCreated", "beat_id", made["beat"]["id"])

    def track(self, chance: random.Random) -> None:
        """A track that is added, renamed a few times, and perhaps removed."""
        isrc, title = f"QZFLT25{next(_NUMBERS):05d}", f"Take {uuid4().hex}"
        # It is there already: it was asked twice, because the first answer was lost.
        self._asked((201, 409), "POST", "/api/v1/tracks", json={"isrc": isrc, "title": title, "artist": "Sturdy"})
        self._note("catalogue.TrackAdded", "isrc", isrc)
        for _ in range(chance.randrange(3)):
            title = f"Take {uuid4().hex}"
            self._asked(200, "PATCH", f"/api/v1/tracks/{isrc}", json={"title": title})
        self.titles[isrc] = title
        if chance.random() < 0.5:
            self._plays(isrc, chance)
        elif chance.random() < 0.4:
            self._asked((200, 404), "DELETE", f"/api/v1/tracks/{isrc}")
            self.titles[isrc] = None

    def _plays(self, isrc: str, chance: random.Random) -> None:
        """Reports of plays, of which the last counts for a day, however often it is sent."""
        days = self.plays[isrc] = {}
        for _ in range(1 + chance.randrange(3)):
            rows = {f"2025-03-{1 + chance.randrange(5):02d}": (chance.randrange(900), chance.randrange(900))
                    for _ in range(3)}  # fmt: skip
            text = "isrc,date,spotify_streams,apple_streams\n"
            text += "".join(f"{isrc},{day},{one},{other}\n" for day, (one, other) in rows.items())
            for _ in range(1 + (chance.random() < 0.3)):
                self._asked(200, "POST", "/api/v1/analytics/import", content=text.encode(),
                            headers={"Content-Type": "text/csv"})  # fmt: skip
            days |= rows

    @contextmanager
    def worked_off(self) -> Iterator[None]:
        """Have the runner at work in the block, and afterwards until every build is over."""
        with self.runner.working():
            yield
            eventually(self._all_over, timeout=180)

    def _all_over(self) -> bool:
        running = [each for each in self.builds if self._build(each)["status"] not in ("failed", "cancelled")]
        assert not running, running
        return True

    def _build(self, build_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._asked(200, "GET", f"{BUILDS}/{build_id}").json()
        return found

    def compare(self) -> None:
        """Ask the service for all of it."""
        keys = self._asked(200, "GET", f"{KEYS}/project/{self.project_id}/keys").json()["keys"]
        assert {each["code"]: each["current_activations"] for each in keys} == {
            code: len(machines) for code, machines in self.machines.items()
        }, "every code is there once, with the seats that are taken"
        assert len(keys) == len(self.machines)
        assert {each["code"] for each in keys if each["is_revoked"]} == self.revoked
        for build_id, how in self.builds.items():
            shown = self._build(build_id)
            assert (shown.get("error_code") or shown["status"]) == how, (how, shown)
        for project_id, name in self.projects.items():
            assert self._asked(200, "GET", f"/functions/v1/projects/{project_id}").json()["name"] == name, project_id
        self._compare_told()
        self._compare_replays()
        for isrc, title in self.titles.items():
            answer = self._asked(404 if title is None else 200, "GET", f"/api/v1/tracks/{isrc}")
            assert title is None or answer.json()["data"]["title"] == title, isrc
        for isrc, days in self.plays.items():
            answer = self._asked(200, "GET", f"/api/v1/analytics/spotify/{isrc}", params={"days": 365})
            shown_days = {
                each["date"]: (each["spotify_streams"], each["apple_streams"]) for each in _rows(answer.json())
            }
            assert shown_days == days, (isrc, shown_days, days)

    def _compare_replays(self) -> None:
        """Each has looked at all of its events, and whatever was sent has arrived, by whichever attempt."""
        for replay_id in self.replays:
            shown = self._asked(200, "GET", f"/v1/webhook-replays/{replay_id}").json()
            assert shown["status"] == "done", shown
            assert shown["delivered"] + shown["failed"] + shown["skipped"] == shown["events"], shown
        late = [each for each in self._sent() if each["status"] != "delivered"]
        assert not late, f"{len(late)} messages have not arrived, among them {late[0]}"

    def _sent(self) -> Iterator[dict[str, Any]]:
        """Every message to the endpoint of the projects."""
        query: dict[str, Any] = {"limit": 100}
        while page := self._asked(200, "GET", "/v1/webhook-deliveries", params=query).json():
            yield from (each for each in page if each.get("endpoint_id") == self._endpoint_id)
            query["before"] = page[-1]["id"]

    def _compare_told(self) -> None:
        """Each project was told of at least once, when it was made and when it got its source, under one id each."""
        ids: dict[tuple[str, str], set[str]] = {}
        for post in self._outside.received(self._hook):
            body = post.json
            ids.setdefault((body["type"], body["data"]["project_id"]), set()).add(post.headers["webhook-id"])
        for project_id in self.projects:
            for kind in ("studio.ProjectCreated", "repositories.RepositoryLinked"):
                assert len(ids.get((kind, project_id), ())) == 1, f"{kind} of {project_id} has {ids}: one id is due"


def _rows(answer: Any) -> list[dict[str, Any]]:
    data = answer["data"]
    return data if isinstance(data, list) else next(each for each in data.values() if isinstance(each, list))


def ends_with(build_id: str) -> str:
    """How the runner fails a build: always the same way, whoever tells it how often."""
    return "step_failed" if int(build_id[0], 16) % 2 else "timed_out"


class Played:
    """A runner that takes what there is, prints a line, and says that it has failed; as long as that is its job."""

    def __init__(self, http: httpx.Client, registration_token: str) -> None:
        self._http = http
        about = {"token": registration_token, "name": "sturdy", "platforms": ["linux"], "formats": ["lv2"]}
        answer = http.post(f"{RUNNER}/register", json=about)
        assert answer.status_code == 201, answer.text
        self._headers = {"Authorization": f"Bearer {answer.json()['token']}"}

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work in a thread of its own for as long as the block runs."""
        stop = threading.Event()
        thread = threading.Thread(target=self._work, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)

    def _work(self, stop: threading.Event) -> None:
        while not stop.is_set():
            answer = self._told("/claim", 0.0, json={})
            if answer is None or answer.status_code != 200:
                stop.wait(0.1)
                continue
            job = answer.json()
            where, fence = f"/jobs/{job['job_id']}", job["fence"]
            line = f"building {job['build_id']}\n".encode()
            (
                self._goes_on(self._told(f"{where}/steps", json={"fence": fence, "current_step": "configure"}))
                and self._goes_on(self._told(f"{where}/logs?offset=0&fence={fence}", content=line))
                and self._told(
                    f"{where}/finish",
                    json={"fence": fence, "status": "failed", "error_code": ends_with(job["build_id"])},
                )
            )

    @staticmethod
    def _goes_on(answer: httpx.Response | None) -> bool:
        """Whether the job is still this runner's; where it is not, somebody else has it, or it is over."""
        return answer is not None and answer.status_code < 300

    def _told(self, path: str, seconds: float = PATIENCE_SECONDS, **body: Any) -> httpx.Response | None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self._http.post(f"{RUNNER}{path}", headers=self._headers, **body)
                if answer.status_code != 503:
                    return answer
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                return None
            time.sleep(0.1)
