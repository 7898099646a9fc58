"""What all tests share: the real tissue beside the project, when it is there."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def starmap_path() -> Path:
    """Path of the real STARmap tissue."""
    path = Path(__file__).parents[2] / "shared" / "data" / "starmap_mpfc.h5ad"
    if not path.exists():
        pytest.skip("the STARmap tissue is not beside the project")
    return path
