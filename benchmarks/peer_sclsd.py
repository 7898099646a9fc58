"""Times sclsd's prior, walks and flow; `bench_landscape_numerics.py` starts it where it is.

`python peer_sclsd.py JOB.npz RESULT.json`. The job holds the neighbour graph, pseudotime, states
and a potential's weights. sclsd asks for numpy below 2, so that it has an environment of its own
(some 2 GB, most of it PyTorch):

    python3.11 -m venv sclsd
    sclsd/bin/pip install "numpy<2" torch "sclsd==0.3.0"
    export CELLDYN_SCLSD_PYTHON=$PWD/sclsd/bin/python
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
from scipy import sparse  # noqa: E402
from sclsd.core.config import LogCoshActivation  # noqa: E402
from sclsd.core.networks import GradientNet, PotentialNet  # noqa: E402
from torchdiffeq import odeint  # noqa: E402


def cpu(work):
    """Return what work returns, and its CPU seconds."""
    started = time.process_time()
    return work(), time.process_time() - started


def model_of(job):
    """An LSD of the job's cells, with a few genes that nothing here looks at."""
    n = len(job["time"])
    graph = sparse.csr_matrix((job["data"], job["indices"], job["indptr"]), shape=(n, n))
    X = sparse.csr_matrix(np.ones((n, 4), dtype=np.float32))
    adata = ad.AnnData(X, layers={"raw": X.copy()}, obsp={"connectivities": graph})
    adata.obs["librarysize"] = np.arange(n) + 1000.0
    adata.obs["time"] = job["time"]
    cfg = sclsd.LSDConfig()
    cfg.walks.num_walks, cfg.walks.path_len = int(job["n_walks"]), int(job["path_len"])
    return sclsd.LSD(adata, cfg, device=torch.device("cpu"))


def flow_of(job):
    """sclsd's gradient, with the job's weights."""
    weights = [torch.tensor(job[name]) for name in job["weights"]]
    hidden = [len(bias) for bias in weights[1:-1:2]]
    net = PotentialNet(hidden, weights[0].shape[1], LogCoshActivation())
    layers = [layer for layer in net.fc.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for k, layer in enumerate(layers):
            layer.weight.copy_(weights[2 * k])
            layer.bias.copy_(weights[2 * k + 1])
    return GradientNet(net)


def main(job_path, result_path):
    torch.set_num_threads(1)
    job = np.load(job_path)
    result = {"version": sclsd.__version__}
    lsd = model_of(job)
    _, result["prior"] = cpu(lambda: lsd.set_prior_transition(prior_time_key="time"))
    _, result["walks"] = cpu(lsd.prepare_walks)
    result["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    down, z0 = flow_of(job), torch.tensor(job["z0"])
    found, result["flow"] = cpu(lambda: odeint(down, z0, torch.tensor(job["times"])))
    found = found.detach().numpy()
    walk, grid = torch.tensor(job["z0"][:256]), torch.tensor(job["grid"])

    def training():
        down.zero_grad()
        odeint(down, walk, grid).square().sum().backward()

    training()
    result["training"] = cpu(lambda: [training() for _ in range(3)])[1] / 3
    np.save(Path(result_path).with_suffix(".npy"), found[-1])
    Path(result_path).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
