"""All benchmarks one after the other, or those that are named: `python -m tests.benchmarks append relay`."""

from __future__ import annotations

import subprocess
import sys

EVERYTHING = (
    "append",
    "command",
    "projection",
    "relay",
    "latency",
    "rebuild",
    "page",
    "job_submission",
    "licensing",
    "catalogue",
    "verify",
    "operators",
)


def main() -> int:
    """Each in a process of its own, so that none inherits another's memory; arguments with dashes go to all."""
    named = [each for each in sys.argv[1:] if each in EVERYTHING]
    rest = [each for each in sys.argv[1:] if each not in EVERYTHING]
    failed = 0
    for name in named or EVERYTHING:
        failed += subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *rest], check=False).returncode != 0
        print(flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
