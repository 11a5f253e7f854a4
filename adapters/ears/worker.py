"""The child process in which foreign bytes are decoded: it can read files and burn a bounded share of time and memory.

It is started by `adapters.ears.listening` and speaks length-prefixed MessagePack over its pipes: one `Job` in, any
number of `Progress` out, then exactly one of `Heard`, `Refused` or `Stumbled`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
import traceback
from pathlib import Path
from typing import BinaryIO

import msgspec

from domain.analyses.findings import Analysis, Unreadable

#: The four bytes before each message: its length, little-endian.
PREFIX = struct.Struct("<I")

_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWNET = 0x4000_0000
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


class Job(msgspec.Struct, frozen=True):
    """Listen to this file within so many seconds of processor time."""

    #: As the system has it: names of old files are not always text.
    path: bytes
    cpu_seconds: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Everything is imported; jobs may come."""


class Progress(msgspec.Struct, frozen=True, tag=True):
    """So much of the recording has been heard, from 0 to 1."""

    share: float


class Heard(msgspec.Struct, frozen=True, tag=True):
    """The analysis is complete."""

    analysis: Analysis


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The file cannot be heard, and this is why, in words for its owner."""

    sentence: str


class Stumbled(msgspec.Struct, frozen=True, tag=True):
    """Our own code failed on this file, which is for us to mend."""

    trace: str


Message = Ready | Progress | Heard | Refused | Stumbled

TOO_MUCH_MEMORY = "This file needs more memory than one analysis may use."


def confine(memory_bytes: int, file_bytes: int = 0) -> None:
    """Give up what a decoder does not need: the network, new privileges, writing files, and memory beyond a bound.

    Whoever has to write files may, each up to so many bytes.

    The network goes only where the kernel lets an ordinary process make a namespace of its own; the rest always does.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    if not sys.platform.startswith("linux"):
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.geteuid() != 0:
        # Root would lose the right to read other users' files with its own user namespace; others lose nothing.
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    else:
        libc.unshare(_CLONE_NEWNET)


def allow(cpu_seconds: int) -> None:
    """Bound the processor time from here on; the kernel ends the process that exceeds it."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(spent.ru_utime + spent.ru_stime) + 1 + cpu_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Work through jobs until there are no more."""
    from adapters.ears.engine import analyse

    say(answers, Ready())
    while (prefix := jobs.read(PREFIX.size)) and len(prefix) == PREFIX.size:
        job = msgspec.msgpack.decode(jobs.read(PREFIX.unpack(prefix)[0]), type=Job)
        allow(job.cpu_seconds)
        answer: Message
        try:
            answer = Heard(analyse(Path(os.fsdecode(job.path)), progress=lambda share: say(answers, Progress(share))))
        except Unreadable as problem:
            answer = Refused(str(problem))
        except MemoryError:
            answer = Refused(TOO_MUCH_MEMORY)
        except Exception:  # noqa: BLE001 - whatever went wrong, the parent must hear of it, and the next job may be fine
            answer = Stumbled(traceback.format_exc())
        say(answers, answer)


def say(answers: BinaryIO, message: Message) -> None:
    """Write one message with its length before it."""
    body = msgspec.msgpack.encode(message)
    answers.write(PREFIX.pack(len(body)) + body)
    answers.flush()


def main() -> None:
    """Set up the pipes and the confinement, then serve."""
    # Decoders like to print; whatever they say must not end up between our messages.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    confine(int(sys.argv[1]))
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
