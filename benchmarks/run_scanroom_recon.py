"""Do one task of reconstruction with Scanroom, in a process of its own.

Arguments FOLDER, JSON of what is asked for, OUT.npy; prints JSON. k-space comes as it is measured:
the transform along the readout is in the times. The floor is the CPU time of the Fourier transforms
that the method cannot do without, by scipy.fft.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import scipy.fft
from stopwatch import answer, arguments, best

import scanroom
from scanroom.mri.recon import compressed_sensing, noncartesian, sense
from scanroom.mri.recon.espirit import espirit
from scanroom.mri.recon.grappa import calibrate
from scanroom.mri.recon.lattice import lattice_of
from scanroom.operators.fourier import to_image

Work = Callable[[], np.ndarray]


def main(folder: Path, asked: dict[str, Any], out: Path) -> None:
    """Measure the task, then count what it did and what that costs in transforms alone."""
    data = {path.stem: np.load(path) for path in folder.glob("*.npy") if path.stem != "truth"}
    method, options = asked["method"], asked.get("options", {})
    work = WORK[method](data, options)
    found = best(work, out)
    steps = float(noncartesian.N_ITERATIONS)
    if method != "radial":
        steps = counted(work, method, data["kspace"])
    answer(found | {"floor": floor(method, data, steps), "steps": steps}, scanroom.__version__)


def calibration(data: dict[str, np.ndarray], options: dict[str, Any]) -> Work:
    """Maps of the fully sampled centre."""
    middle = centre(data["sampled"])

    def work() -> np.ndarray:
        inner = np.ascontiguousarray(data["kspace"][(slice(None), *middle)])
        return espirit(inner, data["sampled"].shape, noise=1.0, **options).maps[0]

    return work


def filling(data: dict[str, np.ndarray], options: dict[str, Any]) -> Work:
    """Coil images, missing lines filled."""

    def work() -> np.ndarray:
        hybrid, sampled, axes, back = laid(data)
        kernel = calibrate(hybrid, sampled, lattice_of(sampled), **options)
        return back(to_image(kernel.fill(hybrid, sampled), axes))

    return work


def unfolding(data: dict[str, np.ndarray], options: dict[str, Any]) -> Work:
    """Image by conjugate gradients."""

    def work() -> np.ndarray:
        hybrid, sampled, _, back = laid(data)
        return back(sense.cg_sense(hybrid, sampled, moved(data, "maps"), **options))

    return work


def sparse(data: dict[str, np.ndarray], options: dict[str, Any]) -> Work:
    """Image whose wavelet coefficients are few."""

    def work() -> np.ndarray:
        hybrid, sampled, _, back = laid(data)
        return back(
            compressed_sensing.compressed_sensing(hybrid, sampled, moved(data, "maps"), **options)
        )

    return work


def spokes(data: dict[str, np.ndarray], options: dict[str, Any]) -> Work:
    """Image of a plane from spokes."""

    def work() -> np.ndarray:
        samples = data["kspace"][:, None]
        return noncartesian.sense(samples, data["place"], data["maps"], **options)

    return work


WORK: dict[str, Callable[[dict[str, np.ndarray], dict[str, Any]], Work]] = {
    "calibrate": calibration,
    "grappa": filling,
    "sense": unfolding,
    "wavelet": sparse,
    "radial": spokes,
}


def tilted(data: dict[str, np.ndarray]) -> bool:
    """A plane whose rows and columns both miss points has its readout across the plane."""
    sampled = data["sampled"]
    return len(sampled) == 1 and not (sampled == sampled[..., :1]).all()


def moved(data: dict[str, np.ndarray], key: str) -> np.ndarray:
    """Axes so that all of the last one was measured wherever any of it was."""
    array = data[key]
    return np.ascontiguousarray(np.moveaxis(array, -3, -1)) if tilted(data) else array


def laid(
    data: dict[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], Callable[[np.ndarray], np.ndarray]]:
    """Hybrid k-space, its lines, the axes that are still k, and the way back."""
    kspace, sampled = moved(data, "kspace"), moved(data, "sampled")[..., 0]
    hybrid = kspace if kspace.shape[-1] == 1 else to_image(kspace, (3,))
    axes = tuple(axis for axis in (1, 2) if kspace.shape[axis] > 1)
    return hybrid, sampled, axes, (lambda a: np.moveaxis(a, -1, -3)) if tilted(data) else _same


def _same(array: np.ndarray) -> np.ndarray:
    return array


def centre(sampled: np.ndarray) -> tuple[slice, ...]:
    """The middle 24 points along each axis."""
    return tuple(slice(n // 2 - 12, n // 2 + 12) if n > 1 else slice(None) for n in sampled.shape)


def counted(work: Work, method: str, kspace: np.ndarray) -> float:
    """Iterations done: of CG-SENSE the mean over the places along the readout."""
    elements: list[int] = []

    def counting(step: Callable[..., Any], size: int) -> Callable[..., Any]:
        def one(image: np.ndarray) -> Any:
            elements.append(size)
            return step(image)

        return one

    if method == "sense":
        make = sense._normal  # noqa: SLF001

        def normal(sets: np.ndarray, *rest: Any) -> Callable[..., Any]:
            return counting(make(sets, *rest), sets.size)

        with mock.patch.object(sense, "_normal", normal):
            work()
    elif method == "wavelet":
        solve = compressed_sensing.fista

        def fista(gradient: Callable[..., Any], *rest: Any, **more: Any) -> Any:
            return solve(counting(gradient, kspace.size), *rest, **more)

        with mock.patch.object(compressed_sensing, "fista", fista):
            work()
    return sum(elements) / kspace.size


def floor(method: str, data: dict[str, np.ndarray], steps: float) -> float:
    """CPU seconds of the transforms alone, in an array as good as any for each of them."""
    kspace = data["kspace"]
    if method == "radial":  # convolution on a grid twice as wide, zeros not transformed
        n = data["maps"].shape[-1]
        half, whole = (len(kspace), n, 2 * n), (len(kspace), 2 * n, 2 * n)
        return 2 * steps * (_transform(half, (2,)) + _transform(whole, (1,)))
    kspace, sampled = moved(data, "kspace"), moved(data, "sampled")[..., 0]
    lines = (len(kspace), int(sampled.sum()), kspace.shape[-1])
    along = _transform(lines, (2,)) if kspace.shape[-1] > 1 else 0.0
    axes = tuple(axis for axis in (1, 2) if kspace.shape[axis] > 1)
    shape = tuple(np.moveaxis(kspace, -1, 1).shape)
    across = _transform(shape, tuple(axis + 1 for axis in axes))
    if method in {"calibrate", "grappa"}:
        return along + across
    return along + 2 * steps * across


def _transform(shape: tuple[int, ...], axes: tuple[int, ...]) -> float:
    array = np.ones(shape, np.complex64)
    times = []
    for _ in range(3):
        start = time.process_time()
        array = scipy.fft.fftn(array, axes=axes, norm="ortho", overwrite_x=True, workers=1)
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    main(*arguments())
