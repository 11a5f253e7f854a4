"""A build's log: any bytes in, clean UTF-8 out, head and tail of what is too long, and the first error in it."""

from __future__ import annotations

import codecs
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator

#: Errors of compilers, linkers and build systems, the more telling ones first.
ERRORS = (
    re.compile(r"^.{1,512}?[:(]\d+(?:[:,]\d+)?\)?\s?: (?:fatal )?error\b.*"),
    re.compile(r"^(?:.{1,256}: )?(?:undefined reference to|undefined symbol:|ld(?:\.\w+)?: |collect2: error).*"),
    re.compile(r"^.{0,512}\berror LNK\d+: .*"),
    re.compile(r"^(?:CMake Error|.{0,256}meson\.build:\d+:\d+: ERROR: |ERROR: ).*"),
    re.compile(r"^(?:make|ninja)(?:\[\d+\])?: (?:\*\*\* |error: ).*"),
    re.compile(r"^npm (?:ERR!|error) (?!(?:code|errno|syscall|path|command|signal|A complete log)\b).*\w.*"),
    re.compile(r"^(?:The configuration failed|Could not find ).*"),
)
#: How far [ 45%] of CMake, [12/40] of Ninja and of waf have come.
PERCENT = re.compile(r"^\[ *(\d{1,3})%\]")
PART = re.compile(r"^\[ *(\d{1,7})/(\d{1,7})\]")
COLOURS = re.compile(r"\x1b\[[0-9;:]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\r")
#: Of longer lines only the beginning is looked at.
LOOKED_AT = 4096


def _parts(secret: str) -> Iterator[str]:
    """A secret, and the lines of one that has several, which programs print one by one; what is short is none."""
    if len(secret) >= 4:
        yield secret
        yield from (line for line in secret.splitlines() if len(line) >= 8)


class Log:
    """Takes what a build prints, from one thread, and holds what has not been sent yet, for another.

    Past `head` bytes only the last `tail` bytes are kept, and come when the log is closed, after a line that says how
    much is missing. Texts in `masked` never get through.
    """

    def __init__(self, *, head: int = 8 << 20, tail: int = 2 << 20, masked: Iterable[str] = ()) -> None:
        self.first_error = ""
        self.progress = 0
        self.written = 0
        self._rank = len(ERRORS)
        self._masked: list[str] = []
        self._hold = 0
        self._held = ""
        self.mask(*masked)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._lock = threading.Lock()
        self._ready = bytearray()
        self._head_left = head
        self._tail_max = tail
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._dropped = 0

    def write(self, printed: bytes) -> None:
        """Take bytes, of whatever kind and length."""
        self._take(self._decoder.decode(printed))

    def mask(self, *texts: str) -> None:
        """Let these texts never through from now on, either."""
        self._masked = sorted(
            {*self._masked, *(each for text in texts for each in _parts(text))}, key=len, reverse=True
        )
        self._hold = max((len(each) for each in self._masked), default=1) - 1

    def say(self, sentence: str) -> None:
        """Add a line of the runner's own."""
        self.flush()
        self._take(f"==> {sentence}\n")
        self.flush()

    def flush(self) -> None:
        """Let through what was held back because it might have become something else."""
        self._take(self._decoder.decode(b"", final=True))
        self._decoder.reset()
        held, self._held = self._held, ""
        self._keep(held)

    def close(self) -> None:
        """Let through the tail; nothing is taken afterwards."""
        self.flush()
        self._look(self._line)
        self._line = ""
        with self._lock:
            if self._dropped:
                self._ready += f"\n==> {self._dropped} bytes are left out here.\n".encode()
            for piece in self._tail:
                self._ready += piece
            self._tail.clear()

    def take(self, at_most: int) -> bytes:
        """The next bytes to send, none when there are none yet."""
        with self._lock:
            piece = bytes(self._ready[:at_most])
            del self._ready[:at_most]
            return piece

    def _take(self, text: str) -> None:
        text = self._held + text.replace("\0", "")
        for secret in self._masked:
            text = text.replace(secret, "***")
        cut = len(text) - self._hold
        self._held = text[max(cut, 0) :]
        self._keep(text[: max(cut, 0)])

    def _keep(self, text: str) -> None:
        if not text:
            return
        self._scan(text)
        piece = text.encode()
        with self._lock:
            self.written += len(piece)
            if self._head_left:
                self._ready += piece[: self._head_left]
                kept = min(len(piece), self._head_left)
                self._head_left -= kept
                piece = piece[kept:]
            if not piece:
                return
            if len(piece) > self._tail_max:
                self._dropped += len(piece) - self._tail_max
                piece = piece[-self._tail_max :]
            self._tail.append(piece)
            self._tail_bytes += len(piece)
            while self._tail_bytes > self._tail_max:
                gone = self._tail.popleft()
                excess = min(len(gone), self._tail_bytes - self._tail_max)
                self._tail_bytes -= excess
                self._dropped += excess
                if excess < len(gone):
                    self._tail.appendleft(gone[excess:])

    def _scan(self, text: str) -> None:
        *lines, rest = text.split("\n")
        for line in lines:
            self._look(self._line + line)
            self._line = ""
        self._line = (self._line + rest)[:LOOKED_AT]

    def _look(self, line: str) -> None:
        line = COLOURS.sub("", line[:LOOKED_AT]).strip()
        if found := PERCENT.match(line):
            self.progress = min(int(found[1]), 100)
        elif found := PART.match(line):
            self.progress = min(100 * int(found[1]) // max(int(found[2]), 1), 100)
        for rank, pattern in enumerate(ERRORS[: self._rank]):
            if pattern.match(line):
                self._rank = rank
                self.first_error = line[:500]
                return
