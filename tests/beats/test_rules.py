"""What may become of a beat and of its versions, as rules."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from adapters.beats.spreadsheet import NotASpreadsheet, read
from adapters.log.memory import MemoryLedger
from commands.beats.beats import (
    AdvanceGeneration,
    CancelGenerations,
    ChoosePrimary,
    CompleteTrack,
    FailGeneration,
    NewGeneration,
    RequestGeneration,
)
from commands.kernel import Command, execute
from commands.settings import Service
from domain.beats.beats import (
    VERSIONS_MAX,
    Beat,
    BeatHasAudio,
    BeatNotFound,
    BriefIsUnplayable,
    GenerationCancelled,
    NothingToCancel,
    TooManyVersions,
    VersionNotFound,
    beats,
)
from domain.billing.quotas import MonthlyQuotaExceeded
from domain.kernel import Refusal
from infra.settings import SettingsError, read_settings
from projections.beats.beats import BeatDocument, beat_documents
from tests.beats.catalog import spreadsheet
from tests.beats.examples import (
    created,
    finished,
    first_track,
    new_beat,
    once_more,
    second_track,
    started,
    uploaded,
)
from tests.spec import CONTEXT, NOW

only_wished_for = replace(created, beats=(replace(new_beat, generation=None),), once=None)


class After:
    """What a beat is after some wishes: as rules see it, as it is shown, and why the last wish was refused."""

    def __init__(self, *wishes: Command) -> None:
        self.ledger = MemoryLedger(lambda: NOW)
        self.refusal: Refusal | None = None
        asyncio.run(self._ask(wishes))

    async def _ask(self, wishes: tuple[Command, ...]) -> None:
        for wish in wishes:
            try:
                await execute(wish, self.ledger, NOW, CONTEXT)
            except Refusal as refusal:
                self.refusal = refusal

    @property
    def state(self) -> Beat:
        """As rules see it."""
        return asyncio.run(self.ledger.state(beats, "beat-1"))

    @property
    def shown(self) -> BeatDocument:
        """As it is shown."""
        found = beat_documents.fold("beat-1", [each.event for each in self.ledger.all])
        assert found is not None
        return found


def request(number: int, **more: object) -> RequestGeneration:
    generation = NewGeneration(generation_id=f"gen-{number}", version_id=f"ver-{number}0", provider="band")
    return RequestGeneration(beat_id="beat-1", workspace_id="w1", generation=generation, **more)  # type: ignore[arg-type]


def track(generation: int, number: int) -> CompleteTrack:
    return replace(first_track, generation_id=f"gen-{generation}", track=number, version_id=f"second-of-{generation}")


def numbers(after: After) -> list[tuple[int, str, str]]:
    found: list[tuple[int, str, str]] = [(each.number, each.source, each.status) for each in after.state.versions]
    assert found == [(each.number, each.source, each.status) for each in after.shown.versions]
    return found


def primary(after: After) -> int:
    """The number of the one primary, on which rules and read model agree."""
    shown = [each.number for each in after.shown.versions if each.id == after.shown.primary_id]
    assert len(shown) == 1
    assert after.state.primary is not None
    assert [after.state.primary.number] == shown
    return shown[0]


def test_a_beat_that_was_only_wished_for_is_pending() -> None:
    assert After(only_wished_for).shown.status == "pending"


def test_a_beat_that_is_made_at_once_is_processing_while_its_version_is_pending() -> None:
    after = After(created)
    assert (after.shown.status, after.shown.versions[0].status) == ("processing", "pending")
    after = After(created, started)
    assert (after.shown.status, after.shown.versions[0].status) == ("processing", "processing")


def test_the_second_track_is_a_version_of_its_own_and_the_alternate_of_the_primary() -> None:
    after = After(created, started, first_track, second_track, finished)

    assert numbers(after) == [(1, "suno", "completed"), (2, "suno", "completed")]
    assert primary(after) == 1
    assert after.shown.alternate is not None
    assert (after.shown.alternate.number, after.shown.alternate.duration_seconds) == (2, 182.3)


def test_numbers_are_unique_whoever_comes_first() -> None:
    """A second generation is asked for before the second track of the first one is there."""
    after = After(created, first_track, once_more, second_track, track(2, 2), track(2, 1))

    assert [each.number for each in after.state.versions] == [1, 2, 3, 4]
    assert {each.number: each.generation_id for each in after.state.versions} == {
        1: "gen-1", 2: "gen-2", 3: "gen-1", 4: "gen-2",
    }  # fmt: skip
    assert numbers(after)


def test_a_version_that_is_to_be_the_primary_becomes_it_when_it_is_there_and_not_before() -> None:
    begun = (created, first_track, second_track, finished)
    assert primary(After(*begun, once_more)) == 1
    assert primary(After(*begun, once_more, track(2, 1))) == 3
    assert primary(After(*begun, request(2), track(2, 1), track(2, 2))) == 1


def test_a_version_that_comes_while_the_primary_has_failed_becomes_it() -> None:
    failed = FailGeneration(beat_id="beat-1", generation_id="gen-1", reason="It took too long.")
    after = After(created, failed, request(2, first=True), track(2, 1))

    assert primary(after) == 2
    assert numbers(after) == [(1, "suno", "failed"), (2, "suno_retry", "completed")]
    # So does one that nobody wanted as the primary: there is no other.
    assert primary(After(created, failed, request(2), track(2, 1))) == 2
    assert After(created, failed).shown.status == "failed"
    assert After(created, failed).shown.versions[0].problem == "It took too long."


@pytest.mark.parametrize(
    "ending",
    [
        FailGeneration(beat_id="beat-1", generation_id="gen-1", reason="It took too long."),
        CancelGenerations(beat_id="beat-1", workspace_id="w1"),
    ],
    ids=["failed", "cancelled"],
)
def test_a_version_that_is_there_stands_for_the_beat_when_the_primary_never_comes(ending: Command) -> None:
    after = After(created, request(2), track(2, 1), ending)

    assert primary(after) == 2
    assert after.shown.status == "completed"
    assert primary(After(created, first_track, request(2), ending)) == 1


@pytest.mark.parametrize("there", [[created], [created, first_track, second_track, finished]])
def test_what_has_audio_or_is_being_made_is_not_made_for_the_first_time(there: list[Command]) -> None:
    assert type(After(*there, request(2, first=True)).refusal) is BeatHasAudio


def test_what_was_cancelled_is_as_if_it_had_never_been_asked_for() -> None:
    cancel = CancelGenerations(beat_id="beat-1", workspace_id="w1")
    after = After(created, started, cancel, AdvanceGeneration(
        beat_id="beat-1", generation_id="gen-1", track=1, stage="mastering"), first_track, finished)  # fmt: skip

    assert type(after.ledger.all[-1].event) is GenerationCancelled
    assert after.shown.status == "pending"
    assert After(created, cancel, request(2, first=True)).refusal is None
    assert type(After(only_wished_for, cancel).refusal) is NothingToCancel


def test_only_what_is_there_can_be_chosen() -> None:
    def choose(number: int) -> ChoosePrimary:
        return ChoosePrimary(beat_id="beat-1", workspace_id="w1", version_number=number)

    assert primary(After(created, first_track, second_track, choose(2))) == 2
    assert type(After(created, choose(1)).refusal) is VersionNotFound
    assert type(After(created, first_track, choose(7)).refusal) is VersionNotFound


def test_another_workspace_s_beat_is_like_one_that_is_not_there() -> None:
    assert type(After(created, replace(request(2), workspace_id="w2")).refusal) is BeatNotFound
    assert type(After(created, CancelGenerations(beat_id="beat-1", workspace_id="w2")).refusal) is BeatNotFound


def test_generations_are_counted_against_the_month_and_wishes_are_not() -> None:
    two = replace(created, monthly_limit=1)
    assert After(two).refusal is None
    refused = After(two, request(2, monthly_limit=1)).refusal
    assert type(refused) is MonthlyQuotaExceeded
    assert str(refused) == "Monthly quota exceeded. 1 generations per month."
    assert After(replace(only_wished_for, monthly_limit=0)).refusal is None


def test_a_beat_has_so_many_versions_and_no_more_with_the_second_tracks_that_are_to_come() -> None:
    half = VERSIONS_MAX // 2
    full = (created, *(request(number) for number in range(2, half + 1)))
    made = [track(generation, number) for generation in range(1, half + 1) for number in (1, 2)]
    over = [replace(finished, generation_id=f"gen-{generation}") for generation in range(1, half + 1)]

    assert After(*full).refusal is None
    assert type(After(*full, request(half + 1)).refusal) is TooManyVersions
    assert type(After(*full, uploaded).refusal) is TooManyVersions
    after = After(*full, *made)
    assert (after.refusal, max(each.number for each in after.state.versions)) == (None, VERSIONS_MAX)
    assert type(After(*full, *made, *over, uploaded).refusal) is TooManyVersions
    # What is cancelled brings no second track, so there is room for one more half.
    one_short = After(*full, CancelGenerations(beat_id="beat-1", workspace_id="w1"), request(half + 1), uploaded)
    assert (one_short.refusal, one_short.state.versions_to_come) == (None, half + 3)


@pytest.mark.parametrize(("field", "value"), [("seconds", 7.0), ("seconds", 601.0), ("bpm", 49), ("bpm", 201)])
def test_what_nobody_can_play_is_refused(field: str, value: float) -> None:
    unplayable = replace(new_beat, brief=replace(new_beat.brief, **{field: value}))
    assert type(After(replace(created, beats=(unplayable,))).refusal) is BriefIsUnplayable


# --- who may ask ------------------------------------------------------------------------------------------------------


def test_open_to_others_is_nothing_that_happens_by_accident() -> None:
    asked = {"LEDGERLINE_BEATS_AUTH": "open"}
    assert read_settings(asked)[Service].is_loopback
    with pytest.raises(SettingsError, match="LEDGERLINE_BEATS_OPEN_PUBLIC=true"):
        read_settings({**asked, "LEDGERLINE_HOST": "0.0.0.0"})
    with pytest.raises(SettingsError, match="LEDGERLINE_BEATS_OPEN_PUBLIC=true"):
        read_settings(asked, host="192.0.2.7")
    assert read_settings({**asked, "LEDGERLINE_HOST": "0.0.0.0", "LEDGERLINE_BEATS_OPEN_PUBLIC": "true"})
    assert read_settings({"LEDGERLINE_HOST": "0.0.0.0"})


# --- spreadsheets -----------------------------------------------------------------------------------------------------

STUDY = ("Lofi Chill Study Beat", "Lofi", "Chill", "", "Study", "lofi, chill; Study,lofi", "A calm beat.")


def test_a_spreadsheet_is_read_by_its_header_whatever_the_order() -> None:
    order = (6, 3, 0, 1, 5, 2, 4)
    header = ("Category Name", "Genre", "Style", "Mood", "Use-case", "Tags", "Prompt")
    for rows in (
        spreadsheet(STUDY),
        spreadsheet([STUDY[place] for place in order], header=[header[place] for place in order]),
    ):
        [template] = read(rows).templates
        assert (template.category, template.genre, template.style, template.mood) == (
            "Lofi Chill Study Beat", "LoFi", "Chill", "",
        )  # fmt: skip
        assert template.tags == ("lofi", "chill", "study")
        assert template.prompt == "A calm beat."


def test_rows_that_are_no_template_are_told_with_the_reason() -> None:
    found = read(
        spreadsheet(
            STUDY,
            ("Polka Party", "Polka", "", "", "", "", ""),
            ("", "Trap", "", "", "", "", ""),
            ("Long Tag", "Trap", "", "", "", f"short, {'拍' * 101}", ""),
        )
    )

    assert [each.category for each in found.templates] == ["Lofi Chill Study Beat"]
    assert [each.row for each in found.refused] == [3, 4, 5]
    assert "Polka" in found.refused[0].reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not xml",
        b"<a/>",
        spreadsheet(STUDY)[:-20],
        spreadsheet(header=("Name", "Colour")),
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        spreadsheet(*(STUDY for _ in range(600))),
        spreadsheet(STUDY).replace(b"<Workbook", b'<!DOCTYPE Workbook [<!ENTITY a "aaa">]><Workbook', 1),
    ],
)
def test_what_is_no_catalogue_is_refused(data: bytes) -> None:
    with pytest.raises(NotASpreadsheet):
        read(data)
