"""Who or what is measured: maps of properties on one voxel grid."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from scanroom.core.units import Tesla


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Property maps, axes ``x y z``, on an affine grid in RAS+ metres (voxel centres at integers).

    ``maps`` is keyed by names of ``PROPERTIES``; every map has the same shape. A voxel with zero
    proton density is empty. ``field`` is the field strength that T1, T2 and T2' belong to.
    """

    name: str
    field: Tesla
    affine: Float[np.ndarray, "4 4"]
    maps: Mapping[str, Float[np.ndarray, "x y z"]]
    notice: str = ""


PROPERTIES: Mapping[str, tuple[str, str]] = {
    # name: (unit, meaning)
    "proton_density": ("1", "water-equivalent proton density, water = 1"),
    "t1": ("s", "longitudinal relaxation time"),
    "t2": ("s", "transverse relaxation time"),
    "t2_prime": ("s", "reversible dephasing time, 1/T2* = 1/T2 + 1/T2'; infinite if none"),
    "chemical_shift": ("1", "shift from water as a ratio (-3.4e-6 for fat)"),
    "susceptibility": ("1", "volume magnetic susceptibility, SI"),
    "diffusion": ("m2/s", "apparent diffusion coefficient"),
    "diffusion_xx": ("m2/s", "diffusion tensor, scanner axes; with any of the six they hold"),
    "diffusion_yy": ("m2/s", "diffusion tensor"),
    "diffusion_zz": ("m2/s", "diffusion tensor"),
    "diffusion_xy": ("m2/s", "diffusion tensor"),
    "diffusion_xz": ("m2/s", "diffusion tensor"),
    "diffusion_yz": ("m2/s", "diffusion tensor"),
    "bound_fraction": ("1", "bound protons for each free one, with which they exchange"),
    "exchange_rate": ("1/s", "how often a free proton exchanges with bound ones"),
    "t1_bound": ("s", "longitudinal relaxation time of bound protons"),
    "t2_bound": ("s", "transverse relaxation time of bound protons"),
    "velocity_x": ("m/s", "velocity towards the subject's right"),
    "velocity_y": ("m/s", "velocity towards anterior"),
    "velocity_z": ("m/s", "velocity towards superior"),
    "density": ("kg/m3", "mass density"),
    "sound_speed": ("m/s", "longitudinal sound speed"),
    "sound_attenuation": ("Np/m", "amplitude attenuation of sound at 1 MHz"),
    "shear_modulus": ("Pa", "shear storage modulus"),
    "shear_viscosity": ("Pa s", "shear viscosity"),
    "conductivity": ("S/m", "electric conductivity at the Larmor frequency"),
    "heat_capacity": ("J/kg/K", "specific heat"),
    "heat_conductivity": ("W/m/K", "thermal conductivity"),
    "perfusion": ("1/s", "blood perfusion rate"),
}
