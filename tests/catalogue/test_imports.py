"""Reports sent to a running service: taken in, asked back about, told row by row, and asked what they were worth."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from typing import Any

import httpx
import pytest

from tests.catalogue.reports import columns, table
from tests.catalogue.test_contract import isrc, refused
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Stack, eventually

ROW = {
    "Reporting Date": "2023-05-01", "Sale Month": "2023-02", "Store": "Spotify", "Artist": "Artist", "Title": "Song",
    "ISRC": isrc(1), "Quantity": "10", "Song/Album": "Song", "Country of Sale": "US", "Earnings (USD)": "1.5",
}  # fmt: skip


def bank(*rows: dict[str, str]) -> bytes:
    return table("distrokid.bank.v1", *(ROW | row for row in rows), delimiter="\t", end="\r\n").encode("cp1252")


def over(who: Visitor, answer: httpx.Response) -> dict[str, Any]:
    """An import once it is over, or asks."""
    assert answer.status_code == 202, answer.text
    where = f"/api/v1/imports/{answer.json()['data']['id']}"

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = who.get(where).json()["data"]
        return found if found["outcome"] else None

    found = eventually(look)
    assert found is not None
    return found


def sent(who: Visitor, content: bytes, **said: str) -> dict[str, Any]:
    """A report sent as the body itself."""
    headers = {"Content-Type": "application/octet-stream"}
    return over(who, who.post("/api/v1/imports", content=content, params=said, headers=headers))


@pytest.fixture
def label(client: httpx.Client) -> Visitor:
    who = sign_in(client)
    who.post("/api/v1/tracks", {"isrc": isrc(1), "title": "Song", "artist": "Artist"})
    return who


def test_a_form_or_the_body_itself_packed_or_not(label: Visitor) -> None:
    files = {"file": ("bank.tsv", bank({}, {"Country of Sale": "DE"}))}
    form = over(label, label.post("/api/v1/imports", files=files, data={"strict": "true"}))
    assert (form["outcome"], form["source"], form["filename"]) == ("imported", "distrokid.bank.v1", "bank.tsv")
    assert form["totals"] == {"USD": "3.0"}
    assert form["periods"] == ["2023-02"]
    assert form["unknown_isrcs"] == []
    body = sent(label, gzip.compress(bank({}, {"Country of Sale": "DE"})), filename="bank.tsv.gz")
    assert (body["counts"]["unchanged"], body["filename"]) == (2, "bank.tsv.gz")
    listed = label.get("/api/v1/imports").json()
    assert [each["id"] for each in listed["data"]] == [body["id"], form["id"]]
    assert listed["pagination"] == {"total": 2, "limit": 50, "offset": 0, "has_more": False}


def test_of_two_files_about_one_day_the_one_that_was_sent_last_counts_however_long_the_first_takes(
    label: Visitor,
) -> None:
    header = "isrc,date,spotify_streams,apple_streams\n"
    days = [f"2024-{month:02d}-{day:02d}" for month in range(1, 7) for day in range(1, 29)]
    long = header + "".join(
        f"{isrc(1 + number)},{day},1,\n" for number in range(300) for day in days
    )  # fmt: skip
    headers = {"Content-Type": "text/csv"}
    asked = [
        label.post("/api/v1/imports", content=text.encode(), params={"source": "own.daily"}, headers=headers)
        for text in (long, f"{header}{isrc(1)},{days[-1]},2,\n")
    ]
    assert label.post("/api/v1/analytics/import", content=f"{header}{isrc(2)},{days[-1]},3,\n".encode(),
                      headers=headers).json()["data"]["counts"]["changed"] == 1  # fmt: skip
    assert [over(label, each)["outcome"] for each in asked] == ["imported", "imported"]
    for code, streams in ((isrc(1), 2), (isrc(2), 3), (isrc(3), 1)):
        label.post("/api/v1/tracks", {"isrc": code, "title": "Song", "artist": "Artist"})
        newest = label.get(f"/api/v1/analytics/spotify/{code}?days=1").json()["data"]
        assert [each["spotify_streams"] for each in newest["historical_data"]] == [streams], code


def test_what_was_asked_is_answered_and_goes_on(label: Visitor) -> None:
    row = {"Transaction date": "2023-05-01", "Royalty Date": "2023-02", "Service": "S", "ISRC": isrc(1),
           "Quantity": "1", "Total": "2.5"}  # fmt: skip
    asked = sent(label, table("amuse.statement", row).encode())
    assert (asked["outcome"], asked["question"]) == ("needs_answer", "currency")
    where = f"/api/v1/imports/{asked['id']}/answers"

    refused(label.post(where, {"currency": "euros"}), 400)
    refused(sign_in(label.http).post(where, {"currency": "EUR"}), 404, "no_such_import")
    found = over(label, label.post(where, {"currency": "eur"}))
    assert (found["outcome"], found["totals"]) == ("imported", {"EUR": "2.5"})
    refused(label.post(where, {"currency": "USD"}), 409, "nothing_is_asked")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty_file"), (b"<html>", "html"), (b"a,b\n1,2\n", "unknown_format"), (b"PK\x03\x04", "unknown_format")],
)
def test_what_cannot_be_imported_is_refused_and_not_kept(
    label: Visitor, stack: Stack, content: bytes, reason: str
) -> None:
    found = sent(label, content)
    assert (found["outcome"], found["reason"]) == ("refused", reason)
    assert found["detail"]
    assert stack.objects(f"imports/{label.workspace_id}/") == []


def test_rows_that_are_wrong_can_be_corrected_and_imported_again(label: Visitor) -> None:
    found = sent(label, bank({}, {"Quantity": "ten", "Title": "=HYPERLINK()"}, {"Country of Sale": "DE"}))
    assert found["counts"]["rejected"] == 1
    where = f"/api/v1/imports/{found['id']}/rows"
    [row] = label.get(where).json()["data"]
    assert (row["line"], row["reason"], row["cells"]["Quantity"]) == (3, "quantity_invalid", "ten")

    answer = label.get(where, params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    header, cells = csv.reader(io.StringIO(answer.text))
    assert header == columns("distrokid.bank.v1")
    assert cells[header.index("Title")] == "'=HYPERLINK()"
    again = sent(label, answer.text.replace("ten", "10").replace("1.5", "2.5").encode())
    assert (again["counts"]["accepted"], again["counts"]["missing"]) == (1, 1)
    refused(label.get(f"{where}?kind=odd"), 400)
    refused(sign_in(label.http).get(where), 404, "no_such_import")


def test_odd_rows_of_several_files_in_an_archive_are_told_page_by_page(label: Visitor) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for number in range(3):
            wrong = ({"Quantity": f"{word}-{number}"} for word in ("ten", "eleven"))
            packed.writestr(f"bank-{number}.tsv", bank(*wrong))
    found = sent(label, archive.getvalue(), filename="bank.zip")
    assert found["counts"]["rejected"] == 6

    told: list[str] = []
    after: int | None = 0
    while after is not None:
        page = label.get(f"/api/v1/imports/{found['id']}/rows", params={"limit": 1, "after": after}).json()
        told += [each["cells"]["Quantity"] for each in page["data"]]
        after = page["next"]
    assert sorted(told) == sorted(f"{word}-{number}" for word in ("ten", "eleven") for number in range(3))


def test_what_a_report_says_about_buyers_is_not_kept(label: Visitor, stack: Stack) -> None:
    header = [*columns("bandcamp.raw"), "buyer name", "buyer email", "ship to street"]
    row = {"date": "1/2/20 4:49am", "item type": "track", "item name": "Song", "artist": "Artist", "currency": "USD",
           "quantity": "1", "net amount": "0.85", "buyer name": "Maria Buyer", "buyer email": "maria@example.com",
           "ship to street": "Secret Street 1"}  # fmt: skip
    found = sent(label, table("bandcamp.raw", row, row | {"item name": "Other"}, header=header).encode("utf-16"))

    assert (found["outcome"], found["source"], found["totals"]) == ("imported", "bandcamp.raw", {"USD": "1.70"})
    [key] = stack.objects(f"imports/{label.workspace_id}/")
    kept = stack.read_object(key).decode()
    rows = label.get(f"/api/v1/imports/{found['id']}/rows?kind=queued").text
    for secret in ("Maria", "maria@", "Secret Street", "buyer"):
        assert secret not in kept + rows + stack.log
    assert "Song" in kept


def test_a_title_without_a_code_waits_for_somebody_who_knows(label: Visitor) -> None:
    report = bank({"ISRC": "", "Title": "Demo"}, {"ISRC": "", "Title": "SONG"})
    found = sent(label, report)
    assert (found["counts"]["queued"], found["counts"]["accepted"]) == (1, 1)
    assert found["resolved"] == [{"title": "SONG", "artist": "Artist", "isrc": isrc(1), "rows": 1}]
    [title] = label.get("/api/v1/unresolved").json()["data"]
    assert (title["artist"], title["title"], title["reason"], title["rows"]) == ("Artist", "Demo", "title_unknown", 1)

    where = f"/api/v1/unresolved/{title['id']}/resolve"
    refused(label.post(where, {"isrc": "nonsense"}), 400, "bad_isrc")
    refused(sign_in(label.http).post(where, {"isrc": isrc(1)}), 404, "no_such_title")
    assert label.post(where, {"isrc": isrc(1)}).json()["data"]["isrc"] == isrc(1)
    assert label.get("/api/v1/unresolved").json()["data"] == []
    [earned] = label.get("/api/v1/royalties", params={"by": "isrc"}).json()["data"]
    assert (earned["group"], earned["amount"]) == (isrc(1), "3.0")
    later = sent(label, bank({"ISRC": "", "Title": "Demo", "Reporting Date": "2023-06-01"}))
    assert (later["counts"]["queued"], later["counts"]["accepted"]) == (0, 1)


def test_earnings_are_told_by_currency_and_never_added_across(label: Visitor) -> None:
    sent(label, bank({}, {"Country of Sale": "DE", "Sale Month": "2023-03", "Store": "Apple"}))
    euros = {"Sales date": "2023-02", "Statement date": "2023-05-01", "ISRC": isrc(1), "Shop": "Spotify",
             "Quantity": "4", "Revenue EUR": "0.1"}  # fmt: skip
    sent(label, table("imusician.sales", euros).encode())

    def earned(**asked: str) -> list[tuple[Any, ...]]:
        rows = label.get("/api/v1/royalties", params=asked).json()["data"]
        return [(each["group"], each["currency"], each["amount"], each["units"]) for each in rows]

    assert earned() == [
        ("2023-03", "USD", "1.5", 10), ("2023-02", "EUR", "0.1", 4), ("2023-02", "USD", "1.5", 10),
    ]  # fmt: skip
    assert earned(by="store", since="2023-03-01") == [("Apple", "USD", "1.5", 10)]
    assert earned(by="country", isrc=isrc(1), until="2023-02-28") == [
        ("US", "USD", "1.5", 10), (None, "EUR", "0.1", 4),
    ]  # fmt: skip
    refused(label.get("/api/v1/royalties?by=mood"), 400)
    assert earned(by="artist") == [("Artist", "USD", "3.0", 20), ("Artist", "EUR", "0.1", 4)]
    empty = {"by": "month", "totals": [], "not_reported": [], "data": []}
    assert sign_in(label.http).get("/api/v1/royalties").json() == empty


def test_what_was_earned_is_compared_with_what_was_before_unless_that_is_not_reported(label: Visitor) -> None:
    def month(sale: str, amount: str, **more: str) -> dict[str, str]:
        return {"Sale Month": sale, "Earnings (USD)": amount, **more}

    first = sent(label, bank(month("2023-01", "1"), month("2023-02", "3"), month("2023-04", "4", ISRC=isrc(2))))
    euros = {"Sales date": "2023-02", "Statement date": "2023-05-01", "ISRC": isrc(1), "Quantity": "4"}
    second = sent(label, table("imusician.sales", euros | {"Revenue EUR": "0.1"}).encode())

    def told(**asked: str) -> Any:
        answer = label.get("/api/v1/royalties", params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    february = told(since="2023-02-01", until="2023-02-28")
    assert february["totals"] == [
        {"currency": "USD", "amount": "3", "units": 10, "previous": "1", "growth": 2.0},
        {"currency": "EUR", "amount": "0.1", "units": 4, "previous": "0", "growth": None},
    ]
    assert [(each["currency"], each["imports"]) for each in february["data"]] == [
        ("EUR", [second["id"]]), ("USD", [first["id"]]),
    ]  # fmt: skip
    # March is not reported: whether April has more than it, nobody knows, and whether March has less than February.
    for since, until, missing in (
        ("2023-04-01", "2023-04-30", []), ("2023-03-01", "2023-03-31", ["2023-03"]),
        ("2023-03-01", "2023-04-30", ["2023-03"]),
    ):  # fmt: skip
        found = told(since=since, until=until)
        assert found["not_reported"] == missing
        assert all(each["growth"] is None for each in found["totals"])
    assert told(until="2023-06-30")["not_reported"] == ["2023-03", "2023-05", "2023-06"]
    # A song that is not in a report has earned nothing there: its months are reported.
    assert told(until="2023-04-30", isrc=isrc(2))["not_reported"] == ["2023-03"]
    assert told(since="0001-01-01", until="9999-12-31")["totals"][0]["previous"] is None
    assert told(since="2023-02-15", until="2023-03-14", by="store")["data"] == []


MINE: dict[str, Any] = {
    "kind": "royalties",
    "columns": {"sale": ["Month"], "isrc": ["Code"], "units": ["Plays"], "amount": ["Paid out", "Paid"],
                "country": ["Land"]},
    "currency": "eur",
    "store": "My Shop",
}  # fmt: skip
SHOP = {"Month": "2023-02", "Code": isrc(1), "Plays": "10", "Paid": "0,50", "Land": "DE"}


def put(who: Visitor, name: str, mapping: Any) -> httpx.Response:
    return who.http.put(f"/api/v1/import-mappings/{name}", json=mapping, headers=who.headers)


def test_a_report_that_nobody_knows_is_read_by_a_mapping_of_its_people(label: Visitor) -> None:
    report = table("", SHOP, header=list(SHOP), delimiter=";").encode()
    assert sent(label, report)["reason"] == "unknown_format"
    kept = put(label, "my-shop", MINE)
    assert kept.status_code == 200, kept.text
    assert kept.json()["data"]["currency"] == "EUR"
    assert put(label, "my-shop", MINE).json() == kept.json()

    found = sent(label, report)
    assert (found["outcome"], found["source"], found["totals"]) == ("imported", "my-shop", {"EUR": "0.50"})
    [earned] = label.get("/api/v1/royalties", params={"by": "store"}).json()["data"]
    assert (earned["group"], earned["units"]) == ("My Shop", 10)
    # What was imported is known by its own mapping, whatever becomes of that.
    changed = MINE | {"columns": MINE["columns"] | {"amount": ["Plays"]}}
    assert put(label, "my-shop", changed).status_code == 200
    assert label.get(f"/api/v1/imports/{found['id']}").json()["data"]["options"]["mapping"]["currency"] == "EUR"
    assert sent(label, report)["totals"] == {"EUR": "10"}

    assert [each["name"] for each in label.get("/api/v1/import-mappings").json()["data"]] == ["my-shop"]
    assert label.delete("/api/v1/import-mappings/my-shop").json() == {"success": True}
    refused(label.get("/api/v1/import-mappings/my-shop"), 404, "no_such_mapping")
    assert sent(label, report)["reason"] == "unknown_format"


def test_a_source_that_is_named_is_the_only_one_that_is_tried(label: Visitor) -> None:
    assert sent(label, bank({}), source="distrokid.bank.v1")["outcome"] == "imported"
    assert sent(label, bank({}), source="cdbaby.sales")["reason"] == "unknown_format"
    refused(label.post("/api/v1/imports", content=bank({}), params={"source": "nowhere"}), 400, "bad_mapping")


def test_an_encoding_that_is_not_read_is_refused_with_those_that_are(label: Visitor) -> None:
    said = {"encoding": "no such \u00da"}
    for sent in (
        label.post("/api/v1/imports", content=bank({}), params=said),
        label.post("/api/v1/imports", files={"file": ("report.csv", bank({}))}, data=said),
    ):
        assert (sent.status_code, "utf-8" in sent.text) == (400, True), sent.text


def test_mappings_that_could_not_read_anything_are_refused(label: Visitor) -> None:
    for name, mapping in (
        ("Not-Small", MINE),
        ("distrokid.bank.v1", MINE),
        ("mine", MINE | {"columns": {}}),
        ("mine", MINE | {"columns": {"mood": ["Mood"]}}),
        ("mine", MINE | {"columns": {"amount": ["Paid"]}}),
        ("mine", MINE | {"columns": {"amount": [" "], "isrc": ["Code"]}}),
        ("mine", MINE | {"columns": {"amount": ["x" * 201], "isrc": ["Code"]}}),
        ("mine", MINE | {"columns": {"amount": ["\0"], "isrc": ["Code"]}}),
        ("mine", MINE | {"kind": "mood"}),
        ("mine", MINE | {"currency": "EURO"}),
        ("mine", {}),
    ):
        refused(put(label, name, mapping), 400)
    assert label.get("/api/v1/import-mappings").json() == {"data": []}
    put(label, "mine", MINE)
    stranger = sign_in(label.http)
    refused(stranger.get("/api/v1/import-mappings/mine"), 404, "no_such_mapping")
    refused(stranger.delete("/api/v1/import-mappings/mine"), 404, "no_such_mapping")
