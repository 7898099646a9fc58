"""One training of virtual cells by several processes on Ray: this machine's, or a cluster's.

Each learner plays episodes of its own, further runners play for it, and gradients are averaged by
torch.distributed within Ray's actors: all learners have the same networks after every step. What
is logged, kept and told is that of a training in one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from celldyn.cluster import _ray
from celldyn.errors import CelldynError, UnavailableError
from celldyn.jobs import Job, Progress, run

if TYPE_CHECKING:
    from torch import Tensor

    from celldyn.environment import EnvironmentConfig, FittedEnvironment, TrainingData
    from celldyn.environment.memory import Memory
    from celldyn.environment.networks import Pinning, Policy
    from celldyn.environment.sharing import Crew
    from celldyn.environment.tissue import Tissue
    from celldyn.environment.train import Checkpoint, Log

_POLL_S = 0.05


def fit_on_ray_job(
    adatas: Any,  # noqa: ANN401
    config: EnvironmentConfig | None = None,
    *,
    start: FittedEnvironment | None = None,
    checkpoint: Checkpoint | None = None,
    log: Log | None = None,
    device: str = "auto",
    address: str | None = None,
) -> Job[FittedEnvironment]:
    """Prepare modalities, and train on them with several learners and runners.

    How many is in the config (`num_learners`, `num_runners`, `num_gpus`). With one of each it is
    `fit_job`, and needs no Ray.

    Parameters
    ----------
    adatas, config, start, checkpoint, log, device
        As `fit_job` takes them.
    address
        A running Ray cluster ("auto", "ray://host:10001"). By default Ray is started on this
        machine, which takes some seconds, and stopped again.

    Raises
    ------
    UnavailableError
        If Ray is not installed, cannot be reached, has too few processors, or a process dies.
    ConfigError, DataError, FileFormatError
        As `fit_job`; or if runners cannot be dealt out to learners.
    """
    from celldyn.environment import EnvironmentConfig, fit_job
    from celldyn.environment.fitting import prepared_job
    from celldyn.environment.sharing import Crew

    if config is None:
        config = start.config if start is not None else EnvironmentConfig.preset("recommended")
    crew = Crew.of(config, device)
    if crew.is_alone:
        return (yield from fit_job(adatas, config, start=start, checkpoint=checkpoint, log=log,
                                   device=device))  # fmt: skip
    data, start = yield from prepared_job(adatas, config, start)
    return (
        yield from train_on_ray_job(
            data, config, start=start, checkpoint=checkpoint, log=log, device=device,
            address=address,
        )
    )  # fmt: skip


def train_on_ray_job(
    data: TrainingData,
    config: EnvironmentConfig,
    *,
    start: FittedEnvironment | None = None,
    checkpoint: Checkpoint | None = None,
    log: Log | None = None,
    device: str = "auto",
    address: str | None = None,
) -> Job[FittedEnvironment]:
    """Train on data that are prepared; see `fit_on_ray_job`. Closing it stops all processes."""
    from celldyn.environment.sharing import Crew
    from celldyn.environment.train import course_job, goes_on, tissue_of

    crew = Crew.of(config, device)
    tissue, resumes = tissue_of(data), goes_on(start, data)
    yield Progress("training", 0, config.max_timesteps, "starting Ray")
    with _ray(crew.n_runners, address) as ray:
        _check_room(ray, crew)
        players = _Players(ray, crew, config, tissue, start, resumes=resumes)
        with closing(players):
            yield from players.begin_job()
            if log is not None:
                log({"Event": "Register Workers", "Learners": crew.n_learners,
                     "Runners": crew.n_runners, "GPUs": crew.n_gpus,
                     "Backend": players.backend})  # fmt: skip
            return (
                yield from course_job(
                    players, data, config, start=start, checkpoint=checkpoint, log=log
                )
            )


def _check_room(ray: Any, crew: Crew) -> None:  # noqa: ANN401
    """Say at once what Ray would wait for without end."""
    there = ray.cluster_resources()
    for kind, wanted in (("CPU", crew.n_runners), ("GPU", crew.n_gpus)):
        if there.get(kind, 0) < wanted:
            raise UnavailableError(
                f"{wanted} {kind}s are asked for, and Ray has {there.get(kind, 0):g}",
                "name fewer learners, runners or GPUs, or a larger cluster",
            )


class _Players:
    """All processes of a training, which look like one trainer."""

    def __init__(
        self,
        ray: Any,  # noqa: ANN401
        crew: Crew,
        config: EnvironmentConfig,
        tissue: Tissue,
        start: FittedEnvironment | None,
        *,
        resumes: bool,
    ) -> None:
        from celldyn.environment.sharing import Crew

        self._ray, self._crew, self.config, self.rank = ray, crew, config, 0
        self.updates = 0 if start is None else start.updates
        self.timesteps = 0 if start is None else start.timesteps
        per_gpu = crew.n_gpus / crew.n_runners
        self.backend = "nccl" if per_gpu >= 1 else "gloo"
        actor = ray.remote(num_cpus=1, num_gpus=min(per_gpu, 1.0))(_Player)
        same = start is not None and Crew.of(start.config) == Crew.of(config)
        shared = ray.put((tissue, crew.share_of(config), start))
        place = "cuda" if crew.n_gpus else "cpu"
        self._all = [
            actor.remote(rank, place, shared, resumes=resumes, same=same)
            for rank in range(crew.n_runners)
        ]
        self._runners: list[list[int]] = []
        self._networks: tuple[int, Policy, tuple[Pinning, ...]] | None = None

    @property
    def _learners(self) -> list[Any]:
        return self._all[: self._crew.n_learners]

    def begin_job(self) -> Job[None]:
        """Wait until all are there, and let learners find each other."""
        nodes = yield from self._results_job([one.node.remote() for one in self._all])
        near = self.config.dont_sync_across_nodes
        self._runners = self._crew.runners_of(nodes if near else None)
        here = len(set(nodes[: self._crew.n_learners])) == 1
        (where,) = yield from self._results_job(
            [self._all[0].open.remote(self._crew.n_learners, here=here)]
        )
        calls = [one.join.remote(self.backend, where) for one in self._learners]
        yield from self._results_job(calls)

    def update_job(self) -> Job[dict[str, float]]:
        """Let all play and all learners learn; return the means of their metrics."""
        learners, L = self._learners, self._crew.n_learners
        played: dict[int, Any] = {}
        if self._crew.n_runners > L:
            networks = learners[0].networks.remote()
            for rank in range(L, self._crew.n_runners):
                played[rank] = self._all[rank].play.remote(networks, self.updates)
        for one in learners:
            one.play.remote()
        calls = [
            one.learn.remote(self.timesteps, *(played[rank] for rank in self._runners[k]))
            for k, one in enumerate(learners)
        ]
        found = yield from self._results_job(calls)
        self.updates += 1
        self.timesteps += sum(steps for _, steps in found)
        return {**_mean(found), "timesteps": float(self.timesteps)}

    def _results_job(self, calls: Sequence[Any]) -> Job[list[Any]]:
        """Wait for calls; the first mistake of any is raised, and is a sentence."""
        errors, waiting = self._ray.exceptions, list(calls)
        while waiting:
            ready, waiting = self._ray.wait(waiting, timeout=_POLL_S)
            yield Progress("training", self.timesteps, self.config.max_timesteps,
                           f"{self._crew.n_runners} processes")  # fmt: skip
            try:
                self._ray.get(ready)
            except errors.RayActorError as error:
                raise UnavailableError(
                    "a process died, most likely for want of memory",
                    "train with fewer learners or fewer cells; checkpoints are kept",
                ) from error
            except errors.RayTaskError as error:
                cause = getattr(error, "cause", None)
                raise (cause if isinstance(cause, CelldynError) else error) from None
        found: list[Any] = self._ray.get(list(calls))
        return found

    # --- what is read of a trainer ------------------------------------------------------------

    def _now(self) -> tuple[int, Policy, tuple[Pinning, ...]]:
        if self._networks is None or self._networks[0] != self.updates:
            policy, pinning = self._ray.get(self._all[0].copies.remote())
            self._networks = (self.updates, policy, pinning)
        return self._networks

    @property
    def policy(self) -> Policy:
        """That of all learners."""
        return self._now()[1]

    @property
    def pinning(self) -> tuple[Pinning, ...]:
        """Those of all learners."""
        return self._now()[2]

    def state(self) -> dict[str, Tensor]:
        """Return what all processes need to go on."""
        from celldyn.environment.sharing import kept

        return kept(self._ray.get([one.state.remote() for one in self._all]))

    def close(self) -> None:
        """End all processes."""
        for one in self._all:
            self._ray.kill(one)


def _mean(found: Sequence[tuple[dict[str, float], int]]) -> dict[str, float]:
    """Return means of metrics over learners, weighted by their cell-steps."""
    names = dict.fromkeys(name for metrics, _ in found for name in metrics)

    def mean(name: str) -> float:
        held = [(metrics[name], n) for metrics, n in found if name in metrics]
        return sum(value * n for value, n in held) / sum(n for _, n in held)

    return {name: mean(name) for name in names}


class _Player:
    """A process that plays episodes, and learns if it is a learner."""

    def __init__(
        self,
        rank: int,
        place: str,
        shared: tuple[Tissue, EnvironmentConfig, FittedEnvironment | None],
        *,
        resumes: bool,
        same: bool,
    ) -> None:
        import torch

        from celldyn.environment.sharing import go_on
        from celldyn.environment.trainer import Trainer

        torch.set_num_threads(1)
        tissue, config, start = shared
        self._trainer = Trainer(tissue.to(place), config, start, rank)
        if resumes and start is not None:
            go_on(self._trainer, start.resume, same=same)
        self._memory: Memory | None = None
        self._store: Any = None
        self._agreed = False

    def node(self) -> str:
        """Return which machine this is."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def open(self, n_learners: int, *, here: bool) -> tuple[str, int, int]:
        """Open a place where learners meet; return host, port and how many they are."""
        import ray
        import torch.distributed as dist

        host = "127.0.0.1" if here else str(ray.util.get_node_ip_address())
        self._store = dist.TCPStore(  # type: ignore[attr-defined]
            host, 0, n_learners, is_master=True, wait_for_workers=False
        )
        return host, int(self._store.port), n_learners

    def join(self, backend: str, where: tuple[str, int, int]) -> None:
        """Meet the other learners."""
        import torch.distributed as dist

        host, port, n_learners = where
        store = self._store or dist.TCPStore(  # type: ignore[attr-defined]
            host, port, n_learners, is_master=False
        )
        dist.init_process_group(
            backend, store=store, rank=self._trainer.rank, world_size=n_learners
        )

    def play(self, networks: dict[str, Any] | None = None, updates: int = 0) -> Memory | None:
        """Play episodes: for another one with its networks, or for oneself, who keeps them."""
        from celldyn.environment.sharing import on_cpu

        trainer = self._trainer
        if networks is None:
            self._memory = run(trainer.rollout_job(), bar=False)
            return None
        trainer.policy.load_state_dict(networks["policy"])
        for one, state in zip(trainer.pinning, networks["pinning"], strict=True):
            one.load_state_dict(state)
        trainer.updates = updates
        trainer.world.forget_quality()
        return on_cpu(run(trainer.rollout_job(), bar=False))

    def learn(self, timesteps: int, *others: Memory) -> tuple[dict[str, float], int]:
        """Learn from what was played; return metrics and cell-steps."""
        from celldyn.environment.sharing import agree, share_among, together

        assert self._memory is not None
        if not self._agreed:
            agree(self._trainer)
            self._agreed = True
        memory, self._memory = together([self._memory, *others]), None
        self._trainer.timesteps = timesteps
        metrics = run(self._trainer.learn_job(memory, share_among), bar=False)
        return metrics, memory.n_cell_steps

    def networks(self) -> dict[str, Any]:
        """Return values of all networks, on the CPU."""
        trainer = self._trainer

        def held(module: Any) -> dict[str, Tensor]:  # noqa: ANN401
            return {name: value.cpu() for name, value in module.state_dict().items()}

        return {"policy": held(trainer.policy), "pinning": [held(one) for one in trainer.pinning]}

    def copies(self) -> tuple[Policy, tuple[Pinning, ...]]:
        """Return the networks as they are kept."""
        from celldyn.environment.trainer import copied

        return copied(self._trainer.policy), tuple(map(copied, self._trainer.pinning))

    def state(self) -> dict[str, Tensor]:
        """Return what this process needs to go on."""
        return self._trainer.state()
