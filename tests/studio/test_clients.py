"""The clients that people download, used as they would use them: from the archive, against the running service."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import shutil
import socket
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.repositories.sdk import CLIENTS
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Stack
from tests.licensing.studio import ACTIVATION, new_code, new_project

SDK = "/functions/v1/sdk"
DAY = 86_400
HEADERS = ("activation.hpp", "crypto.hpp", "curl.hpp", "json.hpp", "transport.hpp")

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="this machine lacks g++")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="this machine lacks node")


@pytest.fixture(scope="module")
def developer(client: httpx.Client) -> Visitor:
    return sign_in(client)


@pytest.fixture(scope="module")
def unpacked(developer: Visitor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the archive that the service leads to."""
    told = developer.get(f"{SDK}/download").json()
    assert set(told) == {"url", "version"}
    answer = developer.http.get(told["url"])
    assert answer.status_code == 200, answer.text
    folder = tmp_path_factory.mktemp("sdk")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(folder)
    return folder / f"beatconnect-sdk-{told['version']}"


def test_the_sdk_is_told_of_as_documented(developer: Visitor, unpacked: Path, stack: Stack) -> None:
    status = developer.get(f"{SDK}/status")
    assert (status.status_code, status.json()) == (
        200,
        {
            "available": True,
            "version": "1.0.0",
            "documentation_url": f"{stack.url}/docs",
            "distribution_type": "public",
            "github_connected": False,
        },
    )
    for what in ("status", "download"):
        assert developer.http.get(f"{SDK}/{what}").status_code == 401
    kept = set(stack.objects("sdk/"))
    assert kept
    assert developer.get(f"{SDK}/download").json()["version"] == status.json()["version"]
    assert set(stack.objects("sdk/")) == kept
    assert {path.name for path in (unpacked / "cpp/include/beatconnect").iterdir()} == {*HEADERS}
    said = (unpacked / "python/src/beatconnect/__init__.py").read_text()
    assert f'DEFAULT_URL = "{stack.url}"' in said
    assert (unpacked / "LICENSE").read_text().startswith("MIT License")


