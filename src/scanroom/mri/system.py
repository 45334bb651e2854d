"""The scanner a sequence is written for: magnet, amplifiers, clocks."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from scanroom.core.choice import one_of
from scanroom.core.units import (
    Hertz,
    HertzPerTesla,
    Second,
    Tesla,
    TeslaPerMetre,
    TeslaPerMetrePerSecond,
)

# Pulseq's own constant for the proton (pypulseq.Opts): how .seq files in Hz/m become T/m.
PULSEQ_GAMMA: HertzPerTesla = 42.576e6


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One scanner's magnet, amplifiers and clocks; ``n_transmit`` counts transmit channels."""

    name: str
    field: Tesla
    max_gradient: TeslaPerMetre
    max_slew: TeslaPerMetrePerSecond
    max_b1: Tesla
    gradient_raster: Second = 10e-6
    pulse_raster: Second = 1e-6
    window_raster: Second = 100e-9
    block_raster: Second = 10e-6
    pulse_dead_time: Second = 100e-6
    pulse_ringdown: Second = 30e-6
    window_dead_time: Second = 10e-6
    max_window_samples: int = 8192
    gamma: HertzPerTesla = PULSEQ_GAMMA
    n_transmit: int = 1
    source: str = ""

    @property
    def larmor(self) -> Hertz:
        """Proton frequency."""
        return self.gamma * self.field


SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "3T": System(
            name="3T",
            field=3.0,
            max_gradient=80e-3,
            max_slew=200.0,
            max_b1=20e-6,
            source="reference whole-body scanner of the Scanroom design: 80 mT/m, 200 T/m/s",
        ),
        "0.05T": System(
            name="0.05T",
            field=0.05,
            max_gradient=15e-3,
            max_slew=40.0,
            max_b1=50e-6,
            source="low-cost permanent-magnet head scanner",
        ),
    }
)


def system(name: str) -> System:
    """Return a preset by name.

    Raises
    ------
    ProtocolError
        If there is no such preset; the text lists them.
    """
    return SYSTEMS[one_of("system", name, sorted(SYSTEMS), "scanroom.mri.system")]
