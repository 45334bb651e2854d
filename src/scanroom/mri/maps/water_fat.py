"""Water and fat from echoes: fractions, decay and field, without swaps."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Complex64, Float, Float32

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz
from scanroom.mri.maps.chemical_shift_fit import Fit, Model, fitted
from scanroom.mri.maps.echoes import Images, bright, checked
from scanroom.mri.maps.labels import chosen
from scanroom.mri.maps.model import Map
from scanroom.operators.threads import each
from scanroom.physics.fat import PEAKS, SHARES

_DECAYS = np.array([0.0, 25.0, 60.0, 120.0, 250.0])
_CANDIDATES = 8
_CHUNK = 1024
_MISFIT = 0.1
_STEP = 0.1e-6
_REACH = 5e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterFat:
    """``fraction`` is that of fat in the signal extrapolated to time 0; ``r2_star`` is in 1/s."""

    water: Map
    fat: Map
    fraction: Map
    r2_star: Map
    field: Map


def water_fat(
    images: Images,
    times: Float[np.ndarray, " echo"],
    larmor: Hertz,
    *,
    noise: float = 1.0,
    mask: Bool[np.ndarray, "z y x"] | None = None,
    n_magnitude: int = 0,
    spectrum: tuple[Float[np.ndarray, " peak"], Float[np.ndarray, " peak"]] = (PEAKS, SHARES),
) -> WaterFat:
    """Separate water from fat of several peaks that decay alike in a field that is unknown.

    In every voxel the fields that explain the echoes locally best are candidates, up to 5 ppm on
    either side; of them that field is chosen which costs least as a whole, where neighbours differ
    by about 0.1 ppm. From there on each voxel is fitted on
    its own: two complex amplitudes, field and decay. Of the first ``n_magnitude`` echoes only the
    magnitude counts (their phase suffers most from eddy currents). The fraction is
    ``|F| / |W + F|`` where fat prevails, else ``1 - |W| / |W + F|``, which noise leaves unbiased;
    T1 still weighs it: small flip angles are the protocol's matter.

    Raises
    ------
    ProtocolError
        If fewer than four echoes (three with phase) are there, or times do not rise.

    References
    ----------
    D. Hernando et al., Magn. Reson. Med. 63, 79 (2010), doi:10.1002/mrm.22177; H. Yu et al.,
    Magn. Reson. Med. 60, 1122 (2008), doi:10.1002/mrm.21737; D. Hernando et al., Magn. Reson.
    Med. 67, 638 (2012), doi:10.1002/mrm.23044; C.-Y. Liu et al., Magn. Reson. Med. 58, 354
    (2007), doi:10.1002/mrm.21301.
    """
    checked(images, times, 4)
    if not 0 <= n_magnitude <= len(times) - 3:
        raise ProtocolError(
            f"of {n_magnitude} of {len(times)} echoes only the magnitude counts; three at least "
            "keep their phase (scanroom.mri.maps.water_fat). Lower n_magnitude."
        )
    inside = bright(images, noise) if mask is None else mask
    signal = np.ascontiguousarray(images[:, inside].astype(np.complex64))
    peaks, shares = spectrum
    model = Model(times, larmor * peaks, shares / shares.sum(), n_magnitude)
    field, decay = _initial(signal, model, inside, noise, larmor)
    return _maps(fitted(signal, model, field, decay), signal, inside, noise)


def _initial(
    signal: Complex64[np.ndarray, "echo voxel"],
    model: Model,
    mask: Bool[np.ndarray, "z y x"],
    noise: float,
    larmor: Hertz,
) -> tuple[Float[np.ndarray, " voxel"], Float[np.ndarray, " voxel"]]:
    """Field [Hz] and decay [1/s] close to the least cost of the whole image."""
    if signal.shape[1] == 0:
        return np.zeros(0), np.zeros(0)
    step, reach = _STEP * larmor, _REACH * larmor
    late = slice(model.n_magnitude, None)
    times, kept = model.times[late], signal[late]
    n_steps = int(np.ceil(reach * (times[-1] - times[0]) * 12))
    grid = np.linspace(-reach, reach, 2 * n_steps + 1)
    projector = _projector(times, model.basis()[late], grid)
    n_chunks = -(-signal.shape[1] // _CHUNK)

    def search(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = slice(number * _CHUNK, (number + 1) * _CHUNK)
        return _candidates(kept[:, part], projector, grid)

    found = each(search, n_chunks)
    value, cost, decay = (np.concatenate([item[n] for item in found]) for n in range(3))
    freedom = max(2 * len(times) - 6, 1)
    heat = max(1.0, float(np.median(cost[:, 0])) / (freedom * noise**2))
    odds = cost / (2 * noise**2 * heat) + 1e-4 * np.abs(value) / step
    label = chosen(value, odds.astype(np.float32), mask, stiffness=1 / step)
    rows = np.arange(len(label))
    return value[rows, label].astype(np.float64), decay[rows, label].astype(np.float64)


def _projector(
    times: Float[np.ndarray, " echo"],
    basis: Complex[np.ndarray, "echo 2"],
    grid: Float[np.ndarray, " field"],
) -> Complex64[np.ndarray, "row echo"]:
    """Rows (decay, column, field) whose products with a signal are its part in the model."""
    turned = np.exp(2j * np.pi * np.outer(grid, times))
    rows = []
    for rate in _DECAYS:
        q = np.linalg.qr(np.exp(-rate * times)[:, None] * basis)[0]
        rows.append(q.conj().T[:, None, :] * turned[None])
    return np.stack(rows).reshape(-1, len(times)).astype(np.complex64)


def _candidates(
    signal: Complex64[np.ndarray, "echo voxel"],
    projector: Complex64[np.ndarray, "row echo"],
    grid: Float[np.ndarray, " field"],
) -> tuple[
    Float32[np.ndarray, "voxel candidate"],
    Float32[np.ndarray, "voxel candidate"],
    Float32[np.ndarray, "voxel candidate"],
]:
    """Fields of the least local minima, the power they leave (inf: none), and their decay."""
    part = projector @ signal
    power = (part.real**2 + part.imag**2).reshape(len(_DECAYS), 2, len(grid), -1).sum(axis=1)
    rate = power.argmax(axis=0)
    left = (signal.real**2 + signal.imag**2).sum(axis=0) - power.max(axis=0)
    wide = np.pad(left, ((1, 1), (0, 0)), constant_values=np.inf)
    lowest = (left <= wide[:-2]) & (left < wide[2:])
    order = np.argsort(np.where(lowest, left, np.inf), axis=0, kind="stable")[:_CANDIDATES].T
    cost = np.take_along_axis(np.where(lowest, left, np.inf).T, order, 1)
    before, here, after = (
        np.take_along_axis(rows.T, order, 1) for rows in (wide[:-2], left, wide[2:])
    )
    bend = before + after - 2 * here
    safe = np.isfinite(bend) & (bend > 0)
    move = np.zeros_like(bend)
    move[safe] = 0.5 * (before - after)[safe] / bend[safe]
    value = grid[order] + move * (grid[1] - grid[0])
    lower = np.where(safe, np.where(safe, 0.25 * (before - after), 0.0) * move, 0.0)
    decay = _DECAYS[np.take_along_axis(rate.T, order, 1)]
    best = np.maximum(cost - lower, 0.0)
    return value.astype(np.float32), best.astype(np.float32), decay.astype(np.float32)


def _maps(
    fit: Fit, signal: Complex64[np.ndarray, "echo voxel"], mask: Bool[np.ndarray, "z y x"],
    noise: float,
) -> WaterFat:  # fmt: skip
    """Maps of a fit, with errors by propagation."""
    water, fat = fit.water, fit.fat
    whole = np.abs(water + fat)
    lean = np.abs(water) > np.abs(fat)
    size = np.maximum(whole, 1e-12)
    fraction = np.where(lean, 1 - np.abs(water) / size, np.abs(fat) / size)
    gradient = _fraction_gradient(water, fat, lean)
    errors = noise * np.sqrt(
        np.stack(
            [
                np.einsum("vi,vij,vj->v", row, fit.covariance, row)
                for row in (_unit(water, 0), _unit(fat, 2), gradient)
            ]
        ).clip(min=0)
    )
    straight = noise * np.sqrt(np.diagonal(fit.covariance, axis1=1, axis2=2)[:, 4:].T.clip(min=0))
    power = np.mean(np.abs(signal) ** 2, axis=0)
    freedom = max(2 * len(signal) - 6, 1)
    fits = fit.left / freedom < (3 * noise) ** 2 + _MISFIT**2 * power
    valid = fits & fit.converged & (power > (2 * noise) ** 2) & (np.abs(fraction - 0.5) < 1)
    rms = np.sqrt(fit.left / len(signal))

    def on(name: str, unit: str, values: np.ndarray, error: np.ndarray) -> Map:
        return Map(
            name=name,
            array=_spread(values, mask, 0.0),
            unit=unit,
            valid=_spread(valid, mask, 0.0),
            error=_spread(np.where(np.isfinite(error), error, np.inf), mask, np.inf),
            residual=_spread(rms, mask, 0.0),
        )

    return WaterFat(
        water=on("water", "1", np.abs(water), errors[0]),
        fat=on("fat", "1", np.abs(fat), errors[1]),
        fraction=on("proton density fat fraction", "1", fraction, errors[2]),
        r2_star=on("R2*", "1/s", fit.decay, straight[1]),
        field=on("off-resonance", "Hz", fit.field, straight[0]),
    )


def _spread(values: np.ndarray, mask: Bool[np.ndarray, "z y x"], fill: float) -> np.ndarray:
    kind = np.bool_ if values.dtype == bool else np.float32
    whole: np.ndarray = np.full(mask.shape, fill, kind)
    whole[mask] = values
    return whole


def _unit(value: Complex[np.ndarray, " voxel"], first: int) -> Float[np.ndarray, "voxel 6"]:
    """Derivative of the magnitude of an amplitude by the six parameters."""
    row = np.zeros((len(value), 6))
    size = np.maximum(np.abs(value), 1e-12)
    row[:, first], row[:, first + 1] = value.real / size, value.imag / size
    return row


def _fraction_gradient(
    water: Complex[np.ndarray, " voxel"],
    fat: Complex[np.ndarray, " voxel"],
    lean: Bool[np.ndarray, " voxel"],
) -> Float[np.ndarray, "voxel 6"]:
    """Derivative of the fraction by the six parameters."""
    whole = water + fat
    size = np.maximum(np.abs(whole), 1e-12)[:, None]
    both = _unit(whole, 0) + _unit(whole, 2)
    shown = np.where(lean, np.abs(water), np.abs(fat))[:, None]
    own = np.where(lean[:, None], _unit(water, 0), _unit(fat, 2))
    slope = own / size - shown * both / size**2
    return np.asarray(np.where(lean[:, None], -slope, slope))
