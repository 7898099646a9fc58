"""Which latent dimensions a modality uses: milliseconds a cell, beside automatic differentiation.

`OMP_NUM_THREADS=1 python benchmarks/bench_vae_attribution.py`: two modalities of 2,000 features,
512 and 256 hidden units, 128 + 64 latent dimensions, CPU time of one thread. regularizedvi takes
69 ms a cell there with its default and 22 ms with jacfwd, as was measured once; the bar is an
eighth of the former.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from mudata import MuData

from celldyn.jobs import run
from celldyn.vae.attribution import How, attribution_job
from celldyn.vae.building import build_job
from celldyn.vae.config import KeysConfig, ModelConfig
from celldyn.vae.predicting import Cells
from celldyn.vae.preparing import prepare_mudata

N_CELLS, N_FEATURES, REFERENCE_MS, SHARE = 400, 2000, 69.0, 1 / 8
ATAC = {"n_hidden": 256, "n_latent": 64}


def multiome(seed: int = 0) -> MuData:
    rng = np.random.default_rng(seed)
    parts = {}
    for name in ("rna", "atac"):
        mean = rng.gamma(0.5, 2.0, N_FEATURES)
        counts = rng.poisson(mean * rng.lognormal(0, 0.3, (N_CELLS, 1))).astype(np.float32)
        var = pd.DataFrame(index=[f"{name}_{k}" for k in range(N_FEATURES)])
        parts[name] = AnnData(counts, obs=pd.DataFrame(index=map(str, range(N_CELLS))), var=var)
    return MuData(parts)


def milliseconds(cells: Cells, how: How) -> float:
    """Return CPU ms a cell, the least of three runs."""
    spent = []
    for _ in range(3):
        started = time.process_time()
        run(attribution_job(cells, how), bar=False)
        spent.append(time.process_time() - started)
    return 1e3 * min(spent) / len(cells)


def main() -> None:
    torch.set_num_threads(1)
    inputs = prepare_mudata(multiome(), KeysConfig(one_batch=True))
    config = ModelConfig(n_hidden=512, n_latent=128, per_modality={"atac": ATAC})
    module = run(build_job(inputs, config), bar=False).module
    cells = Cells.all(module, inputs)
    few = Cells(module, inputs, np.arange(128, dtype=np.int64))
    automatic = milliseconds(few, How(method="jacfwd"))
    print(f"automatic differentiation {automatic:6.2f} ms a cell, in this run")
    for precision in ("float32", "bfloat16"):
        ours = milliseconds(cells, How(precision=precision))
        told = "met" if ours <= SHARE * REFERENCE_MS else "missed"
        print(
            f"closed form, {precision:8} {ours:6.2f} ms a cell, {automatic / ours:.1f} x; ", end=""
        )
        print(f"{REFERENCE_MS / ours:.0f} x regularizedvi's {REFERENCE_MS:g} ms, bar 8 {told}")


if __name__ == "__main__":
    main()
