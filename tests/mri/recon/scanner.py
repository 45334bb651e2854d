"""A scanner of sums: raw files whose every sample is a closed form."""

from pathlib import Path

import numpy as np

from scanroom.mri.raw.encoding import Encoding, Flag, blank
from scanroom.mri.raw.model import Readout
from scanroom.mri.raw.writer import RawWriter

IDENTITY = np.eye(3)


def oblique(seed=4):
    """A rotation that is nobody's axis."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def cartesian(
    *,
    matrix=(32, 24, 1),
    fov=(0.2, 0.18, 0.005),
    oversampling=2,
    recon_matrix=None,
    steps=None,
    centres=((0.0, 0.0, 0.0),),
    directions=IDENTITY,
    places=None,
    shift=0.0,
    repeat=(("average", 1),),
    kind="cartesian",
):
    """Encoding of a Cartesian scan; ``places`` are k_read of one line in grid points.

    Lines of ``steps`` [(step_1, step_2)] at every slice centre, all again for each value of each
    counter of ``repeat``.
    """
    n_read = matrix[0] * oversampling
    encoded_fov = (fov[0] * oversampling, fov[1], fov[2])
    places = np.arange(n_read) - n_read // 2 + shift if places is None else places
    steps = steps or [(j, p) for p in range(matrix[2]) for j in range(matrix[1])]
    counters = [()]
    for name, count in repeat:
        counters = [(*c, (name, i)) for c in counters for i in range(count)]
    lines = [
        (step, s, counter) for counter in counters for s in range(len(centres)) for step in steps
    ]
    rows = blank(len(lines))
    trajectory = []
    for i, ((j, p), s, counter) in enumerate(lines):
        k = np.zeros((len(places), 3))
        k[:, 0] = places / encoded_fov[0]
        k[:, 1] = (j - matrix[1] // 2) / fov[1]
        k[:, 2] = (p - matrix[2] // 2) / fov[2] if matrix[2] > 1 else 0
        rows["kspace_encode_step_1"][i], rows["kspace_encode_step_2"][i] = j, p
        rows["slice"][i], rows["position"][i] = s, centres[s]
        rows["centre_sample"][i] = int(np.argmin(np.abs(places)))
        rows["flags"][i] = Flag.REVERSE if places[-1] < places[0] else 0
        for name, value in counter:
            rows[name][i] = value
        trajectory.append(k.astype(np.float32))
    rows["dwell"][:] = 1e-5
    for axis, name in enumerate(("read_direction", "phase_direction", "slice_direction")):
        rows[name][:] = directions[:, axis]
    return Encoding(
        protocol_name="sum",
        trajectory_type=kind,
        field=3.0,
        frequency=127.7e6,
        encoded_matrix=(n_read, matrix[1], matrix[2]),
        encoded_fov=encoded_fov,
        recon_matrix=tuple(recon_matrix or matrix),
        recon_fov=tuple(fov),
        centre_step_1=matrix[1] // 2,
        centre_step_2=matrix[2] // 2,
        echo_times=(5e-3, 8e-3),
        noise_dwell=1e-5,
        trajectory=tuple(trajectory),
        **rows,
    )


def point_signal(encoding, window, place, *, in_slice=True):
    """exp(-2 pi i k.r) of a unit point at scanner position ``place``."""
    directions = np.stack(
        [
            encoding.read_direction[window],
            encoding.phase_direction[window],
            encoding.slice_direction[window],
        ]
    )
    turns = encoding.trajectory[window].astype(float) @ (directions @ np.asarray(place))
    return np.exp(-2j * np.pi * turns)[None] * in_slice


def write(path: Path, encoding, signals, noise=None):
    """Write an MRD file of given samples, ``noise`` being the samples of a noise scan."""
    with RawWriter(path, encoding, n_coils=signals[0].shape[0]) as writer:
        if noise is not None:
            writer.write_noise(Readout(index=0, time=0.0, signal=noise.astype(np.complex64)))
        for index, signal in enumerate(signals):
            writer.write(
                Readout(index=index, time=1e-2 * index, signal=signal.astype(np.complex64))
            )
    return path


def white(rng, *shape):
    """Complex noise whose real and imaginary part have a standard deviation of one."""
    return rng.normal(size=(*shape, 2)) @ [1, 1j]
