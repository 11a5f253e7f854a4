"""Every operation that the document of the beat generator shows, held to it: status, headers, every field."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.beats import documented
from tests.beats.catalog import spreadsheet
from tests.beats.documented import conforms
from tests.identity.crowd import Visitor, sign_in


@pytest.fixture(scope="module")
def producer(client: httpx.Client) -> Visitor:
    """Somebody who has beats made."""
    return sign_in(client)


def asked(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-ratelimit-limit"]
    return answer.json()


def wished_for(who: Visitor, category: str = "Trap – Dark/Aggressive") -> str:
    body = {"categoryName": category, "mode": "metadata_only"}
    return str(asked(who.post("/api/generate/beat", body))["beat"]["id"])


def test_metadata_only_writes_down_what_a_beat_is_to_be(producer: Visitor) -> None:
    made = asked(
        producer.post("/api/generate/beat", {"categoryName": "Trap – Dark/Aggressive", "mode": "metadata_only"})
    )

    conforms(made, documented.METADATA_ONLY)
    assert made["message"] == documented.METADATA_ONLY["message"]
    beat = made["beat"]
    assert (beat["genre"], beat["style"], beat["mood"], beat["generationStatus"]) == (
        "Trap", "Dark", "Aggressive", "pending",
    )  # fmt: skip
    assert beat["name"].endswith(" Type Beat – Dark Aggressive")


@pytest.mark.parametrize("name", ["trap - dark/aggressive", "TRAP — Dark / Aggressive", "Trap –Dark/Aggressive"])
def test_categories_are_found_whatever_the_dash_and_the_capitals(producer: Visitor, name: str) -> None:
    assert wished_for(producer, name)


def test_an_unknown_category_is_a_400_that_names_it(producer: Visitor) -> None:
    body = asked(producer.post("/api/generate/beat", {"categoryName": "Invalid Category"}), 400)
    assert (body["error"], body["categoryName"]) == ("Template not found", "Invalid Category")


def test_an_invalid_mode_is_answered_as_the_document_has_it(producer: Visitor) -> None:
    for path, body in (("beat", {"categoryName": "Trap - Dark/Aggressive"}), ("beats", {"count": 1})):
        answer = asked(producer.post(f"/api/generate/{path}", {**body, "mode": "half"}), 400)
        assert answer["error"] == "Invalid mode"
        assert answer["message"] == "Mode must be 'full' or 'metadata_only'"


@pytest.mark.parametrize("body", [{}, {"categoryName": 7}, {"categoryName": "x", "bpm": 900}, [], None, "x"])
def test_a_malformed_request_says_what_is_wrong_and_where(producer: Visitor, body: Any) -> None:
    answer = asked(producer.post("/api/generate/beat", body), 400)
    assert answer["code"] == "malformed_request"
    assert answer["details"]


def test_an_impossible_key_is_refused_in_words(producer: Visitor) -> None:
    body = asked(
        producer.post("/api/generate/beat", {"categoryName": "Trap - Dark/Aggressive", "musicalKey": "H"}), 400
    )
    assert body["error"] == "Invalid musical key"


def test_the_detail_is_the_whole_model(producer: Visitor) -> None:
    beat_id = wished_for(producer)
    beat = asked(producer.get(f"/api/beats/{beat_id}"))

    conforms(beat, documented.BEAT_MODEL)
    assert beat["versions"] == []
    assert beat["fileUrl"].startswith("output/beats/20")
    assert beat["fileUrl"].endswith(f"/{beat_id}.mp3")
    assert (beat["generationStatus"], beat["wavConversionStatus"]) == ("pending", "not_started")
    assert asked(producer.get(f"/api/beats/{beat_id}/versions")) == {"beatId": beat_id, "versions": []}


@pytest.mark.parametrize("beat_id", ["invalid-uuid", "9ce9fde7-c92a-4fe5-93b3-d7c7eec67334", "x%00y"])
def test_a_beat_that_is_not_there_is_a_404_with_its_id(producer: Visitor, beat_id: str) -> None:
    for answer in (
        producer.get(f"/api/beats/{beat_id}"),
        producer.get(f"/api/beats/{beat_id}/versions"),
        producer.post(f"/api/beats/{beat_id}/generate-audio"),
        producer.post(f"/api/beats/{beat_id}/versions", {"setPrimary": False}),
    ):
        body = asked(answer, 404)
        assert (body["error"], body["beatId"]) == ("Beat not found", beat_id.replace("%00", "\0"))


def test_another_workspace_s_beat_is_not_there_and_in_no_list(producer: Visitor, client: httpx.Client) -> None:
    beat_id, stranger = wished_for(producer), sign_in(client)

    assert stranger.get(f"/api/beats/{beat_id}").status_code == 404
    assert asked(stranger.get("/api/beats"))["pagination"]["total"] == 0
    assert asked(stranger.get("/api/beats/pending/list"))["data"] == []


def test_beats_are_listed_newest_first_a_page_at_a_time(client: httpx.Client) -> None:
    me = sign_in(client)
    ids = [wished_for(me) for _ in range(5)][::-1]

    first = asked(me.get("/api/beats", params={"limit": 2}))
    conforms(first, documented.QUERY)
    assert first["pagination"] == {"page": 1, "limit": 2, "total": 5, "totalPages": 3}
    found = [asked(me.get("/api/beats", params={"limit": 2, "page": page}))["data"] for page in (1, 2, 3)]
    assert [each["id"] for page in found for each in page] == ids
    beyond = asked(me.get("/api/beats", params={"limit": 2, "page": 9}))
    assert (beyond["data"], beyond["pagination"]["total"]) == ([], 5)
    assert asked(me.get("/api/beats"))["pagination"] == {"page": 1, "limit": 20, "total": 5, "totalPages": 1}
    assert asked(me.get("/api/beats", params={"limit": 1000}))["pagination"]["limit"] == 100

    pending = asked(me.get("/api/beats/pending/list", params={"limit": 2}))
    conforms(pending, documented.PENDING)
    assert [each["id"] for each in pending["data"]] == ids[:2]


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "page=0", "limit=many", "generationStatus=done"])
def test_what_no_page_can_be_is_a_400(producer: Visitor, query: str) -> None:
    assert asked(producer.get(f"/api/beats?{query}"), 400)["error"]


def test_beats_are_found_by_every_filter_and_by_any_of_the_tags(client: httpx.Client) -> None:
    me = sign_in(client)
    trap, lofi = wished_for(me), wished_for(me, "LoFi – Melodic/Calm")

    def found(**query: str) -> set[str]:
        return {each["id"] for each in asked(me.get("/api/beats", params=query))["data"]}

    assert found(genre="Trap") == {trap} == found(genre="trap", style="Dark", mood=" aggressive")
    assert found(style="Melodic") == {lofi} == found(mood="Calm")
    assert found(genre="Trap", mood="Calm") == set()
    assert found(tags="808") == {trap}
    assert found(tags="808, lofi,nothing") == {trap, lofi}
    assert found(generationStatus="pending") == {trap, lofi}
    assert found(generationStatus="completed") == set() == found(musicalKey="C Minor")
    assert found(utm_source="somewhere") == {trap, lofi}
    assert found(genre="%00") == set() == found(genre="a\0b")


def test_several_at_once_are_of_different_categories(client: httpx.Client) -> None:
    me = sign_in(client)
    made = asked(me.post("/api/generate/beats", {"count": 5, "mode": "metadata_only"}))

    conforms(made, documented.BATCH)
    assert (made["count"], len(made["beats"]), made["message"]) == (5, 5, "5 beats created successfully")
    assert asked(me.get("/api/beats"))["pagination"]["total"] == 5
    assert len({asked(me.get(f"/api/beats/{each['id']}"))["templateId"] for each in made["beats"]}) == 5


@pytest.mark.parametrize("count", [0, 11, -1, 10**9, "five", None, 2.5])
def test_a_batch_is_one_to_ten(producer: Visitor, count: Any) -> None:
    asked(producer.post("/api/generate/beats", {"count": count, "mode": "metadata_only"}), 400)


def test_the_same_key_creates_one_beat(producer: Visitor) -> None:
    body = {"categoryName": "Trap - Dark/Aggressive", "mode": "metadata_only"}
    key = {"Idempotency-Key": uuid4().hex}
    first, again = (producer.post("/api/generate/beat", body, headers=key) for _ in range(2))

    assert asked(first) == asked(again)
    other = producer.post("/api/generate/beat", {**body, "seed": 1}, headers=key)
    assert other.status_code == 400
    assert other.json()["code"] == "idempotency_key_reused"


# --- templates --------------------------------------------------------------------------------------------------------


def test_the_catalogue_has_forty_categories_over_ten_genres(producer: Visitor) -> None:
    found = asked(producer.get("/api/templates"))

    assert found["total"] == len(found["data"]) >= 40
    assert {each["genre"] for each in found["data"]} == {
        "Trap", "Drill", "Boom Bap", "LoFi", "House", "Techno", "Drum and Bass", "Reggaeton", "Synthwave", "Ambient",
    }  # fmt: skip
    for each in found["data"]:
        assert set(each) == {
            "id", "categoryName", "genre", "style", "mood", "useCase", "tags", "prompt", "bpmMin", "bpmMax", "source",
        }  # fmt: skip


def test_a_workspace_brings_templates_of_its_own(client: httpx.Client) -> None:
    me, stranger = sign_in(client), sign_in(client)
    study = ("Lofi Chill Study Beat", "LoFi", "Chill", "Sleepy", "Study", "lofi, study", "A sleepy beat.")
    imported = asked(me.request("POST", "/api/templates/import", content=spreadsheet(study, ("Polka", "Polka"))))

    assert (imported["success"], imported["imported"]) == (True, 1)
    assert [each["row"] for each in imported["refused"]] == [3]
    [own] = [each for each in asked(me.get("/api/templates"))["data"] if each["source"] == "workspace"]
    assert (own["categoryName"], own["tags"], own["useCase"]) == ("Lofi Chill Study Beat", ["lofi", "study"], "Study")
    beat = asked(me.get(f"/api/beats/{wished_for(me, 'lofi chill study beat')}"))
    assert (beat["templateId"], beat["mood"], beat["basePrompt"]) == (own["id"], "Sleepy", "A sleepy beat.")
    unknown = stranger.post("/api/generate/beat", {"categoryName": "Lofi Chill Study Beat"})
    assert asked(unknown, 400)["error"] == "Template not found"

    changed = (*study[:3], "Awake", *study[4:])
    me.request("POST", "/api/templates/import", content=spreadsheet(changed))
    [own] = [each for each in asked(me.get("/api/templates"))["data"] if each["source"] == "workspace"]
    assert own["mood"] == "Awake"


def test_what_is_no_spreadsheet_is_a_400(producer: Visitor) -> None:
    answer = producer.request("POST", "/api/templates/import", content=b"<!DOCTYPE x []><x/>")
    assert asked(answer, 400)["error"] == "Not a catalogue"
