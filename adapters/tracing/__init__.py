"""Spans for OpenTelemetry, where the extra `otel` is installed and somebody is named who takes them."""