# --- Python -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beatconnect(unpacked: Path) -> Any:
    """The Python client, imported from the archive."""
    place = unpacked / "python/src/beatconnect/__init__.py"
    spec = importlib.util.spec_from_file_location("beatconnect", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_python_client_does_what_the_contract_shows(beatconnect: Any, developer: Visitor) -> None:
    with beatconnect.BeatConnectSDK(token=developer.token) as sdk:
        project = sdk.projects.create("Client", platforms=["linux"])
        build = sdk.builds.create(project_id=project["id"], platforms=["macos", "windows"], formats=["vst3", "au"])
        status = sdk.builds.get(build["id"])
        assert (status["platforms"], status["formats"]) == (["macos", "windows"], ["vst3", "au"])
        assert sdk.builds.list(project_id=project["id"], status=status["status"])["total"] == 1
        assert sdk.builds.artifacts(build["id"]) == []
        assert sdk.builds.usage()["used"] > 0
        assert sdk.builds.cancel(build["id"]) == {"id": build["id"], "status": "cancelled"}
        assert sdk.builds.wait(build["id"], timeout=20)["status"] == "cancelled"
        linked = sdk.repositories.link(project["id"], "ada/my-plugin", branch="main")
        assert linked["source_repo_url"] == "https://github.com/ada/my-plugin"
        assert sdk.repositories.unlink(project["id"]) == {"success": True}
        assert sdk.projects.change(project["id"], name="Clients")["name"] == "Clients"
        assert "Clients" in {each["name"] for each in sdk.projects.list()}
        key = sdk.activation.generate(project["id"], max_activations=2, notes="Beta tester")
        assert sdk.activation.activate(key["code"], "studio-mac")["remaining"] == 1
        assert sdk.activation.validate(key["code"], "studio-mac") == {"valid": True}
        assert sdk.activation.status(key["code"])["available"] == 1
        assert sdk.activation.deactivate(key["code"], "studio-mac")["success"] is True
        assert [each["notes"] for each in sdk.activation.keys(project["id"])] == ["Beta tester"]
        assert sdk.github.status()["connected"] is False
        assert sdk.sdk.status()["version"] == "1.0.0"
        with pytest.raises(beatconnect.BeatConnectError) as refused:
            sdk.builds.get("../x")
        assert (refused.value.status, refused.value.code) == (404, "not_found")
    with beatconnect.BeatConnectSDK() as nobody, pytest.raises(beatconnect.BeatConnectError) as refused:
        nobody.builds.usage()
    assert (refused.value.status, refused.value.code) == (401, "unauthorized")


def test_the_python_client_knows_a_webhook_of_the_studio(beatconnect: Any) -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    secret = "It's a Secret to Everybody"
    assert beatconnect.verify_webhook("Hello, World!", signature, secret)
    assert beatconnect.verify_webhook(b"Hello, World!", signature, secret)
    for body, shown in (("Hello, World", signature), ("Hello, World!", "sha256="), ("Hello, World!", "é")):
        assert not beatconnect.verify_webhook(body, shown, secret)


# --- TypeScript -------------------------------------------------------------------------------------------------------

SCRIPT = """
import { BeatConnectSDK, BeatConnectError } from './lib/index.js';
const sdk = new BeatConnectSDK({ token: process.argv[2] });
const project = await sdk.projects.create({ name: 'Typed', platforms: ['linux'] });
const build = await sdk.builds.create({
  projectId: project.id, platforms: ['macos', 'windows'], formats: ['vst3', 'au'], flags: { enableDebugMode: true },
});
const status = await sdk.builds.get(build.id);
const listed = await sdk.builds.list({ projectId: project.id, limit: 5 });
const cancelled = await sdk.builds.cancel(build.id);
const key = await sdk.activation.generate({ projectId: project.id, maxActivations: 2 });
const activated = await sdk.activation.activate({ code: key.code, machineId: 'studio-mac' });
let refusal = null;
try { await sdk.builds.get('nothing'); } catch (problem) {
  refusal = [problem instanceof BeatConnectError, problem.status, problem.code];
}
console.log(JSON.stringify({ status, total: listed.total, cancelled, activated, refusal }));
"""


@needs_node
def test_the_typescript_client_does_what_the_contract_shows(unpacked: Path, developer: Visitor) -> None:
    folder = unpacked / "typescript"
    (folder / "script.mjs").write_text(SCRIPT)
    command = ["node", "script.mjs", developer.token or ""]
    made = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["status"]["flags"] == {"enableDebugMode": True}
    assert told["status"]["versionNumber"] == "0.0.1"
    assert told["status"]["metadata"] == {"currentStep": None, "stepProgress": None}
    assert (told["total"], told["cancelled"]["status"]) == (1, "cancelled")
    assert told["activated"] == {"success": True, "activations": 1, "maxActivations": 2, "remaining": 1}
    assert told["refusal"] == [True, 404, "not_found"]


def test_what_node_runs_is_made_of_the_typed_source() -> None:
    """`npx tsc` in api/clients/typescript makes `lib`, and notes of what."""
    folder = CLIENTS / "typescript"
    made_of = json.loads((folder / "lib/index.js.map").read_text())["sourcesContent"]
    assert made_of == [(folder / "src/index.ts").read_text()]


# --- C++ --------------------------------------------------------------------------------------------------------------


@dataclass
class Tools:
    """The examples, compiled from the archive."""

    console: Path
    checks: Path


@pytest.fixture(scope="module")
def tools(unpacked: Path) -> Tools:
    made = []
    for name in ("console", "checks"):
        program = unpacked / name
        options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"]
        source = unpacked / f"cpp/examples/{name}.cpp"
        command = ["g++", *options, f"-I{unpacked}/cpp/include", str(source), "-o", str(program)]
        compiled = subprocess.run(command, check=False, capture_output=True, text=True)
        assert compiled.returncode == 0, compiled.stderr
        made.append(program)
    return Tools(*made)


@dataclass
class Plugin:
    """A plug-in on one machine, which keeps what it knows in a file."""

    program: Path
    project: str
    key: str
    state: Path
    url: str
    machine: str = "studio-mac"

    def say(self, *lines: str, url: str | None = None, clock: int = 0) -> list[str]:
        """What one run of it answers to these commands."""
        arguments = [url or self.url, self.project, self.key, str(self.state), self.machine]
        words = ([f"clock {clock}"] if clock else []) + list(lines)
        made = subprocess.run(
            [str(self.program), *arguments], input="\n".join(words) + "\n", check=False, capture_output=True, text=True,
            timeout=50,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        return made.stdout.splitlines()[2 if clock else 1 :]


@pytest.fixture
def plugin(tools: Tools, developer: Visitor, stack: Stack, tmp_path: Path) -> Plugin:
    project = new_project(developer)
    key = developer.http.get(f"{ACTIVATION}/public-key", params={"project_id": project}).json()["public_key"]
    return Plugin(tools.console, project, key, tmp_path / "deep" / "activation.json", stack.url)


@contextmanager
def between(answer: Callable[[str, bytes], bytes]) -> Iterator[str]:
    """Somebody who answers in place of the service."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = answer(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _saying(always: bytes, path: str, body: bytes) -> bytes:
    return always


@contextmanager
def deaf() -> Iterator[str]:
    """A port where connections are taken and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@needs_compiler
def test_the_headers_hash_and_verify_as_others_do(tools: Tools) -> None:
    asked, expected = [], []
    # Around the lengths at which a block more is needed.
    for size in (0, 3, 55, 56, 64, 111, 112, 119, 120, 128, 300):
        data = bytes(range(256)) * 2
        for name in ("sha256", "sha512"):
            asked.append(f"{name} {data[:size].hex() or '-'}")
            expected.append(hashlib.new(name, data[:size]).hexdigest())
    # RFC 8032, 7.1, the first two.
    for key, message, signature in (
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "-",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ):
        asked += [f"verify {key} {message} {signature}", f"verify {key} 73 {signature}"]
        expected += ["yes", "no"]
    secret = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    public, signed = secret.public_key().public_bytes_raw(), b"response/x" * 30
    proof = secret.sign(signed)
    order = 2**252 + 27742317777372353535851937790883648493
    again = proof[:32] + (int.from_bytes(proof[32:], "little") + order).to_bytes(32, "little")
    for shown, verdict in ((proof, "yes"), (again, "no"), (proof[:63], "no"), (bytes(64), "no")):
        asked.append(f"verify {public.hex()} {signed.hex()} {shown.hex()}")
        expected.append(verdict)
    asked += [f"verify {'ff' * 32} {signed.hex()} {proof.hex()}"]
    expected += ["no"]
    made = subprocess.run([str(tools.checks)], input="\n".join(asked), check=True, capture_output=True, text=True)
    assert made.stdout.split() == expected


@needs_compiler
def test_a_plug_in_is_activated_and_works_without_the_service_for_seven_days(
    plugin: Plugin, developer: Visitor
) -> None:
    code = new_code(developer, plugin.project, max_activations=1)
    assert plugin.say("validate") == ["not_activated no away - 0/0 There is no code yet."]
    [wrong, done, still] = plugin.say(
        "activate 00000000-0000-4000-8000-000000000000", f"activate {code.upper()}", "status"
    )
    assert wrong.startswith("not_activated no reached code_not_found")
    assert done.startswith("licensed ok reached valid 1/1")
    assert still == "licensed ok"

    other = Plugin(plugin.program, plugin.project, plugin.key, plugin.state.with_name("other"), plugin.url, "laptop")
    assert other.say(f"activate {code}")[0].startswith("not_activated no reached max_activations_reached")

    nobody = "http://127.0.0.1:1"
    for days, expected in ((0, "licensed ok"), (3, "grace ok"), (8, "grace_over no")):
        [asked, status] = plugin.say("validate", "status", url=nobody, clock=days * DAY)
        assert status == expected
        assert asked.split()[1:3] == ["no", "away"]
    # It was later on this machine already: who turns the clock back gains nothing, until the service is asked.
    [_, status] = plugin.say("validate", "status", url=nobody)
    assert status == "clock_turned_back no"
    [asked, status] = plugin.say("validate", "status")
    assert (asked.split()[:3], status) == (["licensed", "ok", "reached"], "licensed ok")
    # A clock that is wrong where the service is reached keeps nobody from working.
    assert plugin.say("validate", "status", clock=-30 * DAY)[1] == "licensed ok"

    assert plugin.say("deactivate", "status")[1] == "not_activated no"
    assert other.say(f"activate {code}")[0].startswith("licensed ok")


@needs_compiler
def test_an_explicit_answer_wins_over_grace_and_is_remembered(plugin: Plugin, developer: Visitor) -> None:
    code = new_code(developer, plugin.project)
    plugin.say(f"activate {code}")
    assert developer.post(f"{ACTIVATION}/revoke", {"code": code}).status_code == 200
    assert plugin.say("validate", "status")[1] == "revoked no"
    assert plugin.say("validate", "status", url="http://127.0.0.1:1")[1] == "revoked no"


@needs_compiler
def test_what_is_unsigned_replayed_or_about_something_else_counts_as_no_answer(
    plugin: Plugin, developer: Visitor
) -> None:
    code = new_code(developer, plugin.project)
    stolen: list[bytes] = []

    def passing(path: str, body: bytes) -> bytes:
        stolen.append(httpx.post(plugin.url + path, content=body, headers={"Content-Type": "application/json"}).content)
        return stolen[-1]

    with between(passing) as url:
        assert plugin.say(f"activate {code}", "status", url=url)[1] == "licensed ok"
    revoked = json.loads(stolen[0])
    revoked["signed"]["sig"] = revoked["signed"]["sig"][::-1]
    elsewhere = new_project(developer)
    of_another = developer.http.post(
        f"{ACTIVATION}/validate",
        json={"code": code, "machine_id": "studio-mac", "plugin_id": elsewhere, "nonce": "n" * 16},
    ).content
    kept = plugin.state.read_bytes()
    for forged in (
        b'{"valid":true}',
        b'{"valid":false,"reason":"code_revoked"}',
        stolen[0],
        json.dumps(revoked).encode(),
        of_another,
        b"",
        b"[" * 100_000,
        b'{"signed":7}',
    ):
        fresh = Plugin(plugin.program, plugin.project, plugin.key, plugin.state.with_name("fresh"), "", "studio-mac")
        with between(partial(_saying, forged)) as url:
            [answer, status] = plugin.say("validate", "status", url=url)
            assert (answer.split()[1:3], status) == (["no", "away"], "licensed ok"), forged[:80]
            assert fresh.say(f"activate {code}", "status", url=url)[1] == "not_activated no", forged[:80]
    # What somebody writes into the file proves nothing either.
    for changed in (
        kept.replace(b'"code":"', b'"code":"x'),
        kept.replace(b'"enc":"', b'"enc":"AAAA'),
        b"{",
        b"\0" * 100,
        b"[" * 100_000,
    ):
        plugin.state.write_bytes(changed)
        assert plugin.say("validate", "status", url="http://127.0.0.1:1")[1] == "not_activated no"
    plugin.state.write_bytes(kept)
    plugin.machine = "another"
    assert plugin.say("validate", "status", url="http://127.0.0.1:1")[1] == "not_activated no"


@needs_compiler
def test_a_machine_without_a_network_is_licensed_by_its_file(
    plugin: Plugin, developer: Visitor, tmp_path: Path
) -> None:
    code = new_code(developer, plugin.project)
    nobody = "http://127.0.0.1:1"
    body = {"code": code, "machine_id": "studio-mac", "ttl_seconds": 20 * DAY}
    files = developer.http.post(f"{ACTIVATION}/offline", json=body).json()
    place, wrong, license_file = tmp_path / "machine", tmp_path / "wrong", tmp_path / "license"
    place.write_text(files["machine_file"])
    license_file.write_text(files["license_file"])
    lines = files["machine_file"].splitlines()
    wrong.write_text("\n".join([lines[0], lines[1][::-1], *lines[2:]]))
    for bad in (wrong, license_file, tmp_path / "none"):
        assert plugin.say(f"file {bad}", "status", url=nobody)[1] == "not_activated no"
    assert plugin.say(f"file {place}", "status", url=nobody)[1] == "licensed ok"
    assert plugin.say("validate", "status", url=nobody, clock=15 * DAY)[1] == "licensed ok"
    assert plugin.say("validate", "status", url=nobody, clock=21 * DAY)[1] == "expired no"
    other = Plugin(plugin.program, plugin.project, plugin.key, tmp_path / "other", nobody, "laptop")
    assert other.say(f"file {place}", "status")[1] == "not_activated no"


@needs_compiler
def test_it_is_made_at_once_and_goes_at_once_although_nobody_answers(plugin: Plugin, developer: Visitor) -> None:
    code = new_code(developer, plugin.project)
    plugin.say(f"activate {code}")
    with deaf() as url:
        took = []
        for _ in range(3):
            arguments = [url, plugin.project, plugin.key, str(plugin.state), plugin.machine]
            # It would wait for a minute for its answer; `say` gives up before.
            made = subprocess.run(
                [str(plugin.program), *arguments], input=f"begin {code}\n", check=True, capture_output=True, text=True,
                timeout=50,
            )  # fmt: skip
            took.append(int(made.stdout.split()[1]))
        # Microseconds; the best of three, because this machine has other things to do.
        assert min(took) < 50_000
