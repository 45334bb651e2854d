"""Least squares of two species that decay alike, voxel by voxel."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Complex64, Float

from scanroom.operators.threads import each

_CHUNK = 4096
_ROUNDS = 30
_ENOUGH = 1e-4


@dataclass(frozen=True, slots=True)
class Model:
    """Echo times [s], peaks of fat [Hz] and their shares, echoes whose magnitude alone counts."""

    times: Float[np.ndarray, " echo"]
    peaks: Float[np.ndarray, " peak"]
    shares: Float[np.ndarray, " peak"]
    n_magnitude: int = 0

    def basis(self) -> Complex[np.ndarray, "echo 2"]:
        """Signal of water and of fat, each one at time 0, in a field without offset."""
        fat = np.exp(-2j * np.pi * np.outer(self.times, self.peaks)) @ self.shares
        return np.stack([np.ones_like(fat), fat], axis=1)


@dataclass(frozen=True, slots=True)
class Fit:
    """Amplitudes at time 0, field [Hz], decay [1/s], power left, covariance for unit noise.

    The covariance is that of the real and imaginary parts of water and fat, of field and decay.
    """

    water: Complex[np.ndarray, " voxel"]
    fat: Complex[np.ndarray, " voxel"]
    field: Float[np.ndarray, " voxel"]
    decay: Float[np.ndarray, " voxel"]
    left: Float[np.ndarray, " voxel"]
    covariance: Float[np.ndarray, "voxel 6 6"]
    converged: Bool[np.ndarray, " voxel"]


def fitted(
    signal: Complex64[np.ndarray, "echo voxel"],
    model: Model,
    field: Float[np.ndarray, " voxel"],
    decay: Float[np.ndarray, " voxel"],
) -> Fit:
    """Fit from a field and a decay close by, damped as Levenberg and Marquardt do.

    References
    ----------
    D. W. Marquardt, J. Soc. Ind. Appl. Math. 11, 431 (1963), doi:10.1137/0111030.
    """
    n_chunks = max(-(-len(field) // _CHUNK), 1)

    def part(number: int) -> tuple[np.ndarray, ...]:
        here = slice(number * _CHUNK, (number + 1) * _CHUNK)
        return _fitted(signal[:, here].T.astype(np.complex128), model, field[here], decay[here])

    found = each(part, n_chunks)
    parameters, left, covariance, converged = (
        np.concatenate([item[n] for item in found]) for n in range(4)
    )
    return Fit(
        parameters[:, 0] + 1j * parameters[:, 1],
        parameters[:, 2] + 1j * parameters[:, 3],
        parameters[:, 4],
        parameters[:, 5],
        left,
        covariance,
        converged,
    )


def _fitted(
    signal: Complex[np.ndarray, "voxel echo"],
    model: Model,
    field: Float[np.ndarray, " voxel"],
    decay: Float[np.ndarray, " voxel"],
) -> tuple[np.ndarray, ...]:
    """Parameters, power left, covariance, and whether steps became small, of one chunk."""
    scale = _scale(signal, model)
    place = _start(signal, model, field, decay) / scale
    damping = np.full(len(place), 1e-3)
    rest, slope = _linearised(place * scale, signal, model)
    left = (rest**2).sum(axis=1)
    done = np.zeros(len(place), bool)
    for _ in range(_ROUNDS):
        if done.all():
            break
        go = np.flatnonzero(~done)
        weighed = slope[go] * scale[go, None, :]
        normal = np.swapaxes(weighed, 1, 2) @ weighed
        extra = damping[go, None] * np.diagonal(normal, axis1=1, axis2=2) + 1e-12
        normal[:, range(6), range(6)] += extra
        right = (np.swapaxes(weighed, 1, 2) @ rest[go, :, None])[..., 0]
        step = np.linalg.solve(normal, right[..., None])[..., 0]
        new_rest, new_slope = _linearised((place[go] + step) * scale[go], signal[go], model)
        new_left = (new_rest**2).sum(axis=1)
        better = new_left <= left[go] * (1 + 1e-12)
        small = np.abs(step).max(axis=1) < _ENOUGH
        won = go[better]
        place[won] += step[better]
        rest[won], slope[won], left[won] = new_rest[better], new_slope[better], new_left[better]
        damping[go] = np.where(better, damping[go] / 5, damping[go] * 4).clip(1e-9, 1e9)
        done[go] = small & (better | (damping[go] > 1e3))
    weighed = slope * scale[:, None, :]
    normal = np.swapaxes(weighed, 1, 2) @ weighed
    inverse = np.linalg.pinv(normal, hermitian=True) * scale[:, :, None] * scale[:, None, :]
    return place * scale, left, inverse, done


def _scale(signal: Complex[np.ndarray, "voxel echo"], model: Model) -> Float[np.ndarray, "voxel 6"]:
    """What one is to each parameter, so that steps compare."""
    size = np.sqrt(np.mean(np.abs(signal) ** 2, axis=1)) + 1e-30
    span = model.times[-1] - model.times[0]
    rows = np.repeat(size[:, None], 6, axis=1)
    rows[:, 4], rows[:, 5] = 1 / (2 * np.pi * span), 1 / span
    return rows


def _start(
    signal: Complex[np.ndarray, "voxel echo"],
    model: Model,
    field: Float[np.ndarray, " voxel"],
    decay: Float[np.ndarray, " voxel"],
) -> Float[np.ndarray, "voxel 6"]:
    """Amplitudes of least squares for the given field and decay, from echoes with phase."""
    late = slice(model.n_magnitude, None)
    times = model.times[late]
    rate = decay[:, None] + 2j * np.pi * field[:, None]
    basis = np.exp(-rate * times)[:, :, None] * model.basis()[late]
    normal = np.swapaxes(basis.conj(), 1, 2) @ basis
    right = np.swapaxes(basis.conj(), 1, 2) @ signal[:, late, None]
    both = np.linalg.solve(normal + 1e-9 * np.eye(2), right)[..., 0]
    parts = (both[:, 0].real, both[:, 0].imag, both[:, 1].real, both[:, 1].imag, field, decay)
    return np.stack(parts, axis=1)


def _linearised(
    place: Float[np.ndarray, "voxel 6"], signal: Complex[np.ndarray, "voxel echo"], model: Model
) -> tuple[Float[np.ndarray, "voxel row"], Float[np.ndarray, "voxel row 6"]]:
    """What is left of the signal, real and imaginary, and the model's derivatives."""
    rate = place[:, 5:] + 2j * np.pi * place[:, 4:5]
    basis = np.exp(-rate * model.times)[:, :, None] * model.basis()
    both = np.stack([place[:, 0] + 1j * place[:, 1], place[:, 2] + 1j * place[:, 3]], axis=1)
    whole = (basis @ both[:, :, None])[..., 0]
    slopes = np.stack(
        [
            basis[..., 0],
            1j * basis[..., 0],
            basis[..., 1],
            1j * basis[..., 1],
            -2j * np.pi * model.times * whole,
            -model.times * whole,
        ],
        axis=2,
    )
    n = model.n_magnitude
    rest = signal - whole
    rows = [rest[:, n:].real, rest[:, n:].imag]
    steep = [slopes[:, n:].real, slopes[:, n:].imag]
    if n:
        size = np.abs(whole[:, :n])
        toward = whole[:, :n].conj() / np.maximum(size, 1e-30)
        rows.append(np.abs(signal[:, :n]) - size)
        steep.append((toward[..., None] * slopes[:, :n]).real)
    return np.concatenate(rows, axis=1), np.concatenate(steep, axis=1)
