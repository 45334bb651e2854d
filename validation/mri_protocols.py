"""Presets from protocol to drive: k-space, echo and repetition times, the gate, compile time."""

import dataclasses
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scanroom.mri.drive.compile import compile_drive
from scanroom.mri.drive.kspace import trajectory
from scanroom.mri.drive.model import Drive
from scanroom.mri.limits import limits_for
from scanroom.mri.protocol import (
    FAMILIES,
    Geometry,
    Imaging,
    family_of,
    load_protocol,
    preset_names,
)
from scanroom.mri.protocol.bounds import MISSING, show, shown_unit
from scanroom.mri.system import SYSTEMS, System
from validation.table import markdown
from validation.table import show as print_table

COMMAND = "python -m validation.mri_protocols"
PAGE = Path(__file__).resolve().parents[1] / "docs/reference/generated/protocols.md"


def system_of(name: str) -> System:
    """Which scanner a preset is drawn for."""
    return SYSTEMS["0.05T" if name.startswith("lowfield") else "3T"]


@cache
def compiled(name: str) -> tuple[Imaging, Drive, float]:
    """Protocol, drive and how long it took."""
    protocol = load_protocol(name)
    start = time.perf_counter()
    drive = compile_drive(protocol, system_of(name))
    return protocol, drive, time.perf_counter() - start


def label(drive: Drive, name: str) -> np.ndarray:
    """One label at every window."""
    names = drive.windows.label_name
    if name not in names:
        return np.zeros(drive.windows.start.size, int)
    return drive.windows.label[:, names.index(name)]


def grid_error(name: str) -> float:
    """Largest distance of a sample from the prescribed grid, in steps of that grid."""
    protocol, drive, _ = compiled(name)
    geometry = protocol.geometry
    n_samples = geometry.matrix_read * protocol.oversampling
    read = (np.arange(n_samples) - n_samples // 2) / protocol.oversampling
    extent = np.array([geometry.field_of_view_read, geometry.field_of_view_phase, geometry.slab])
    worst = 0.0
    places = zip(label(drive, "LIN"), label(drive, "PAR"), trajectory(drive), strict=True)
    for line, partition, k in places:
        found = k @ geometry.rotation * extent
        found[:, 0] -= read
        found[:, 1] -= line - geometry.matrix_phase // 2
        found[:, 2] -= partition - geometry.n_partitions // 2
        worst = max(worst, float(np.abs(found).max()))
    return worst


def centres(drive: Drive) -> np.ndarray:
    """Centre of every excitation."""
    chosen = [use == "e" for use in drive.pulses.use]
    start, shape = drive.pulses.start[chosen], drive.pulses.shape[chosen]
    return start + np.array([drive.shapes[index].centre for index in shape])


def echo_time_error(name: str) -> float:
    """Largest distance of a centre sample from the echo time."""
    protocol, drive, _ = compiled(name)
    chosen = label(drive, "LIN") == protocol.geometry.matrix_phase // 2
    windows = drive.windows
    middle = windows.start + (windows.n_samples // 2 + 0.5) * windows.dwell
    excitation = centres(drive)
    last = excitation[np.searchsorted(excitation, windows.start) - 1]
    return float(np.abs(middle - last - protocol.echo_time)[chosen].max())


def repetition_time_error(name: str) -> float:
    """Largest distance of a repetition from TR, slice by slice."""
    protocol, drive, _ = compiled(name)
    rows = centres(drive).reshape(-1, protocol.geometry.n_slices)
    return float(np.abs(np.diff(rows, axis=0) - protocol.repetition_time).max())


def gate_share(name: str) -> float:
    """Largest share of any ceiling of the gate's normal mode."""
    _, drive, _ = compiled(name)
    limits = [limit for limit in limits_for(system_of(name)) if limit.ceiling > 0]
    return max(limit.measure(drive) / limit.ceiling for limit in limits)


def claims() -> list[dict[str, Any]]:
    """Every preset: the worst of them."""
    names = preset_names()
    rows = [
        ("samples off the prescribed k-space grid", grid_error, "step", 1e-6, "prescription"),
        # The delay of a window is written in whole microseconds.
        ("centre sample off TE", echo_time_error, "s", 0.501e-6, "prescription"),
        ("repetition off TR", repetition_time_error, "s", 1e-9, "prescription"),
        ("share of the gate's ceilings used", gate_share, "1", 1.0, "gate, normal mode"),
        ("time to compile", lambda name: compiled(name)[2], "s", 10.0, "patience"),
    ]
    found = []
    for claim, measure, unit, bound, truth in rows:
        value = max(measure(name) for name in names)
        found.append(
            {
                "claim": f"presets, worst of {len(names)}: {claim}",
                "value": value,
                "unit": unit,
                "bound": bound,
                "truth": truth,
                "source": "src/scanroom/mri/protocol/presets",
                "command": COMMAND,
                "passes": value <= bound,
            }
        )
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(found))
    return found


def key_rows(record: type, without: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """One row for each key of a table in a protocol file."""
    rows = []
    for field in dataclasses.fields(record):
        bound = field.metadata.get("bound")
        if bound is None or field.name in without:
            continue
        unit = shown_unit(record, field.name)
        span = ", ".join(bound.choices) or f"{show(bound.low, unit)} to {show(bound.high, unit)}"
        default = "required" if field.default is MISSING else show(field.default, unit)
        rows.append(
            {
                "key": f"`{field.name}{unit[1]}`",
                "may be": span + (", even" if bound.even else ""),
                "default": default,
                "reason": bound.reason,
            }
        )
    return rows


def preset_rows() -> list[dict[str, Any]]:
    """One row for each preset."""
    rows = []
    for name in preset_names():
        protocol, drive, _ = compiled(name)
        geometry = protocol.geometry
        depth = geometry.n_partitions if geometry.is_3d else geometry.n_slices
        rows.append(
            {
                "preset": f"`{name}`",
                "family": family_of(protocol),
                "system": system_of(name).name,
                "TR [ms]": protocol.repetition_time * 1e3,
                "TE [ms]": protocol.echo_time * 1e3,
                "matrix": f"{geometry.matrix_read} x {geometry.matrix_phase} x {depth}",
                "scan [s]": drive.duration,
                "source": protocol.source,
            }
        )
    return rows


def page(found: list[dict[str, Any]]) -> str:
    """Keys, bounds and presets."""
    common = key_rows(Imaging)
    columns = ("key", "may be", "default", "reason")
    parts = [f"<!-- made by {COMMAND} -->", "## Keys of every family", markdown(common, columns)]
    shared = frozenset(field.name for field in dataclasses.fields(Imaging))
    for name, kind in FAMILIES.items():
        parts += [f'## `family = "{name}"`', markdown(key_rows(kind, shared), columns)]
    parts += ["## Table `[geometry]`", markdown(key_rows(Geometry), columns)]
    rows = preset_rows()
    parts += ["## Presets", markdown(rows, tuple(rows[0]))]
    keys = ("claim", "value", "unit", "bound", "passes")
    parts += ["## Measured", markdown([*filter(is_steady, found)], keys)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def is_steady(claim: dict[str, Any]) -> bool:
    """Whether a figure is the same on every machine."""
    return "compile" not in claim["claim"]


if __name__ == "__main__":
    print_table(claims())
