"""Every effect of the twin that can be switched on, against its closed form.

The subject is one voxel, or a few, small enough to be points; drives are made by hand. Signals are
compared with those of the same drive without the effect, whose ratio is known.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import quad

from scanroom.mri.drive.model import Drive, Gradient
from scanroom.mri.system import system
from scanroom.mri.twin import IDEAL, Effort, Faults, Twin
from scanroom.mri.twin.sampling import isochromats
from scanroom.physics.amplifier import Amplifier
from scanroom.physics.fat import PEAKS, SHARES
from scanroom.physics.gradient_fields import REFERENCE_RADIUS, Eddy, Nonlinearity, Response
from scanroom.physics.motion import Motion, breathing, pose
from scanroom.physics.receiver import Drift
from scanroom.physics.spins.engine import Settings
from scanroom.physics.spins.oracle import integrate
from scanroom.subject.model import Subject
from validation.drives import DWELL, cleared, drive, gradient, sinc
from validation.mri_bloch_truths import Case, judged, write_page
from validation.table import show

COMMAND = "python -m validation.mri_effects"
PAGE = Path("docs/reference/generated/effects.md")
SYSTEM = system("3T")
EXACT = Effort(engine="isochromats", isochromats=1, in_trains=1, columns=False, faint=1e-6,
               settings=Settings(tolerance=1e-7, silence=0.0))  # fmt: skip
POINT = 1e-9
PLACE = np.array([0.06, -0.04, 0.09])
STRONG = 8e5
RISE, FLAT = 2e-4, 3e-3
WINDOW = 12e-3
"""When the receiver opens [s]; the pulse begins at 0 and lasts 2 ms."""


def points(places: np.ndarray, **maps: Any) -> Subject:
    """A row of points along z, evenly spaced, or a single one."""
    places = np.atleast_2d(places)
    n = len(places)
    affine = np.diag([POINT, POINT, POINT, 1.0])
    affine[:3, 3] = places[0]
    if n > 1:
        affine[2, 2] = (places[-1, 2] - places[0, 2]) / (n - 1)
    values = {"proton_density": 1.0, "t1": 1e6, "t2": 1e6} | maps
    shape = (1, 1, n)
    return Subject(
        name="points",
        field=3.0,
        affine=affine,
        maps={
            key: np.broadcast_to(np.asarray(value, np.float32), shape).copy()
            for key, value in values.items()
        },
    )


def play(
    what: Drive, faults: Faults, subject: Subject | None = None, n_coils: int = 1
) -> list[np.ndarray]:
    """Samples of every window."""
    subject = points(PLACE) if subject is None else subject
    twin = Twin(subject, system=SYSTEM, faults=faults, n_coils=n_coils, effort=EXACT)
    twin.arm(cleared(what))
    return [readout.signal.astype(np.complex128) for readout in twin.play()]


def lobe(start: float, size: float, *, both: bool = False) -> Gradient:
    """A trapezoid after the pulse; with ``both``, followed by its opposite."""
    knots = [(0.0, 0.0), (start, 0.0), (start + RISE, size), (start + RISE + FLAT, size)]
    end = start + 2 * RISE + FLAT
    knots.append((end, 0.0))
    if both:
        knots += [(end + RISE, -size), (end + RISE + FLAT, -size), (end + 2 * RISE + FLAT, 0.0)]
    return gradient(*knots)


def after(x: Gradient, y: Gradient | None = None, z: Gradient | None = None, n: int = 4) -> Drive:
    """A pulse, gradients, a window."""
    none = gradient()
    return drive(
        pulses=[(0.0, 0.0, 0.0)],
        windows=[(WINDOW, n)],
        gradients=(x, y or none, z or none),
    )


def turned(what: Drive, faults: Faults, turns: float, **more: Any) -> float:
    """Error of the first sample, relative, if the faults are to turn it by so many cycles."""
    plain = play(what, IDEAL, **more)[0][0, 0]
    found = play(what, faults, **more)[0][0, 0]
    return float(abs(found / plain - np.exp(-2j * np.pi * turns)))


def concomitant() -> float:
    """Two gradients at once, off the centre: the phase of the field that comes along."""
    what = after(lobe(2.5e-3, STRONG), None, lobe(2.5e-3, -0.5 * STRONG))
    square = STRONG**2 * (FLAT + 2 * RISE / 3)
    x, y, z = PLACE
    along = square * z**2 + 0.25 * square * (x**2 + y**2) / 4 + 0.5 * square * x * z
    return turned(what, replace(IDEAL, concomitant=True), along / (2 * SYSTEM.larmor))


def nonlinearity() -> float:
    """A lobe along z, at a point of the axis: third and fifth order."""
    faults = replace(
        IDEAL, nonlinearity=Nonlinearity(third=(0.0, 0.0, -0.06), fifth=(0.0, 0.0, 0.02))
    )
    height = 0.11
    share = height / REFERENCE_RADIUS
    more = height * (-0.06 * share**2 + 0.02 * share**4)
    what = after(gradient(), None, lobe(2.5e-3, STRONG))
    subject = points(np.array([0.0, 0.0, height]))
    return turned(what, faults, STRONG * (FLAT + RISE) * more, subject=subject)


def eddy_currents() -> float:
    """A lobe's eddy current is still dying away when the receiver opens."""
    constant, share, field = 4e-3, 0.03, 2e-4
    start, end = 2.5e-3, WINDOW + DWELL / 2

    def lag(time: float) -> float:
        slopes = ((start, RISE, STRONG), (start + RISE + FLAT, RISE, -STRONG))
        total = 0.0
        for begin, length, rise in slopes:
            since, over = time - begin, min(time - begin, length)
            if since > 0:
                total += (
                    rise / length * constant * np.exp(-since / constant) * np.expm1(over / constant)
                )
        return total

    knots = [start + RISE, start + RISE + FLAT, start + 2 * RISE + FLAT]
    area = quad(lag, start, end, points=knots, epsabs=1e-9)[0]
    eddy = (Eddy(axis=0, time=constant, share=share, field=field),)
    turns = -area * (share * PLACE[0] + field)
    return turned(after(lobe(start, STRONG)), replace(IDEAL, eddy=eddy), turns)


