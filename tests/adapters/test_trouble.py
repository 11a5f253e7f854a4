"""What lasts is said once, and that it is over once."""

from __future__ import annotations

import pytest
from structlog.testing import CapturingLogger

from adapters import trouble
from adapters.trouble import Trouble


def test_a_trouble_is_said_once_when_it_lasts_and_once_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(trouble, "log", log)
    now = 100.0
    monkeypatch.setattr(trouble, "monotonic", lambda: now)
    each = Trouble("postgres")
    each.over()
    each.note("a moment")
    each.over()
    assert not each.lasts
    for _ in range(4):
        each.note("no room")
        now += 3
    assert each.lasts
    now += 61
    assert not each.lasts  # nobody has asked for a while
    each.note("no room")
    assert each.lasts
    each.over()
    assert not each.lasts
    assert [call.args[0] for call in log.calls] == ["dependency.refuses", "dependency.recovered"]
