"""How far something long has come: a bar with its rate and the time left, for people at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bars(*, hidden: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """What is told `(name, done, total)`, and shows it on a terminal; elsewhere it shows nothing."""
    if hidden or not sys.stderr.isatty():
        yield lambda _name, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}/{task.total:,.0f}"))
    with Progress(*columns, Rate(), TimeRemainingColumn(), console=Console(stderr=True)) as shown:
        tasks = {}

        def tell(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = shown.add_task(name.replace("_", " "), total=total)
            shown.update(tasks[name], completed=done, total=total)

        yield tell
