"""[EXTENSIONS]: RF shims written by another program are read; broken ones are refused."""

import tempfile
from pathlib import Path

import numpy as np
import pypulseq
import pytest

from scanroom.core.errors import FormatError
from scanroom.core.gate import digest
from scanroom.mri.drive.seqfile import parse_seq
from scanroom.physics.transmit_array import circular
from validation.mri_b1_shimming import with_shims

# As pypulseqpp 0.0.53 wrote it: a block pulse with make_rf_shim(circular(8)), one without, and one
# with make_rf_shim(circular(8)**2 * sqrt(8)) and a label.
WRITTEN = Path(__file__).with_name("shims-by-pypulseqpp.seq").read_text()
UNSIGNED = WRITTEN.partition("\n[SIGNATURE]")[0]


def test_shims_of_another_program_are_read():
    made = parse_seq(WRITTEN, "written")
    truth = np.stack([circular(8), circular(8) ** 2 * np.sqrt(8)])
    # The file holds six digits.
    assert made.shims.weight == pytest.approx(truth, abs=3e-6)
    assert made.shims.of_pulse.tolist() == [0, -1, 1]
    assert made.windows.label.tolist() == [[4]]


def test_shims_may_be_required():
    text = UNSIGNED.replace("[DEFINITIONS]", "[DEFINITIONS]\nRequiredExtensions RF_SHIMS")
    assert parse_seq(text, "required").shims is not None


def test_shims_in_a_file_of_pypulseq_come_back():
    sequence = pypulseq.Sequence()
    pulse = pypulseq.make_block_pulse(0.3, duration=1e-3, delay=100e-6, use="excitation")
    for _ in range(3):
        sequence.add_block(pulse)
        sequence.add_block(pypulseq.make_delay(1e-3))
    text = "\n".join(_lines(sequence))
    rng = np.random.default_rng(1)
    sets = rng.normal(size=(2, 5, 2)) @ [1, 1j]
    made = parse_seq(with_shims(text, sets, np.array([1, 0, 1])), "made")
    # Sets come in the order in which blocks name them by their lists' numbers; nine digits.
    assert made.shims.weight[made.shims.of_pulse] == pytest.approx(sets[[1, 0, 1]], abs=1e-8)
    plain = parse_seq(text, "made")
    assert plain.shims is None
    assert made.shapes[0].step == pytest.approx(plain.shapes[0].step)


def _lines(sequence):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.seq"
        sequence.write(str(path), create_signature=False)
        return path.read_text().splitlines()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("2 8 0.35", "2 7 0.35", r"line 62: the number of channels .* is 7; it may be 8 to 8"),
        ("1 8 0.353553 0 ", "1 8 0.353553 ", "line 61: a row of .RF_SHIMS. has 17 entries"),
        ("1 8 0.353553 0 ", "1 8 -1 0 ", "line 61: a magnitude of .RF_SHIMS. is -1; it may be 0"),
        ("1 8 0.353553 0 ", "1 8 nan 0 ", "line 61: 'nan' is no finite number"),
        ("1 8 0.353553 0 ", "1 8 1e300 0 ", "line 61: a magnitude of .RF_SHIMS. is 1e.300"),
        ("1 8 0.353553 0 ", "1 8 " + 70 * "0.1 0 ", "line 61: an RF shim has 77 channels"),
        ("2 8 0.35", "1 8 0.35", "line 62: identifier 1 of .RF_SHIMS. comes again"),
        ("1 1 1 0", "1 1 9 0", "line 43: .* names entry 9 of extension 1"),
        ("1 1 1 0", "1 1 1 3", "line 45: an extension list names two RF shims"),
        ("2  50   0   0   0   0  0  0", "2  50 0 0 0 0 0 1",
         "line 19: a block has an RF shim and no pulse"),
        ("RF_SHIMS 1\n", "RF_SHIMS 1\nx\n", "line 61: a row of .RF_SHIMS. has 1 entries"),
    ],
)  # fmt: skip
def test_broken_shims_are_refused_in_one_line(old, new, told):
    assert old in UNSIGNED
    with pytest.raises(FormatError, match=told) as refusal:
        parse_seq(UNSIGNED.replace(old, new, 1), "broken")
    assert "\n" not in str(refusal.value)


def test_shims_mark_a_drive_and_a_drive_without_bears_no_mark():
    made = parse_seq(WRITTEN, "written")
    before = digest(made)
    made.shims.weight[1, 2] *= 1.5
    assert digest(made) != before
