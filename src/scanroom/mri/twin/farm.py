"""Several processes that play one drive, the bytes of one.

Every process holds the subject and plays the same programme, each its own lanes and lots (`team`).
What the others fill in comes to the one that leads through a pipe.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import numba
import numpy as np

from scanroom.core.errors import DeviceError, ScanroomError
from scanroom.core.units import Second
from scanroom.mri.twin.playing import Playing
from scanroom.physics.spins.engine import Control
from scanroom.physics.spins.team import Parts, Team

_PATIENCE: Second = 0.1
"""How often the stop button and the workers are looked at."""
Crew = list[tuple[BaseProcess, Connection]]
"""Every process but this one, and the pipe to it."""


class Leader(Team):
    """The process that adds up; ``stop`` is the twin's button."""

    alone = False

    def __init__(self, links: list[Connection], stop: np.ndarray) -> None:
        self._links, self._stop = links, stop

    def plays(self, number: int) -> bool:
        """Whether work of this number is done here."""
        return number % (len(self._links) + 1) == 0

    def bring(self, parts: Parts, first: int = 0) -> None:
        """Take what the others filled in; leave when stopped.

        Raises
        ------
        DeviceError
            If a worker has died.
        ScanroomError
            If a worker was refused.
        """
        for number, arrays in enumerate(parts, first):
            if self.plays(number):
                continue
            link = self._links[number % (len(self._links) + 1) - 1]
            for array in arrays:
                if array.size and not self._take(link, array):
                    return

    def _take(self, link: Connection, array: np.ndarray) -> bool:
        """Fill the array; False when stopped."""
        try:
            while not link.poll(_PATIENCE):
                if self._stop[0]:
                    return False
            refused = link.recv()
            if refused is None:
                link.recv_bytes_into(_bytes_of(array))
                return True
        except (EOFError, OSError) as error:
            raise _died() from error
        raise refused


class Member(Team):
    """One of the others, ``number`` of ``n`` processes."""

    leads = alone = False

    def __init__(self, link: Connection, number: int, n: int) -> None:
        self._link, self._number, self._n = link, number, n

    def plays(self, number: int) -> bool:
        """Whether work of this number is done here."""
        return number % self._n == self._number

    def bring(self, parts: Parts, first: int = 0) -> None:
        """Send what was filled in here."""
        for number, arrays in enumerate(parts, first):
            for array in arrays:
                if array.size and self.plays(number):
                    self._link.send(None)
                    self._link.send_bytes(_bytes_of(array))


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


@contextlib.contextmanager
def farmed(playing: Playing, control: Control, n_workers: int) -> Iterator[Control]:
    """With which control to play so that ``n_workers`` processes do it, this one among them.

    Raises
    ------
    DeviceError
        If a worker dies.
    """
    if n_workers == 1 or not playing.n_excited:
        yield control
        return
    playing.filling.static_field()  # before it is sent: it is found once
    before = numba.get_num_threads()
    crew: Crew = []
    watch = _Watch(crew, control.stop)
    try:
        for number in range(1, n_workers):
            crew.append(_hired(number))
        _send(pickle.dumps((playing, n_workers)), crew)
        _use(playing)
        watch.start()
        leader = Leader([link for _, link in crew], control.stop)
        yield Control(control.stop, control.progress, leader)
    finally:
        numba.set_num_threads(before)
        watch.end()
        for worker, link in crew:
            worker.kill()
            link.close()
        for worker, _ in crew:
            worker.join()
    if watch.died:
        raise _died()


class _Watch(threading.Thread):
    """Presses the stop button as soon as one of the crew dies."""

    def __init__(self, crew: Crew, stop: np.ndarray) -> None:
        super().__init__(daemon=True)
        self.died = False
        self._crew, self._button, self._over = crew, stop, threading.Event()

    def run(self) -> None:
        """Look now and then."""
        while not self._over.wait(_PATIENCE):
            if any(worker.exitcode not in {None, 0} for worker, _ in self._crew):
                self.died = True
                self._button[0] = 1
                return

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        if self.ident is not None:
            self.join()


def _hired(number: int) -> tuple[BaseProcess, Connection]:
    """Start a process, with a pipe to it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    worker = context.Process(target=_work, args=(there, number), daemon=True)
    # Ctrl-C is for the one that leads, which ends the others: they must not hear it, ever. Python
    # lets signals through again where it starts its tracker, so that comes first.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        worker.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    there.close()
    return worker, here


def _send(sent: bytes, crew: Crew) -> None:
    try:
        for _, link in crew:
            link.send_bytes(sent)
    except OSError as error:
        raise _died() from error


def _died() -> DeviceError:
    return DeviceError(
        "a worker of the twin died, perhaps for want of memory: each takes as much as a twin alone "
        "(scanroom.mri.twin.farm). Ask for fewer workers."
    )


def _use(playing: Playing) -> None:
    """Use no more threads than are this process's share; they change no byte."""
    numba.set_num_threads(min(playing.filling.effort.settings.threads, numba.get_num_threads()))


def _work(link: Connection, number: int) -> None:
    """What every process does but the one that leads."""
    threading.Thread(target=_follow, daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError):  # nobody leads
        try:
            playing, n_workers = pickle.loads(link.recv_bytes())  # noqa: S301 -- sent by `farmed`
            _use(playing)
            signals, _ = playing.signals(Control(team=Member(link, number, n_workers)))
            for _ in signals:
                pass
        except (ScanroomError, MemoryError) as error:
            link.send(error)


def _follow() -> None:
    """Leave as soon as the process that leads has gone."""
    leader = multiprocessing.parent_process()
    if leader is not None:
        leader.join()
        os._exit(1)
