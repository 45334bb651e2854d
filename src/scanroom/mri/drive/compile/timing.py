"""When each slice has its turn within TR, and refusals of times that are too short."""

from dataclasses import dataclass

import numpy as np

from scanroom.core.errors import ProtocolError
from scanroom.mri.drive.compile.design import NANO, ceil_to, ns
from scanroom.mri.protocol.families import Imaging
from scanroom.mri.system import System


def need_echo_time(echo_time: int, shortest: int, system: System) -> None:
    """Refuse an echo time [ns] that the pulses and gradients do not leave room for.

    Raises
    ------
    ProtocolError
        With the shortest one.
    """
    if echo_time < shortest:
        raise ProtocolError(
            f"echo_time is {echo_time * 1e-6:.6g} ms; the minimum is {shortest * 1e-6:.6g} ms "
            f"(pulses, gradients and readout on system {system.name}). Lengthen TE, raise "
            "bandwidth or shorten the pulses."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """TR cut into one slot a slice, each on the block raster."""

    protocol: Imaging
    repetition_time: int
    raster: int

    def start(self, repetition: int, place: int) -> int:
        """When the slice in this place of the order starts its turn [ns]."""
        share = self.repetition_time * place // self.protocol.geometry.n_slices
        return repetition * self.repetition_time + share // self.raster * self.raster

    def calibration(self, line: int) -> dict[str, int]:
        """REF: the line belongs to the coil calibration; IMA: and to the regular grid as well."""
        if self.protocol.acceleration == 1:
            return {}
        lines = np.array([line])
        reference = bool(self.protocol.is_acs(lines)[0])
        both = reference and bool(self.protocol.is_grid(lines)[0])
        return {"REF": int(reference), "IMA": int(both)}


def slots(protocol: Imaging, shot: int, system: System) -> Slots:
    """Fit one shot [ns] of every slice into TR.

    Raises
    ------
    ProtocolError
        With the shortest TR.
    """
    raster = ns(system.block_raster)
    repetition_time = round(ns(protocol.repetition_time) / raster) * raster
    n_slices = protocol.geometry.n_slices
    if repetition_time // n_slices // raster * raster < shot:
        shortest = ceil_to(shot, raster) * n_slices
        raise ProtocolError(
            f"repetition_time is {protocol.repetition_time * 1e3:.6g} ms; the minimum is "
            f"{shortest * NANO * 1e3:.6g} ms for {n_slices} slices of {shot * NANO * 1e3:.6g} ms "
            f"(system {system.name}). Lengthen TR or measure fewer slices."
        )
    return Slots(protocol=protocol, repetition_time=repetition_time, raster=raster)
