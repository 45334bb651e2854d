"""Relaxation times: closed forms, efficiency, the twin's hidden truth, and phantoms of four sites.

Vials on the twin have B1 of a head at 3 T: 1 in the middle, 0.77 at the ring. A map's bias is the
mean over some 20 pixels in each vial and ten seeds of noise; the worst vial counts.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from scanroom.mri.drive.compile.profile import cayley_klein
from scanroom.mri.maps.model import Map
from scanroom.mri.maps.relaxation import (
    Train,
    actual_flip_angle,
    arlo,
    decay,
    double_angle,
    inversion_recovery,
    look_locker,
    t2_of_train,
    train_dictionary,
    variable_flip_angle,
)
from scanroom.mri.twin import fields
from scanroom.physics.epg import refocused_train
from validation import map_laws as laws
from validation import map_scans as scans
from validation import nist_plates as nist
from validation.table import markdown, say, show

COMMAND = "python -m validation.mri_maps_relaxation"
PAGE = Path("docs/reference/generated/maps-relaxation.md")
PICTURE = Path("docs/images/maps-relaxation.png")

TI = np.array([0.05, 0.15, 0.4, 0.8, 1.5, 3.0])
TE = 5e-3 * np.arange(1, 9)
FLIPS = np.radians([3.0, 5.0, 10.0, 17.0])
TR = 15e-3
SOME_T1 = np.geomspace(0.1, 3.0, 25)
SOME_T2 = np.geomspace(5e-3, 0.3, 25)


def worst(found: Map, truth: np.ndarray) -> float:
    """Largest relative error; an untrusted voxel counts as wholly wrong."""
    return float(np.where(found.valid, np.abs(found.array / truth - 1), 1.0).max())


def each_of(law: Callable[[float], np.ndarray], values: np.ndarray) -> np.ndarray:
    """Signals [sample value]."""
    return np.stack([law(float(value)) for value in values], axis=1)


# ---------------------------------------------------------------- closed forms


def recovery_magnitude() -> float:
    """Polarity restored, imperfect inversion."""
    signal = each_of(lambda t1: laws.recovery(TI, t1, 0.9, 100.0), SOME_T1)
    return worst(inversion_recovery(np.abs(signal), TI), SOME_T1)


def recovery_complex() -> float:
    """Any phase."""
    signal = each_of(lambda t1: laws.recovery(TI, t1, 0.8, 100.0), SOME_T1)
    return worst(inversion_recovery(signal * np.exp(1j * 2.0), TI), SOME_T1)


def recovery_repeated() -> float:
    """Spin echoes every 3.5 s: with an imperfect inversion, and a perfect one."""
    found, times = [], TI[:5]
    for efficiency, perfect in ((0.9, False), (1.0, True)):
        signal = each_of(
            lambda t1, e=efficiency: laws.repeated(times, 3.5, 12e-3, t1, e, 100.0), SOME_T1
        )
        made = inversion_recovery(
            np.abs(signal), times, repetition_times=3.5, echo_time=12e-3, perfect=perfect
        )
        found.append(worst(made, SOME_T1))
    return max(found)


def look_locker_by_flip() -> float:
    """Forty pulses of 8 degrees every 60 ms; inversion of any share."""
    flip, interval = np.radians(8.0), 60e-3
    signal = each_of(lambda t1: laws.train_of_pulses(40, flip, interval, t1, 0.85, 1e3), SOME_T1)
    times = interval * np.arange(1, 41)
    return worst(look_locker(np.abs(signal), times, readout=(flip, interval)), SOME_T1)


def look_locker_by_ratio() -> float:
    """A recovery with a perfect inversion: A - B exp(-t / T1*), T1 = T1* (B / A - 1)."""
    signal = each_of(
        lambda t1: 80.0 - 80.0 * (t1 / (0.7 * t1) + 1) * np.exp(-TI / (0.7 * t1)), SOME_T1
    )
    return worst(look_locker(np.abs(signal), TI), SOME_T1)


def flip_angles() -> float:
    """With a B1 of 0.7 to 1.2."""
    b1 = np.linspace(0.7, 1.2, len(SOME_T1))
    signal = np.stack(
        [laws.spoiled(FLIPS, TR, t, b, 100.0) for t, b in zip(SOME_T1, b1, strict=True)], axis=1
    )
    return worst(variable_flip_angle(signal, FLIPS, TR, b1=b1), SOME_T1)


def angle_doubled() -> float:
    """B1 of 0.3 to 1.4 at 60 and 120 degrees, magnitudes to 90 degrees, complex beyond."""
    b1 = np.linspace(0.3, 1.4, 23)
    once, twice = np.sin(np.pi / 3 * b1), np.sin(2 * np.pi / 3 * b1)
    turn = 90.0 * np.exp(0.7j)
    return worst(double_angle(once * turn, twice * turn, np.pi / 3), b1)


def angle_actual() -> float:
    """Intervals of 20 and 100 ms, T1 of 1 s: of first order in interval over T1."""
    b1 = np.linspace(0.5, 1.3, 17)
    pairs = np.array([laws.alternating(np.radians(55.0) * b, (20e-3, 0.1), 1.0) for b in b1])
    found = actual_flip_angle(pairs[:, 0], pairs[:, 1], (20e-3, 0.1), np.radians(55.0))
    return worst(found, b1)


def exponential() -> float:
    """T2 of 5 to 300 ms."""
    signal = each_of(lambda t2: 100.0 * np.exp(-TE / t2), SOME_T2)
    return max(
        worst(decay(signal, TE).time, SOME_T2),
        worst(decay(signal + 3.0, TE, floor="constant").time, SOME_T2),
    )


def exponential_by_arlo() -> float:
    """Against the bias that Simpson's rule has in closed form."""
    signal = each_of(lambda t2: 100.0 * np.exp(-TE / t2), SOME_T2)
    kept = np.exp(-5e-3 / SOME_T2)
    simpson = 5e-3 / 3 * (1 + 4 * kept + kept**2) / (1 - kept**2)
    return worst(arlo(signal, TE).time, simpson)


