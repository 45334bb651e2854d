"""Parts of a subject played by several processes, the bytes of one.

A part is played alike wherever it is played, and the signals of all are added up in the order of
the parts: whoever is quicker waits. Each worker gets the subject once.
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any, NamedTuple

import numba
import numpy as np
from jaxtyping import Complex64

from scanroom.core.errors import DeviceError
from scanroom.core.units import Second
from scanroom.mri.twin.blocks import add, silent
from scanroom.mri.twin.playing import Playing
from scanroom.physics.spins.engine import Control

_PATIENCE: Second = 0.2
"""How often the stop button is looked at."""


class Played(NamedTuple):
    """What a worker gives back of one part."""

    signals: list[Complex64[np.ndarray, "coil _"]]
    truth: dict[str, Any]
    lost: tuple[float, float]


def farmed(
    playing: Playing, control: Control, n_workers: int
) -> Iterator[Complex64[np.ndarray, "coil _"]]:
    """Signals of all parts, window by window, once all have been played; none when stopped.

    Raises
    ------
    DeviceError
        If a worker dies.
    """
    total = silent(playing.program, playing.filling.array.n_coils)
    playing.filling.static_field()  # before it is sent: it is found once
    pool = ProcessPoolExecutor(
        min(n_workers, len(playing.parts)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(playing, n_workers),
    )
    try:
        futures = [pool.submit(_part, number) for number in range(len(playing.parts))]
        for number, future in enumerate(futures):
            if not _came(future, control):
                return
            played = future.result()
            add(total, played.signals)
            playing.take(played.truth, played.lost)
            control.report((number + 1) / len(futures))
    except BrokenProcessPool as error:
        raise DeviceError(
            f"a worker that played parts of {playing.filling.subject.name!r} died; each needs the "
            "memory of a subject and of a part (scanroom.mri.twin.farm). Take fewer workers or "
            "more parts."
        ) from error
    finally:
        _end(pool)
    yield from total


def _came(future: "Future[Played]", control: Control) -> bool:
    """Wait for a part, or for the stop button."""
    while not control.stop[0]:
        if wait([future], _PATIENCE, return_when=FIRST_COMPLETED).done:
            return True
    return False


def _end(pool: ProcessPoolExecutor) -> None:
    """Leave no worker behind, whatever it is doing."""
    workers = list((pool._processes or {}).values())  # noqa: SLF001 -- there is no other way in 3.11
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()


_mine: list[Playing] = []


def _begin(playing: Playing, n_workers: int) -> None:
    """Share the cores between the workers; threads change no byte."""
    effort = playing.filling.effort
    threads = max(1, effort.settings.threads // n_workers)
    numba.set_num_threads(min(threads, numba.get_num_threads()))
    playing.filling.effort = replace(effort, settings=replace(effort.settings, threads=threads))
    _mine[:] = [playing]


def _part(number: int) -> Played:
    playing = _mine[0]
    fresh = playing.fresh()
    signals, _ = fresh.part(fresh.parts[number], Control())
    return Played(list(signals), fresh.truth, (fresh.lost.size, fresh.lost.shown))
