"""Times sclsd's training, flow and fates; `bench_landscape.py` starts it where it is.

`python peer_sclsd_speed.py JOB.json RESULT.json`, in the environment that `peer_sclsd.py` tells
how to make. The job holds `adata`, an .h5ad; `n_walks`, `path_len`, `batch_size`, `epochs`;
`n_fates`, how many cells' fates are asked for; and `weights`, an .npz with the layers of a
potential that was trained, and `z0`, states to flow from. CPU seconds of one thread.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import anndata as ad  # noqa: E402
import numpy as np  # noqa: E402
import sclsd  # noqa: E402
import torch  # noqa: E402
from torchdiffeq import odeint  # noqa: E402


def cpu(work):
    """Return what work returns, and its CPU seconds."""
    started = time.process_time()
    return work(), time.process_time() - started


def peak_gb():
    unit = 1e9 if sys.platform == "darwin" else 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def trained(lsd, epochs):
    """Train, and return CPU seconds at the start of every step."""
    stamps, factor = [], lsd._calculate_W_factor

    def stamped():
        stamps.append(time.process_time())
        return factor()

    lsd._calculate_W_factor = stamped
    lsd.train(num_epochs=epochs, plot_loss=False)
    return [*stamps, time.process_time()]


def give_potential(lsd, weights):
    """Put a trained potential where sclsd has its own."""
    layers = [m for m in lsd.lsd.potential.fc.modules() if isinstance(m, torch.nn.Linear)]
    with torch.no_grad():
        for k, layer in enumerate(layers):
            layer.weight.copy_(torch.tensor(weights[f"weight{k}"]))
            layer.bias.copy_(torch.tensor(weights[f"bias{k}"]))
        for name, value in lsd.lsd.potential.named_parameters():
            if value.numel() == 1 and "fc" not in name:
                value.fill_(float(weights["gamma"]))


def sweeping(lsd, z0, path_len):
    """Return CPU seconds of one training flow with gradients."""
    start, grid = torch.tensor(z0), torch.linspace(0, 1, path_len)

    def once():
        lsd.lsd.zero_grad()
        odeint(lsd.lsd.gradnet, start, grid).square().sum().backward()

    once()
    return cpu(lambda: [once() for _ in range(3)])[1] / 3


def main(job_path, result_path):
    torch.set_num_threads(1)
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    adata, weights = ad.read_h5ad(job["adata"]), np.load(job["weights"])
    cfg = sclsd.LSDConfig()
    cfg.walks.num_walks, cfg.walks.path_len = job["n_walks"], job["path_len"]
    cfg.walks.batch_size = job["batch_size"]
    lsd = sclsd.LSD(adata, cfg, device=torch.device("cpu"))
    result = {"version": sclsd.__version__, "before_gb": peak_gb()}
    _, result["prior"] = cpu(lambda: lsd.set_prior_transition(prior_time_key="dpt_pseudotime"))
    _, result["walks"] = cpu(lsd.prepare_walks)
    result["stamps"] = trained(lsd, job["epochs"])
    result["peak_gb"] = peak_gb()
    found, result["get_adata"] = cpu(lsd.get_adata)
    give_potential(lsd, weights)
    result["sweep"] = sweeping(lsd, weights["z0"], job["path_len"])
    some, before = found[: job["n_fates"]].copy(), peak_gb()
    _, result["fates"] = cpu(lambda: lsd.get_cell_fates(some, 15.0, cluster_key="clusters"))
    result["fates_gb"] = peak_gb() - before
    Path(result_path).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