def response() -> float:
    """A measured response that delays and couples axes is a delay and a coupling."""
    late, frequency = 2e-5, (np.arange(20000) - 10000) * 5.0
    gain = np.zeros((3, 4, 20000), complex)
    gain[0, 1] = np.exp(-2j * np.pi * frequency * late)
    gain[0, 0] = 3e-4  # metres: the uniform field
    gain[0, 2] = 0.01
    given = Response(gain=gain, spacing=5.0, source="made up")
    what = after(lobe(9.5e-3, STRONG))  # still playing when the receiver opens
    begin, now = 9.5e-3, WINDOW + DWELL / 2

    def area(time: float) -> float:
        return STRONG * (time - begin - RISE / 2)

    turns = (area(now - late) - area(now)) * PLACE[0]
    turns += area(now) * (0.01 * PLACE[1] + 3e-4)
    return turned(what, replace(IDEAL, response=given), turns)


def field_drift() -> float:
    """A field that rises by 5 Hz/s, over half a second."""
    what = drive(pulses=[(0.0, 0.0, 0.0)], windows=[(0.5, 4)])
    turns = 5.0 / 2 * ((0.5 + DWELL / 2) ** 2 - 1e-3**2)
    return turned(what, replace(IDEAL, field_drift=5.0), turns)


def _sliding(velocity: np.ndarray) -> Motion:
    rows = np.zeros((2, 3))
    return Motion(
        time=np.array([0.0, 1.0]),
        shift=np.stack([rows[0], velocity]),
        rotation=rows,
        stretch=np.ones((2, 3)),
    )


def moving() -> float:
    """A bipolar lobe turns what moves by its first moment."""
    speed = 0.2
    velocity = np.array([speed, 0.1, 0.0])
    moment = -STRONG * (FLAT + RISE) * (FLAT + 2 * RISE)
    what = after(lobe(2.5e-3, STRONG, both=True))
    return turned(what, replace(IDEAL, motion=_sliding(velocity)), moment * speed)


def flowing() -> float:
    """The same, of a velocity that the subject states."""
    moment = -STRONG * (FLAT + RISE) * (FLAT + 2 * RISE)
    what = after(lobe(2.5e-3, STRONG, both=True))
    flow = points(PLACE, velocity_x=0.2, velocity_y=0.1)
    plain, found = (play(what, IDEAL, subject)[0][0, 0] for subject in (points(PLACE), flow))
    return float(abs(found / plain - np.exp(-2j * np.pi * moment * np.float32(0.2))))


def turning() -> float:
    """Head shaking: a rotation about z in a constant gradient along x."""
    speed = 3.0  # rad/s
    rows = np.zeros((2, 3))
    motion = Motion(
        time=np.array([0.0, 1.0]),
        shift=rows,
        rotation=np.array([[0, 0, 0], [0, 0, speed]]),
        stretch=np.ones((2, 3)),
    )
    start, now = 2.5e-3, WINDOW + DWELL / 2
    knots = [(0.0, 0.0), (start, 0.0), (start, STRONG), (0.02, STRONG), (0.02, 0.0)]
    x, y, _ = PLACE

    def away(time: float) -> float:
        return x * (np.cos(speed * time) - 1) - y * np.sin(speed * time)

    turns = STRONG * quad(away, start, now)[0]
    return turned(after(gradient(*knots)), replace(IDEAL, motion=motion), turns)


