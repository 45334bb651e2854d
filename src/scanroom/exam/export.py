"""Images to the hospital and to people: DICOM, NIfTI, pictures, report."""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scanroom.core.errors import ProtocolError
from scanroom.core.gate import Finding, Limit
from scanroom.core.result import Result
from scanroom.core.units import WattPerKilogram
from scanroom.exam.folder import ExamFolder
from scanroom.formats.dicom import write_dicom
from scanroom.formats.nifti import BidsName, sidecar_of, write_dataset_description, write_nifti
from scanroom.formats.series import ExamInfo, SeriesInfo
from scanroom.mri.drive.compile.definitions import protocol_of
from scanroom.mri.limits.sar import WHOLE_BODY
from scanroom.mri.recon.intensity import levels
from scanroom.mri.report import (
    ExamPage,
    Picture,
    SafetyLine,
    ScanPage,
    quantity,
    rows_of,
    write_mosaic,
    write_report,
)

PHANTOMS = frozenset({"acr", "sphere", "asymmetric"})
_SHORT_ECHO, _LONG_ECHO = 0.03, 0.06
_KINDS = {"gradient-echo": "gradient", "spin-echo": "spin", "turbo-spin-echo": "spin"}


def export_images(
    results: tuple[Result, ...], folder: ExamFolder, entry: dict[str, Any]
) -> list[dict[str, Any]]:
    """Write every image as classic and Enhanced DICOM, NIfTI and a picture; say where."""
    write_dataset_description(folder.room("nifti"), f"Scanroom exam of {folder.record.subject}")
    images = []
    for count, result in enumerate(results):
        stem = entry["name"] if len(results) == 1 else f"{entry['name']}_{count + 1:02d}"
        info = series_of(result, folder, entry, number=len(folder.record.scans) + 1, count=count)
        images.append(_export_one(result, stem, info, folder))
    return images


def _export_one(result: Result, stem: str, info: SeriesInfo, folder: ExamFolder) -> dict[str, Any]:
    name = BidsName(
        subject=folder.record.subject,
        acquisition=stem,
        suffix={"T1": "T1w", "T2": "T2w", "PROTON_DENSITY": "PDw"}.get(info.contrast, "T1w"),
    )
    bids = folder.room("nifti") / f"sub-{name.subject}" / "anat" / f"{name.stem}.nii.gz"
    write_nifti(result, bids, sidecar_of(info, unit=result.unit))
    write_dicom(result, folder.room("dicom") / stem / "classic", info)
    write_dicom(result, folder.room("dicom") / stem / "enhanced", info, enhanced=True)
    picture = write_mosaic(result, folder.room("pictures") / f"{stem}.png")
    return {
        "name": stem,
        "shape": list(result.array.shape),
        "unit": result.unit,
        **_sizes(result),
        "nifti": str(bids.relative_to(folder.path)),
        "dicom": f"dicom/{stem}",
        "picture": str(picture.relative_to(folder.path)),
        "quality": quality_of(result),
        "quality_unit": result.provenance.get("received", {}).get("unit", result.unit),
        "provenance": dict(result.provenance),
    }


def _sizes(result: Result) -> dict[str, Any]:
    """Voxels as thick as the slices were measured, and how far apart their centres lie."""
    *pixel, distance = np.linalg.norm(result.affine[:3, :3], axis=0) * 1e3
    thickness = (result.provenance.get("slice_thickness") or distance * 1e-3) * 1e3
    sizes = {"voxel_mm": [round(float(edge), 4) for edge in (*pixel, thickness)]}
    apart = result.array.shape[0] > 1
    return sizes | ({"slice_distance_mm": round(float(distance), 4)} if apart else {})


def quality_of(result: Result) -> dict[str, float]:
    """Figures of an image that need no truth, as it was received."""
    received = result.provenance.get("received", levels(result.array))
    return {name: value for name, value in received.items() if name != "unit"}


