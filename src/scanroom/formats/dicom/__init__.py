"""DICOM files of images: classic and Enhanced MR Image Storage."""

from scanroom.formats.dicom.reader import read_dicom
from scanroom.formats.dicom.writer import write_dicom

__all__ = ["read_dicom", "write_dicom"]
