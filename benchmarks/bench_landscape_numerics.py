"""What of the landscape needs no training: prior, walks, transitions, flow, fates, beside sclsd.

CPU seconds of one thread. At 100,000 cells the prior, 4,096 walks of 50 cells, and transitions
must take less than 10 s and 1 GB more than the graph itself. sclsd runs where CELLDYN_SCLSD_PYTHON
says (see `peer_sclsd.py`); without it this project's own work is timed alone, and torchdiffeq's
dopri5 at sclsd's tolerances with a gradient by autograd stands for its flow.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from sklearn.neighbors import kneighbors_graph
from threadpoolctl import threadpool_limits
from torchdiffeq import odeint

from celldyn.jobs import run
from celldyn.landscape import (
    Potential,
    boltzmann_transitions,
    committor,
    convergence,
    flow,
    nearest_vote,
    prior_transition,
    sample_walks_job,
    terminal_states,
)

VARIABLE = "CELLDYN_SCLSD_PYTHON"
N_WALKS, PATH_LEN, Z_DIM = 4096, 50, 10
GRID, TIMES = np.linspace(0, 1, 12, dtype=np.float32), np.linspace(0, 15, 30, dtype=np.float32)
LIMIT_S, LIMIT_GB = 10.0, 1.0


def cpu(work, times=1):
    """Return what work returns, and its fewest CPU seconds."""
    taken = []
    for _ in range(times):
        started = time.process_time()
        found = work()
        taken.append(time.process_time() - started)
    return found, min(taken)


def peak_gb():
    unit = 1e9 if sys.platform == "darwin" else 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def tissue(n, seed=0):
    """Return a graph of 15 neighbours of cells on a stem that forks, time, and their branch."""
    rng = np.random.default_rng(seed)
    when, branch = rng.uniform(size=n), rng.integers(0, 2, n)
    away = np.maximum(when - 0.5, 0) * np.where(branch, 1, -1)
    at = np.stack([4 * when, 4 * away, np.zeros(n)], axis=1) + rng.normal(0, 0.15, (n, 3))
    graph = kneighbors_graph(at, 15)
    graph = sparse.csr_array(graph + graph.T)
    graph.data[:] = 1.0
    return graph, when, np.where(when < 0.5, "stem", np.where(branch, "B", "A"))


def states(when, branch, seed=0):
    """Return states of cells, (n, 10): a thick curve that forks."""
    rng = np.random.default_rng(seed)
    away = np.maximum(when - 0.5, 0) * np.where(branch == "A", -1, 1)
    curve = np.stack([4 * when - 2, 6 * away, np.cos(3 * when)], axis=1)
    z = curve @ rng.normal(0, 0.6, (3, Z_DIM)) + rng.normal(0, 0.1, (len(when), Z_DIM))
    return torch.tensor(z, dtype=torch.float32)


def landscape(confinement=0.0):
    """Return a potential that moves cells by about their spread in a time of 1."""
    torch.manual_seed(0)
    potential = Potential(Z_DIM, confinement=confinement)
    with torch.no_grad():
        for layer in potential.layers:
            layer.weight.mul_(2.5)
    return potential


def sparse_part(n, rest):
    """Time prior, walks and transitions of n cells; return seconds by name."""
    graph, when, _ = tissue(n)
    before = peak_gb()
    prior, first = cpu(lambda: prior_transition(graph, when), rest)
    draw = lambda: run(sample_walks_job(prior, N_WALKS, PATH_LEN, 0, threads=1), bar=False)  # noqa: E731
    walks, second = cpu(draw, rest)
    _, third = cpu(lambda: boltzmann_transitions(graph, 5 * (1 - when)), rest)
    more = peak_gb() - before
    print(
        f"{n} cells: prior {first:.4f} s, {walks.size} steps of walks {second:.4f} s, "
        f"transitions {third:.4f} s; {more:.2f} GB more"
    )
    return {"prior": first, "walks": second, "sum": first + second + third, "gb": more}


def walk_speed(n):
    """Say how many steps a second walks take, checks of the matrix included."""
    graph, when, _ = tissue(n)
    prior = prior_transition(graph, when)
    draw = lambda: run(sample_walks_job(prior, 100_000, 100, 0, threads=1), bar=False)  # noqa: E731
    _, seconds = cpu(draw, 2)
    print(f"walks of {n} cells: {1e7 / seconds / 1e6:.1f} million steps a second")


def by_autograd(potential):
    """Return the flow as sclsd asks for it: a graph in every evaluation."""

    def down(_, z):
        z = z if z.requires_grad else z.requires_grad_()
        return -torch.autograd.grad(potential(z).sum(), z, create_graph=True)[0]

    return lambda z, times: odeint(down, z, times, rtol=1e-7, atol=1e-9)


def flow_part(potential, z0):
    """Time flows for fates and for training, ours and dopri5 by autograd."""
    times, grid, rival = torch.tensor(TIMES), torch.tensor(GRID), by_autograd(potential)
    far, slow = cpu(lambda: rival(z0.clone(), times).detach())
    ours, seconds = cpu(lambda: flow(potential, z0, times, differentiable=False), 3)
    exact = odeint(
        lambda _, z: -potential.double().gradient(z), z0.double(), times, rtol=1e-10, atol=1e-12
    )
    potential.float()
    moved = (exact[-1] - z0).norm(dim=1).mean()
    error = (ours - exact).norm(dim=2).max() / moved
    off = (far - exact).norm(dim=2).max() / moved
    print(
        f"flow of {len(z0)} cells to t = 15: dopri5 by autograd {slow:.2f} s (error {off:.1e} of "
        f"what cells move), ours {seconds:.3f} s (error {error:.1e}); ratio {slow / seconds:.1f}"
    )

    def training(solve):
        potential.zero_grad()
        solve().square().sum().backward()

    walks = z0[:256]
    _, slow = cpu(lambda: training(lambda: rival(walks.clone(), grid)), 3)
    _, fast = cpu(lambda: training(lambda: flow(potential, walks, grid, substeps=1)), 5)
    print(
        f"a training sweep of 256 walks of 12 cells with gradients: dopri5 by autograd {slow:.3f} "
        f"s, ours {fast:.3f} s; ratio {slow / fast:.1f}"
    )
    return ours[-1].numpy(), seconds


def fates_part(n):
    """Time the way from the flow to fates at n cells."""
    graph, when, branch = tissue(n)
    potential, z0 = landscape(confinement=0.5), states(when, branch)
    ends, first = cpu(lambda: flow(potential, z0, [0.0, 15.0], differentiable=False)[-1])
    _, second = cpu(lambda: nearest_vote(ends, z0, branch, 15))
    _, away = cpu(lambda: nearest_vote(z0, z0, branch, 15))
    found, third = cpu(lambda: terminal_states(ends))
    chain = boltzmann_transitions(graph, 5 * (1 - when))
    sets = {name: np.flatnonzero((branch == name) & (when > 0.95)) for name in "AB"}
    _, fourth = cpu(lambda: committor(chain, sets))
    print(
        f"{n} cells: flow to t = 15 {first:.2f} s, vote of 15 {second:.2f} s (by the "
        f"cells themselves {away:.2f} s), {100 * convergence(potential, ends).share:.0f} % rest, "
        f"{len(found.sizes)} terminal states {third:.3f} s, committor of 2 sets {fourth:.2f} s"
    )


def peer(n, potential, z0):
    """Run sclsd on the same; None, and a line that says so, where it is not installed."""
    python = os.environ.get(VARIABLE)
    if not python or not Path(python).exists():
        print(f"sclsd not installed: {VARIABLE} is not set; see benchmarks/peer_sclsd.py")
        return None
    graph, when, _ = tissue(n)
    weights = {
        f"layer{k}_{part}": getattr(layer, part).detach().numpy()
        for k, layer in enumerate(potential.layers)
        for part in ("weight", "bias")
    }
    with tempfile.TemporaryDirectory() as room:
        job, result = Path(room) / "job.npz", Path(room) / "result.json"
        np.savez(
            job, data=graph.data, indices=graph.indices, indptr=graph.indptr, time=when,
            n_walks=N_WALKS, path_len=PATH_LEN, z0=z0.numpy(), times=TIMES, grid=GRID,
            weights=np.array(list(weights)), **weights,
        )  # fmt: skip
        script = Path(__file__).with_name("peer_sclsd.py")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)
        subprocess.run([python, str(script), str(job), str(result)], check=True, env=environment)
        return json.loads(result.read_text()), np.load(result.with_suffix(".npy"))


def main():
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        sparse_part(600, 1)  # kernels are compiled
        large = sparse_part(100_000, 1)
        small = sparse_part(2500, 3)
        walk_speed(2500)
        walk_speed(100_000)
        potential = landscape()
        z0 = torch.randn(2500, Z_DIM)
        ends, flow_s = flow_part(potential, z0)
        fates_part(100_000)
        theirs = peer(2500, potential, z0)
    if theirs is not None:
        seconds, their_ends = theirs
        print(
            f"sclsd {seconds['version']}, 2500 cells: prior {seconds['prior']:.3f} s, ratio "
            f"{seconds['prior'] / small['prior']:.0f}; walks {seconds['walks']:.2f} s, ratio "
            f"{seconds['walks'] / small['walks']:.0f}; flow {seconds['flow']:.2f} s, ratio "
            f"{seconds['flow'] / flow_s:.0f}; training sweep {seconds['training']:.3f} s; "
            f"{seconds['peak_gb']:.2f} GB; ends differ by "
            f"{np.abs(their_ends - ends).max():.1e}"
        )
    if large["sum"] > LIMIT_S or large["gb"] > LIMIT_GB:
        sys.exit(f"100,000 cells took {large['sum']:.1f} s and {large['gb']:.2f} GB more")


if __name__ == "__main__":
    main()
