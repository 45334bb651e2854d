"""The MRD header: `Encoding` to XML and back, tolerant of what others leave out.

Elements, their order and their units follow the schema of the ISMRM raw data format
(ISMRMRD, Inati et al., Magn Reson Med 77:411 (2017), doi:10.1002/mrm.26089).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as Xml

from scanroom.core.errors import FormatError
from scanroom.mri.raw.encoding import COUNTERS, TRAJECTORY_TYPES, Encoding
from scanroom.mri.system import PULSEQ_GAMMA

NAMESPACE = "http://www.ismrm.org/ISMRMRD"
MAX_HEADER = 8 << 20
"""Longest header we agree to read [bytes]; those of scanners stay below 1 MB."""
MAX_MATRIX = {"encodedSpace": 1 << 16, "reconSpace": (1 << 15) - 1}
"""Points along an axis: MRD counts samples in 16 bits, NIfTI pixels in 15."""
MIN_NOISE_BANDWIDTH = 0.1
"""Filters of scanners leave most of their band: 0.79 is what Siemens' converters write."""
_POSITIONS = ("HFP", "HFS", "HFDR", "HFDL", "FFP", "FFS", "FFDR", "FFDL")
_SEQUENCE = {
    "TR": ("repetition_times", 1e3),
    "TE": ("echo_times", 1e3),
    "TI": ("inversion_times", 1e3),
    "flipAngle_deg": ("flip_angles", 180 / math.pi),
    "echo_spacing": ("echo_spacings", 1e3),
}
TRAJECTORY_NOTE = (
    ("unit", "1/m"),
    ("axes", "read_dir phase_dir slice_dir of the acquisition header, at most three"),
    ("signal", "sum of magnetisation(r) exp(-2 pi i k.(r - origin))"),
)
_ORIGINS = {False: "isocentre", True: "position"}


def write_header(encoding: Encoding, n_coils: int) -> bytes:
    """Spell an encoding as MRD XML; lengths in mm, times in ms, angles in degrees."""
    root = Xml.Element("ismrmrdHeader", {"xmlns": NAMESPACE})
    measurement = Xml.SubElement(root, "measurementInformation")
    _leaf(measurement, "patientPosition", encoding.subject_position)
    _leaf(measurement, "protocolName", encoding.protocol_name)
    system = Xml.SubElement(root, "acquisitionSystemInformation")
    _leaf(system, "systemVendor", "Scanroom")
    _leaf(system, "systemFieldStrength_T", _number(encoding.field))
    _leaf(system, "relativeReceiverNoiseBandwidth", _number(encoding.noise_bandwidth))
    _leaf(system, "receiverChannels", n_coils)
    for number, label in enumerate(encoding.coil_labels):
        coil = Xml.SubElement(system, "coilLabel")
        _leaf(coil, "coilNumber", number)
        _leaf(coil, "coilName", label)
    conditions = Xml.SubElement(root, "experimentalConditions")
    _leaf(conditions, "H1resonanceFrequency_Hz", round(encoding.frequency))
    _write_encoding(Xml.SubElement(root, "encoding"), encoding)
    sequence = Xml.SubElement(root, "sequenceParameters")
    for element, (name, factor) in _SEQUENCE.items():
        for value in getattr(encoding, name):
            _leaf(sequence, element, _number(value * factor))
    user = Xml.SubElement(root, "userParameters")
    for name, text in (*encoding.user, ("scanroom_windows", str(encoding.n_windows))):
        _pair(user, "userParameterString", name, text)
    xml: bytes = Xml.tostring(root, encoding="us-ascii", xml_declaration=True)
    return xml


