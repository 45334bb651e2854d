"""Parallel transmit: the array's waves, pulses with RF shims, and a head made even at 7 T.

The array is held against Biot-Savart, Maxwell's equations and energy; the twin's pulses against
integrations of their own, one of them in the laboratory's frame, where nothing turns with the
spins. `mri_b1_shimming` plays a whole scan.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import h2vp, hankel2, jv, jvp

from scanroom.mri.drive.model import Drive, PulseShape, Shims
from scanroom.mri.system import system
from scanroom.mri.twin import Faults
from scanroom.mri.twin.programme import programme
from scanroom.mri.twin.transmitting import transmit, weights_of
from scanroom.physics.coils import VACUUM_PERMEABILITY
from scanroom.physics.spins.continuum import Boxes, simulate_boxes
from scanroom.physics.spins.engine import Settings, simulate
from scanroom.physics.spins.oracle import integrate
from scanroom.physics.transmit_array import (
    LIGHT_SPEED,
    TransmitArray,
    array_field,
    circular,
    waves,
    worst_absorption,
)
from validation.drives import DWELL, drive, gradient, sinc
from validation.mri_bloch_truths import Case, judged, spins, write_page
from validation.table import show

COMMAND = "python -m validation.mri_parallel_transmit"
PAGE = Path("docs/reference/generated/parallel-transmit.md")
N = 8
SYSTEM = replace(system("3T"), name="7T", field=7.0, n_transmit=N)
ARRAY = TransmitArray(n_channels=N)
FREQUENCY = SYSTEM.larmor
_NEAR = 2e-5


def places(count: int, seed: int = 0, reach: float = 0.11) -> np.ndarray:
    """Points of a disc of this radius, at any height."""
    rng = np.random.default_rng(seed)
    rho, phi = reach * np.sqrt(rng.random(count)), 2 * np.pi * rng.random(count)
    return np.stack([rho * np.cos(phi), rho * np.sin(phi), rng.uniform(-0.1, 0.1, count)], axis=1)


def random_weights(seed: int, power: float = 1.0) -> np.ndarray:
    """One weight per channel, of this power in all."""
    weight = np.random.default_rng(seed).normal(size=(N, 2)) @ [1, 1j]
    return np.asarray(weight * np.sqrt(power) / np.linalg.norm(weight))


def potential(x: np.ndarray, y: np.ndarray, array: TransmitArray, frequency: float) -> np.ndarray:
    """Az of every channel for one ampere: its Fourier series, summed as it stands."""
    series, out = waves(array, frequency), []
    rho, phi = np.hypot(x, y), np.arctan2(y, x)
    both = [series.potential(rho, tissue=tissue) for tissue in (True, False)]
    orders = np.where((rho <= array.load)[:, None], *both)
    for angle in array.angle:
        out.append((orders * np.exp(1j * np.outer(phi - angle, series.m))).sum(axis=1))
    return np.stack(out, axis=1)


def by_curl(where: np.ndarray) -> np.ndarray:
    """Bx and By of every channel: the curl of Az by differences; the CP mode rotates with 1."""

    def curl(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        up, down, right, left = (
            potential(x + _NEAR * i, y + _NEAR * j, ARRAY, FREQUENCY)
            for i, j in ((0, 1), (0, -1), (1, 0), (-1, 0))
        )
        return np.stack([up - down, left - right]) / (2 * _NEAR)

    middle = curl(np.zeros(1), np.zeros(1))[:, 0] @ circular(N)
    return np.asarray(curl(where[:, 0], where[:, 1]) / ((middle[0] - 1j * middle[1]) / 2))


# ---------------------------------------------------------------- the array


def biot_savart() -> float:
    """Error of all channels without tissue, 1 MHz: rectangular loops of wire, 40 m long."""
    empty = TransmitArray(n_channels=N, permittivity=1.0, conductivity=0.0)
    where = np.concatenate([places(30), np.zeros((1, 3))])
    truth = np.zeros((31, N), complex)
    z = np.linspace(-20.0, 20.0, 200_001)
    z = (z[1:] + z[:-1]) / 2
    for channel, angle in enumerate(empty.angle):
        for sign in (1, -1):
            turned = angle - sign * empty.share * np.pi / N
            dx, dy = (where[:, :2] - empty.radius * np.array([np.cos(turned), np.sin(turned)])).T
            cubes = ((dx**2 + dy**2)[:, None] + (where[:, 2:] - z) ** 2) ** -1.5
            truth[:, channel] += sign * cubes.sum(axis=1) * (-dy - 1j * dx)
    truth /= truth[-1] @ circular(N)
    found = array_field(empty, where, np.eye(N, dtype=complex), frequency=1e6)
    return float(np.abs(found - truth).max() / np.abs(truth).max())


def helmholtz() -> float:
    """Largest ``lap Az + k^2 Az``, relative, in tissue and in air: Maxwell's equations for Az."""
    worst, step = 0.0, 1e-3
    for low, high, k in (
        (0.0, 0.085, ARRAY.wavenumber(FREQUENCY)),
        (0.095, 0.11, 2 * np.pi * FREQUENCY / LIGHT_SPEED),
    ):
        where = places(400, 1)
        rho = np.hypot(where[:, 0], where[:, 1])
        x, y = where[(rho > low) & (rho < high), :2].T

        def at(i: float, j: float, x: np.ndarray = x, y: np.ndarray = y) -> np.ndarray:
            return potential(x + i * step, y + j * step, ARRAY, FREQUENCY)

        # Fourth-order differences.
        sides = sum(
            c * (at(n, 0) + at(-n, 0) + at(0, n) + at(0, -n)) for n, c in ((1, 16), (2, -1))
        )
        here = at(0, 0)
        total = (sides - 60 * here) / (12 * step**2) + k**2 * here
        worst = max(worst, float(np.abs(total).max() / np.abs(k**2 * here).max()))
    return worst


