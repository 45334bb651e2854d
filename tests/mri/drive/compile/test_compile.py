"""Compiled drives against the prescription: k-space, echo and repetition times, limits."""

import dataclasses
import hashlib
import math
import re
from functools import lru_cache

import numpy as np
import pypulseq
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.core.gate import clear
from scanroom.mri.drive.compile import (
    compile_drive,
    compile_noise,
    compile_sequence,
    sequence_text,
    write_sequence,
)
from scanroom.mri.drive.compile.definitions import protocol_line, protocol_of
from scanroom.mri.limits import limits_for
from scanroom.mri.protocol import GradientEcho, SpinEcho, TurboSpinEcho, load_protocol, preset_names
from scanroom.mri.system import SYSTEMS
from tests.mri.drive.compile.waveform import area, centres, labels, sample_times, wave_numbers

OBLIQUE = (0.3, -0.2, 0.5)


def system_of(name):
    return SYSTEMS["0.05T" if name.startswith("lowfield") else "3T"]


def small(name, n_lines=16, **changes):
    """A preset with few lines, so that a test is quick."""
    protocol = load_protocol(name)
    geometry = {
        key: changes.pop(key)
        for key in list(changes)
        if key in {field.name for field in dataclasses.fields(protocol.geometry)}
    }
    if isinstance(protocol, TurboSpinEcho):
        changes = {"echo_train_length": 8} | changes
    if protocol.geometry.is_3d:
        geometry = {"n_partitions": 4} | geometry
    new = dataclasses.replace(protocol.geometry, **({"matrix_phase": n_lines} | geometry))
    return dataclasses.replace(protocol, **({"geometry": new, "dummies": 1} | changes))


@lru_cache
def preset(name):
    """Protocol and drive of a preset in full."""
    protocol = load_protocol(name)
    return protocol, compile_drive(protocol, system_of(name))


