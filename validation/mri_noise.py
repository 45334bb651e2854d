"""SNR in absolute terms: the array against published coils and against the ultimate.

The sample is a sphere as large as a head (0.085 m, 0.5 S/m). SNR is peak signal over the
root-mean-square noise of one part, of water at 37 degrees C wholly tipped, per ml and per square
root of the total sampling time, over B0: McRobbie's absolute SNR.
"""

from typing import Any

import numpy as np

from scanroom.physics.coils import head_array, receive_sensitivity
from scanroom.physics.thermal_noise import (
    BODY,
    BOLTZMANN,
    coil_resistance,
    combined_snr,
    noise_covariance,
    sample_resistance,
    signal_scale,
    sphere_resistance,
)
from validation.physics_fields import ball
from validation.table import show

COMMAND = "python -m validation.mri_noise"
RADIUS, SIGMA = 0.085, 0.5
MEASURED, LOSSLESS = 1.59e4, 2.36e4  # sqrt(Hz)/ml/T
MCROBBIE = "D. W. McRobbie, Br. J. Radiol. 69, 1045 (1996), doi:10.1259/0007-1285-69-827-1045"
HOULT = "doi:10.1016/0022-2364(79)90019-2"


def absolute_snr(
    field: float, *, n_coils: int = 8, sigma: float = SIGMA, losses: bool = True
) -> float:
    """At the centre of the sphere, sqrt(Hz)/ml/T."""
    array, frequency = head_array(n_coils), 42.577e6 * field
    body, affine = ball(47, 4e-3, RADIUS)
    sample = sample_resistance(array, sigma * body, affine, frequency)
    coil = coil_resistance(array, frequency)
    noise = noise_covariance(
        sample, coil if losses else 0 * coil, dwell=1.0, noise_figure=0.5 if losses else 0.0
    )
    centre = receive_sensitivity(array, np.zeros((1, 3)))
    return float(signal_scale(field, 1e-6) * combined_snr(centre, noise)[0] / field)


def ultimate(field: float) -> float:
    """Best that currents outside a sphere can do at its centre: two crossed uniform fields."""
    loss = sphere_resistance(1.0, RADIUS, SIGMA, 42.577e6 * field)
    return float(signal_scale(field, 1e-6) * np.sqrt(2 / (4 * BOLTZMANN * BODY * loss)) / field)


def claims() -> list[dict[str, Any]]:
    """Absolute SNR beside published and theoretical figures."""
    snr = absolute_snr(1.5)
    reached = absolute_snr(3.0, n_coils=32, losses=False) / ultimate(3.0)
    slope = np.log2(absolute_snr(3.0) * 3.0 / (absolute_snr(1.5) * 1.5))
    low = np.log2(absolute_snr(0.05) / absolute_snr(0.025)) + 1
    rows = [
        ("absolute SNR of 8 coils at 1.5 T over the mean measured on 22 quadrature head coils",
         snr / MEASURED, "0.5 to 2", 0.5 <= snr / MEASURED <= 2, "measured on 22 systems",
         MCROBBIE),
        ("absolute SNR of 8 coils at 1.5 T over the figure computed without losses",
         snr / LOSSLESS, "0.5 to 2", 0.5 <= snr / LOSSLESS <= 2, "computed by McRobbie", MCROBBIE),
        ("32 coils without losses over the ultimate SNR at the centre of a sphere",
         reached, "0.8 to 1.02", 0.8 <= reached <= 1.02,
         "uniform rotating field in a conducting sphere", HOULT),
        ("exponent of SNR with B0, 1.5 to 3 T, 8 coils with losses", slope, "1 to 1.75",
         1 <= slope <= 1.75, "1 when the sample, 7/4 when the coil makes the noise", HOULT),
        ("exponent of SNR with B0, 0.025 to 0.05 T, 8 coils with losses", low, "1.4 to 1.75",
         1.4 <= low <= 1.75, "7/4 for copper alone, 3/2 with capacitors of fixed quality", HOULT),
    ]  # fmt: skip
    return [
        {"claim": name, "value": float(value), "unit": "1", "bound": bound, "truth": truth,
         "source": source, "command": COMMAND, "passes": passes}
        for name, value, bound, passes, truth, source in rows
    ]  # fmt: skip


if __name__ == "__main__":
    show(claims())