def continuity() -> float:
    """Largest jump at the tissue's surface of Az and of both components of B, relative."""
    series, rho = waves(ARRAY, FREQUENCY), np.array([ARRAY.load])
    jumps = []
    for part in (series.potential, series.field):
        inside, outside = part(rho, tissue=True), part(rho, tissue=False)
        jumps.append(np.abs(inside - outside).max() / np.abs(inside).max())
    return float(max(jumps))


def reciprocity() -> float:
    """Az in tissue by a leg against Az at the leg by the same current at that place in tissue."""
    series, k = waves(ARRAY, FREQUENCY), ARRAY.wavenumber(FREQUENCY)
    k0 = 2 * np.pi * FREQUENCY / LIGHT_SPEED
    inner, outer = k * ARRAY.load, k0 * ARRAY.load
    rho, phi, total = 0.06, 0.7, 0j
    half = ARRAY.share * np.pi / N
    for m in series.m.tolist():
        # Continuity at the surface: a wave that leaves the source, one thrown back, one let out.
        system_ = np.array(
            [[jv(m, inner), -hankel2(m, outer)], [k * jvp(m, inner), -k0 * h2vp(m, outer)]]
        )
        made = jv(m, k * rho) * np.array([hankel2(m, inner), k * h2vp(m, inner)])
        out = np.linalg.solve(system_, -made)[1] * hankel2(m, k0 * ARRAY.radius)
        for sign in (1, -1):
            total += (
                -0.25j * VACUUM_PERMEABILITY * sign * out * np.exp(-1j * m * (sign * half + phi))
            )
    place = np.array([rho * np.cos(phi)]), np.array([rho * np.sin(phi)])
    found = potential(*place, ARRAY, FREQUENCY)[0, 0]
    return float(abs(found - total) / abs(total))


def poynting() -> float:
    """Power absorbed in the tissue against the flux through its surface, any weights."""
    weight, omega = random_weights(5), 2 * np.pi * FREQUENCY
    phi = 2 * np.pi * np.arange(256) / 256
    node, share = np.polynomial.legendre.leggauss(60)
    absorbed = 0.0
    for r, s in zip((node + 1) / 2 * ARRAY.load, share / 2 * ARRAY.load, strict=True):
        electric = omega * potential(r * np.cos(phi), r * np.sin(phi), ARRAY, FREQUENCY) @ weight
        absorbed += s * r * ARRAY.conductivity * (np.abs(electric) ** 2).mean()
    step, rim = 1e-5, ARRAY.load + 1e-4
    near, here, far = (
        potential(r * np.cos(phi), r * np.sin(phi), ARRAY, FREQUENCY) @ weight
        for r in (rim - step, rim, rim + step)
    )
    magnetic = -(far - near) / (2 * step) / VACUUM_PERMEABILITY
    inwards = (-1j * omega * here * magnetic.conj()).real.mean() * rim
    return float(abs(inwards / absorbed - 1))


