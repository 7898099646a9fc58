"""What all tests share: who runs where, and the real tissue beside the project, when there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: threads of one would spin as they wait for those of the other.
    for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_variable, "1")

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put all windows first, since they take longest."""
    here = Path(__file__).parent
    items.sort(key=lambda item: "plugin" not in item.path.relative_to(here).parts)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all windows to one worker, and else a file to a worker.

    Two windows at once are slow: each is drawn by all cores where there is no graphics card.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByRoom(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "windows" if "plugin" in file.split("/") else file

    return ByRoom(config, log)


@pytest.fixture(scope="session")
def starmap_path() -> Path:
    """Path of the real STARmap tissue."""
    path = Path(__file__).parents[2] / "shared" / "data" / "starmap_mpfc.h5ad"
    if not path.exists():
        pytest.skip("the STARmap tissue is not beside the project")
    return path
