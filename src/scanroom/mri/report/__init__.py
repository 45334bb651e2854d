"""What people read: pictures, numbers, warnings."""

from scanroom.mri.report.html import report, write_report
from scanroom.mri.report.page import ExamPage, Picture, SafetyLine, ScanPage
from scanroom.mri.report.pictures import mosaic, write_mosaic
from scanroom.mri.report.words import duration, quantity, rows_of

__all__ = [
    "ExamPage",
    "Picture",
    "SafetyLine",
    "ScanPage",
    "duration",
    "mosaic",
    "quantity",
    "report",
    "rows_of",
    "write_mosaic",
    "write_report",
]