def stimulated() -> float:
    """Trains of 150 to 90 degrees, by the phase graph of `physics.epg`."""
    values = np.array([(t2, b1) for t2 in (0.02, 0.06, 0.2) for b1 in (0.5, 0.63, 0.77, 0.86)])
    signal = np.stack(
        [refocused_train(16, np.pi * b1, 10e-3, 1.0, t2) for t2, b1 in values], axis=1
    )
    # The excitation of that graph is perfect, so amplitudes differ; the course is the same.
    one = Train(spacing=10e-3, excitation=np.array([np.pi / 2]), refocusing=np.full((16, 1), np.pi))
    found = t2_of_train(100 * signal, train_dictionary(one))
    return max(worst(found.t2, values[:, 0]), worst(found.b1, values[:, 1]))


CLOSED = (
    ("inversion recovery, magnitudes", recovery_magnitude, 1e-6, "T1 0.1 to 3 s"),
    ("inversion recovery, complex", recovery_complex, 1e-6, "T1 0.1 to 3 s"),
    ("inversion recovery, spin echoes, TR 3.5 s", recovery_repeated, 1e-6, "stepwise recovery"),
    ("Look-Locker, by flip angle", look_locker_by_flip, 1e-6, "stepwise recovery"),
    ("Look-Locker, by B / A - 1", look_locker_by_ratio, 1e-6, "closed form"),
    ("variable flip angle, B1 0.7 to 1.2", flip_angles, 1e-6, "Ernst, Anderson 1966"),
    ("double angle, B1 0.3 to 1.4", angle_doubled, 1e-6, "sine"),
    ("actual flip angle, TR 20 and 100 ms", angle_actual, 0.01, "stepwise steady state"),
    ("exponential, without and with offset", exponential, 1e-6, "closed form"),
    ("ARLO, its own bias known", exponential_by_arlo, 1e-6, "Simpson's rule"),
    ("echo train, T2 and B1", stimulated, 1e-3, "phase graph, Weigel 2015"),
)  # fmt: skip


