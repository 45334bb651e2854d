"""One pool of threads around transforms that use one thread each; never a pool inside a pool.

A transform of one coil fits in a core's cache, that of all coils does not: it pays to give each
thread whole coils (or slices, or planes) rather than each transform several threads. Results come
back in the order of the work: sums over them have the same bytes with any number of threads.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import local
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Out = TypeVar("Out")

_inside = local()


def n_threads() -> int:
    """Threads to use: ``SCANROOM_THREADS``, or as many as this process may have cores."""
    wanted = os.environ.get("SCANROOM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def each(work: Callable[[int], Out], n_items: int) -> list[Out]:
    """Do ``work(0) .. work(n_items - 1)`` on every core; the results in that order.

    Called from within such work, or with one item, it runs where it is. An exception of any item is
    raised here once all that were begun have ended.
    """
    threads = min(n_threads(), n_items)
    if getattr(_inside, "busy", False):
        return [work(item) for item in range(n_items)]
    if threads <= 1:
        with one_blas(), one_thread():
            return [work(item) for item in range(n_items)]
    with one_blas(), ThreadPoolExecutor(threads, initializer=_mark) as pool:
        return list(pool.map(work, range(n_items)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Whatever calls `each` in here runs in this thread."""
    before = getattr(_inside, "busy", False)
    _inside.busy = True
    try:
        yield
    finally:
        _inside.busy = before


@contextmanager
def one_blas() -> Iterator[None]:
    """Hold the linear algebra library to one thread: its threads wait longer than they work."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


def _mark() -> None:
    _inside.busy = True


_found: list[ThreadpoolController] = []


def _controller() -> ThreadpoolController:
    """Libraries found once: the search takes longer than a small transform."""
    if not _found:
        _found.append(ThreadpoolController())
    return _found[0]