def breathing_in() -> float:
    """Ten seconds of breathing, a lobe in each of twenty repetitions."""
    motion = breathing((0.0, 2e-3, 12e-3), 4.0)
    n, spacing = 20, 0.5
    starts = spacing * np.arange(n)
    knots = [(0.0, 0.0)]
    for start in starts:
        for at, size in ((2.5, 0.0), (2.7, STRONG), (5.7, STRONG), (5.9, 0.0)):
            knots.append((start + at * 1e-3, size))
    what = drive(
        pulses=[(start, 0.0, 0.0) for start in starts],
        windows=[(start + WINDOW, 4) for start in starts],
        gradients=(gradient(), gradient(), gradient(*knots)),
    )
    # Tilted by 90 degrees again and again, T2 short against the repetition: each starts anew.
    subject = points(PLACE, t1=1e-2, t2=1e-2)
    plain, found = (play(what, faults, subject) for faults in (
        IDEAL, replace(IDEAL, motion=motion)))  # fmt: skip
    middle = starts + 4.2e-3
    turns = STRONG * (FLAT + RISE) * pose(motion, middle)[1][:, 2]
    ratio = np.array([b[0, 0] / a[0, 0] for a, b in zip(plain, found, strict=True)])
    return float(np.abs(ratio - np.exp(-2j * np.pi * turns)).max())


def moved_past_coils() -> float:
    """A pose that never changes is a subject that lies elsewhere, also for eight coils."""
    shift = np.array([0.02, -0.03, 0.01])
    motion = Motion(
        time=np.array([0.0]), shift=shift[None], rotation=np.zeros((1, 3)), stretch=np.ones((1, 3))
    )
    what = after(lobe(2.5e-3, STRONG))
    ideal = replace(IDEAL, coils=True)
    elsewhere = play(what, ideal, points(PLACE + shift), 8)[0]
    found = play(what, replace(ideal, motion=motion), points(PLACE), 8)[0]
    return float(np.linalg.norm(found - elsewhere) / np.linalg.norm(elsewhere))


def inflow(speed: float = 0.15) -> float:
    """Ten slice-selective pulses on a stream: small steps of Bloch's equation as it moves."""
    n, spacing, select = 10, 20e-3, 2e5
    starts = spacing * np.arange(n)
    knots = [(0.0, 0.0)]
    for start in starts:
        for at, size in ((0, 0.0), (0, select), (2, select), (2, -select), (3, -select), (3, 0.0)):
            knots.append((start + at * 1e-3, size))
    what = drive(
        pulses=[(start, 0.0, 0.0) for start in starts],
        windows=[(start + 3.5e-3, 1) for start in starts],
        gradients=(gradient(), gradient(), gradient(*knots)),
        shape=sinc(np.pi / 3),
    )
    height = np.linspace(-0.06, 0.03, 91)
    places = np.stack([np.zeros(91), np.zeros(91), height], axis=1)
    subject = points(places, velocity_z=speed, t1=0.8, t2=0.05)
    found = np.array(play(what, IDEAL, subject))[:, 0, 0]
    still = play(after(gradient()), IDEAL, points(places))[0][0, 0]
    found = 91j * found / still
    state = np.tile([0.0, 0.0, 1.0], (91, 1))
    rates = np.full(91, 1 / 0.8), np.full(91, 1 / 0.05)
    truth = []
    pulse = what.shapes[0]
    height = isochromats(subject, np.ones((1, 1, 91), bool), 1).position[:, 2]

    def field(begin: float, rewind: float | None = None) -> Any:
        def at(time: float) -> Any:
            here = height + np.float32(speed) * (begin + time)
            if rewind is not None:
                return np.zeros(91, complex), -rewind * select * here
            index = min(int(time / pulse.edge[1]), len(pulse.step) - 1)
            return np.full(91, np.conj(pulse.step[index])), select * here

        return at

    for start in starts:
        state = integrate(state, field(start), rates, 2e-3, 4000)
        state = integrate(state, field(start + 2e-3, rewind=1.0), rates, 1e-3, 2000)
        now = integrate(state, field(start, rewind=0.0), rates, 0.5e-3 + DWELL / 2, 50)
        truth.append((now[:, 0] + 1j * now[:, 1]).sum())
        state = integrate(state, field(start, rewind=0.0), rates, spacing - 3e-3, 1000)
    return float(np.abs(found - np.array(truth)).max() / np.abs(truth).max())


