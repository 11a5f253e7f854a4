"""Plays of a period: summed, compared, told apart, and what nobody has reported; and what stores sum up themselves."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from adapters.catalogue.plays import Counted
from tests.catalogue.reports import table
from tests.catalogue.test_contract import isrc, plays, refused
from tests.catalogue.test_imports import ROW, sent
from tests.identity.crowd import Visitor, sign_in


@pytest.fixture(scope="module")
def played(client: httpx.Client) -> Visitor:
    """Three tracks of two artists, of which one is reported for a shorter time, and one that is in no catalogue."""
    who = sign_in(client)
    for number, artist in ((1, "Main"), (2, "Main"), (3, "Other")):
        who.post("/api/v1/tracks", {"isrc": isrc(number), "title": f"Song {number}", "artist": artist})
    rows = [f"{isrc(1)},2024-03-{day:02d},{10 if day < 5 else 20},0" for day in range(1, 9)]
    rows += [f"{isrc(2)},2024-03-{day:02d},,5" for day in (2, 7)]
    rows += [f"{isrc(3)},2024-03-08,100,", f"{isrc(9)},2024-03-08,999999,0"]
    # One day comes in a file of its own, and is corrected in a third.
    del rows[5]
    plays(who, "\n".join(["isrc,date,spotify_streams,apple_streams", *rows]))
    return who


def asked(who: Visitor, **said: str) -> Any:
    answer = who.get("/api/v1/analytics/plays", params=said)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_period_is_summed_beside_the_one_before_it_and_says_what_is_not_reported(played: Visitor) -> None:
    found = asked(played, since="2024-03-05", until="2024-03-08")

    assert found["totals"] == {
        "since": "2024-03-05", "until": "2024-03-08", "spotify_streams": 160, "apple_streams": 5, "streams": 165,
        "days": 4, "days_reported": 3,
    }  # fmt: skip
    assert found["previous"] == {
        "since": "2024-03-01", "until": "2024-03-04", "spotify_streams": 40, "apple_streams": 5, "streams": 45,
        "days": 4, "days_reported": 4,
    }  # fmt: skip
    assert found["not_reported"] == ["2024-03-06"]
    # 160 on three days and 5 on three against 40 on four and 5 on four: of what was reported, a day has more.
    assert found["growth"] == round((160 / 3 + 5 / 3) / (40 / 4 + 5 / 4) - 1, 4)
    newest, *_, oldest = found["data"]
    assert (newest["group"], newest["spotify_streams"], newest["apple_streams"]) == ("2024-03-08", 120, 0)
    assert (oldest["group"], len(oldest["imports"])) == ("2024-03-05", 1)
    nothing = found["data"][2]
    assert nothing == {
        "group": "2024-03-06", "spotify_streams": None, "apple_streams": None, "streams": None, "days_reported": 0,
        "growth": None, "imports": [], "title": None, "artist": None,
    }  # fmt: skip


def test_plays_are_told_apart_by_track_artist_store_and_month(played: Visitor) -> None:
    period = {"since": "2024-03-05", "until": "2024-03-08"}

    def told(by: str, **more: str) -> list[tuple[Any, ...]]:
        rows = asked(played, by=by, **period, **more)["data"]
        return [(each["group"], each["title"], each["streams"], each["growth"]) for each in rows]

    assert told("track") == [
        (isrc(3), "Song 3", 100, None), (isrc(1), "Song 1", 60, 1.0), (isrc(2), "Song 2", 5, 0.0),
    ]  # fmt: skip
    assert told("track", limit="1") == [(isrc(3), "Song 3", 100, None)]
    assert told("artist") == [("Other", None, 100, None), ("Main", None, 65, round((20 + 5 / 3) / (10 + 5 / 4) - 1, 4))]
    assert [each[:3] for each in told("store")] == [("Spotify", None, 160), ("Apple Music", None, 5)]
    assert told("day", artist="Other")[0] == ("2024-03-08", None, 100, None)
    assert asked(played, isrc=isrc(2), **period)["totals"]["streams"] == 5
    months = asked(played, by="month", since="2024-02-28", until="2024-03-08")["data"]
    assert [(each["group"], each["streams"], each["days_reported"]) for each in months] == [
        ("2024-03", 210, 7), ("2024-02", None, 0),
    ]  # fmt: skip
    assert all(len(each["imports"]) == 1 for each in asked(played, by="track", **period)["data"])


def test_a_point_says_which_imports_it_came_from_the_newest_first(client: httpx.Client) -> None:
    who = sign_in(client)
    for number in (1, 2):
        who.post("/api/v1/tracks", {"isrc": isrc(number), "title": "Song", "artist": "A"})
    ids = [
        plays(who, f"isrc,date,spotify_streams\n{isrc(number)},2024-03-01,{streams}\n")["data"]["id"]
        for number, streams in ((1, 1), (2, 2), (1, 3))
    ]
    for by in ("day", "month", "artist", "store"):
        [first, *_] = asked(who, by=by, since="2024-03-01", until="2024-03-01")["data"]
        assert first["imports"] == [ids[2], ids[1]], by
        assert first["streams"] == 5


def test_a_whole_catalogue_is_the_sum_of_its_tracks_over_months_and_the_days_at_their_edges(
    client: httpx.Client,
) -> None:
    who = sign_in(client)
    for number, artist in ((1, "Main"), (2, "Main"), (3, "Other")):
        who.post("/api/v1/tracks", {"isrc": isrc(number), "title": f"Song {number}", "artist": artist})
    days = [date(2023, 10, 20) + timedelta(days=each) for each in range(0, 170, 3)]
    rows = [f"{isrc(1)},{day},{index},{index % 3 or ''}" for index, day in enumerate(days)]
    rows += [f"{isrc(2)},{day},,{index + 5}" for index, day in enumerate(days[::2])]
    rows += [f"{isrc(3)},{day},{7 * index}," for index, day in enumerate(days[5:15])]
    # What is of no track of the catalogue counts nowhere, alone on a day or beside others.
    rows += [f"{isrc(9)},{day},999999,1" for day in (days[3], days[-1] - timedelta(days=1), days[20])]
    plays(who, "\n".join(["isrc,date,spotify_streams,apple_streams", *rows]))
    plays(who, f"isrc,date,spotify_streams\n{isrc(1)},{days[30]},1000\n{isrc(9)},{days[31]},5\n")
    period = {"since": "2024-01-12", "until": str(days[-1])}

    alone = {number: asked(who, by="day", isrc=isrc(number), **period) for number in (1, 2, 3)}
    everything = asked(who, by="day", **period)
    for part in ("totals", "previous"):
        for each in ("spotify_streams", "apple_streams", "streams"):
            assert everything[part][each] == sum(one[part][each] or 0 for one in alone.values()), (part, each)
    for index, day in enumerate(everything["data"]):
        parts = [one["data"][index] for one in alone.values()]
        known = [each["streams"] for each in parts if each["streams"] is not None]
        assert (day["group"], day["streams"]) == (parts[0]["group"], sum(known) if known else None)
        assert set(day["imports"]) == {name for each in parts for name in each["imports"]}, day
    for by, names in (("track", {isrc(1), isrc(2), isrc(3)}), ("artist", {"Main", "Other"})):
        rows_of = asked(who, by=by, **period)["data"]
        assert {each["group"] for each in rows_of} == names
        for each in rows_of:
            [same] = asked(who, by=by, **period, **{"isrc" if by == "track" else "artist": each["group"]})["data"]
            assert each == same


def test_the_period_is_the_last_thirty_days_that_are_known_unless_it_is_said(played: Visitor) -> None:
    found = asked(played)["totals"]
    assert (found["since"], found["until"], found["days"]) == ("2024-02-08", "2024-03-08", 30)
    assert asked(played, since="2024-03-08")["totals"]["until"] == "2024-03-08"
    assert asked(played, until="1901-01-05")["data"][-1]["group"] == "1901-01-01"
    assert asked(played, since="9999-12-01", until="9999-12-31")["totals"]["days"] == 31
    empty = asked(sign_in(played.http))
    assert (empty["totals"]["streams"], len(empty["not_reported"])) == (None, 30)
    for said in (
        {"since": "2024-03-08", "until": "2024-03-07"},
        {"since": "2023-01-01", "until": "2024-03-07"},
        {"until": "0001-01-05"},
        {"since": "1900-12-31", "until": "1901-01-05"},
        {"by": "mood"},
        {"since": "soon"},
        {"isrc": "nonsense"},
        {"limit": "0"},
    ):
        refused(played.get("/api/v1/analytics/plays", params=said), 400)
    refused(played.get("/api/v1/analytics/plays", params={"artist": "\0"}), 400)
    refused(played.get("/api/v1/analytics/plays", params={"isrc": isrc(9)}), 404, "no_such_track")


@pytest.mark.parametrize("by", ["day", "month", "track", "artist", "store"])
def test_plays_are_also_pictures(played: Visitor, by: str) -> None:
    answer = played.get("/api/v1/analytics/plays", params={"by": by, "format": "svg"})
    assert (answer.status_code, answer.headers["content-type"].startswith("image/svg")) == (200, True), answer.text


def test_growth_compares_what_was_reported_of_both() -> None:
    late = Counted(spotify=50, apple=None, spotify_days=5)
    assert late.grown(Counted(100, 70, 10, 10)) == 0
    assert late.grown(Counted(None, 70, 0, 10)) is None
    assert late.grown(Counted(0, None, 10, 0)) is None
    assert Counted(spotify=0, spotify_days=5).grown(Counted(spotify=10, spotify_days=5)) == -1


def test_what_stores_sum_up_is_told_and_drawn_and_made_of_nothing_else(played: Visitor) -> None:
    songs = table("spotify.songs", *({"song": f"Song {n}", "listeners": "5", "streams": f"{n}00", "saves": "-"}
                                     for n in (1, 2))).encode()  # fmt: skip
    found = sent(played, songs, filename="4bF2-songs-28day.csv", artist="Main", period_end="2024-02-29")
    other = sent(played, songs, filename="4bF2-songs-1year.csv", artist="Main", period_end="2023-12-31")

    def told(**said: str) -> Any:
        answer = played.get("/api/v1/analytics/snapshots", params=said)
        assert answer.status_code == 200, answer.text
        return answer.json()

    newest, *_ = told()["data"]
    assert newest == {
        "source": "spotify.songs", "period_start": "2024-02-02", "period_end": "2024-02-29", "name": "Song 2",
        "isrc": isrc(2), "listeners": 5, "streams": 200, "saves": None, "import_id": found["id"],
    }  # fmt: skip
    assert told(limit="3")["pagination"] == {"total": 4, "limit": 3, "offset": 0, "has_more": True}
    of_one = told(isrc=isrc(1))["data"]
    assert [(each["period_start"], each["import_id"]) for each in of_one] == [
        ("2024-02-02", found["id"]), ("2023-01-01", other["id"]),
    ]  # fmt: skip
    assert told(source="apple.songs")["data"] == told(name="Nobody")["data"] == []
    assert asked(played, since="2024-02-28", until="2024-02-29")["totals"]["streams"] is None
    picture = played.get("/api/v1/analytics/snapshots", params={"isrc": isrc(1), "format": "png"})
    assert picture.content.startswith(b"\x89PNG")
    refused(played.get("/api/v1/analytics/snapshots", params={"name": "\0"}), 400)
    assert sign_in(played.http).get("/api/v1/analytics/snapshots").json()["data"] == []


def test_a_chart_has_gaps_where_nobody_has_reported_and_places_without_bars(played: Visitor) -> None:
    def texts(path: str, **said: str) -> str:
        answer = played.get(path, params={"format": "svg", **said})
        assert answer.status_code == 200, answer.text
        return answer.text

    months = texts("/api/v1/analytics/plays", by="month", since="2024-02-01", until="2024-03-08")
    assert "2024-02 (not reported)" in months
    assert "<!-- 2024-03 -->" in months
    # Several songs are bars beside each other; a line would lead from one to another.
    assert "<!-- Song 2 -->" in texts("/api/v1/analytics/snapshots", source="spotify.songs")
    sent(played, table("distrokid.bank.v1", *(ROW | {"Sale Month": f"2023-0{month}"} for month in (1, 3))).encode())
    earned = texts("/api/v1/royalties")
    assert "2023-02 (not reported)" in earned
    assert "2023-01 (not reported)" not in earned
    line = texts(f"/api/v1/analytics/spotify/{isrc(1)}")
    whole = texts(f"/api/v1/analytics/spotify/{isrc(3)}")
    assert _strokes(line) > _strokes(whole), "the day that nobody has reported parts the line in two"


def _strokes(svg: str) -> int:
    """How often a pen is put down for the first line of a chart."""
    [path] = re.findall(r'<g id="line2d_\d+">\s*<path d="([^"]+)" clip-path[^>]+stroke: #1d8a4e', svg)[:1]
    return str(path).count("M ")
