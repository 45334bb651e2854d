"""Relaxation times and the transmit field from images: every method, by name."""

from scanroom.mri.maps.decay import Decay, arlo, decay
from scanroom.mri.maps.echo_train import Refocused, Train, t2_of_train, train_dictionary
from scanroom.mri.maps.flip_angles import actual_flip_angle, double_angle, variable_flip_angle
from scanroom.mri.maps.inversion import inversion_recovery, look_locker

__all__ = [
    "Decay",
    "Refocused",
    "Train",
    "actual_flip_angle",
    "arlo",
    "decay",
    "double_angle",
    "inversion_recovery",
    "look_locker",
    "t2_of_train",
    "train_dictionary",
    "variable_flip_angle",
]
