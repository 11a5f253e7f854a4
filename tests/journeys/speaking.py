"""Says a line in its log, and ends."""

from __future__ import annotations

import structlog

from infra import telemetry

if __name__ == "__main__":
    telemetry.configure("speaking")
    structlog.get_logger().info("last.words")
