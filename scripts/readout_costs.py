"""Measure what `scanroom.physics.spins.nonuniform` takes reading a shot to cost; one thread.

``python -m scripts.readout_costs`` prints the constants in the order in which they stand there.
Take them on a quiet machine: the smallest of several runs counts.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.optimize import nnls

from scanroom.physics.spins.ensemble import RUN, Spins, arrays_of
from scanroom.physics.spins.nonuniform import Course, Ensemble, Layout, layouts, term_of
from scanroom.physics.spins.spreading import Spread, spread_of, spread_plane, sum_runs
from scanroom.physics.spins.vector import COILS, LANES

N = 100_000
SAMPLES = 4000


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Shortest time of a call, after one that compiles."""
    work()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def spins(n: int = N) -> Spins:
    """Isochromats in a cube of 0.2 m, +-50 Hz, 8 coils."""
    chance = np.random.default_rng(0)
    return Spins(
        position=chance.uniform(-0.1, 0.1, (n, 3)),
        offset=chance.uniform(-50, 50, n),
        r1=np.ones(n, np.float32),
        r2=np.full(n, 12.0, np.float32),
        transmit=np.ones(n, np.complex64),
        weight=np.ones((n, COILS), np.complex64),
    )


def course(dimensions: int, turns: float) -> Course:
    """Moments that turn the rim of the cube so often, forth and back along every dimension."""
    time_of = (np.arange(SAMPLES) + 0.5) * 5e-6
    share = time_of / time_of[-1]
    moment = np.zeros((SAMPLES, 4))
    for axis in range(dimensions):
        moment[:, axis] = turns / 0.1 * np.sin(2 * np.pi * (3.3 + 5.1 * axis) * share)
    moment[:, 3] = time_of
    return Course(moment)


def laid_out(dimensions: int, turns: float, who: Ensemble) -> Layout:
    """The way with so many dimensions."""
    return layouts(course(dimensions, turns), who, 1e-5)[-1]


def plain(n: int = 20 * RUN) -> float:
    """Seconds for a spin, a sample and 8 coils of the plain sum."""
    arrays = arrays_of(spins(n), np.arange(n))
    arrays.mx[:] = 1.0
    edge = np.arange(0, n + 1, RUN)
    moments = course(2, 60.0).moment[:200]
    when = (np.ascontiguousarray(moments[:, :3]), np.ascontiguousarray(moments[:, 3]))
    out = np.zeros((200, 2 * COILS), np.float32)
    return seconds(lambda: sum_runs(arrays, edge, np.arange(n // RUN), when, out)) / (n * 200)


def ensemble(n: int = N) -> tuple[Ensemble, tuple[np.ndarray, ...]]:
    """The spins as the transform sees them, and as they are laid out from."""
    arrays = arrays_of(spins(n), np.arange(n))
    place = np.stack([arrays.x, arrays.y, arrays.z, arrays.offset])
    who = Ensemble(place, arrays.r2, arrays.weight, place.min(axis=1), place.max(axis=1))
    return who, (arrays.mx, arrays.my, arrays.r2, place, arrays.weight)


def spread_costs() -> tuple[float, float, float]:
    """Seconds for a spin of a plan; for a row of nodes of a spin, of a cell, of one term."""
    rows, times, planned = [], [], []
    with ThreadPoolExecutor(1) as pool:
        for n, dimensions, turns in (
            (N, 2, 10.0), (N, 2, 30.0), (N, 2, 90.0), (N // 8, 2, 90.0), (N, 3, 10.0)
        ):  # fmt: skip
            who, state = ensemble(n)
            layout = laid_out(dimensions, turns, who)
            grid = (layout.shape, layout.scale, layout.middle)

            def plan(
                n: int = n,
                state: tuple[np.ndarray, ...] = state,
                layout: Layout = layout,
                grid: tuple[np.ndarray, np.ndarray, np.ndarray] = grid,
            ) -> Spread:
                return spread_of(state, np.arange(n), layout.used, grid, pool)

            planned.append(seconds(plan) / n)
            spread, nodes = plan(), np.zeros((int(layout.shape.prod()), LANES), np.float32)

            def once(
                layout: Layout = layout, spread: Spread = spread, nodes: np.ndarray = nodes
            ) -> None:
                spread_plane(spread, layout.rest[0], layout.time[0], 0, layout.shape, nodes)

            many = 7.0 ** (len(layout.shape) - 1)
            rows.append((n * many, len(np.unique(spread.cell)) * many))
            times.append(seconds(once))
    row, cell = _fitted(rows, times)
    return float(np.median(planned)), row, cell


def _fitted(rows: list[tuple[float, ...]], times: list[float]) -> list[float]:
    """Costs, none below zero, that tell the times with the least relative error."""
    found, _ = nnls(np.array(rows) / np.array(times)[:, None], np.ones(len(rows)))
    return [float(value) for value in found]


def transform_costs() -> tuple[float, float]:
    """Seconds for a node of a grid, and for a sample, of one term and coil."""
    who, state = ensemble()
    rows, times = [], []
    with ThreadPoolExecutor(1) as pool:
        for turns in (10.0, 40.0, 80.0):
            layout = laid_out(2, turns, who)
            grid = (layout.shape, layout.scale, layout.middle)
            nobody = spread_of(state, np.arange(0), layout.used, grid, pool)

            def once(layout: Layout = layout, nobody: Spread = nobody) -> None:
                term_of(layout, nobody, slice(0, COILS), 0)

            rows.append((float(layout.shape.prod()), float(SAMPLES)))
            times.append(seconds(once) / COILS)
    node, sample = _fitted(rows, times)
    return node, sample


def main() -> None:
    """Print the constants."""
    print(f"DIRECT = {plain():.2g}")
    planned, row, cell = spread_costs()
    print(f"PLANNED = {planned:.2g}\nIN_ROW, IN_CELL = {row:.2g}, {cell:.2g}")
    node, sample = transform_costs()
    print(f"NODE, SAMPLE = {node:.2g}, {sample:.2g}")


if __name__ == "__main__":
    main()
