"""A head's diffusion series as United Imaging stores it: tiles, b-values, directions.

DICOM of neurolabusc/dcm_qa_uih (BSD-2-Clause), one file for each direction, with twenty slices as
tiles of one picture; b-value and direction stand in private elements. The same series as dcm2niix
converts it lies beside.
"""

import functools
from pathlib import Path

import nibabel
import numpy as np
import pydicom

FOLDER = Path("../shared/data/mri_dicom/neurolabusc+dcm_qa_uih")
FILES = FOLDER / "In/DTI_134434/dti_tra_dir16_PA_SaveBySlc__135612"
CONVERTED = FOLDER / "Ref/dti_tra_dir16_PA_6_134431"
SOURCE = "United Imaging uMR 770, 3 T, public DICOM (neurolabusc/dcm_qa_uih)"
B_VALUE, DIRECTION, N_SLICES = (0x0065, 0x1009), (0x0065, 0x1037), (0x0065, 0x1050)


def at_hand() -> bool:
    """Whether the files are there."""
    return FILES.is_dir()


@functools.cache
def series() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images [direction z y x], b-values [s/m2], directions in the frame of the images."""
    images, b_values, directions = [], [], []
    for path in sorted(FILES.glob("*.dcm")):
        file = pydicom.dcmread(path)
        rows, columns = (int(value) for value in file.AcquisitionMatrix if value)
        tiles = file.pixel_array.astype(np.float64)
        across = tiles.shape[1] // columns
        n_slices = int(float(file[N_SLICES].value))
        places = [divmod(k, across) for k in range(n_slices)]
        images.append([tiles[r * rows :, c * columns :][:rows, :columns] for r, c in places])
        b_values.append(float(file[B_VALUE].value) * 1e6)
        directions.append([float(value) for value in file[DIRECTION].value])
    return np.array(images), np.array(b_values), np.array(directions)


def converted() -> tuple[np.ndarray, np.ndarray]:
    """Images and b-values [s/m2] by dcm2niix, in the order of `series`."""
    volume = np.asarray(nibabel.load(f"{CONVERTED}.nii").dataobj, np.float64)
    b_values = np.loadtxt(f"{CONVERTED}.bval") * 1e6
    return volume.transpose(3, 2, 1, 0)[:, :, ::-1], b_values
