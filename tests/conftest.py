"""What all tests share: who runs where, and the real tissue beside the project, when there."""

from __future__ import annotations

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: threads of one would spin as they wait for those of the other.
    for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_variable, "1")

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all windows to one worker, first, since that takes longest; else a file to a worker."""
    here = Path(__file__).parent
    items.sort(key=lambda item: "plugin" not in item.path.relative_to(here).parts)
    for item in items:
        parts = item.path.relative_to(here).parts
        group = "windows" if "plugin" in parts else "/".join(parts)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def starmap_path() -> Path:
    """Path of the real STARmap tissue."""
    path = Path(__file__).parents[2] / "shared" / "data" / "starmap_mpfc.h5ad"
    if not path.exists():
        pytest.skip("the STARmap tissue is not beside the project")
    return path