# ---------------------------------------------------------------- efficiency


def efficiencies() -> list[tuple[str, tuple[float, float, float]]]:
    """Bias, spread and reported error of each fit at a realistic SNR, over Cramer and Rao."""
    te = 10e-3 * np.arange(1, 17)
    one = Train(spacing=10e-3, excitation=np.array([np.pi / 2]), refocusing=np.full((16, 1), np.pi))
    dictionary = train_dictionary(one)
    readout = (np.radians(8.0), 60e-3)
    shots = readout[1] * np.arange(1, 41)
    recovered: laws.Law = lambda t1, e, a: laws.recovery(TI, t1, e, a)  # noqa: E731
    cases: list[tuple[str, laws.Law, tuple[float, ...], float, Callable[[np.ndarray], Map]]] = [
        ("inversion recovery, signed, T1 1 s, SNR 50", recovered, (1.0, 0.95, 50.0), 1.0,
         lambda s: inversion_recovery(s, TI, signed=True, noise=1.0)),
        ("inversion recovery, magnitudes, T1 1 s, SNR 50", recovered, (1.0, 0.95, 50.0), 1.0,
         lambda s: inversion_recovery(np.abs(s), TI, noise=1.0)),
        ("Look-Locker, T1 1 s, SNR 50",
         lambda t1, e, a: laws.train_of_pulses(40, *readout, t1, e, a),
         (1.0, 0.95, 50 / np.sin(readout[0])), 1.0,
         lambda s: look_locker(s, shots, readout=readout, signed=True, noise=1.0)),
        ("variable flip angle, T1 1 s, SNR 50", lambda t1, a: laws.spoiled(FLIPS, TR, t1, 1.0, a),
         (1.0, 50 / 0.0847), 1.0, lambda s: variable_flip_angle(s, FLIPS, TR, noise=1.0)),
        ("exponential, T2* 20 ms, SNR 50", lambda t, a: a * np.exp(-TE / t), (20e-3, 50.0), 1.0,
         lambda s: decay(s, TE, noise=1.0).time),
        ("echo train, T2 80 ms, B1 0.8 unknown, SNR 50", lambda t, b, a: a * one.signal(t, b),
         (0.08, 0.8, 50.0), 1.0, lambda s: t2_of_train(s, dictionary, noise=1.0).t2),
        ("T2 80 ms of 16 echoes, SNR 50", lambda t, a: a * np.exp(-te / t), (80e-3, 50.0), 1.0,
         lambda s: decay(s, te, name="T2", noise=1.0).time),
    ]  # fmt: skip
    return [(name, laws.spread(law, values, noise, fit)) for name, law, values, noise, fit in cases]


def floors() -> dict[str, float]:
    """Bias of R2* of a T2* of 15 ms, from magnitudes of an SNR of 12 that fall to the noise."""
    level = 12.0 * np.exp(-TE / 15e-3)[:, None]
    found: dict[str, list[float]] = {"none": [], "rician": []}
    for seed in range(laws.N_SEEDS):
        rng = np.random.Generator(np.random.Philox(key=[seed, 1]))
        noise = rng.normal(size=(2, len(TE), 2000))
        data = np.hypot(level + noise[0], noise[1])
        for floor, values in found.items():
            made = decay(data, TE, floor=floor, noise=1.0).rate
            values.append(float(made.array[made.valid].mean() * 15e-3 - 1))
    return {floor: float(np.mean(values)) for floor, values in found.items()}


# ---------------------------------------------------------------- the twin


@dataclasses.dataclass(frozen=True, slots=True)
class OnTwin:
    """Mean over seeds of each vial over the truth less one; spread over reported; SNR; trusted."""

    name: str
    bias: np.ndarray
    spread: float
    snr: float
    trusted: float
    picture: np.ndarray


