"""Fixtures that many rooms share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no fault of the code: what may take how long is said by validation.
settings.register_profile("scanroom", deadline=None)
settings.load_profile("scanroom")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data that the repository does not hold: required in CI, optional elsewhere."""
    if not SHARED.is_dir():
        reason = f"real data are not at {SHARED}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return SHARED