def _write_encoding(parent: Xml.Element, encoding: Encoding) -> None:
    for space, matrix, fov in (
        ("encodedSpace", encoding.encoded_matrix, encoding.encoded_fov),
        ("reconSpace", encoding.recon_matrix, encoding.recon_fov),
    ):
        element = Xml.SubElement(parent, space)
        sizes, lengths = Xml.SubElement(element, "matrixSize"), Xml.Element("fieldOfView_mm")
        element.append(lengths)
        for axis, size, length in zip("xyz", matrix, fov, strict=True):
            _leaf(sizes, axis, size)
            _leaf(lengths, axis, _number(length * 1e3))
    limits = Xml.SubElement(parent, "encodingLimits")
    centres = {
        "kspace_encode_step_1": encoding.centre_step_1,
        "kspace_encode_step_2": encoding.centre_step_2,
    }
    lines = encoding.is_image if encoding.is_image.any() else slice(None)
    for name in COUNTERS:
        values = getattr(encoding, name)[lines]
        limit = Xml.SubElement(limits, name.replace("encode", "encoding"))
        _leaf(limit, "minimum", int(values.min()) if len(values) else 0)
        _leaf(limit, "maximum", int(values.max(initial=0)))
        _leaf(limit, "center", centres.get(name, 0))
    _leaf(parent, "trajectory", encoding.trajectory_type)
    note = Xml.SubElement(parent, "trajectoryDescription")
    _leaf(note, "identifier", "scanroom")
    for name, text in TRAJECTORY_NOTE:
        _pair(note, "userParameterString", name, text)
    _pair(note, "userParameterString", "origin", _ORIGINS[encoding.centred])
    factor = Xml.SubElement(Xml.SubElement(parent, "parallelImaging"), "accelerationFactor")
    _leaf(factor, "kspace_encoding_step_1", encoding.acceleration[0])
    _leaf(factor, "kspace_encoding_step_2", encoding.acceleration[1])


def _leaf(parent: Xml.Element, name: str, text: object) -> None:
    Xml.SubElement(parent, name).text = str(text)


def _pair(parent: Xml.Element, kind: str, name: str, text: str) -> None:
    element = Xml.SubElement(parent, kind)
    _leaf(element, "name", name)
    _leaf(element, "value", text)


def _number(value: float) -> str:
    """Shortest text that survives single precision twice over."""
    return f"{value:.12g}"


def read_header(xml: bytes) -> dict[str, Any]:
    """Return the header fields of `Encoding` that an MRD header of anybody states.

    Absent elements take the value that means nothing special; the signals of others count as
    centred on the field of view, as scanners and their converters leave them. Beyond the fields
    there are ``n_windows`` (how many readouts were meant, -1 unknown) and ``trajectory_known``
    (its unit is ours).

    Raises
    ------
    FormatError
        If it is no XML, not an MRD header, or lacks the encoded space.
    """
    root = _parse(xml)
    encoding = root.find("encoding")
    if encoding is None or encoding.find("encodedSpace") is None:
        raise FormatError(
            "the MRD header has no encoding/encodedSpace; the schema asks for one (ISMRMRD). "
            "Write the header again with the program that made the file."
        )
    encoded_matrix, encoded_fov = _space(encoding, "encodedSpace")
    recon_matrix, recon_fov = _space(encoding, "reconSpace")
    if _text(root, "acquisitionSystemInformation/systemVendor") == "KomaMRI.jl":
        # KomaMRI 0.6 writes metres where the schema asks for millimetres.
        encoded_fov = tuple(length * 1e3 for length in encoded_fov[:2]) + encoded_fov[2:]
        recon_fov = tuple(length * 1e3 for length in recon_fov[:2]) + recon_fov[2:]
    kind = _text(encoding, "trajectory", "cartesian").lower()
    frequency = _float(root, "experimentalConditions/H1resonanceFrequency_Hz", 0.0)
    factors = "parallelImaging/accelerationFactor/kspace_encoding_step_"
    user = dict(_user(root))
    ours = _text(encoding, "trajectoryDescription/identifier") == "scanroom"
    note = {
        entry.findtext("name"): entry.findtext("value")
        for entry in encoding.findall("trajectoryDescription/userParameterString")
    }
    n_windows = user.pop("scanroom_windows", "-1")
    position = _text(root, "measurementInformation/patientPosition", "HFS").upper()
    return {
        "protocol_name": _text(root, "measurementInformation/protocolName"),
        "trajectory_type": kind if kind in TRAJECTORY_TYPES else "other",
        "field": _float(
            root, "acquisitionSystemInformation/systemFieldStrength_T", frequency / PULSEQ_GAMMA
        ),
        "frequency": frequency,
        "subject_position": position if position in _POSITIONS else "HFS",
        "encoded_matrix": encoded_matrix,
        "encoded_fov": encoded_fov,
        "recon_matrix": recon_matrix,
        "recon_fov": recon_fov,
        "centre_step_1": _int(
            encoding, "encodingLimits/kspace_encoding_step_1/center", encoded_matrix[1] // 2
        ),
        "centre_step_2": _int(
            encoding, "encodingLimits/kspace_encoding_step_2/center", encoded_matrix[2] // 2
        ),
        "acceleration": (
            max(1, _int(encoding, factors + "1", 1)),
            max(1, _int(encoding, factors + "2", 1)),
        ),
        "coil_labels": tuple(
            label.findtext("coilName", "") or ""
            for label in root.findall("acquisitionSystemInformation/coilLabel")
        ),
        "noise_bandwidth": _noise_bandwidth(root),
        **_sequence(root),
        "user": tuple(user.items()),
        "centred": not ours or note.get("origin") == "position",
        "n_windows": int(n_windows) if n_windows.isdigit() else -1,
        "trajectory_known": ours,
    }