def deposited(frequency: float) -> tuple[float, float]:
    """Power in tissue over that of the circular mode, from Ez sampled: most, and of one channel.

    Of weights of unit power.
    """
    node, share = np.polynomial.legendre.leggauss(60)
    rho, width = (node + 1) / 2 * ARRAY.load, share / 2 * ARRAY.load
    phi = 2 * np.pi * np.arange(256) / 256
    x, y = np.outer(rho, np.cos(phi)).ravel(), np.outer(rho, np.sin(phi)).ravel()
    electric = potential(x, y, ARRAY, frequency) * np.sqrt(np.repeat(rho * width, 256))[:, None]
    power = electric.conj().T @ electric
    own = (circular(N).conj() @ power @ circular(N)).real
    return float(np.linalg.eigvalsh(power)[-1] / own), float(power[0, 0].real / own)


def worst_weights() -> float:
    """`worst_absorption` against the largest eigenvalue of the absorbed power."""
    return abs(worst_absorption(ARRAY, FREQUENCY) / deposited(FREQUENCY)[0] - 1)


def circular_mode() -> float:
    """CP mode of the array against J0(k rho), the long birdcage; within 50 mm."""
    where = places(200, reach=0.05)
    found = array_field(ARRAY, where, circular(N)[None], frequency=FREQUENCY)[:, 0]
    truth = jv(0, ARRAY.wavenumber(FREQUENCY) * np.hypot(where[:, 0], where[:, 1]))
    return float(np.abs(found - truth).max())


def maps_against_curl() -> float:
    """B1+ of every channel against the curl of its potential, taken by differences."""
    where = places(200, 3)
    rho = np.hypot(where[:, 0], where[:, 1])
    where = where[np.abs(rho - ARRAY.load) > 2 * _NEAR]  # differences may not reach across
    x, y = by_curl(where)
    found = array_field(ARRAY, where, np.eye(N, dtype=complex), frequency=FREQUENCY)
    return float(np.abs(found - (x - 1j * y) / 2).max())


# ---------------------------------------------------------------- pulses


def hard(flip: float, duration: float = 1e-5) -> PulseShape:
    """A short rectangle."""
    edge, step = np.array([0.0, duration]), np.array([flip / (2 * np.pi * duration)], complex)
    return PulseShape(time=edge[:1], signal=step, edge=edge, step=step, centre=duration / 2)


def shimmed(weights: np.ndarray, shape: PulseShape, **more: Any) -> Drive:
    """A pulse for each row of weights, every 4 ms, the last of them seen at once by a window."""
    n = len(weights)
    end = 4e-3 * (n - 1) + float(shape.edge[-1])
    start = 4e-3 * np.arange(n)
    frequency, phase = more.get("frequency", 0.0), more.get("phase", 0.0)
    made = drive(
        pulses=[(float(s), frequency, phase) for s in start], windows=[(end, 1)], shape=shape
    )
    return replace(made, shims=Shims(weight=np.asarray(weights, complex), of_pulse=np.arange(n)))


def after(what: Drive, where: np.ndarray, **tissue: Any) -> np.ndarray:
    """Transverse magnetisation at every place, as the twin's programme, fields and engine make it.

    Taken in the middle of the first sample of the last window.
    """
    who = spins(len(where), apart=True, **({"t1": 1e6, "t2": 1e6} | tissue))
    b1 = transmit(where, weights_of(what, N), SYSTEM, Faults())
    settings = Settings(tolerance=1e-7, silence=0.0)
    played = list(simulate(programme(what), replace(who, transmit=b1), settings))
    return np.asarray(played[-1][:, 0], np.complex128)


def one_channel_at_a_time() -> float:
    """Shaped pulses of single channels, off resonance, with relaxation: Runge-Kutta."""
    where = places(12, 7)
    x, y = by_curl(where)
    field, worst = (x - 1j * y) / 2, 0.0
    offset = np.linspace(-400.0, 400.0, 12)
    rates = (np.full(12, 1 / 1.3), np.full(12, 1 / 0.08))
    shape = sinc(np.pi / 2)
    for channel in range(N):
        weight = 2.0 * np.eye(N)[[channel]]
        what = shimmed(weight, shape, frequency=150.0, phase=0.7)
        found = after(what, where, offset=offset, t1=1.3, t2=0.08)
        state = np.tile([0.0, 0.0, 1.0], (12, 1))
        for step, value in enumerate(shape.step):
            begin, end = shape.edge[step : step + 2]

            def played(t: float, begin: float = begin, value: complex = value) -> Any:
                p = value * np.exp(1j * (0.7 + 2 * np.pi * 150.0 * (begin + t)))
                return (p * 2.0 * field[:, channel]).conj(), offset  # noqa: B023 - used at once

            state = integrate(state, played, rates, float(end - begin), 4)
        free = np.exp(-(rates[1] + 2j * np.pi * offset) * DWELL / 2)
        worst = max(worst, float(np.abs(found - (state[:, 0] + 1j * state[:, 1]) * free).max()))
    return worst