def amplifier() -> float:
    """A block pulse through a bent amplifier tilts by less, and elsewhere."""
    duration, flip = 2e-3, np.deg2rad(50)
    shape = sinc(flip, duration)
    size = flip / (2 * np.pi) / duration
    block = replace(shape, step=np.full(len(shape.step), size + 0j))
    bent = Amplifier(saturation=1.5 * size, knee=2.0, turn=0.3, droop=20.0)
    what = drive(pulses=[(0.0, 0.0, 0.0)], windows=[(WINDOW, 4)], shape=block)
    plain = play(what, IDEAL)[0][0, 0]
    found = play(what, replace(IDEAL, amplifier=bent))[0][0, 0]
    share = 1 / 1.5
    rate = 20.0 * share**2 * duration
    tilt = flip * (1 + share**4) ** -0.25 * -np.expm1(-rate) / rate
    truth = np.sin(tilt) / np.sin(flip) * np.exp(1j * 0.3 * share**2)
    return float(min(abs(found / plain - truth), abs(found / plain - np.conj(truth))))


def fat_peaks() -> float:
    """A decay of fat is the sum of six."""
    sudden = sinc(np.pi / 2, 1e-8, 1)
    what = drive(pulses=[(0.0, 0.0, 0.0)], windows=[(WINDOW, 64)], shape=sudden)
    what = replace(what, windows=replace(what.windows, dwell=np.array([5e-4])))
    what = replace(what, block_edge=np.array([0.0, 0.1]))
    subject = points(PLACE, chemical_shift=-3.4e-6)
    plain = play(what, IDEAL, subject)[0][0]
    faults = replace(IDEAL, chemical_shift=True, fat_peaks=True)
    found = play(what, faults, subject)[0][0]
    time = WINDOW + (np.arange(64) + 0.5) * 5e-4
    shift = PEAKS - -3.4e-6 + np.float64(np.float32(-3.4e-6))
    truth = np.exp(-2j * np.pi * SYSTEM.larmor * np.outer(time, shift)) @ SHARES / SHARES.sum()
    return float(np.abs(found / plain - truth).max())


def receiver_drift() -> float:
    """Gain and phase that run away."""
    what = drive(pulses=[(0.0, 0.0, 0.0)], windows=[(WINDOW, 4), (0.3, 4)])
    plain = play(what, IDEAL)
    found = play(what, replace(IDEAL, drift=Drift(gain=-0.05, phase=0.4)))
    truth = [(1 - 0.05 * t) * np.exp(0.4j * t) for t in (WINDOW, 0.3)]
    return max(float(np.abs(b / a - c).max()) for a, b, c in zip(plain, found, truth, strict=True))


CASES: tuple[Case, ...] = (
    ("concomitant fields of two gradients at once", concomitant, 1e-4, "closed form",
     "Bernstein et al. 1998, doi:10.1002/mrm.1910390218"),
    ("gradients bent by harmonics of order 3 and 5", nonlinearity, 1e-4, "closed form",
     "Janke et al. 2004, doi:10.1002/mrm.20122"),
    ("eddy currents: gradient and uniform field", eddy_currents, 1e-4, "closed form",
     "Jehenson et al. 1990, doi:10.1016/0022-2364(90)90133-T"),
    ("measured response: delay, coupling, uniform field", response, 1e-3, "closed form",
     "Vannesjo et al. 2013, doi:10.1002/mrm.24263"),
    ("drift of the field", field_drift, 1e-4, "closed form", "-"),
    ("steady motion in a bipolar lobe", moving, 1e-4, "closed form", "first moment"),
    ("steady flow in a bipolar lobe", flowing, 1e-4, "closed form", "first moment"),
    ("rotation in a constant gradient", turning, 1e-4, "closed form", "-"),
    ("breathing, 20 repetitions", breathing_in, 1e-3, "closed form",
     "Lujan et al. 1999, doi:10.1118/1.598577"),
    ("moved past eight coils", moved_past_coils, 1e-5, "the subject put there", "-"),
    ("inflow into a slice, 10 pulses", inflow, 1e-3, "Runge-Kutta along the path",
     "scanroom.physics.spins.oracle"),
    ("amplifier that saturates, turns and droops", amplifier, 1e-4, "closed form", "Rapp 1991"),
    ("six peaks of fat", fat_peaks, 1e-4, "closed form",
     "Hamilton et al. 2011, doi:10.1002/nbm.1622"),
    ("drift of the receiver", receiver_drift, 1e-6, "closed form", "-"),
)  # fmt: skip


def claims() -> list[dict[str, Any]]:
    """Error of every case."""
    rows = judged("isochromats", CASES, COMMAND)
    write_page(PAGE, "Effects of the twin against closed forms", COMMAND, rows)
    return rows


if __name__ == "__main__":
    show(claims())
