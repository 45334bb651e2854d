"""Small drives made by hand, for the tests of the twin."""

import numpy as np

from scanroom.core.gate import Cleared, Limit, clear
from scanroom.mri.drive.model import Drive, Gradient, Pulses, PulseShape, Rasters, Windows

DWELL = 1e-5


def gradient(*knots: tuple[float, float]) -> Gradient:
    time, amplitude = np.array(knots or [(0.0, 0.0)], float).T
    return Gradient(time=time, amplitude=amplitude)


def sinc(flip: float, duration: float = 2e-3, steps: int = 200) -> PulseShape:
    edge = np.linspace(0, duration, steps + 1)
    time = (edge[1:] + edge[:-1]) / 2
    place = time / duration - 0.5
    step = (np.sinc(4 * place) * (0.5 + 0.5 * np.cos(2 * np.pi * place))).astype(complex)
    step *= flip / (2 * np.pi) / (step.sum().real * duration / steps)
    return PulseShape(time=time, signal=step, edge=edge, step=step, centre=duration / 2)


def drive(
    *,
    pulses: list[tuple[float, float, float]],
    windows: list[tuple[float, int]],
    gradients: tuple[Gradient, Gradient, Gradient] | None = None,
    shape: PulseShape | None = None,
    phase: float = 0.0,
) -> Drive:
    """Pulses as (start, frequency, phase); windows as (start, samples)."""
    start, frequency, turned = np.array(pulses, float).T
    begin, n_samples = np.array([w[0] for w in windows]), np.array([w[1] for w in windows])
    n, none = len(windows), gradient()
    return Drive(
        name="by hand",
        gradients=gradients or (none, none, none),
        shapes=(shape or sinc(np.pi / 2),),
        pulses=Pulses(
            start=start,
            shape=np.zeros(len(pulses), np.int64),
            frequency=frequency,
            phase=turned,
            use=("e",) * len(pulses),
        ),
        windows=Windows(
            start=begin.astype(float),
            dwell=np.full(n, DWELL),
            n_samples=n_samples.astype(np.int64),
            frequency=np.zeros(n),
            phase=np.full(n, phase),
            modulation=(),
            modulation_index=np.full(n, -1),
            label_name=(),
            label=np.zeros((n, 0), np.int64),
        ),
        block_edge=np.array([0.0, float(begin[-1] + n_samples[-1] * DWELL)]),
        rasters=Rasters(gradient=1e-5, pulse=1e-6, window=1e-7, block=1e-5),
        definitions=(),
        version=(1, 5, 0),
    )


def cleared(what: Drive) -> Cleared[Drive]:
    return clear(what, [Limit("nothing", 1.0, "1", "a test", lambda _: 0.0, "None.")])