def compared(name: str, scan: scans.Scan, fit: Callable[[np.ndarray], Map], truth: Any) -> OnTwin:
    """Fit every seed; compare vial by vial."""
    maps = [fit(images) for images in scan.images]
    bias, ratios, trusted = [], [], []
    for region, value in zip(scan.regions, np.broadcast_to(truth, len(scan.regions)), strict=True):
        inside = np.array([found.array[region] for found in maps])
        valid = np.array([found.valid[region] for found in maps])
        errors = np.array([found.error[region] for found in maps])
        bias.append(inside[valid].mean() / value - 1)
        trusted.append(valid.mean())
        full = valid.all(axis=0)
        ratios.append(np.sqrt(inside[:, full].var(axis=0, ddof=1).mean() /
                              (errors[:, full] ** 2).mean()))  # fmt: skip
    peak = np.max(scan.images[0], axis=0)
    return OnTwin(
        name=name,
        bias=np.array(bias),
        spread=float(np.median(ratios)),
        snr=float(min(peak[region].mean() for region in scan.regions)),
        trusted=float(np.min(trusted)),
        picture=np.where(maps[0].valid & (peak > 0.3 * peak.max()), maps[0].array, 0.0),
    )


def profile() -> tuple[np.ndarray, np.ndarray]:
    """Flip angles of both pulses of the echo train at even places across the slice."""
    place = np.linspace(-1.6, 1.6, 33)
    excited = _angle(np.pi / 2, np.abs(place))
    return excited, _angle(np.pi, np.abs(place) / scans.REFOCUSED)


def _angle(flip: float, place: np.ndarray) -> np.ndarray:
    alpha, beta = cayley_klein(flip, 4.0, place)
    return 2 * np.arctan2(np.abs(beta), np.abs(alpha))


def on_twin() -> list[OnTwin]:
    """Every method on scans of the twin."""
    t2_star = 1 / (1 / scans.T2 + 1 / scans.T2_PRIME)
    say("  inversion recovery ...")
    recovered = scans.scan(scans.inversion(TI.tolist(), 8.0), 4, 16.0)
    say("  flip angles ...")
    doubled = scans.scan(scans.single_angles(np.radians([60.0, 120.0]).tolist(), 10.0), 4, 6.0)
    flips = scans.scan(scans.flip_angles(FLIPS.tolist(), TR, 2.0), 4, 2.0)
    b1 = np.mean([double_angle(i[0], i[1], np.pi / 3).array for i in doubled.images], axis=0)
    say("  echoes ...")
    dephased = dataclasses.replace(scans.FAULTS, t2_prime=True)
    echoes = scans.scan(scans.gradient_echoes(3.5e-3, 10, 3.0), 4, 16.0, dephased)
    single = scans.scan(scans.spin_echoes([0.02, 0.04, 0.08, 0.16], 8.0), 4, 16.0)
    train = scans.scan(scans.echo_train(12e-3, 12, 8.0), 12, 8.0)
    excited, refocused = profile()
    spacing = float(train.at[0])
    played = Train(spacing=spacing, excitation=excited, refocusing=np.tile(refocused, (12, 1)))
    dictionary = train_dictionary(played, b1=(0.5, 1.2))
    own = b1_truth()
    return [
        compared("T1, inversion recovery of 6 times, 3 parameters", recovered,
                 lambda s: inversion_recovery(s, recovered.at, noise=1.0), scans.T1),
        compared("B1, double angle", doubled,
                 lambda s: double_angle(s[0], s[1], np.pi / 3, noise=1.0), own),
        compared("T1, 4 flip angles, that B1", flips,
                 lambda s: variable_flip_angle(s, flips.at, TR, b1=b1, noise=1.0), scans.T1),
        compared("T2*, 10 gradient echoes", echoes,
                 lambda s: decay(s, echoes.at, floor="rician", noise=1.0).time, t2_star),
        compared("T2, 4 single spin echoes", single,
                 lambda s: decay(s, single.at, name="T2", floor="rician", noise=1.0).time,
                 scans.T2),
        compared("T2, 12 echoes of a train, phase graph, profile, B1 unknown", train,
                 lambda s: t2_of_train(s, dictionary, noise=1.0, rician=True).t2, scans.T2),
        compared("T2, the same train taken for an exponential", train,
                 lambda s: decay(s, train.at, name="T2", floor="rician", noise=1.0).time,
                 scans.T2),
    ]  # fmt: skip


