"""Fields and losses against closed forms: loops, dipoles, eddy currents in a sphere."""

from typing import Any

import numpy as np
from scipy.special import ellipe, ellipk

from scanroom.physics.coils import VACUUM_PERMEABILITY, LoopArray, loop_field, loop_potential
from scanroom.physics.susceptibility import dipole_field
from scanroom.physics.thermal_noise import sample_resistance, sphere_resistance
from validation.table import show

COMMAND = "python -m validation.physics_fields"
RADIUS = 0.06


def ball(n: int, step: float, radius: float, sub: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Fraction of each cell inside a sphere at the origin, and the affine of the grid."""
    axis = (np.arange(n) - (n - 1) / 2) * step
    fine = (axis[:, None] + (np.arange(sub) - (sub - 1) / 2) * step / sub).ravel() ** 2
    inside = fine[:, None, None] + fine[None, :, None] + fine[None, None, :] < radius**2
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = axis[0]
    return inside.reshape(n, sub, n, sub, n, sub).mean(axis=(1, 3, 5)), affine


def loop() -> LoopArray:
    return LoopArray(
        centre=np.zeros((1, 3)), normal=np.array([[0.0, 0.0, 1.0]]), radius=np.array([RADIUS])
    )


def axis_error() -> float:
    """Largest relative error on the axis of a loop."""
    z = np.linspace(-0.3, 0.3, 301)
    found = loop_field(loop(), 0, np.stack([0 * z, 0 * z, z], axis=1))[:, 2]
    truth = VACUUM_PERMEABILITY * RADIUS**2 / 2 / (RADIUS**2 + z**2) ** 1.5
    return float(np.abs(found / truth - 1).max())


def potential_error() -> float:
    """Largest relative error of the vector potential against SciPy's elliptic integrals."""
    rho, z = np.meshgrid(np.linspace(0.005, 0.2, 60), np.linspace(0.01, 0.2, 40))
    rho, z = rho.ravel(), z.ravel()
    m = 4 * RADIUS * rho / ((RADIUS + rho) ** 2 + z**2)
    truth = VACUUM_PERMEABILITY / np.pi * np.sqrt(RADIUS / (m * rho))
    truth = truth * ((1 - m / 2) * ellipk(m) - ellipe(m))
    found = loop_potential(loop(), 0, np.stack([rho, 0 * rho, z], axis=1))[:, 1]
    return float(np.abs(found / truth - 1).max())


def sphere_shift(direction: tuple[float, float, float]) -> float:
    """Root-mean-square error outside a sphere over the field there."""
    n, step, radius = 64, 2e-3, 0.025
    body, affine = ball(n, step, radius, sub=4)
    field = dipole_field(9e-6 * body, (step,) * 3, direction=direction, background=0.0)
    axis = affine[0, 3] + np.arange(n) * step
    place = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    distance = np.linalg.norm(place, axis=-1)
    cosine = place @ (np.array(direction) / np.linalg.norm(direction)) / distance
    truth = 3e-6 * (radius / distance) ** 3 * (3 * cosine**2 - 1)
    far = (distance > radius + 3 * step) & (distance < 0.06)
    return float(np.linalg.norm((field - truth)[far]) / np.linalg.norm(truth[far]))


def loss_error(shift: tuple[float, float, float]) -> float:
    """Loss of a uniform field in a sphere of 0.1 m, whatever the gauge."""
    body, affine = ball(53, 4e-3, 0.1)
    far = LoopArray(
        centre=np.array([shift]), normal=np.array([[0.0, 0.0, 1.0]]), radius=np.array([10.0])
    )
    found = sample_resistance(far, 0.5 * body, affine, 64e6)[0, 0]
    return abs(found / sphere_resistance(VACUUM_PERMEABILITY / 20, 0.1, 0.5, 64e6) - 1)


def claims() -> list[dict[str, Any]]:
    """One row per closed form."""
    oblique = (1.0, -2.0, 0.5)
    rows = [
        ("field on the axis of a loop", axis_error(), 1e-6, "Biot-Savart, closed form",
         "Jackson, Classical Electrodynamics, 3rd ed., 5.5"),
        ("vector potential of a loop", potential_error(), 1e-9, "complete elliptic integrals",
         "Jackson, Classical Electrodynamics, 3rd ed., 5.5"),
        ("B0 outside a sphere, field along an axis", sphere_shift((0.0, 0.0, 1.0)), 0.01,
         "magnetostatics of a sphere", "doi:10.1002/cmr.b.10083"),
        ("B0 outside a sphere, oblique field", sphere_shift(oblique), 0.01,
         "magnetostatics of a sphere", "doi:10.1002/cmr.b.20034"),
        ("eddy-current loss in a sphere", loss_error((0.0, 0.0, 0.0)), 0.02,
         "uniform field in a conducting sphere", "doi:10.1016/0022-2364(79)90019-2"),
        ("eddy-current loss in a sphere, loop off centre", loss_error((0.3, -0.2, 0.0)), 0.02,
         "uniform field in a conducting sphere", "doi:10.1016/0022-2364(79)90019-2"),
    ]  # fmt: skip
    return [
        {"claim": f"{name}: relative error", "value": value, "unit": "1", "bound": f"<= {bound:g}",
         "truth": truth, "source": source, "command": COMMAND, "passes": value <= bound}
        for name, value, bound, truth, source in rows
    ]  # fmt: skip


if __name__ == "__main__":
    show(claims())
