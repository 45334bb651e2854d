"""Tell a person how far a long job is; say nothing in a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

Advance = Callable[[float], None]


@contextmanager
def progress_bar(label: str, *, quiet: bool | None = None) -> Iterator[Advance]:
    """Show a bar on standard error while the body runs; the body reports the fraction done.

    ``quiet`` None means: quiet unless standard error is a terminal.
    """
    silent = not sys.stderr.isatty() if quiet is None else quiet
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=silent) as progress:
        task = progress.add_task(label, total=1.0)
        yield lambda fraction: progress.update(task, completed=min(max(fraction, 0.0), 1.0))
        progress.update(task, completed=1.0)
