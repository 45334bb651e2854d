"""The spin engine answers to closed forms, phase graphs and small-step integration."""

import pytest

from validation.mri_bloch_truths import CASES


@pytest.mark.parametrize(("case", "bound"), [c[1:3] for c in CASES], ids=[c[0] for c in CASES])
def test_engine_agrees_with(case, bound):
    assert case() <= bound  # the bounds stand beside the cases; measured errors are 2-100 x less
