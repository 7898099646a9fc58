"""Open a 100,000-cell h5ad to the first picture of the tissue: bar 2 s.

Beside it, in the same run: plain `anndata.read_h5ad` and `viewer.add_points`, without checks,
sections, legend or dock.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import anndata
import napari
import numpy as np
from scipy import sparse

N_CELLS, N_GENES, BAR_S = 100_000, 300, 2.0


def tissue() -> anndata.AnnData:
    rng = np.random.default_rng(0)
    counts = sparse.random(N_CELLS, N_GENES, 0.15, format="csr", dtype="f4", rng=rng)
    adata = anndata.AnnData(counts)
    adata.obs["cell_type"] = [f"type {i}" for i in rng.integers(0, 12, N_CELLS)]
    adata.obs["cell_type"] = adata.obs["cell_type"].astype("category")
    adata.obsm["spatial"] = rng.uniform(0, 5000, (N_CELLS, 2))
    adata.uns["celldyn"] = {"spatial_unit": "um", "um_per_unit": 1.0}
    return adata


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    path = folder / "tissue.h5ad"
    tissue().write_h5ad(path)
    viewer = napari.Viewer()

    start = time.perf_counter()
    plain = anndata.read_h5ad(path)
    viewer.add_points(plain.obsm["spatial"][:, ::-1], size=10)
    viewer.screenshot(flash=False)
    napari_s = time.perf_counter() - start
    viewer.layers.clear()

    viewer.open(path, plugin="napari-celldyn")  # once, so that imports are not counted
    viewer.layers.clear()
    start = time.perf_counter()
    viewer.open(path, plugin="napari-celldyn")
    viewer.screenshot(flash=False)
    ours_s = time.perf_counter() - start
    print(
        f"open 100k cells to first picture: {ours_s:.2f} s (bar {BAR_S} s, "
        f"{ours_s / BAR_S:.2f} of it); plain add_points {napari_s:.2f} s, "
        f"ratio {ours_s / napari_s:.2f}"
    )
    viewer.close()


if __name__ == "__main__":
    main()
