"""Something we depend on refuses for longer than a moment: an error in the log, once, and a state that can be told."""

from __future__ import annotations

from time import monotonic

import structlog

log = structlog.get_logger(__name__)

#: A restart takes a moment, and so does a leader that is chosen anew; what lasts longer is somebody's business.
LASTING_SECONDS = 5.0
#: After so long without a refusal or a success nobody knows.
KNOWN_SECONDS = 60.0


class Trouble:
    """From the first refusal to the next success."""

    def __init__(self, part: str) -> None:
        self._part = part
        self._since: float | None = None
        self._noted = 0.0
        self._is_said = False

    @property
    def lasts(self) -> bool:
        """Whether it has refused for longer than a moment, and still did when it was last asked, not long ago."""
        return self._is_said and monotonic() - self._noted < KNOWN_SECONDS

    def note(self, problem: str) -> None:
        """It was refused, or did not answer."""
        now = self._noted = monotonic()
        if self._since is None:
            self._since = now
        if not self._is_said and now - self._since >= LASTING_SECONDS:
            self._is_said = True
            log.error("dependency.refuses", part=self._part, problem=problem, seconds=round(now - self._since, 1))

    def seen(self, state: str) -> None:
        """It was looked at: `ok`, or what is the matter with it."""
        if state == "ok":
            self.over()
        else:
            self.note(state)

    def over(self) -> None:
        """It was taken."""
        if self._since is None:
            return
        if self._is_said:
            log.info("dependency.recovered", part=self._part, seconds=round(monotonic() - self._since, 1))
        self._since, self._is_said = None, False