def _parse(xml: bytes) -> Xml.Element:
    """Parse without namespaces and without entities, which no MRD header needs."""
    if len(xml) > MAX_HEADER or b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise FormatError(
            f"the MRD header has {len(xml)} bytes or declares entities; up to {MAX_HEADER} bytes "
            "of plain XML are read (ISMRMRD schema needs no entities). Use a plain header."
        )
    try:
        root = Xml.fromstring(xml.strip(b"\0"))  # noqa: S314 -- entities are refused above
    except (Xml.ParseError, ValueError, LookupError) as error:
        raise FormatError(
            f"the MRD header is no XML ({error}); an MRD file carries an ISMRMRD header. "
            "The file is damaged or of another kind."
        ) from error
    for element in root.iter():
        element.tag = str(element.tag).rsplit("}", 1)[-1]
    if root.tag != "ismrmrdHeader":
        raise FormatError(
            f"the header's root is <{root.tag[:40]}>; an MRD file has <ismrmrdHeader> (ISMRMRD). "
            "The file is of another kind."
        )
    return root


def _space(encoding: Xml.Element, name: str) -> tuple[Any, Any]:
    element = encoding.find(name)
    if element is None:
        element = encoding.find("encodedSpace")
    if element is None:
        raise FormatError(f"the MRD header has no {name} (ISMRMRD schema); write it again.")
    matrix = tuple(_int(element, f"matrixSize/{axis}", 1) for axis in "xyz")
    fov = tuple(_float(element, f"fieldOfView_mm/{axis}", 0.0) * 1e-3 for axis in "xyz")
    largest = MAX_MATRIX[name]
    if min(matrix) < 1 or max(matrix) > largest or math.prod(matrix) > 1 << 31:
        raise FormatError(
            f"{name} has a matrix of {matrix}; 1 to {largest} an axis and 2^31 in all are read "
            "(16 bits of MRD counters and of NIfTI sizes). The header is damaged."
        )
    if not all(math.isfinite(length) and 0 <= length <= 100 for length in fov):
        raise FormatError(
            f"{name} has a field of view of {fov} m; 0 to 100 m is read. The header is damaged."
        )
    return matrix, fov


def _noise_bandwidth(root: Xml.Element) -> float:
    """Share of white noise that passes the receiver; all of it where nothing is said."""
    name = "relativeReceiverNoiseBandwidth"
    value = _float(root, f"acquisitionSystemInformation/{name}", 1.0)
    if not MIN_NOISE_BANDWIDTH <= value <= 1:
        raise FormatError(
            f"{name} of the MRD header is {value:g}; it may be {MIN_NOISE_BANDWIDTH} to 1 (share "
            "of the sampled band, ISMRMRD schema). Correct it or leave it out."
        )
    return value


def _sequence(root: Xml.Element) -> Mapping[str, tuple[float, ...]]:
    found: dict[str, tuple[float, ...]] = {}
    for element, (name, factor) in _SEQUENCE.items():
        values = root.findall(f"sequenceParameters/{element}")
        found[name] = tuple(_as_float(value.text, element) / factor for value in values)
    return found


def _user(root: Xml.Element) -> Iterator[tuple[str, str]]:
    for kind in ("String", "Long", "Double"):
        for group in root.findall("userParameters"):
            for entry in group.iter(f"userParameter{kind}"):
                if name := entry.findtext("name"):
                    yield name, entry.findtext("value") or ""


def _text(root: Xml.Element, path: str, default: str = "") -> str:
    return (root.findtext(path) or default).strip()


def _float(root: Xml.Element, path: str, default: float) -> float:
    text = root.findtext(path)
    return default if text is None else _as_float(text, path)


def _as_float(text: str | None, path: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(
            f"{path} of the MRD header is {(text or '')[:40]!r}; a finite number stands there "
            "(ISMRMRD schema). The header is damaged."
        )
    return value


def _int(root: Xml.Element, path: str, default: int) -> int:
    return round(_float(root, path, float(default)))
