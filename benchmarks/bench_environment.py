"""Virtual cells: forward passes, simulated steps and updates, each beside the arithmetic limit.

Run with `OMP_NUM_THREADS=1 python benchmarks/bench_environment.py`, on a GPU with `--device cuda`.
d = 32, two modalities of 512 features, CPU seconds of one thread (wall seconds on a GPU). A limit
is the floating point operations of a step over the rate of a matrix product measured just before.
Bars are those of the reference measured on another machine times what was asked of this project:
forward 300 / 60 / 9 steps/s at 300 / 1,000 / 3,000 cells with full vision, the whole loop within
15 % of it, updates of 13,000 cell-steps/s; they hold where a core does 100 GFLOP/s or more.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.networks import Policy
from celldyn.environment.ppo import update_job
from celldyn.environment.rollout import rollout_job
from celldyn.environment.stepping import moved
from celldyn.environment.tissue import Tissue
from celldyn.environment.trainer import Trainer
from celldyn.jobs import run

DIM, FEATURES = 32, 512
FORWARD_BARS = {300: 300.0, 1000: 60.0, 3000: 9.0}
UPDATE_BAR, LOOP_SHARE = 13_000.0, 0.15
RATE_OF_BARS = 100.0
"""GFLOP/s of a core for which the bars are meant."""


def seconds(work: Callable[[], object], device: torch.device, least: float = 0.5) -> float:
    """Return seconds of one call, the fewest of three stretches."""
    on_gpu = device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time

    def stretch(times: int) -> float:
        if on_gpu:
            torch.cuda.synchronize()
        started = clock()
        for _ in range(times):
            work()
        if on_gpu:
            torch.cuda.synchronize()
        return (clock() - started) / times

    stretch(2)
    times = max(1, round(least / max(stretch(1), 1e-6)))
    return min(stretch(times) for _ in range(3))


def gemm_rate(device: torch.device) -> float:
    """Return the rate of a matrix product, in GFLOP/s."""
    size = 1024 if device.type == "cpu" else 8192
    a, b = torch.randn(2, size, size, device=device)
    return 2 * size**3 / seconds(lambda: a @ b, device) / 1e9


def forward_flop(n: int) -> float:
    """Return floating point operations of a forward pass without critic, features embedded."""
    h = 4 * DIM
    dense = 2 * DIM * 2 * h + 2 * h * h + 4 * h * h + 8 * h * h + h * 2 * h + 2 * h * DIM
    return 2.0 * n * (dense + 2 * n * h)


def simulated(n: int, device: torch.device, rate: float) -> bool:
    """Print forward passes and steps a second; return whether bars are met."""
    torch.manual_seed(0)
    policy = Policy(DIM, 2 * FEATURES).to(device)
    config = EnvironmentConfig(dim=DIM).space
    x, v = torch.randn(2, n, DIM, device=device)
    with torch.no_grad():
        embedded = policy.embed(torch.randn(n, 2 * FEATURES, device=device))

    @torch.no_grad()
    def loop() -> None:
        nonlocal x, v
        x, v, _ = moved(x, v, policy.mean_action(x, v, embedded), config)

    forward = seconds(lambda: policy.mean_action(x, v, embedded), device)
    whole = seconds(loop, device)
    limit = forward_flop(n) / rate / 1e9
    bar = FORWARD_BARS[n] * min(rate / RATE_OF_BARS, 1.0)
    print(f"  {n:5} cells: forward {1 / forward:8.1f}/s ({limit / forward:.0%} of the limit), "
          f"loop {1 / whole:8.1f}/s ({whole / forward - 1:+.0%}); bar {bar:.0f}/s")  # fmt: skip
    return 1 / forward >= bar and whole / forward - 1 <= LOOP_SHARE


def updated(n: int, device: torch.device, rate: float) -> bool:
    """Print trained cell-steps a second; return whether the bar is met."""
    generator = torch.Generator().manual_seed(0)
    N = 2 * n
    tissue = Tissue(
        torch.randn(N, 2 * FEATURES, generator=generator),
        tuple(torch.randn(N, FEATURES, generator=generator) for _ in range(2)),
        (False, False), torch.zeros(N, dtype=torch.int64),
    ).to(device)  # fmt: skip
    config = EnvironmentConfig(
        dim=DIM, num_cells_min=n, num_cells_max=n, num_environments=4, update_timesteps=30_000,
        update_iterations=1, epoch_size=12_000, batch_size=4 * n,
    )  # fmt: skip
    trainer = Trainer(tissue, config)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    started = clock()
    job = rollout_job(trainer.world, trainer.policy, trainer.pinning, trainer.n_steps)
    memory = run(job, bar=False)
    rolled = memory.n_cell_steps / (clock() - started)

    def update() -> None:
        run(update_job(trainer.policy, trainer.optimiser, memory, tissue, config,
                       trainer.generator), bar=False)  # fmt: skip

    update()
    started = clock()
    update()
    trained = config.epoch_size / (clock() - started)
    limit = rate * 1e9 / (3 * forward_flop(n) / n)
    bar = UPDATE_BAR * min(rate / RATE_OF_BARS, 1.0)
    print(f"  {n:5} cells: rollout {rolled:10,.0f} cell-steps/s, update {trained:10,.0f} "
          f"({trained / limit:.0%} of the limit); bar {bar:,.0f}")  # fmt: skip
    return trained >= bar


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    device = torch.device(parser.parse_args().device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    rate = gemm_rate(device)
    print(f"matrix product: {rate:,.0f} GFLOP/s")
    met = [simulated(n, device, rate) for n in FORWARD_BARS]
    met += [updated(n, device, rate) for n in (300, 1000)]
    if not all(met):
        sys.exit("a bar is missed")


if __name__ == "__main__":
    main()
