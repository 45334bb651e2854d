"""What is not ideal about the twin: each imperfection can be set or switched off."""

from dataclasses import dataclass

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz, Kelvin, Ratio, Second

MAX_COILS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Imperfections of magnet, transmitter, gradients, receiver and tissue.

    ``shim_order`` is the order of the spherical harmonics that the shim takes away from the
    susceptibility field (-1: no shim); ``shim_error`` is what it leaves on top: an offset [Hz]
    and three gradients [Hz/m]. ``gradient_delay`` [s] is how much later each axis plays than
    the drive says. ``coils`` off means that every coil is alike and uniform.
    """

    b0: bool = True
    shim_order: int = 2
    shim_error: tuple[Hertz, float, float, float] = (3.0, 0.0, 0.0, 0.0)
    chemical_shift: bool = True
    t2_prime: bool = True
    b1: bool = True
    coils: bool = True
    gradient_delay: tuple[Second, Second, Second] = (1.0e-6, 1.0e-6, 1.0e-6)
    noise: bool = True
    noise_figure: Ratio = 0.5
    coil_temperature: Kelvin = 293.15
    filter: bool = True
    quantisation: bool = True
    n_bits: int = 16

    def __post_init__(self) -> None:
        if self.shim_order not in {-1, 0, 1, 2}:
            raise ProtocolError(
                f"shim order is {self.shim_order}; it may be -1 (no shim), 0, 1 or 2 (the coils of "
                "a clinical scanner). Choose one of them."
            )
        if not 2 <= self.n_bits <= 32:
            raise ProtocolError(
                f"the converter has {self.n_bits} bits; it may have 2 to 32 "
                "(scanroom.physics.receiver). Choose a number in that range."
            )
        if not all(abs(delay) <= 1e-3 for delay in self.gradient_delay):
            raise ProtocolError(
                f"gradient delays are {self.gradient_delay} s; each may be at most 1 ms "
                "(amplifiers are later by microseconds). Give them in seconds."
            )


IDEAL = Faults(
    b0=False,
    shim_error=(0.0, 0.0, 0.0, 0.0),
    chemical_shift=False,
    t2_prime=False,
    b1=False,
    coils=False,
    gradient_delay=(0.0, 0.0, 0.0),
    noise=False,
    filter=False,
    quantisation=False,
)