def in_the_laboratory() -> float:
    """All channels at random: currents, fields and spins as they are at 1 MHz, nothing turned."""
    where, larmor, weight = places(6, 11), 1e6, random_weights(2)
    shape = hard(2.0, 0.5e-3)
    found = after(shimmed(weight[None], shape, phase=0.4), where)
    x, y = by_curl(where) @ weight

    def slope(t: float, state: np.ndarray) -> np.ndarray:
        mx, my, mz = state.reshape(3, -1)
        current = shape.step[0] * np.exp(1j * (0.4 + 2 * np.pi * larmor * t))
        bx, by = (x * current).real, (y * current).real
        turn = [my * larmor - mz * by, mz * bx - mx * larmor, mx * by - my * bx]
        return 2 * np.pi * np.concatenate(turn)

    start, end = np.repeat([0.0, 0.0, 1.0], 6), float(shape.edge[-1])
    last = solve_ivp(slope, (0.0, end), start, "DOP853", rtol=1e-8, atol=1e-9).y[:, -1]
    truth = (last[:6] + 1j * last[6:12]) * np.exp(2j * np.pi * larmor * end)
    return float(np.abs(found - truth).max())


def superposition() -> float:
    """A small tip with weights w against the sum of what channels do alone, relative."""
    where, weight, shape = places(40, 13), random_weights(4), sinc(5e-3)
    alone = [after(shimmed(row[None], shape), where) for row in np.eye(N)]
    together = after(shimmed(weight[None], shape), where)
    # A pulse meets the spins as its conjugate, and so do its weights.
    truth = weight.conj() @ np.array(alone)
    return float(np.abs(together - truth).max() / np.abs(truth).max())


def large_tips() -> float:
    """Hard pulses of 0.2 to 3 rad: flip is nominal times |sum w b1|, phase its argument."""
    where, worst = places(60, 17), 0.0
    x, y = by_curl(where)
    for number, flip in enumerate((0.2, 1.0, 2.0, 3.0)):
        weight = random_weights(20 + number)
        found = after(shimmed(weight[None], hard(flip), phase=0.3), where)
        total = ((x - 1j * y) / 2) @ weight
        truth = 1j * np.exp(-1j * (0.3 + np.angle(total))) * np.sin(flip * np.abs(total))
        worst = max(worst, float(np.abs(found - truth).max()))
    return worst


def phase_of_all_channels() -> float:
    """A phase given to all weights against the same phase given to the pulse."""
    where, weight = places(40, 19), random_weights(6)
    turned = after(shimmed(np.exp(0.9j) * weight[None], hard(1.5)), where)
    plain = after(shimmed(weight[None], hard(1.5), phase=0.9), where)
    return float(np.abs(turned - plain).max())


def two_modes_in_turn() -> float:
    """Two pulses of different sets in a row, against rotations multiplied."""
    where = places(40, 23)
    x, y = by_curl(where)
    weights = np.stack([random_weights(8), random_weights(9), random_weights(10)])
    found = after(shimmed(weights, hard(1.2)), where)
    state = np.tile([0.0, 0.0, 1.0], (40, 1))
    for weight in weights:
        total = (((x - 1j * y) / 2) @ weight).conj()
        axis = np.stack([total.real, total.imag, np.zeros(40)], axis=1)
        angle = np.linalg.norm(axis, axis=1, keepdims=True)
        axis, angle = axis / angle, -1.2 * angle
        along = (axis * state).sum(axis=1, keepdims=True) * axis
        state = along + np.cos(angle) * (state - along) + np.sin(angle) * np.cross(axis, state)
    return float(np.abs(found - (state[:, 0] + 1j * state[:, 1])).max())