def b1_truth() -> np.ndarray:
    """The transmit field the twin has, at the vials."""
    places = np.column_stack([scans.centres(), np.zeros(len(scans.centres()))])
    return np.abs(fields.transmit(places, scans.SCANNER.larmor, scans.FAULTS))


# ---------------------------------------------------------------- phantoms of four sites


def plate_map(name: str) -> tuple[nist.Plate, dict[str, Map]]:
    """A plate, and what the fits find: T1 of inversion recovery, or T2 by two models."""
    plate = nist.plate(name)
    if name.startswith("T1"):
        recovered = inversion_recovery(
            plate.images,
            plate.times,
            repetition_times=plate.repetition_times,
            echo_time=plate.echo_time,
            signed=plate.signed,
        )
        return plate, {"inversion recovery": recovered}
    n_echoes, spacing = len(plate.times), float(plate.times[0])
    sharp = Train(
        spacing=spacing,
        excitation=np.array([np.pi / 2]),
        refocusing=np.full((n_echoes, 1), np.pi),
    )
    return plate, {
        "exponential": decay(plate.images[1:], plate.times[1:], name="T2").time,
        "phase graph": t2_of_train(plate.images, train_dictionary(sharp)).t2,
    }


def phantoms() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of every sphere, and of every plate: median distance from hazen's fit and nominal."""
    spheres, plates = [], []
    for name in nist.WHERE if nist.at_hand() else ():
        plate, maps = plate_map(name)
        for method, found in maps.items():
            median = np.array([np.median(found.array[sphere]) for sphere in plate.spheres])
            spheres += [
                {"plate": name, "method": method, "sphere": k + 1, "found [ms]": 1e3 * median[k],
                 "hazen's fit [ms]": 1e3 * plate.by_hazen[k],
                 "nominal [ms]": 1e3 * plate.nominal[k],
                 "trusted": found.valid[plate.spheres[k]].mean()}
                for k in range(len(median))
            ]  # fmt: skip
            plates.append(
                {"plate": name, "method": method,
                 "from hazen's fit, median": np.median(np.abs(median / plate.by_hazen - 1)),
                 "from nominal, median": np.median(np.abs(median / plate.nominal - 1)),
                 "hazen from nominal": np.median(np.abs(plate.by_hazen / plate.nominal - 1))}
            )  # fmt: skip
    return spheres, plates


# ---------------------------------------------------------------- page


def claims() -> list[dict[str, Any]]:
    """Closed forms, efficiency, the twin, phantoms; writes the page and the picture."""
    say("  closed forms ...")
    rows = [
        row(f"maps, {name}: largest error", case(), bound, truth)
        for name, case, bound, truth in CLOSED
    ]
    say("  efficiency ...")
    for name, (bias, spread, reported) in efficiencies():
        rows += [
            row(f"maps, {name}: bias in standard errors", abs(bias), 0.1, "zero"),
            row(f"maps, {name}: spread over Cramer-Rao", spread, 1.05, RAO),
            row(f"maps, {name}: reported error off Cramer-Rao", abs(reported - 1), 0.05, RAO),
        ]
    for floor, bias in floors().items():
        if floor == "rician":
            rows.append(row("maps, R2* of magnitudes that fall to the noise, Rician: bias",
                            abs(bias), 0.05, "10 seeds"))  # fmt: skip
    found = on_twin()
    for one in found:
        if "taken for an exponential" in one.name:
            continue
        rows.append(row(f"maps on the twin, {one.name}: bias of the worst vial",
                        float(np.abs(one.bias).max()), 0.05, "hidden truth"))  # fmt: skip
    spheres, plates = phantoms()
    for one in plates:
        if one["method"] != "phase graph":
            name = f"maps, {one['plate']}, {one['method']}"
            rows.append(row(f"{name}: median distance from hazen's fit",
                            float(one["from hazen's fit, median"]), 0.02, "another program",
                            nist.SOURCE))  # fmt: skip
    draw(found)
    write_page(rows, found, (spheres, plates))
    return rows


