"""The peer that models of betas are compared with: SpaceTravLR 0.1.18 in its own environment.

Its requirements do not go together with this project's, so it has an environment of its own, and
runs there as a process of one thread. To make that environment (some 2 GB, most of it PyTorch):

    python3.11 -m venv peer
    peer/bin/pip install torch numba "pandas==2.3.3" "anndata==0.12.19" scipy scikit-learn
    peer/bin/pip install pyarrow networkx tqdm matplotlib wordcloud group-lasso enlighten
    peer/bin/pip install easydict pyro-ppl pqdm
    peer/bin/pip install --no-deps "SpaceTravLR==0.1.18"
    export CELLDYN_PEER_PYTHON=$PWD/peer/bin/python

`--no-deps`, since the package asks for numpy 1.26 and for commot, genomepy, pybedtools, pysal and
magic-impute, of which the estimator and the perturbation need none; pandas stays below 3, since
the peer groups columns with axis=1. Without CELLDYN_PEER_PYTHON the benchmarks say so and go on
without it. `peer_spacetravlr.py` tells which of its inputs are replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from celldyn.betas import received_ligands

VARIABLE = "CELLDYN_PEER_PYTHON"
_SCRIPT = Path(__file__).with_name("peer_spacetravlr.py")
_JOB, _RESULT = "job.json", "result.json"
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


@dataclass(frozen=True)
class Job:
    """What the peer is to do; files are paths.

    Parameters
    ----------
    adata, grn, lr, ligand_target
        .h5ad with the layer imputed_count, obs["cell_type_int"] without gaps and
        obsm["spatial"], and tables as `betas_tissue.write_tissue` writes them.
    genes
        Targets to fit.
    epochs
        Of the network; 0 for the linear models alone.
    spatial_dim
        Pixels of a side of the maps.
    folds
        .npy with (n_obs,) the fold of each cell, to hold them out in turn from the linear models.
    stages
        Whether received ligands, features and maps are made, and timed, before anything else.
    perturb
        `gene`, `value`, `n_propagation`, and `betas`: an .npz with "<gene>/columns" and
        "<gene>/values" (n_obs, n_columns) of every gene with betas, on the peer's scale.
    """

    adata: str
    grn: str
    lr: str
    ligand_target: str | None = None
    genes: tuple[str, ...] = ()
    radius: float = 100.0
    contact_distance: float = 30.0
    epochs: int = 0
    spatial_dim: int = 32
    seed: int = 0
    folds: str | None = None
    stages: bool = True
    perturb: dict[str, Any] | None = None


@dataclass(frozen=True)
class PeerResult:
    """What the peer found, and CPU seconds of one thread.

    Parameters
    ----------
    seconds
        "received ligands", "spatial features", "spatial maps", "perturbation".
    genes
        Per target `seconds` ("constructor", "design", "seed", "network", "network per cell and
        epoch", "get_betas"), `scores` and `heldout_scores` by cluster.
    arrays
        "<gene>/columns"; "<gene>/seed", (n_clusters, 1 + n_modulators); "<gene>/network", (n_obs,
        1 + n_modulators), where there were epochs; "perturbed", (n_obs,
        n_vars), and "perturbed/genes", their names.
    """

    version: str
    seconds: dict[str, float]
    genes: dict[str, dict[str, Any]]
    peak_gb: float
    arrays: dict[str, np.ndarray] = field(repr=False)


def peer_python() -> str | None:
    """Return the peer's Python; where there is none, say so and return None."""
    given = os.environ.get(VARIABLE)
    if given and Path(given).exists():
        return given
    reason = f"there is no {given}" if given else f"{VARIABLE} is not set"
    print(f"peer not installed: {reason}; see benchmarks/peer.py")
    return None


def run_peer(job: Job, kept: Path | None = None) -> PeerResult | None:
    """Run a job; None, and a line that says so, where the peer is not installed.

    What the peer found is left in a folder within `kept`, if that is given, and is read from there
    the next time that the same is asked: look to it that the files of the job are the same.
    """
    room = None if kept is None else kept / _digest(job)
    if room is not None and (room / _RESULT).exists():
        return _read(room)
    python = peer_python()
    if python is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        (made / _JOB).write_text(json.dumps(asdict(job)), encoding="utf-8")
        environment = {**os.environ, **_ONE_THREAD}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [python, str(_SCRIPT), str(made / _JOB), str(made / _RESULT)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the peer failed ({done.returncode}):\n{done.stderr[-3000:]}")
        if room is not None:
            shutil.copytree(made, room, ignore=shutil.ignore_patterns("models"))
        return _read(made)


def _digest(job: Job) -> str:
    """Return a name for what is asked, whatever the files are called."""
    files = ("adata", "grn", "lr", "ligand_target", "folds")
    asked = {key: value for key, value in asdict(job).items() if key not in files}
    text = json.dumps([asked, [getattr(job, name) is None for name in files]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read(room: Path) -> PeerResult:
    found = room / _RESULT
    with np.load(found.with_suffix(".npz")) as arrays:
        return PeerResult(**json.loads(found.read_text(encoding="utf-8")), arrays=dict(arrays))


def on_average_scale(
    columns: list[str], betas: np.ndarray, xy: np.ndarray, reach: dict[str, float]
) -> np.ndarray:
    """Return the peer's betas on the scale of a neighbourhood average.

    The peer's received ligand is (1/N) Σ_j w_ij L_j, the average is Σ_j w_ij L_j / Σ_j w_ij with
    the same weights. So what multiplies the average is β S_i / N with S_i = Σ_j w_ij, which is
    exact in every cell: both describe the same prediction.

    Parameters
    ----------
    columns, betas
        "beta0", "beta_<modulator>", and their (n_cells, n_columns) values.
    xy
        (n_cells, 2) coordinates.
    reach
        Radius of each ligand.
    """
    scaled = np.array(betas, dtype=np.float64)
    one = np.ones((len(xy), 1))
    factor = {
        radius: received_ligands(xy, one, radius, normalisation="none")[:, 0] / len(xy)
        for radius in set(reach.values())
    }
    for k, column in enumerate(columns):
        pair = column.removeprefix("beta_").replace("#", "$")
        if "$" in pair:
            scaled[:, k] *= factor[reach[pair.split("$")[0]]]
    return scaled
