"""Plug-ins with an interface of the web: npm builds it first, by its lock, and again when no registry answers."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from adapters.runner.building import Workshop
from tests.runner.projects import commit, repository, web_interface
from tests.runner.test_building import Watcher, built, job, refused

needs_npm = pytest.mark.skipif(not shutil.which("npm"), reason="this machine lacks npm")
PACK = """#!/usr/bin/env node
const fs = require('fs'), version = require('./package.json').version;
fs.mkdirSync(process.argv[2], {recursive: true});
fs.writeFileSync(process.argv[2] + '/index.html', `packed by ${version}`);
"""


def packed(version: str) -> bytes:
    """The archive of one version of the only package there is."""
    about = {"name": "tiny-pack", "version": version, "bin": {"tiny-pack": "pack.js"}}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in (("package.json", json.dumps(about)), ("pack.js", PACK)):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size, entry.mode = len(text), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()


@dataclass
class LittleRegistry:
    """A registry of npm with versions of one package, which notes what it is asked for."""

    archives: dict[str, bytes]
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                answer = registry.answer(self.path)
                self.send_response(200 if answer else 404)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answer(self, path: str) -> bytes:
        """What is at a path of it; empty where nothing is."""
        for version, data in self.archives.items():
            if path == f"/tiny-pack/-/tiny-pack-{version}.tgz":
                return data
        if path != "/tiny-pack":
            return b""
        versions = {
            version: {
                "name": "tiny-pack", "version": version, "bin": {"tiny-pack": "pack.js"},
                "dist": {"tarball": f"{self.url}/tiny-pack/-/tiny-pack-{version}.tgz", "integrity": integrity(data)},
            }
            for version, data in self.archives.items()
        }  # fmt: skip
        newest = max(self.archives)
        return json.dumps({"name": "tiny-pack", "dist-tags": {"latest": newest}, "versions": versions}).encode()

    def close(self) -> None:
        """Be there no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def integrity(data: bytes) -> str:
    """A digest as locks of npm write it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


@pytest.fixture
def registry() -> Iterator[LittleRegistry]:
    made = LittleRegistry({version: packed(version) for version in ("1.0.0", "1.1.0")})
    yield made
    made.close()


def interface(path: Path) -> str:
    """The interface that came with a plug-in."""
    with zipfile.ZipFile(path) as archive:
        return archive.read("tiny.lv2/ui/index.html").decode()


@needs_npm
def test_an_interface_is_built_first_by_its_lock_and_again_without_any_registry(
    shop: Workshop, tmp_path: Path, registry: LittleRegistry
) -> None:
    files = web_interface(registry.url, integrity(registry.archives["1.0.0"]))
    place = repository(tmp_path / "tiny", files)
    watcher = Watcher()

    [made], _ = built(shop, job(place, "lv2", project_id="web"), watcher)

    assert interface(made.path) == "packed by 1.0.0", "not the newest, which the lock does not name"
    assert watcher.steps[:4] == ["fetching", "preparing", "preparing", "building"]
    assert registry.asked == ["/tiny-pack/-/tiny-pack-1.0.0.tgz"]
    # Nobody answers any more: what the lock names is in the project's cache.
    registry.archives.clear()
    commit(place, {"README": "More"})
    [again], _ = built(shop, job(place, "lv2", project_id="web"))
    assert interface(again.path) == "packed by 1.0.0"
    assert len(registry.asked) == 1
    # A clean build takes nothing from there, and says what it did not get.
    problem = refused(shop, job(place, "lv2", project_id="web", clean=True))
    assert problem.code == "step_failed"
    assert "npm" in problem.sentence
    assert "404" in problem.sentence
    assert len(registry.asked) == 2


@needs_npm
def test_a_lock_that_does_not_fit_is_refused(shop: Workshop, tmp_path: Path, registry: LittleRegistry) -> None:
    files = web_interface(registry.url, integrity(registry.archives["1.0.0"]))
    files["web-ui/package.json"] = files["web-ui/package.json"].replace("^1.0.0", "^1.1.0")

    problem = refused(shop, job(repository(tmp_path / "tiny", files), "lv2"))

    assert problem.code == "step_failed"
    assert problem.sentence.startswith("npm ")
    assert "in sync" in problem.sentence


def test_an_interface_is_left_as_it_is_where_the_recipe_allows_no_network(shop: Workshop, tmp_path: Path) -> None:
    files = web_interface("http://127.0.0.1:1", "sha512-") | {
        "tiny.lv2/ui/index.html": "as it is",
        "Resources/WebUI/a": "",
    }
    del files["ledgerline-build.toml"]

    [made], log = built(shop, job(repository(tmp_path / "tiny", files), "lv2"))

    assert interface(made.path) == "as it is"
    assert "web-ui/ is taken as it is" in log


def test_a_runner_without_npm_says_so(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is here of every machine, but for Node.
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "mkdir", "cp"):
        (tools / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setattr("adapters.runner.sandbox.PATH", f"/usr/lib/ccache:{tools}")
    files = web_interface("http://127.0.0.1:1", "sha512-")

    problem = refused(shop, job(repository(tmp_path / "tiny", files), "lv2"))

    assert (problem.code, problem.sentence) == (
        "tool_missing",
        "This runner has no npm, which the step preparing needs.",
    )