RAO = "Cramer-Rao bound by differences"


def row(claim: str, value: float, limit: float, truth: str, source: str = "") -> dict[str, Any]:
    """One claim: at most a limit."""
    return {
        "claim": claim,
        "value": value,
        "unit": "1",
        "bound": f"<= {limit:g}",
        "truth": truth,
        "source": source or "validation/map_laws.py, map_scans.py",
        "command": COMMAND,
        "passes": value <= limit,
    }


def draw(found: list[OnTwin]) -> None:
    """Maps of the first seed, and how far each vial is off."""
    chosen = [one for one in found if "exponential" not in one.name]
    figure, axes = plt.subplots(2, 4, figsize=(13, 6.4), layout="constrained")
    for axis, one in zip(axes.flat, chosen, strict=False):
        picture = axis.imshow(np.ma.masked_equal(one.picture, 0), cmap="viridis")
        axis.set_title(", ".join(one.name.split(", ")[:2]), fontsize=9)
        axis.set_axis_off()
        figure.colorbar(picture, ax=axis, shrink=0.8)
    for axis in axes.flat[len(chosen) :]:
        axis.set_axis_off()
    axis = axes.flat[-1]
    axis.set_axis_on()
    for one in found:
        label = ", ".join(one.name.split(", ")[:2])
        axis.plot(np.arange(1, 7), 100 * one.bias, "o-", label=label, markersize=3)
    axis.axhspan(-5, 5, color="0.9", zorder=0)
    axis.set(xlabel="vial", ylabel="bias [%]", ylim=(-10, 45))
    axes.flat[-2].legend(*axis.get_legend_handles_labels(), loc="center", fontsize=9)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=90)
    plt.close(figure)


def write_page(
    rows: list[dict[str, Any]],
    found: list[OnTwin],
    plates: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    """Write every table."""
    floor = floors()
    vials = [
        {"method": one.name,
         **{f"vial {k + 1} [%]": 100 * value for k, value in enumerate(one.bias)},
         "spread over reported error": one.spread, "least SNR": one.snr,
         "trusted, worst vial": one.trusted}
        for one in found
    ]  # fmt: skip
    text = (
        "# Relaxation times\n\n"
        f"Written by `{COMMAND}` from a run; do not edit.\n\n"
        "![Maps of the first seed](../../images/maps-relaxation.png)\n\n"
        "## Against truths\n\n" + markdown(rows, ("claim", "value", "bound", "passes", "truth")) +
        f"\nR2* of magnitudes that fall to the noise (T2* 15 ms, SNR 12, 8 echoes of 5 to 40 ms): "
        f"bias {100 * floor['none']:.1f} % without notice of the floor, "
        f"{100 * floor['rician']:.1f} % with Rice's distribution.\n\n"
        "## On the twin: bias of each vial\n\n"
        f"T1 {scans.T1.tolist()} s, T2 {scans.T2.tolist()} s, T2' {scans.T2_PRIME.tolist()} s; "
        "vial 1 in the middle with B1 1, others at 0.77; ten seeds.\n\n"
        + markdown(vials, tuple(vials[0])) + "\n"
    )  # fmt: skip
    if plates[0]:
        text += (
            f"## Phantoms of four sites\n\n{nist.SOURCE}. Temperatures are not known; inversion "
            "times end at 0.8 s, so T1 above 1.5 s is extrapolated. Medians over each sphere, "
            "distances over all 14 of a plate.\n\n"
            + markdown(plates[1], tuple(plates[1][0])) + "\n"
            + markdown(plates[0], tuple(plates[0][0]))
        )  # fmt: skip
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text)


if __name__ == "__main__":
    show(claims())
