"""Licences as rules."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from commands.licensing.licenses import (
    ActivateMachine,
    DeactivateMachine,
    ExpireLicense,
    ForgetLicense,
    IssueLicenses,
    NewLicense,
    NoteMachineSeen,
    RecogniseMachine,
    ReinstateLicense,
    ReleaseDeadMachines,
    ReleaseMachine,
    RevokeLicense,
    SetLicenseTerms,
    TransferLicense,
)
from commands.licensing.reactions import _due, _is_watched
from domain.kernel import Event
from domain.licensing.licenses import (
    CodeExpired,
    CodeNotFound,
    CodeRevoked,
    CodeTaken,
    License,
    LicenseExpired,
    LicenseForgotten,
    LicenseIssued,
    LicenseReinstated,
    LicenseRevoked,
    LicenseTermsSet,
    LicenseTransferred,
    LicenseWasTransferred,
    MachineActivated,
    MachineDeactivated,
    MachineRecognised,
    MachineSeen,
    MaxActivationsReached,
    NotActivated,
    TooManyActivations,
    TrialStarted,
    VersionNotCovered,
    licenses,
)
from domain.studio.projects import NoSuchProject, ProjectCreated
from tests.spec import NOW, given

DAY = timedelta(days=1)
project = ProjectCreated(project_id="P", workspace_id="w1", name="Warm Tube", created_at=NOW)


def issued(**more: Any) -> LicenseIssued:
    facts: dict[str, Any] = {
        "key_type": "project_test",
        "max_activations": 2,
        "issued_at": NOW,
        "project_id": "P",
        "code": "C",
    } | more
    return LicenseIssued(license_id="L", workspace_id="w1", **facts)


def on(machine: str, **more: Any) -> MachineActivated:
    facts: dict[str, Any] = {"activation_id": f"A-{machine}", "activated_at": NOW} | more
    return MachineActivated(license_id="L", workspace_id="w1", machine=machine, **facts)


def off(machine: str, because: Any = "asked") -> MachineDeactivated:
    return MachineDeactivated(
        license_id="L", activation_id=f"A-{machine}", machine=machine, because=because, deactivated_at=NOW
    )


def activate(machine: str, **more: Any) -> ActivateMachine:
    facts: dict[str, Any] = {"activation_id": f"A-{machine}", "churn_max": 5} | more
    return ActivateMachine(license_id="L", machine=machine, **facts)


def state(*events: Event) -> License:
    return licenses.fold(events)


revoked = LicenseRevoked(license_id="L", workspace_id="w1", revoked_at=NOW)


# --- issuing ----------------------------------------------------------------------------------------------------------


def issue(*codes: str, project_id: str = "P", workspace_id: str = "w1") -> IssueLicenses:
    items = tuple(NewLicense(license_id=code, code=code) for code in codes)
    return IssueLicenses(batch_id="B", workspace_id=workspace_id, project_id=project_id, items=items)


def test_codes_are_issued_all_together_and_once() -> None:
    def one(code: str) -> LicenseIssued:
        return LicenseIssued(
            license_id=code, workspace_id="w1", project_id="P", code=code, key_type="project_test",
            max_activations=2, issued_at=NOW,
        )  # fmt: skip

    given(project).when(issue("C", "D")).then(one("C"), one("D"))
    given(project, one("C")).when(issue("C", "D")).then(one("D"))


def test_a_code_that_is_somebody_else_s_spoils_the_whole_batch() -> None:
    theirs = LicenseIssued(
        license_id="D", workspace_id="w2", project_id="Q", code="D", key_type="purchase", max_activations=1,
        issued_at=NOW,
    )  # fmt: skip
    given(project, theirs).when(issue("C", "D")).refused(CodeTaken, code="D")


def test_codes_are_issued_for_ones_own_projects_only() -> None:
    given(project).when(issue("C", workspace_id="w2")).refused(NoSuchProject)
    given().when(issue("C")).refused(NoSuchProject)


# --- activating -------------------------------------------------------------------------------------------------------


def test_a_machine_takes_one_seat_however_often_it_asks() -> None:
    given(issued()).when(activate("mac")).then(on("mac"))
    given(issued(), on("mac")).when(activate("mac", activation_id="another")).then()


def test_a_license_with_every_seat_taken_is_refused() -> None:
    given(issued(), on("mac"), on("pc")).when(activate("laptop")).refused(MaxActivationsReached, max_activations=2)
    given(issued(), on("mac"), on("pc"), off("mac")).when(activate("laptop")).then(on("laptop"))


def test_a_code_opens_no_other_plug_in() -> None:
    given(issued()).when(activate("mac", project_id="Q")).refused(CodeNotFound)
    given(issued()).when(activate("mac", project_id="P")).then(on("mac"))
    given().when(activate("mac")).refused(CodeNotFound)


def test_revoked_before_expired_before_full() -> None:
    over = issued(expires_at=NOW)
    given(over, on("mac"), on("pc"), revoked).when(activate("laptop")).refused(CodeRevoked)
    given(over, on("mac"), on("pc")).when(activate("laptop")).refused(CodeExpired)
    given(issued(expires_at=NOW + DAY)).when(activate("mac")).then(on("mac"))


def test_a_trial_begins_with_its_first_activation_and_only_with_that() -> None:
    trial = issued(key_type="trial", trial_days=14)
    started = TrialStarted(license_id="L", started_at=NOW, ends_at=NOW + 14 * DAY)
    given(trial).when(activate("mac")).then(started, on("mac"))
    given(trial, started, on("mac")).when(activate("pc"), now=NOW + DAY).then(on("pc", activated_at=NOW + DAY))
    given(trial, started, on("mac")).when(activate("mac"), now=NOW + 14 * DAY).refused(CodeExpired)


def test_versions_released_before_stay_good_and_later_ones_are_not_covered() -> None:
    paid = issued(updates_until=NOW)
    given(paid).when(activate("mac", released_at=NOW)).then(on("mac"))
    given(paid).when(activate("mac", released_at=NOW + DAY)).refused(VersionNotCovered, updates_until="2026-03-01")
    assert state(paid, on("mac")).verdict("mac", NOW + 900 * DAY, released_at=NOW - DAY) == "valid"
    assert state(paid, on("mac")).verdict("mac", NOW, released_at=NOW + DAY) == "version_not_covered"


def test_a_machine_with_one_of_three_components_changed_keeps_its_seat_and_one_with_two_does_not() -> None:
    one_seat = issued(max_activations=1)
    mac = on("mac", fingerprints=("disk", "board", "cpu"))
    again = activate("mac, new disk", fingerprints=("new disk", "board", "cpu"))
    recognised = MachineRecognised(
        license_id="L", activation_id="A-mac", machine="mac, new disk", fingerprints=("new disk", "board", "cpu"),
        recognised_at=NOW,
    )  # fmt: skip
    given(one_seat, mac).when(again).then(recognised)
    given(one_seat, mac, recognised).when(again).then()
    # What was recognised is what is compared with next.
    later = activate("mac, new board", fingerprints=("new disk", "new board", "cpu"))
    given(one_seat, mac).when(later).refused(MaxActivationsReached)
    assert type(given(one_seat, mac, recognised).when(later).events[0]) is MachineRecognised
    # The same components in other places are other components, and fewer of them tell nothing.
    given(one_seat, mac).when(activate("x", fingerprints=("board", "disk", "cpu"))).refused(MaxActivationsReached)
    given(one_seat, mac).when(activate("x", fingerprints=("disk", "board"))).refused(MaxActivationsReached)
    given(one_seat, on("mac")).when(activate("x", fingerprints=())).refused(MaxActivationsReached)


def test_seats_are_not_handed_round_all_day() -> None:
    history: list[Event] = [issued(max_activations=1)]
    for n in range(6):
        history += [on(f"m{n}", activated_at=NOW + n * timedelta(hours=1)), off(f"m{n}")]
    evening = NOW + timedelta(hours=23)
    asked = given(*history).when(activate("m6"), now=evening)
    asked.refused(TooManyActivations, retry_after_seconds=3600)
    given(*history).when(activate("m6"), now=NOW + DAY).then(on("m6", activated_at=NOW + DAY))
    # Who is active already is not counted.
    given(*history[:-1]).when(activate("m5"), now=evening).then()


# --- deactivating -----------------------------------------------------------------------------------------------------


def test_a_machine_gives_its_seat_back_and_twice_is_no_error() -> None:
    wish = DeactivateMachine(license_id="L", machine="mac")
    given(issued(), on("mac")).when(wish).then(off("mac"))
    given(issued(), on("mac"), off("mac")).when(wish).then()
    given(issued(), on("mac"), revoked).when(wish).then(off("mac"))
    given(issued()).when(wish).refused(NotActivated)
    given().when(wish).refused(CodeNotFound)
    other = DeactivateMachine(license_id="L", machine="mac", project_id="Q")
    given(issued(), on("mac")).when(other).refused(CodeNotFound)


def test_a_lost_machine_is_released_by_its_activation_and_twice_is_no_error() -> None:
    wish = ReleaseMachine(license_id="L", activation_id="A-mac")
    given(issued(), on("mac")).when(wish).then(off("mac", "released"))
    given(issued(), on("mac"), off("mac")).when(wish).then()
    given(issued()).when(wish).refused(NotActivated)


# --- validating -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        ([], "code_not_found"),
        ([issued()], "not_activated"),
        ([issued(), on("mac")], "valid"),
        ([issued(), on("mac"), off("mac")], "deactivated"),
        ([issued(), on("mac"), off("mac"), on("mac")], "valid"),
        ([issued(), on("mac"), revoked], "code_revoked"),
        ([issued(), on("mac"), off("mac"), revoked], "code_revoked"),
        ([issued(expires_at=NOW), on("mac")], "expired"),
        ([issued(expires_at=NOW), revoked], "code_revoked"),
        ([issued(expires_at=NOW + DAY), on("mac")], "valid"),
    ],
)
def test_the_first_reason_in_the_documented_order_counts(history: list[Event], verdict: str) -> None:
    assert state(*history).verdict("mac", NOW) == verdict


def test_a_verdict_is_about_one_plug_in_and_what_it_needs() -> None:
    mine = state(issued(entitlements=("pro",)), on("mac"))
    assert mine.verdict("mac", NOW, project_id="P", entitlements=("pro",)) == "valid"
    assert mine.verdict("mac", NOW, project_id="Q") == "code_not_found"
    assert mine.verdict("mac", NOW, entitlements=("pro", "surround")) == "entitlement_missing"
    known = state(issued(), on("mac", fingerprints=("a", "b", "c")))
    assert known.verdict("new", NOW, fingerprints=("a", "b", "x")) == "valid"
    assert known.verdict("new", NOW, fingerprints=("a", "y", "x")) == "not_activated"


# --- what its project's people change ---------------------------------------------------------------------------------


def test_what_is_revoked_stays_so_until_it_is_reinstated_on_the_same_machines() -> None:
    wish = RevokeLicense(license_id="L", workspace_id="w1", reason="Refund")
    fact = LicenseRevoked(license_id="L", workspace_id="w1", revoked_at=NOW, reason="Refund")
    given(issued(), on("mac")).when(wish).then(fact)
    given(issued(), revoked).when(wish).then()
    again = ReinstateLicense(license_id="L", workspace_id="w1")
    back = LicenseReinstated(license_id="L", reinstated_at=NOW)
    given(issued(), on("mac"), revoked).when(again).then(back)
    given(issued()).when(again).then()
    assert state(issued(), on("mac"), revoked, back).verdict("mac", NOW) == "valid"


def test_others_change_nothing() -> None:
    for wish in (
        RevokeLicense(license_id="L", workspace_id="w2"),
        ReinstateLicense(license_id="L", workspace_id="w2"),
        SetLicenseTerms(license_id="L", workspace_id="w2", max_activations=9),
        TransferLicense(license_id="L", workspace_id="w2", to_license_id="M", to_code="D"),
    ):
        given(issued()).when(wish).refused(CodeNotFound)


def test_a_transferred_license_has_a_new_code_no_machines_and_the_same_end() -> None:
    wish = TransferLicense(license_id="L", workspace_id="w1", to_license_id="M", to_code="D")
    trial = issued(key_type="trial", trial_days=14, entitlements=("pro",), notes="Ann")
    started = TrialStarted(license_id="L", started_at=NOW, ends_at=NOW + 14 * DAY)
    gone = LicenseTransferred(license_id="L", to_license_id="M", transferred_at=NOW)
    new = LicenseIssued(
        license_id="M", workspace_id="w1", project_id="P", code="D", key_type="trial", max_activations=2,
        issued_at=NOW, notes="Ann", expires_at=NOW + 14 * DAY, entitlements=("pro",), transferred_from="L",
    )  # fmt: skip
    given(trial, started, on("mac")).when(wish).then(off("mac", "transferred"), gone, new)
    given(trial, gone, new).when(wish).then()
    given(trial, gone).when(activate("mac")).refused(CodeRevoked)
    given(trial, gone).when(ReinstateLicense(license_id="L", workspace_id="w1")).refused(LicenseWasTransferred)
    given(trial, gone).when(replace(wish, to_license_id="N")).refused(LicenseWasTransferred)
    given(trial, revoked).when(wish).refused(CodeRevoked)
    theirs = replace(new, workspace_id="w2")
    given(trial, theirs).when(wish).refused(CodeTaken, code="D")


def test_fewer_seats_keep_who_is_there_and_refuse_who_is_new() -> None:
    wish = SetLicenseTerms(license_id="L", workspace_id="w1", max_activations=1)
    fewer = LicenseTermsSet(
        license_id="L", workspace_id="w1", max_activations=1, expires_at=None, entitlements=(), updates_until=None,
        heartbeat_seconds=None, notes="", set_at=NOW,
    )  # fmt: skip
    given(issued(), on("mac"), on("pc")).when(wish).then(fewer)
    given(issued(), fewer).when(wish).then()
    history = issued(), on("mac"), on("pc"), fewer
    assert state(*history).verdict("mac", NOW) == state(*history).verdict("pc", NOW) == "valid"
    given(*history).when(activate("pc")).then()
    given(*history).when(activate("laptop")).refused(MaxActivationsReached, max_activations=1)
    given(*history, off("mac")).when(activate("laptop")).refused(MaxActivationsReached)


def test_null_takes_a_limit_away_and_what_is_left_out_stays() -> None:
    timed = issued(expires_at=NOW + DAY, entitlements=("pro",))
    [fact] = given(timed).when(SetLicenseTerms(license_id="L", workspace_id="w1", expires_at=None)).events
    assert isinstance(fact, LicenseTermsSet)
    assert (fact.expires_at, fact.entitlements, fact.max_activations) == (None, ("pro",), 2)


# --- machines that have to show themselves ----------------------------------------------------------------------------

MINUTE = timedelta(minutes=1)
watched = issued(heartbeat_seconds=600)
DEAD = NOW + 750 * timedelta(seconds=1)
alive = on("mac", dead_at=DEAD)


def seen(minutes: int) -> MachineSeen:
    at = NOW + minutes * MINUTE
    return MachineSeen(license_id="L", activation_id="A-mac", seen_at=at, dead_at=at + 750 * timedelta(seconds=1))


def test_signs_of_life_are_written_down_four_times_within_their_time() -> None:
    given(watched).when(activate("mac")).then(alive)
    wish = NoteMachineSeen(license_id="L", activation_id="A-mac")
    given(watched, alive).when(wish, now=NOW + 2 * MINUTE).then()
    given(watched, alive).when(wish, now=NOW + 3 * MINUTE).then(seen(3))
    given(watched, alive, seen(3)).when(wish, now=NOW + 5 * MINUTE).then()
    given(issued(), on("mac")).when(wish, now=NOW + DAY).then()
    given(watched, alive, off("mac")).when(wish, now=NOW + 3 * MINUTE).then()


def test_a_machine_that_gives_no_sign_gives_its_seat_back() -> None:
    wish = ReleaseDeadMachines(license_id="L")
    given(watched, alive).when(wish, now=DEAD - timedelta(seconds=1)).then()
    released = replace(off("mac", "dead"), deactivated_at=DEAD)
    given(watched, alive).when(wish, now=DEAD).then(released)
    given(watched, alive, seen(3)).when(wish, now=DEAD).then()
    given(watched, alive, released).when(wish, now=DEAD).then()
    given(issued(), on("mac")).when(wish, now=NOW + 999 * DAY).then()
    assert state(watched, alive, released).verdict("mac", DEAD) == "deactivated"


def test_who_has_to_show_themselves_from_now_on_has_the_whole_time() -> None:
    later = NOW + 30 * DAY
    terms = LicenseTermsSet(
        license_id="L", workspace_id="w1", max_activations=2, expires_at=None, entitlements=(), updates_until=None,
        heartbeat_seconds=600, notes="", set_at=later,
    )  # fmt: skip
    history = state(issued(), on("mac"), terms)
    assert history.dead(later + 749 * timedelta(seconds=1)) == []
    assert history.dead(later + 750 * timedelta(seconds=1)) == ["mac"]
    assert _is_watched(terms)
    assert _due(terms) == later + 750 * timedelta(seconds=1)
    assert not _is_watched(replace(terms, heartbeat_seconds=None))
    assert not _is_watched(on("mac"))
    assert (_is_watched(alive), _due(alive)) == (True, DEAD)


def test_a_licence_that_is_forgotten_is_none_at_all() -> None:
    gone = LicenseForgotten(license_id="L", forgotten_at=NOW)
    forget = ForgetLicense(license_id="L", workspace_id="w1")
    given(issued(), on("m1")).when(forget).then(gone)
    given(issued(), on("m1"), gone).when(forget).then()
    # The same code is another workspace's since.
    given(issued(), gone, replace(issued(), workspace_id="w2")).when(forget).then()
    assert state(issued(), on("m1"), gone) == License()
    given(issued(), on("m1"), gone).when(activate("m1")).refused(CodeNotFound)


def test_a_machine_is_recognised_when_it_has_changed_and_not_more_often_than_seats_may_be_taken() -> None:
    was = on("m1", fingerprints=("a", "b", "c"))
    changed = RecogniseMachine(license_id="L", machine="m2", fingerprints=("a", "b", "x"), churn_max=5)
    known = MachineRecognised(
        license_id="L", activation_id="A-m1", machine="m2", fingerprints=("a", "b", "x"), recognised_at=NOW
    )
    given(issued(), was).when(changed).then(known)
    given(issued(), was, known).when(changed).then()
    given(issued(), was).when(replace(changed, machine="m1", fingerprints=())).then()
    given(issued(), was).when(replace(changed, fingerprints=("a", "y", "x"))).then()
    given(issued(max_activations=1), was).when(replace(changed, churn_max=0)).then()


def test_the_end_of_a_license_is_written_down_once_for_each_end_it_has() -> None:
    expire = ExpireLicense(license_id="L")
    ended, over = issued(expires_at=NOW), LicenseExpired(license_id="L", expired_at=NOW)
    given(ended).when(expire).then(over)
    given(ended, over).when(expire).then()
    given(issued()).when(expire).then()
    given(issued(expires_at=NOW + DAY)).when(expire).then()
    # Put off, and over once more.
    put_off = LicenseTermsSet(
        license_id="L", workspace_id="w1", max_activations=2, expires_at=NOW, entitlements=(), updates_until=None,
        heartbeat_seconds=None, notes="", set_at=NOW,
    )  # fmt: skip
    first = LicenseExpired(license_id="L", expired_at=NOW - DAY)
    given(issued(expires_at=NOW - DAY), first, put_off).when(expire).then(over)
    trial = TrialStarted(license_id="L", started_at=NOW - 14 * DAY, ends_at=NOW)
    given(issued(key_type="trial", trial_days=14), on("m"), trial).when(expire).then(over)
    gone = LicenseTransferred(license_id="L", to_license_id="L2", transferred_at=NOW)
    given(ended, gone).when(expire).then()
