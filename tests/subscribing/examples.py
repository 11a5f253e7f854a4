"""One ordinary example of every command of consumers."""

from __future__ import annotations

from commands.subscribing.consumers import MakeConsumer, RemoveConsumer
from tests.examples import Example

made = MakeConsumer(consumer_id="con-1", workspace_id="w1", name="Chat", event_types=("builds.*",))

EXAMPLES = (Example(made), Example(RemoveConsumer(consumer_id="con-1", workspace_id="w1"), [made]))