def engines() -> float:
    """Two modes in turn through 12 pulses with readouts that spoil: boxes, and points in them."""
    start, knots = 10e-3 * np.arange(12), [(0.0, 0.0)]
    for begin in start:
        lobe = [(3e-3, 0.0), (3.1e-3, 1e5), (8.9e-3, 1e5), (9e-3, 0.0)]
        knots += [(float(begin + t), a) for t, a in lobe]
    made = drive(
        pulses=[(float(s), 0.0, 0.9 * i * i) for i, s in enumerate(start)],
        windows=[(float(s + 4e-3), 32) for s in start],
        gradients=(gradient(*knots), gradient(), gradient()),
        shape=sinc(0.6),
    )
    modes = np.stack([circular(N), circular(N) ** 2 * np.sqrt(N)])
    made = replace(made, shims=Shims(weight=modes, of_pulse=np.arange(12) % 2))
    centre, within, edge = places(8, 29), 400, 2e-3
    b1 = transmit(centre, weights_of(made, N), SYSTEM, Faults())
    settings = Settings(tolerance=1e-6, silence=0.0, faintest=1e-6)
    boxes = Boxes(
        spins=replace(spins(8), position=centre, transmit=b1),
        edges=np.eye(3) * edge,
        r2_prime=np.zeros(8, np.float32),
        column=np.arange(8),
    )
    # At the middle sample a box shows every order as it is.
    found = np.array([s[0, 16] for s in simulate_boxes(programme(made), [boxes], settings)])
    place = np.repeat(centre, within, axis=0)
    place[:, 0] += np.tile((np.arange(within) + 0.5) / within - 0.5, 8) * edge
    who = replace(spins(8 * within), position=place, transmit=np.repeat(b1, within, axis=0))
    truth = np.array([s[0, 16] for s in simulate(programme(made), who, settings)])
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


CASES: tuple[Case, ...] = (
    ("no tissue, loops of wire 40 m long", biot_savart, 1e-4, "sum over wire", "Biot-Savart"),
    ("waves in tissue and in air", helmholtz, 1e-4, "differences", "Helmholtz's equation"),
    ("surface of the tissue", continuity, 1e-9, "Az and B are continuous", "-"),
    ("place and leg exchanged", reciprocity, 1e-9, "source within the tissue, closed form",
     "reciprocity"),
    ("absorbed power", poynting, 1e-4, "flux through the surface", "Poynting's theorem"),
    ("weights that deposit most", worst_weights, 1e-6, "eigenvalues of sampled Ez", "-"),
    ("CP mode within 50 mm", circular_mode, 1e-3, "J0(k rho)",
     "Tropp 2004, doi:10.1016/j.jmr.2003.11.003"),
    ("B1+ of every channel", maps_against_curl, 1e-5, "curl of Az by differences", "-"),
    ("one channel at a time, 90 degrees, T2 80 ms", one_channel_at_a_time, 1e-4,
     "Runge-Kutta, double precision", "scanroom.physics.spins.oracle"),
    ("all channels at 1 MHz, nothing turned", in_the_laboratory, 1e-3,
     "Bloch's equation in the laboratory", "Bloch 1946"),
    ("small tip of eight channels", superposition, 1e-4, "sum of single channels", "-"),
    ("hard pulses up to 3 rad", large_tips, 1e-5, "closed form", "-"),
    ("a phase of all channels", phase_of_all_channels, 1e-6, "phase of the pulse", "-"),
    ("three sets, one after another", two_modes_in_turn, 1e-5, "rotations", "Rodrigues"),
    ("two modes in turn, 12 pulses, continuum", engines, 1e-4, "400 isochromats in each box",
     "scanroom.physics.spins.engine"),
)  # fmt: skip


def claims() -> list[dict[str, Any]]:
    """Error of every case."""
    rows = [
        row | {"claim": row["claim"].replace("engine parallel transmit", "parallel transmit")}
        for row in judged("parallel transmit", CASES, COMMAND)
    ]
    for field in (3.0, 7.0):
        frequency = SYSTEM.gamma * field
        most, alone = deposited(frequency)
        worst = worst_absorption(ARRAY, frequency)
        for who, value in (("any weights", most), ("one channel", alone)):
            rows.append(
                {
                    "claim": f"power of {who} in tissue over the circular mode's, {field:g} T",
                    "value": value,
                    "unit": "1",
                    "bound": worst,
                    "truth": "what the gate counts with",
                    "source": "scanroom.physics.transmit_array",
                    "command": COMMAND,
                    "passes": bool(value <= worst * (1 + 1e-9)),
                }
            )
    write_page(PAGE, "Parallel transmit against closed forms", COMMAND, rows)
    return rows


if __name__ == "__main__":
    show(claims())
