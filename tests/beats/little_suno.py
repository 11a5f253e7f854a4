"""A provider of music on loopback that behaves like the real one: tasks, record-info, callbacks, files, refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.answering import Answering

Json = dict[str, Any]


@dataclass
class Task:
    """What was handed in, and how it stands."""

    id: str
    asked: Json
    status: str = "PENDING"
    problem: str | None = None

    @property
    def callback(self) -> str:
        """Where its owner wants to be told."""
        return str(self.asked["callBackUrl"])


@dataclass
class LittleSuno:
    """The account, its tasks, and what is answered next instead of taking one."""

    url: str
    key: str
    audio: bytes
    wav: bytes
    tasks: dict[str, Task] = field(default_factory=dict)
    #: Codes that the next requests are refused with; "hang up" breaks the connection after the task was taken.
    refusals: list[int | str] = field(default_factory=list)
    #: What it refuses questions about a task with, one after the other.
    silences: list[int] = field(default_factory=list)
    files_are_gone: bool = False
    asks: int = 0
    keys: list[str] = field(default_factory=list)

    def new_task(self, asked: Json) -> Task:
        """Take a task."""
        task = Task(f"task-{len(self.tasks) + 1:04d}", asked)
        self.tasks[task.id] = task
        return task

    def of(self, beat_id: str) -> list[Task]:
        """The tasks that were handed in for a beat."""
        return [each for each in list(self.tasks.values()) if beat_id in each.callback]

    def tracks(self, task: Task, *, camel: bool) -> list[Json]:
        """Both tracks, in the case of record-info or in that of callbacks."""
        found = []
        for place, seconds in ((1, 180.5), (2, 182.3)):
            facts: Json = {
                "id": f"{task.id}-{place}",
                "audio_url": f"{self.url}/files/{task.id}-{place}.mp3",
                "stream_audio_url": f"{self.url}/files/{task.id}-{place}",
                "image_url": f"{self.url}/files/{task.id}-{place}.png",
                "title": task.asked["title"],
                "tags": task.asked["style"],
                "model_name": "chirp-v4-5",
                "duration": seconds,
            }
            found.append({_camel(name): value for name, value in facts.items()} if camel else facts)
        return found

    def real_callback(self, task: Task, stage: str = "complete", code: int = 200) -> Json:
        """As docs.sunoapi.org shows it."""
        tracks = self.tracks(task, camel=False) if code == 200 else None
        return {
            "code": code,
            "msg": "All generated successfully." if code == 200 else "It failed.",
            "data": {"callbackType": stage, "task_id": task.id, "data": tracks},
        }

    def documented_callback(self, task: Task) -> Json:
        """As the document of the beat generator shows it."""
        tracks = [
            {name: value for name, value in each.items() if name in ("id", "audio_url", "image_url", "duration")}
            for each in self.tracks(task, camel=False)
        ]
        response = {"sunoData": tracks}
        return {
            "code": 0,
            "msg": "Success",
            "data": {"taskId": task.id, "status": "SUCCESS", "response": response},
        }

    def call_back(self, task: Task, body: Json) -> httpx.Response:
        """Tell its owner."""
        return httpx.post(task.callback, json=body, timeout=15)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class _Server(ThreadingHTTPServer):
    suno: LittleSuno
    daemon_threads = True
    allow_reuse_address = True


class _Handler(Answering, BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        suno = self.server.suno
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        if not self._may():
            return
        if self.path == "/api/v1/generate":
            refusal = suno.refusals.pop(0) if suno.refusals else None
            if isinstance(refusal, int):
                self._say({"code": refusal, "msg": f"refused with {refusal}", "data": None})
                return
            task = suno.new_task(body)
            if refusal == "hang up":
                self.close_connection = True
                self.connection.close()
                return
            if refusal == "fail":
                self._send(502, b"<html>Bad Gateway</html>", "text/html")
                return
            self._say({"code": 200, "msg": "success", "data": {"taskId": task.id}})
        elif self.path == "/api/v1/wav/generate":
            self._say({"code": 200, "msg": "success", "data": {"taskId": f"wav-{body['audioId']}"}})

    def do_GET(self) -> None:
        suno, path = self.server.suno, urlsplit(self.path)
        if path.path.startswith("/files/"):
            self._file(path.path)
            return
        if not self._may():
            return
        task_id = parse_qs(path.query)["taskId"][0]
        if path.path == "/api/v1/wav/record-info":
            converted = {"audioWavUrl": f"{suno.url}/files/{task_id}.wav"}
            self._say({"code": 200, "msg": "success", "data": {"successFlag": "SUCCESS", "response": converted}})
            return
        suno.asks += 1
        if suno.silences:
            code = suno.silences.pop(0)
            self._say({"code": code, "msg": f"refused with {code}", "data": None})
            return
        task = suno.tasks.get(task_id)
        if task is None:
            self._say({"code": 404, "msg": "no such task", "data": None})
            return
        done = task.status == "SUCCESS"
        response = {"taskId": task.id, "sunoData": suno.tracks(task, camel=True)} if done else None
        data: Json = {"taskId": task.id, "status": task.status, "response": response, "errorMessage": task.problem}
        self._say({"code": 200, "msg": "success", "data": data})

    def _may(self) -> bool:
        said = self.headers.get("Authorization", "")
        self.server.suno.keys.append(said)
        if said == f"Bearer {self.server.suno.key}":
            return True
        self._say({"code": 401, "msg": "You do not have access permissions", "data": None})
        return False

    def _file(self, path: str) -> None:
        suno = self.server.suno
        if suno.files_are_gone:
            self._send(404, b"", "text/plain")
        elif path.endswith(".wav"):
            self._send(200, suno.wav, "audio/x-wav")
        elif path.endswith(".png"):
            self._send(200, b"\x89PNG\r\n\x1a\n", "image/png")
        else:
            self._send(200, suno.audio, "audio/mpeg")

    def _say(self, answer: Json) -> None:
        self._send(200, json.dumps(answer).encode(), "application/json")

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def little_suno(url: str, key: str, *, audio: bytes, wav: bytes) -> Iterator[LittleSuno]:
    """The provider, at an address that somebody expects it at."""
    with _Server(("127.0.0.1", urlsplit(url).port or 0), _Handler) as server:
        server.suno = LittleSuno(url, key, audio, wav)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.suno
        finally:
            server.shutdown()
            thread.join(5)
