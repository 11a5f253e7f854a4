"""A provider of music with the API of sunoapi.org, and others that speak like it.

It answers 200 to nearly everything and says in `code` what it means (docs.sunoapi.org): 200 fine, 401 wrong key, 413
too long, 429 credits used up, 430 too many at once, 455 maintenance. The names of fields are in snake case or in camel
case, depending on the place; both are read everywhere.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import structlog
from msgspec import json

from adapters.provides import provides
from adapters.vault import Vault
from adapters.web.parties import Answer, NoAnswer, Party
from commands.beats import ports
from commands.beats.ports import Declined, NotTaken, Outcome, RemoteTrack, Task
from commands.beats.settings import Provider
from commands.settings import Service

log = structlog.get_logger(__name__)

CALLBACK = "/api/callbacks/suno"
#: What tokens in callback addresses are for.
PURPOSE = "suno callback"
SECONDS_MAX = 30.0
ANSWER_BYTES_MAX = 1024 * 1024
#: How long a conversion is waited for, and how long between two looks.
WAV_SECONDS_MAX = 120.0
WAV_LOOK_SECONDS = 3.0
TITLE_MAX, STYLE_MAX, PROMPT_MAX = 80, 200, 400

NO_KEY = "The music provider does not accept the key of this service. Whoever runs it must set another."
NO_CREDITS = "The credits at the music provider are used up. Top them up there, then have the beat made again."
TOO_MANY = "The music provider is asked too often at the moment. It is tried again by itself."
AWAY = "The music provider is away for the moment. It is tried again by itself."
_FINAL = {401: NO_KEY, 403: NO_KEY, 402: NO_CREDITS, 429: NO_CREDITS}
_PASSING = {405: TOO_MANY, 430: TOO_MANY, 455: AWAY}
_WORKING = frozenset({"PENDING", "TEXT_SUCCESS", "FIRST_SUCCESS", "QUEUED", "PROCESSING", "RUNNING"})
_REASONS = {
    "SENSITIVE_WORD_ERROR": "The music provider refuses a word of the prompt.",
    "CREATE_TASK_FAILED": "The music provider could not begin.",
    "GENERATE_AUDIO_FAILED": "The music provider could not make the audio.",
}


def subject(beat_id: str, generation_id: str) -> str:
    """What a token in a callback address is about."""
    return f"{beat_id}/{generation_id}"


class SunoApi(ports.MusicProvider):
    """One account there."""

    def __init__(self, settings: Provider, vault: Vault, service_url: str) -> None:
        self._settings = settings
        self._vault = vault
        self._service_url = service_url
        self._party = Party(seconds_max=SECONDS_MAX, bytes_max=ANSWER_BYTES_MAX)

    async def submit(self, task: Task) -> str:
        """Hand a task in, and return what it is called there; raises Declined or NotTaken."""
        body = {
            "prompt": task.prompt[:PROMPT_MAX],
            "style": task.style[:STYLE_MAX],
            "title": task.title[:TITLE_MAX],
            "customMode": True,
            "instrumental": True,
            "model": self._settings.suno_model,
            "callBackUrl": self.callback_url(task.beat_id, task.generation_id),
        }
        data = await self._ask("POST", "/api/v1/generate", body)
        task_id = field(data, "task_id")
        if not isinstance(task_id, str) or not 1 <= len(task_id) <= 200:
            raise Declined("The music provider took this without saying what it is called there.")
        return task_id

    async def look(self, task_id: str) -> Outcome:
        """How a task stands; raises Declined or NotTaken."""
        data = await self._ask("GET", f"/api/v1/generate/record-info?{urlencode({'taskId': task_id})}")
        status = str(field(data, "status") or "").upper()
        if status == "SUCCESS":
            return Outcome(status="done", tracks=tracks_of(data))
        if status in _WORKING or not status:
            return Outcome(status="working")
        if status == "CALLBACK_EXCEPTION" and (found := tracks_of(data)):
            # It could not reach us, which is no reason to throw away what it has made.
            return Outcome(status="done", tracks=found)
        said = field(data, "error_message")
        reason = _REASONS.get(status, "The music provider has failed.")
        return Outcome(status="failed", problem=f"{reason} It says: {str(said)[:300]}" if said else reason)

    async def wav(self, task_id: str, audio_id: str) -> str:
        """The address of a track as WAV, made there; raises Declined or NotTaken."""
        body = {"taskId": task_id, "audioId": audio_id, "callBackUrl": f"{self._service_url}{CALLBACK}/wav"}
        data = await self._ask("POST", "/api/v1/wav/generate", body)
        wav_task_id = str(field(data, "task_id") or "")
        deadline = asyncio.get_running_loop().time() + WAV_SECONDS_MAX
        while asyncio.get_running_loop().time() < deadline:
            found = await self._ask("GET", f"/api/v1/wav/record-info?{urlencode({'taskId': wav_task_id})}")
            status = str(field(found, "success_flag") or field(found, "status") or "").upper()
            url = field(field(found, "response"), "audio_wav_url") or field(found, "audio_wav_url")
            if status == "SUCCESS" and is_address(url):
                return str(url)
            if status not in ("", "PENDING"):
                raise Declined("The music provider could not make the WAV.")
            await asyncio.sleep(min(WAV_LOOK_SECONDS, self._settings.suno_poll_seconds))
        raise NotTaken("The music provider did not make the WAV in time.")

    def callback_url(self, beat_id: str, generation_id: str) -> str:
        """Where it is to tell us of a generation: nobody can guess the token, and nobody but it is told."""
        token = self._vault.token(PURPOSE, subject(beat_id, generation_id))
        asked = urlencode({"beat": beat_id, "generation": generation_id, "token": token})
        return f"{self._service_url}{CALLBACK}?{asked}"

    async def close(self) -> None:
        """Give the connections back."""
        await self._party.close()

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        """The `data` of an answer; raises Declined and NotTaken by what its code says."""
        if not self._settings.is_on:
            raise Declined("The music provider is not set up here.")
        url = str(self._settings.suno_api_url).rstrip("/") + path
        headers = {"Authorization": f"Bearer {self._settings.suno_api_key.reveal()}"}
        content = None if body is None else json.encode(body)
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            said = await self._party.ask(method, url, headers=headers, body=content)
        except NoAnswer as problem:
            # Not even a connection: whatever was to be handed in, was not. A question hands nothing in.
            if problem.sent and method != "GET":
                raise
            raise NotTaken(AWAY) from problem
        answer = _facts(said, hands_in=method != "GET")
        code = answer.get("code", said.status) if said.status == 200 else said.status
        if code in (0, 200):
            return answer.get("data")
        why = str(answer.get("msg") or "")[:300]
        log.info("sunoapi.refused", path=path.partition("?")[0], code=code, said=why)
        failed = not isinstance(code, int) or code >= 500
        if failed and method != "GET":
            raise NoAnswer(f"The music provider has failed with {code}, and does not say whether it took this.")
        if failed or code in _PASSING:
            raise NotTaken(_PASSING.get(code, AWAY))
        if method == "GET" and code in _FINAL:
            # What it took before it was out of credits, or too often asked, is made all the same.
            raise NotTaken(_FINAL[code])
        raise Declined(_FINAL.get(code) or f"The music provider refuses this: {why or code}.")


def _facts(said: Answer, *, hands_in: bool) -> dict[str, Any]:
    """What an answer says. One that cannot be read leaves it open whether what was handed in was taken."""
    try:
        return said.object()
    except NoAnswer as problem:
        if said.status != 200:
            return {}
        if hands_in:
            raise
        raise NotTaken(AWAY) from problem


def field(data: Any, name: str) -> Any:
    """A field by its name in snake case, whichever case it is written in; None where there is none."""
    if not isinstance(data, dict):
        return None
    first, *rest = name.split("_")
    return data.get(name, data.get(first + "".join(word.capitalize() for word in rest)))


def is_address(url: object) -> bool:
    """Whether something is an address that may be shown as a link."""
    return isinstance(url, str) and url.startswith(("https://", "http://")) and len(url) <= 2048 and url.isprintable()


def tracks_of(data: Any) -> tuple[RemoteTrack, ...]:
    """The tracks in what a provider says, in callbacks and in answers; those without an address are none."""
    listed = field(data, "data") or field(field(data, "response"), "suno_data") or []
    found = []
    for each in listed if isinstance(listed, list) else []:
        audio = field(each, "audio_url") or field(each, "source_audio_url")
        if is_address(audio):
            found.append(_track(each, audio))
    return tuple(found)


def _track(each: Any, audio: str) -> RemoteTrack:
    image = field(each, "image_url") or field(each, "source_image_url")
    stream = field(each, "stream_audio_url") or field(each, "source_stream_audio_url")
    duration = field(each, "duration")
    return RemoteTrack(
        audio_id=str(field(each, "id") or "")[:200].replace("\0", ""),
        audio_url=audio,
        image_url=image if is_address(image) else None,
        stream_url=stream if is_address(stream) else None,
        model_name=str(field(each, "model_name") or "suno")[:100].replace("\0", ""),
        duration_seconds=float(duration) if isinstance(duration, int | float) and 0 < duration < 36_000 else None,
    )


@provides
def sunoapi(settings: Provider, vault: Vault, service: Service) -> SunoApi:
    """The provider elsewhere."""
    return SunoApi(settings, vault, service.url)
