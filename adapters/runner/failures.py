"""Why a build ends without plug-ins: a code for machines and a sentence for people."""

from __future__ import annotations


class BuildFailed(Exception):
    """This build ends here; `code` says how for machines, the text for people."""

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        self.sentence = sentence
        super().__init__(sentence)


class Cancelled(Exception):
    """Somebody does not want this build any more, or another runner has it now."""
