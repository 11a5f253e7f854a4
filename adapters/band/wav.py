"""What is known of a recording before any of it is there: its rate, and the header of a WAV.

Apart from whatever needs more, so that a child that only converts starts in a third of a second and not in one.
"""

from __future__ import annotations

import struct

#: Samples a second of everything that is made here.
RATE = 44_100


def wav_header(kind: int, bits: int, count: int) -> bytes:
    """What stands before so many stereo samples: of `kind` 1 (whole numbers) or 3 (floats)."""
    frame = 2 * bits // 8
    size = count * frame
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, 2, RATE, RATE * frame, frame, bits)
    # Floats want a "fact" chunk.
    fact = struct.pack("<4sII", b"fact", 4, count) if kind == 3 else b""
    body = form + fact + struct.pack("<4sI", b"data", size)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body) + size, b"WAVE") + body
