"""What the channels of the transmitter make together: one field for every set of their weights."""

import numpy as np
from jaxtyping import Complex, Complex64, Float, Int

from scanroom.core.errors import ProtocolError
from scanroom.mri.drive.model import Drive
from scanroom.mri.system import System
from scanroom.mri.twin import fields
from scanroom.mri.twin.faults import Faults
from scanroom.physics.transmit_array import MAX_CHANNELS, TransmitArray, array_field, circular
from scanroom.subject.model import Subject


def own_mode(system: System, faults: Faults) -> Complex[np.ndarray, "1 channel"]:
    """Weights of the scanner's own mode, which is circular.

    Raises
    ------
    ProtocolError
        If there are too few or too many channels, or several behind one faulty amplifier.
    """
    if not 1 <= system.n_transmit <= MAX_CHANNELS:
        raise ProtocolError(
            f"system {system.name} has {system.n_transmit} transmit channels; the twin has 1 to "
            f"{MAX_CHANNELS} (scanroom.physics.transmit_array). Choose a number in that range."
        )
    if system.n_transmit > 1 and faults.amplifier is not None:
        raise ProtocolError(
            f"an amplifier's faults are asked for with {system.n_transmit} transmit channels; the "
            "twin knows them of one amplifier (scanroom.mri.twin). Switch one of them off."
        )
    return circular(system.n_transmit)[None]


def sets_of(drive: Drive) -> tuple[Int[np.ndarray, " set"], Int[np.ndarray, " pulse"]]:
    """Which sets of weights are in play, and the place of each pulse's among them.

    -1 is the scanner's own mode, which is in play where no pulse is.
    """
    n_pulses = len(drive.pulses.start)
    if drive.shims is None or not n_pulses:
        return np.full(1, -1), np.zeros(n_pulses, np.int64)
    used, place = np.unique(drive.shims.of_pulse, return_inverse=True)
    return used, place


def weights_of(drive: Drive, n_channels: int) -> Complex[np.ndarray, "set channel"]:
    """Weights of the sets that are in play.

    Raises
    ------
    ProtocolError
        If the drive is for another number of channels.
    """
    own = circular(n_channels)
    if drive.shims is None:
        return own[None]
    if drive.shims.weight.shape[1] != n_channels:
        raise ProtocolError(
            f"the RF shims of {drive.name!r} are for {drive.shims.weight.shape[1]} channels; the "
            f"system has {n_channels} (System.n_transmit). Give as many weights as channels."
        )
    return np.asarray(np.concatenate([drive.shims.weight, own[None]])[sets_of(drive)[0]])


def transmit(
    position: Float[np.ndarray, "spin 3"],
    weights: Complex[np.ndarray, "set channel"],
    system: System,
    faults: Faults,
) -> Complex64[np.ndarray, "spin ..."]:
    """Relative transmit field of each set; without the axis of sets if there is one only.

    With ``faults.b1`` off channels are uniform, as the array's are in its centre.
    """
    n_channels = weights.shape[1]
    if n_channels == 1:
        own = fields.transmit(position, system.larmor, faults)
        if np.array_equal(weights, [[1.0]]):
            return own
        made = np.asarray(own[:, None] * weights[:, 0].conj(), np.complex64)
    elif not faults.b1:
        even = (weights @ circular(n_channels).conj()).conj()
        made = np.tile(even.astype(np.complex64), (len(position), 1))
    else:
        # A pulse p meets the spins as its conjugate (docs/nomenclature.md); so do its weights.
        array = TransmitArray(n_channels=n_channels)
        made = array_field(array, position, weights, frequency=system.larmor).conj()
    return made[:, 0] if len(weights) == 1 else made


def transmit_maps(
    subject: Subject, system: System, faults: Faults
) -> Complex64[np.ndarray, "channel x y z"]:
    """B1+ of every channel at every voxel, signs as of a pulse's phase: the twin's own truth."""
    shape = subject.maps["proton_density"].shape
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    points = index @ subject.affine[:3, :3].T + subject.affine[:3, 3]
    one_each = np.eye(system.n_transmit, dtype=np.complex128)
    made = transmit(points, one_each, system, faults).conj()
    return np.ascontiguousarray(made.reshape(*shape, system.n_transmit).transpose(3, 0, 1, 2))
