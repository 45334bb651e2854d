"""The one door to many processes: jobs of a plain function go out, results come back in order.

Slices, frames, subjects, sweeps and seeds are jobs. They are done here, by processes of this
machine, or by a Dask cluster that is there already; who does them changes no byte.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol, TypeVar, runtime_checkable

from scanroom.core.errors import DeviceError, ProtocolError
from scanroom.operators.threads import n_threads

In = TypeVar("In")
Out = TypeVar("Out")
Advance = Callable[[float], None]

MOST_WORKERS = 256
_AHEAD = 2
"""Jobs handed out for each worker: their data are copied, so no more than keeps it busy."""
_PATIENCE = 10.0
"""Time [s] that a cluster has to answer."""


@runtime_checkable
class Mapped(Protocol):
    """What `map` does, somewhere."""

    def __call__(self, work: Callable[[In], Out], jobs: Sequence[In]) -> Iterable[Out]:
        """Give ``work(job)`` of every job, in the order of the jobs."""
        ...


@contextmanager
def farm(
    workers: int = 1, address: str = "", advance: Advance = lambda _: None
) -> Iterator[Mapped]:
    """Open a farm of processes here, or the Dask cluster at an address as ``tcp://host:8786``.

    Processes share the threads of this one. ``advance`` is told the share of jobs that are done.

    Raises
    ------
    ProtocolError
        If there cannot be so many workers, or no cluster answers at that address.
    DeviceError
        If a worker dies.
    """
    if not 1 <= workers <= MOST_WORKERS:
        raise ProtocolError(
            f"workers is {workers}; it may be 1 to {MOST_WORKERS} (scanroom.exam.farm). Choose a "
            "number in that range."
        )
    if address and workers > 1:
        raise ProtocolError(
            f"both {workers} workers and the cluster {address} are asked for; a farm is one of "
            "them (scanroom.exam.farm). Leave one out."
        )
    if address:
        with _cluster(address) as client:
            n_workers = max(1, len(client.scheduler_info()["workers"]))
            yield _mapped(
                lambda work, job: client.submit(work, job, pure=False), n_workers, advance
            )
    elif workers > 1:
        with _processes(workers) as pool:
            yield _mapped(pool.submit, workers, advance)
    else:
        yield _here(advance)


def _here(advance: Advance) -> Mapped:
    def mapped(work: Callable[[In], Out], jobs: Sequence[In]) -> Iterator[Out]:
        for number, job in enumerate(jobs, start=1):
            yield work(job)
            advance(number / len(jobs))

    return mapped


def _mapped(submit: Callable[..., Any], n_workers: int, advance: Advance) -> Mapped:
    """Hand out a few jobs at a time; ``submit`` gives a future."""

    def mapped(work: Callable[[In], Out], jobs: Sequence[In]) -> Iterator[Out]:
        waiting: deque[Any] = deque()
        left = iter(jobs)
        for number in range(1, len(jobs) + 1):
            for job in left:
                waiting.append(submit(work, job))
                if len(waiting) >= _AHEAD * n_workers:
                    break
            yield waiting.popleft().result()
            advance(number / len(jobs))

    return mapped


@contextmanager
def _processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    share = max(1, n_threads() // workers)
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(share,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise DeviceError(
            f"one of {workers} worker processes died ({error}); each needs memory for its jobs "
            "(scanroom.exam.farm). Take fewer workers."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    os.environ["SCANROOM_THREADS"] = str(threads)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    if not address.startswith(("tcp://", "tls://")):
        raise ProtocolError(
            f"the farm's address is {address!r}; it may be tcp://host:port or tls://host:port "
            "(Dask). Give the address that dask scheduler prints."
        )
    try:
        dask = import_module("distributed")
    except ImportError as error:
        raise ProtocolError(
            f"the farm {address} is a Dask cluster, and Dask is not installed; it is an extra "
            "(scanroom.exam.farm). Run pip install 'scanroom[farm]'."
        ) from error
    try:
        client = dask.Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ProtocolError(
            f"no Dask scheduler answers at {address} within {_PATIENCE:.0f} s ({error}); it must "
            "run before (scanroom.exam.farm). Start dask scheduler, or correct the address."
        ) from error
    try:
        yield client
    except (dask.KilledWorker, dask.comm.CommClosedError) as error:
        raise DeviceError(
            f"the Dask cluster at {address} lost a job ({error}); its workers need scanroom and "
            "memory (scanroom.exam.farm). Look at their log."
        ) from error
    finally:
        client.close()