def series_of(
    result: Result, folder: ExamFolder, entry: dict[str, Any], *, number: int, count: int
) -> SeriesInfo:
    """What the raw file said of this image, as a DICOM series."""
    past = result.provenance
    said: dict[str, str] = past.get("user", {})
    kind = said.get("scanroom_kind", "")
    echo: Literal["gradient", "spin"] = "spin" if _KINDS.get(kind) == "spin" else "gradient"
    matrix = result.array.shape
    return SeriesInfo(
        exam=exam_info(folder, past, entry),
        number=100 * number + count + 1,
        description=entry["name"] if count == 0 else f"{entry['name']} {count + 1}",
        sequence_name=kind or "pulseq",
        echo=echo,
        echo_times=(past.get("echo_time") or 0.0,),
        repetition_time=past.get("repetition_time") or 0.0,
        flip_angle=past.get("flip_angle") or 0.0,
        contrast=contrast_of(echo, past.get("echo_time") or 0.0),
        is_3d=kind == "gradient-echo"
        and float(said.get("scanroom_matrix", "1 1 1").split()[-1]) > 1,
        frequency=past["frequency"],
        bandwidth=1.0 / past["readout_time"] if past["readout_time"] else 0.0,
        averages=int(float(said.get("scanroom_averages", 1))),
        echo_train_length=int(float(said.get("scanroom_echo_train_length", 1))),
        encoding_steps=(matrix[2], matrix[1], matrix[0]),
        partial_fourier=float(said.get("scanroom_partial_fourier", 1.0)),
        acceleration=float(said.get("scanroom_acceleration", 1.0)),
        rf_spoiled=kind == "gradient-echo",
        slice_thickness=past.get("slice_thickness"),
        duration=float(entry.get("scan_duration", 0.0)),
        n_coils=past["n_coils"],
        sar=_body_sar(entry),
        operating_mode=entry.get("mode", "normal"),
        comment="Shading evened out." if "received" in past else "",
        body_part="PHANTOM" if folder.record.subject in PHANTOMS else "HEAD",
    )


def _body_sar(entry: dict[str, Any]) -> WattPerKilogram | None:
    """Take the whole body's SAR as the gate measured it; nobody knows that of a recording."""
    values = [item["value"] for item in entry["findings"] if item["name"] == WHOLE_BODY]
    return float(values[0]) if values else None


def contrast_of(
    echo: str, echo_time: float
) -> Literal["T1", "T2", "T2_STAR", "PROTON_DENSITY", "UNKNOWN"]:
    """Name the weighting by the echo time, as DICOM and BIDS want one word."""
    if echo_time <= _SHORT_ECHO:
        return "T1"
    if echo_time >= _LONG_ECHO or echo == "spin":
        return "T2"
    return "T2_STAR"


def exam_info(folder: ExamFolder, past: Any, entry: dict[str, Any]) -> ExamInfo:
    """Who was examined, and on what; the twin says that it is one."""
    record = folder.record
    twin = record.device.startswith("digital twin")
    return ExamInfo(
        patient_name=f"{'TWIN' if twin else 'RECORDED'}^{record.subject.upper()[:40]}",
        patient_id=f"{'twin' if twin else 'recorded'}-{record.uid[:8]}",
        synthetic=twin,
        uid=record.uid,
        when=datetime.fromisoformat(record.created),
        is_phantom=record.subject in PHANTOMS,
        patient_position=past.get("subject_position") or "HFS",
        study_description=(entry.get("study") or f"Scanroom {record.subject}")[:64],
        model=f"Scanroom {record.system}",
        device=record.device[:64],
        field=past["field"],
    )