def prescribed(protocol, line, partition):
    """Wave numbers of one readout in read, phase, slice: the prescription itself."""
    geometry = protocol.geometry
    n_samples = geometry.matrix_read * protocol.oversampling
    read = (np.arange(n_samples) - n_samples // 2) / (
        geometry.field_of_view_read * protocol.oversampling
    )
    phase = (line - geometry.matrix_phase // 2) / geometry.field_of_view_phase
    depth = (partition - geometry.n_partitions // 2) / geometry.slab
    return np.stack([read, np.full(n_samples, phase), np.full(n_samples, depth)])


def assert_k_space(protocol, drive):
    n_windows = drive.windows.start.size
    # At most 500 windows, spread over the scan: validation/mri_protocols.py looks at all of them.
    chosen = np.unique(np.linspace(0, n_windows - 1, min(n_windows, 500)).astype(int))
    found = np.einsum("ij,wis->wjs", protocol.geometry.rotation, wave_numbers(drive, chosen))
    lines, partitions = labels(drive, "LIN")[chosen], labels(drive, "PAR")[chosen]
    finest = 1 / max(
        protocol.geometry.field_of_view_read * protocol.oversampling,
        protocol.geometry.field_of_view_phase,
        protocol.geometry.slab,
    )
    for window, (line, partition) in enumerate(zip(lines, partitions, strict=True)):
        error = np.abs(found[window] - prescribed(protocol, line, partition)).max()
        assert error < 1e-6 * finest


@pytest.mark.parametrize("name", preset_names())
def test_every_sample_lies_on_the_prescribed_grid_and_the_slice_is_refocused(name):
    assert_k_space(*preset(name))


@pytest.mark.parametrize("name", preset_names())
def test_every_line_of_every_slice_is_measured_once_an_average(name):
    protocol, drive = preset(name)
    counters = ("SLC", "LIN", "PAR", "AVG")
    found = {tuple(row) for row in np.stack([labels(drive, key) for key in counters], 1).tolist()}
    expected = {
        (slice_number, line, partition, average)
        for slice_number in range(protocol.geometry.n_slices)
        for line in protocol.lines.tolist()
        for partition in protocol.partitions.tolist()
        for average in range(protocol.averages)
    }
    assert found == expected
    assert drive.windows.start.size == len(expected)


@pytest.mark.parametrize("name", preset_names())
def test_no_axis_exceeds_amplifier_or_slew_and_no_pulse_exceeds_b1(name):
    _, drive = preset(name)
    system = system_of(name)
    for gradient in drive.gradients:
        assert np.abs(gradient.amplitude).max(initial=0) <= system.gamma * system.max_gradient
        steps, rises = np.diff(gradient.time), np.abs(np.diff(gradient.amplitude))
        # Block times are sums of doubles over minutes: 1e-12 s of a ramp of at least 1e-5 s.
        ceiling = system.gamma * system.max_slew * np.maximum(steps, 0) * (1 + 1e-7)
        assert np.all(rises <= ceiling)
    for shape in drive.shapes:
        assert np.abs(shape.signal).max() <= system.gamma * system.max_b1


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_passes_the_gate_in_normal_mode(name):
    _, drive = preset(name)
    assert clear(drive, limits_for(system_of(name))).open() is drive


@pytest.mark.parametrize("name", preset_names())
def test_centre_sample_comes_at_the_echo_time(name):
    protocol, drive = preset(name)
    excitations, at_centre = centres(drive, "e"), labels(drive, "LIN")
    for window in np.flatnonzero(at_centre == protocol.geometry.matrix_phase // 2)[:50]:
        times = sample_times(drive, window)
        start = excitations[excitations < times[0]][-1]
        # Pulseq writes the delay of a window in whole microseconds: half of one is left.
        assert times[times.size // 2] - start == pytest.approx(protocol.echo_time, abs=0.501e-6)


@pytest.mark.parametrize("name", preset_names())
def test_each_slice_comes_again_after_exactly_the_repetition_time(name):
    protocol, drive = preset(name)
    n_slices = protocol.geometry.n_slices
    start = centres(drive, "e").reshape(-1, n_slices)
    # 1 ns: sums of block durations in double precision over minutes.
    assert np.diff(start, axis=0) == pytest.approx(protocol.repetition_time, abs=1e-9)
    assert drive.duration == pytest.approx(start.shape[0] * protocol.repetition_time, abs=1e-9)
    order = labels(drive, "SLC")[:: getattr(protocol, "echo_train_length", 1)][:n_slices]
    assert order.tolist() == [*range(0, n_slices, 2), *range(1, n_slices, 2)]


@pytest.mark.parametrize("name", ["brain-se", "brain-t2-tse", "lowfield-t2-tse"])
def test_refocusing_comes_half_an_echo_time_after_excitation(name):
    protocol, drive = preset(name)
    spacing = getattr(protocol, "echo_spacing", protocol.echo_time)
    excitations, refocusings = centres(drive, "e"), centres(drive, "r")
    n_echoes = refocusings.size // excitations.size
    expected = excitations[:, np.newaxis] + spacing * (np.arange(n_echoes) + 0.5)
    assert refocusings == pytest.approx(expected.ravel(), abs=1e-9)


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), OBLIQUE])
def test_areas_before_and_after_each_echo_are_equal_as_cpmg_asks(angles):
    protocol = small("brain-t2-tse", angles=angles, dummies=0, partial_fourier=1.0)
    drive = compile_drive(protocol, SYSTEMS["3T"])
    refocusings = centres(drive, "r").reshape(-1, protocol.echo_train_length)
    excitations = centres(drive, "e")
    windows = np.array([sample_times(drive, w)[256] for w in range(drive.windows.start.size)])
    echoes = windows.reshape(refocusings.shape)
    pixel = protocol.geometry.matrix_read / protocol.geometry.field_of_view_read
    halves = []
    for axis in range(3):
        first = area(drive, axis, refocusings[:, 0]) - area(drive, axis, excitations)
        before = area(drive, axis, echoes) - area(drive, axis, refocusings)
        after = area(drive, axis, refocusings[:, 1:]) - area(drive, axis, echoes[:, :-1])
        halves.append((first, before, after))
    turn = protocol.geometry.rotation
    first, before, after = (
        np.tensordot(turn.T, np.stack([h[part] for h in halves]), 1) for part in range(3)
    )
    for direction in (0, 2):  # read and slice: the same in every half
        assert before[direction] == pytest.approx(first[direction][0], abs=1e-6 * pixel)
        assert after[direction] == pytest.approx(first[direction][0], abs=1e-6 * pixel)
    # Phase encoding is undone before the next pulse.
    assert after[1] == pytest.approx(-before[1][:, :-1], abs=1e-6 * pixel)
    assert first[1] == pytest.approx(0, abs=1e-6 * pixel)
    # The crusher alone leaves at least the prescribed cycles across the slice.
    least = protocol.crusher_cycles / protocol.geometry.slice_thickness
    assert np.all(before[2] >= least)


def test_excitation_is_a_quarter_turn_from_refocusing_on_every_slice():
    drive = compile_drive(small("brain-t2-tse"), SYSTEMS["3T"])
    phase = phase_at_centre(drive)
    kind = np.array(drive.pulses.use)
    assert np.exp(1j * phase[kind == "e"]) == pytest.approx(1j, abs=1e-8)  # 1e-6 Hz
    assert np.exp(1j * phase[kind == "r"]) == pytest.approx(1, abs=1e-8)


def test_refocusing_of_a_spin_echo_turns_by_a_quarter_each_repetition():
    drive = compile_drive(small("brain-se", averages=2, dummies=3), SYSTEMS["3T"])
    phase, kind = phase_at_centre(drive), np.array(drive.pulses.use)
    assert np.exp(1j * phase[kind == "e"]) == pytest.approx(1j, abs=1e-8)  # 1e-6 Hz
    repetition = np.arange(np.count_nonzero(kind == "r")) // 3
    assert np.exp(1j * phase[kind == "r"]) == pytest.approx(1j**repetition, abs=1e-8)


@pytest.mark.parametrize("name", ["brain-se", "acr-t1-se", "lowfield-se", "brain-t2-tse"])
@pytest.mark.parametrize("changes", [{}, {"averages": 2, "dummies": 3, "partial_fourier": 0.75}])
def test_every_line_of_a_spin_echo_is_received_at_one_phase(name, changes):
    """Hahn 1950: an echo's phase is twice that of refocusing less that of the excitation."""
    drive = compile_drive(small(name, **changes), system_of(name))
    phase, kind = phase_at_centre(drive), np.array(drive.pulses.use)
    before = np.searchsorted(drive.pulses.start, drive.windows.start) - 1
    excitation = phase[kind == "e"][np.cumsum(kind == "e")[before] - 1]
    assert np.all(kind[before] == "r")
    echo = 2 * phase[before] - excitation
    assert np.exp(1j * (echo - drive.windows.phase)) == pytest.approx(-1, abs=1e-8)  # 1e-6 Hz


def phase_at_centre(drive):
    pulses = drive.pulses
    centre = np.array([drive.shapes[shape].centre for shape in pulses.shape])
    return pulses.phase + 2 * np.pi * pulses.frequency * centre


def test_spoiling_phase_follows_zur_and_the_receiver_follows_the_pulse():
    increment = math.radians(117)
    protocol = small("brain-t1-gre", dummies=0, partial_fourier=1.0, spoiling_increment=increment)
    drive = compile_drive(protocol, SYSTEMS["3T"])
    n = np.repeat(np.arange(16), 3)
    expected = np.exp(1j * math.radians(117) * n * (n + 1) / 2)
    # Frequencies are written to 1e-6 Hz, for milliseconds.
    assert np.exp(1j * phase_at_centre(drive)) == pytest.approx(expected, abs=1e-8)
    assert np.exp(1j * drive.windows.phase) == pytest.approx(expected, abs=1e-9)


def test_each_repetition_leaves_the_same_area_on_every_axis():
    protocol = small("brain-t1-gre", angles=OBLIQUE)
    drive = compile_drive(protocol, SYSTEMS["3T"])
    geometry = protocol.geometry
    edges = centres(drive, "e")
    left = np.stack([np.diff(area(drive, axis, edges)) for axis in range(3)])
    turned = geometry.rotation.T @ left
    pixel = geometry.field_of_view_read / geometry.matrix_read
    cycles = protocol.spoiling_cycles
    assert turned[0] * pixel == pytest.approx(cycles, abs=1e-6)
    assert turned[1] == pytest.approx(0, abs=1e-6 / pixel)
    # The slice gradient before the centre of the next pulse adds to the spoiler.
    assert np.ptp(turned[2]) * geometry.slice_thickness < 1e-6
    assert np.all(turned[2] * geometry.slice_thickness > cycles)


@pytest.mark.parametrize("name", ["brain-t1-gre", "brain-se"])
def test_pulse_frequency_over_slice_gradient_is_the_slice_position(name):
    protocol = small(name, angles=OBLIQUE, centre=(0.01, -0.02, 0.03))
    drive = compile_drive(protocol, SYSTEMS["3T"])
    geometry = protocol.geometry
    normal = geometry.rotation[:, 2]
    positions = geometry.slice_offsets + normal @ np.array(geometry.centre)
    kinds = np.array(drive.pulses.use)
    for kind in set(drive.pulses.use):
        times = centres(drive, kind)
        gradient = np.stack(
            [np.interp(times, g.time, g.amplitude) for g in drive.gradients], axis=1
        )
        strength = gradient @ normal
        assert np.abs(gradient - np.outer(strength, normal)).max() < 1e-6 * strength.max()
        found = drive.pulses.frequency[kinds == kind] / strength
        order = [0, 2, 1]
        expected = np.tile(positions[order], found.size // 3)
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["brain-t1-gre", "brain-se", "brain-t2-tse", "brain-t1-gre-3d"])
def test_turning_the_geometry_turns_k_and_nothing_else(name):
    straight = small(name)
    turned = small(name, angles=OBLIQUE, orientation="coronal")
    one, other = (compile_drive(protocol, SYSTEMS["3T"]) for protocol in (straight, turned))
    assert np.array_equal(one.block_edge, other.block_edge)
    assert np.array_equal(one.windows.start, other.windows.start)
    turn = turned.geometry.rotation @ straight.geometry.rotation.T
    expected = np.einsum("ij,wjs->wis", turn, wave_numbers(one))
    assert wave_numbers(other) == pytest.approx(expected, abs=1e-6 / 0.24)
    assert_k_space(turned, other)


@pytest.mark.parametrize("name", ["brain-t1-gre", "brain-se", "brain-t2-tse"])
def test_undersampled_lines_carry_their_flags(name):
    protocol = small(name, 64, acceleration=2, acs_lines=12, partial_fourier=0.75)
    drive = compile_drive(protocol, SYSTEMS["3T"])
    lines = labels(drive, "LIN")
    assert set(lines.tolist()) == {
        line for line in range(16, 64) if line % 2 == 0 or 26 <= line < 38
    }
    reference = (lines >= 26) & (lines < 38)
    assert np.array_equal(labels(drive, "REF") != 0, reference)
    assert np.array_equal(labels(drive, "IMA") != 0, reference & (lines % 2 == 0))
    assert_k_space(protocol, drive)


@pytest.mark.parametrize("name", ["brain-t1-gre", "brain-se", "brain-t2-tse", "lowfield-se"])
def test_drive_is_the_waveform_that_pypulseq_computes(name):
    protocol = small(name, angles=OBLIQUE)
    system = system_of(name)
    sequence = compile_sequence(protocol, system)
    drive = compile_drive(protocol, system)
    waveforms, excitation, refocusing, adc, *_ = sequence.waveforms_and_times()
    for gradient, (time, amplitude) in zip(drive.gradients, waveforms, strict=True):
        found = np.interp(time, gradient.time, gradient.amplitude)
        # Twelve digits in the text, 1 ps of a ramp in pypulseq's shifted knots.
        assert found == pytest.approx(amplitude, abs=1e-5 * np.abs(amplitude).max())
    assert centres(drive, "e") == pytest.approx(excitation[0], abs=1e-9)
    if len(refocusing):
        assert centres(drive, "r") == pytest.approx(refocusing[0], abs=1e-9)
    times = np.concatenate([sample_times(drive, w) for w in range(drive.windows.start.size)])
    assert times == pytest.approx(adc, abs=1e-9)


@pytest.mark.parametrize("name", preset_names())
def test_pypulseq_finds_no_fault_in_the_timing(name):
    sequence = compile_sequence(small(name), system_of(name))
    passes, faults = sequence.check_timing()
    assert passes, faults


def test_pypulseq_reads_the_text_back(tmp_path):
    protocol = small("brain-t2-tse", angles=OBLIQUE)
    sequence = compile_sequence(protocol, SYSTEMS["3T"])
    path = tmp_path / "x.seq"
    write_sequence(protocol, SYSTEMS["3T"], path)
    again = pypulseq.Sequence()
    again.read(str(path), remove_duplicates=False)  # it would round to six digits
    ours, theirs = sequence.calculate_kspace()[0], again.calculate_kspace()[0]
    assert theirs == pytest.approx(ours, abs=1e-6 / 0.24)
    assert again.definitions["scanroom_kind"] == "turbo-spin-echo"


def test_signature_is_the_digest_of_the_text_before_it():
    text = sequence_text(compile_sequence(small("brain-se"), SYSTEMS["3T"]))
    body, tail = text.split("\n[SIGNATURE]")
    digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    assert f"Hash {digest}" in tail


def test_definitions_say_what_a_reconstruction_needs():
    protocol = small("brain-t1-gre", angles=OBLIQUE)
    drive = compile_drive(protocol, SYSTEMS["3T"])

    def numbers(key):
        return [float(word) for word in drive.definition(key).split()]

    assert numbers("scanroom_matrix") == [256, 16, 1]
    rotation = np.array(numbers("scanroom_rotation")).reshape(3, 3)
    assert rotation == pytest.approx(protocol.geometry.rotation, abs=1e-11)  # twelve digits
    assert numbers("scanroom_position") == [0, -0.015, 0.015]
    assert numbers("scanroom_slice_positions") == [-0.01, 0, 0.01]
    assert numbers("TE") == [0.0049]
    assert numbers("scanroom_centre_line") == [8]
    dwell = drive.windows.dwell[0]
    assert numbers("scanroom_bandwidth") == pytest.approx([1 / (512 * dwell)], rel=1e-11)
    assert '"echo_time":0.0049' in drive.definition("scanroom_protocol")


def test_dummies_play_everything_but_the_receiver():
    none, two = (compile_drive(small("brain-t2-tse", dummies=n), SYSTEMS["3T"]) for n in (0, 2))
    assert two.windows.start.size == none.windows.start.size
    assert two.pulses.start.size == none.pulses.start.size * 2
    assert two.duration - none.duration == pytest.approx(2 * 4.0)


REFUSED = [
    ("brain-t1-gre", {"echo_time": 3e-3}, r"minimum is ([\d.]+) ms"),
    ("brain-t1-gre", {"repetition_time": 0.02}, r"minimum is ([\d.]+) ms"),
    ("brain-se", {"echo_time": 8e-3}, r"minimum is ([\d.]+) ms"),
    ("brain-se", {"repetition_time": 0.05}, r"minimum is ([\d.]+) ms"),
    ("brain-t2-tse", {"repetition_time": 0.2}, r"minimum is ([\d.]+) ms"),
]


@pytest.mark.parametrize(("name", "changes", "pattern"), REFUSED)
def test_too_short_a_time_is_refused_with_the_minimum_and_the_minimum_plays(name, changes, pattern):
    with pytest.raises(ProtocolError) as caught:
        compile_sequence(small(name, **changes), SYSTEMS["3T"])
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    least = float(re.search(pattern, text)[1]) * 1e-3
    (key,) = changes
    protocol = small(name, **{key: least})
    assert compile_sequence(protocol, SYSTEMS["3T"]).check_timing()[0]
    with pytest.raises(ProtocolError, match="minimum"):
        compile_sequence(small(name, **{key: least - 50e-6}), SYSTEMS["3T"])


def test_too_short_an_echo_spacing_is_refused_with_the_minimum():
    with pytest.raises(ProtocolError, match=r"echo_spacing is 5 ms; the minimum is") as caught:
        compile_sequence(small("brain-t2-tse", echo_spacing=5e-3, echo_time=0.04), SYSTEMS["3T"])
    least = float(re.search(r"minimum is ([\d.]+) ms", str(caught.value))[1]) * 1e-3
    protocol = small("brain-t2-tse", echo_spacing=least, echo_time=8 * least)
    assert compile_sequence(protocol, SYSTEMS["3T"]).check_timing()[0]


@pytest.mark.parametrize(
    ("name", "changes", "word"),
    [
        ("brain-se", {"refocusing_duration": 1e-3}, "ceiling is 20 uT"),
        ("brain-t1-gre", {"slice_thickness": 0.3e-3}, "Choose slices above"),
        ("brain-t1-gre", {"bandwidth": 9e3, "oversampling": 8}, "readout gradient is"),
        ("brain-t1-gre", {"oversampling": 8, "matrix_read": 1024, "bandwidth": 5e3}, "ceiling is"),
    ],
)
def test_what_the_system_cannot_play_is_refused_in_one_line(name, changes, word):
    with pytest.raises(ProtocolError) as caught:
        compile_sequence(small(name, **changes), SYSTEMS["3T"])
    assert word in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_file_appears_complete_or_not_at_all(tmp_path):
    path = tmp_path / "x.seq"
    with pytest.raises(ProtocolError):
        write_sequence(small("brain-se", echo_time=8e-3), SYSTEMS["3T"], path)
    assert list(tmp_path.iterdir()) == []
    write_sequence(small("brain-se"), SYSTEMS["3T"], path)
    assert [item.name for item in tmp_path.iterdir()] == ["x.seq"]


def test_noise_drive_is_a_window_alone():
    drive = compile_noise(SYSTEMS["3T"], 8e-6, 4096)
    assert drive.pulses.start.size == 0
    assert all(np.all(gradient.amplitude == 0) for gradient in drive.gradients)
    assert drive.windows.n_samples.tolist() == [4096]
    assert drive.windows.dwell == pytest.approx([8e-6])
    assert labels(drive, "NOISE").tolist() == [1]


@pytest.mark.parametrize(
    ("dwell", "n_samples"),
    [(0.0, 64), (math.nan, 64), (-1e-6, 64), (1.23456e-7, 64), (8e-6, 0), (8e-6, 10**6)],
)
def test_impossible_noise_window_is_refused(dwell, n_samples):
    with pytest.raises(ProtocolError):
        compile_noise(SYSTEMS["3T"], dwell, n_samples)


def test_families_are_the_three_of_the_house():
    kinds = {type(load_protocol(name)) for name in preset_names()}
    assert kinds == {GradientEcho, SpinEcho, TurboSpinEcho}


@pytest.mark.parametrize("name", preset_names())
def test_protocol_travels_in_the_file_and_comes_back_equal(name):
    asked = load_protocol(name)
    assert protocol_of(protocol_line(asked)) == asked


@pytest.mark.parametrize("line", ["", "[]", "{}", "[" * 100_000, '{"family":"x","geometry":{}}'])
def test_a_line_that_is_no_protocol_is_refused(line):
    with pytest.raises(ProtocolError):
        protocol_of(line)