def write_exam_report(folder: ExamFolder) -> Path:
    """Write ``report.html`` from the record and the pictures."""
    record = folder.record
    page = ExamPage(
        title=f"Exam of {record.subject}",
        subject=record.subject,
        system=record.system,
        device=record.device,
        date=_date(datetime.fromisoformat(record.created)),
        is_twin=record.device.startswith("digital twin"),
        software=record.software,
        uid=record.uid,
        scans=tuple(_scan_page(entry, folder.path) for entry in record.scans),
    )
    return write_report(folder.path / "report.html", page)


def _date(when: datetime) -> str:
    """Write a moment as 4 March 2026, 05:06 (UTC+00:00)."""
    return f"{when.day} {when:%B %Y, %H:%M} ({when:%Z})"


def _scan_page(entry: dict[str, Any], path: Path) -> ScanPage:
    images = entry["images"]
    past = images[0]["provenance"] if images else {}
    plot = entry.get("sequence_plot")
    return ScanPage(
        name=entry["name"],
        title=entry["name"].replace("_", " ").replace("-", " "),
        pictures=tuple(
            Picture(png=(path / image["picture"]).read_bytes(), caption=image["name"])
            for image in images
        ),
        highlights=_highlights(entry, past),
        protocol=_protocol_rows(past.get("user", {})),
        safety=tuple(_safety_line(item) for item in entry["findings"]),
        sequence_plot=Picture(png=(path / plot).read_bytes(), caption="One excitation")
        if plot
        else None,
        timings=tuple(entry["timings"].items()),
        quality=tuple(
            (f"{image['name']}: {name}", f"{value:.4g} {image.get('quality_unit', image['unit'])}")
            for image in images
            for name, value in image["quality"].items()
        ),
        provenance=_provenance_rows(entry, past),
        files=_files(entry, images),
        notes=tuple(str(step) for step in past.get("steps", ())),
    )


def _highlights(entry: dict[str, Any], past: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    rows = [
        (label, quantity(past[key], unit))
        for label, key, unit in (
            ("Echo time", "echo_time", "s"),
            ("Repetition time", "repetition_time", "s"),
            ("Flip angle", "flip_angle", "rad"),
        )
        if past.get(key) is not None
    ]
    if entry.get("scan_duration"):
        rows.append(("Time in the scanner", quantity(entry["scan_duration"], "s")))
    for image in entry["images"][:1]:
        rows.append(("Voxel", " x ".join(f"{edge:.4g}" for edge in image["voxel_mm"]) + " mm"))
        if "slice_distance_mm" in image:
            rows.append(("Slices apart", f"{image['slice_distance_mm']:.4g} mm"))
    if (sar := _body_sar(entry)) is not None:
        rows.append(("Whole-body SAR", f"{quantity(sar, 'W/kg', 3)}, {entry['mode']} mode"))
    return tuple(rows)


def _protocol_rows(said: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """List the protocol that travelled with the raw data; none where it was not one of ours."""
    try:
        return rows_of(protocol_of(said["scanroom_protocol"]), skip=("name",))
    except (KeyError, ProtocolError):
        return ()


def _safety_line(item: dict[str, Any]) -> SafetyLine:
    limit = Limit(
        item["name"], item["ceiling"], item["unit"], item["source"], lambda _: 0.0, item["remedy"]
    )
    return SafetyLine.of(Finding(limit, item["value"]))


def _provenance_rows(entry: dict[str, Any], past: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    rows = [
        ("Drive fingerprint", entry.get("drive_digest", "recorded elsewhere")),
        ("Software", past.get("software", "")),
        ("Channels", str(past.get("n_coils", ""))),
        ("Noise prewhitened", "yes" if past.get("noise_prewhitened") else "no"),
    ]
    return tuple((name, str(value)) for name, value in rows)


def _files(entry: dict[str, Any], images: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    rows = [("Raw data (MRD)", entry["raw"])]
    if "sequence" in entry:
        rows.insert(0, ("Sequence (Pulseq)", entry["sequence"]))
    for image in images:
        rows += [("NIfTI", image["nifti"]), ("DICOM", image["dicom"])]
    return tuple(rows)
