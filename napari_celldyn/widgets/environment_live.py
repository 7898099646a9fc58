"""Cells of a virtual environment that live on while one looks: alone, and perturbed. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.environment.clamp_making import clamp_of_perturbation
from celldyn.environment.clamps import Clamp
from celldyn.errors import CelldynError, MissingKeyError

if TYPE_CHECKING:
    from celldyn.environment.clamping import Clamping
    from celldyn.environment.simulating import Simulator
    from celldyn.environment.trajectories import EnvironmentState, Trajectory
    from celldyn.jobs import Job
    from celldyn.perturbation import Perturbation
    from napari_celldyn.widgets.environment_place import Frame, Placing

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Cells at one time: (n, d) positions and velocities; (n, 2) places and flow, where told."""

    position: Floats
    velocity: Floats
    place: Floats | None = None
    flow: Floats | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        parts = (self.position, self.velocity, self.place, self.flow)
        return sum(part.nbytes for part in parts if part is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """All cells at one time.

    Parameters
    ----------
    time
        Seconds of the environment.
    plain, changed
        Left alone, and perturbed; None while nothing was perturbed.
    """

    time: float
    plain: View
    changed: View | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.plain.nbytes + (0 if self.changed is None else self.changed.nbytes)

    def shift(self) -> Floats:
        """Return how far the perturbation took each cell, (n,): in the tissue, where it is told.

        It is 0 for all while nothing was perturbed.
        """
        a, b = self.plain, self.changed
        if b is None:
            return np.zeros(len(a.position), np.float32)
        if a.place is not None and b.place is not None:
            return np.linalg.norm(b.place - a.place, axis=1)
        return np.linalg.norm(b.position - a.position, axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A state that has a name."""

    plain: EnvironmentState
    changed: EnvironmentState | None
    clamps: tuple[Clamp, ...]
    said: tuple[str, ...] = ()


class LiveCells:
    """Cells twice: as they go their way, and as they go it since something was perturbed.

    Both begin where the first perturbation was made, so that whatever differs is its effect, even
    where cells had not come to rest. Only one thread at a time may use it; see `ask`.

    Parameters
    ----------
    simulator
        The trained environment over these cells.
    obs_names
        (n,) their names.
    placing
        Tells where they would lie in the tissue; None where the environment does not tell that.
    seed
        Of the places that they begin at.
    """

    def __init__(
        self,
        simulator: Simulator,
        obs_names: tuple[str, ...],
        placing: Placing | None = None,
        seed: int = 0,
    ) -> None:
        self.simulator, self.obs_names, self.placing = simulator, obs_names, placing
        self.seed = seed
        self.plain: EnvironmentState = simulator.start(seed)
        self.changed: EnvironmentState | None = None
        self.clamps: list[Clamp] = []
        self.said: tuple[str, ...] = ()
        self.kept: dict[str, Kept] = {}
        self.failed = ""
        self.running = False
        self._orders: SimpleQueue[Callable[[LiveCells], object]] = SimpleQueue()

    # --- what there is ------------------------------------------------------------------------

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return self.simulator.n_cells

    @property
    def time(self) -> float:
        """Seconds of the environment."""
        return self.plain.time

    @property
    def delta(self) -> float:
        """Seconds of a step."""
        return float(self.simulator.space.delta)

    @property
    def holding(self) -> tuple[str, ...]:
        """What is held, a line each."""
        return tuple(clamp.said for clamp in self.clamps)

    # --- asking -------------------------------------------------------------------------------

    def ask(self, order: Callable[[LiveCells], object]) -> None:
        """Do something at once, or before the next step if the cells are on their way.

        Raises
        ------
        CelldynError
            If it is done at once and cannot be; else `failed` says so.
        """
        if self.running:
            self._orders.put(order)
        else:
            order(self)

    def obey(self) -> bool:
        """Do what was asked for since the last step; say whether it was anything."""
        did = False
        while True:
            try:
                order = self._orders.get_nowait()
            except Empty:
                return did
            did = True
            try:
                order(self)
            except CelldynError as error:
                self.failed = str(error)

    # --- verbs --------------------------------------------------------------------------------

    def reset(self, seed: int | None = None) -> None:
        """Begin anew at random places; nothing is perturbed."""
        self.seed = self.seed if seed is None else seed
        self.plain, self.changed, self.clamps = self.simulator.start(self.seed), None, []
        self.said = ()

    def perturb(
        self, what: Perturbation, modality: int, kind: Clamping, factor: float = 1.0
    ) -> None:
        """Hold genes at values from the next step on, beside what is held already.

        Raises
        ------
        CelldynError
            If that cannot be; nothing has changed then.
        """
        from celldyn.environment.clamp_run import check_clamps

        fitted = self.simulator.fitted
        observed = self.simulator.modalities.get(modality)
        if observed is None:
            observed = self.simulator.modalities[fitted.inputs[0]][:, :0]
        maps = fitted.preprocessing.maps  # type: ignore[attr-defined]
        clamp = clamp_of_perturbation(
            what, maps[modality], modality, observed, kind,
            obs_names=self.obs_names, factor=factor,
        )  # fmt: skip
        check_clamps([clamp], fitted.inputs, fitted.targets)
        begun = self.plain if self.changed is None else self.changed
        self.clamps = [*self.clamps, replace(clamp, began=begun.time)]
        self.said, self.changed = (*self.said, clamp.said), begun

    def let_go(self) -> None:
        """Hold nothing any more: perturbed cells see what they are, and go on from there."""
        self.clamps = []
        if self.changed is not None:
            self.changed = replace(self.changed, held=())

    def forget(self) -> None:
        """Take back all perturbations: only the cells that were left alone go on."""
        self.clamps, self.changed, self.said = [], None, ()

    def settle(self) -> None:
        """Say that the cells have come to rest: what is measured from here on is no way there."""
        self.plain = replace(self.plain, steady=True)
        if self.changed is not None:
            self.changed = replace(self.changed, steady=True)

    def keep(self, name: str) -> None:
        """Keep where cells are, and what is held, under a name."""
        self.kept[name] = Kept(self.plain, self.changed, tuple(self.clamps), self.said)

    def bring_back(self, name: str) -> None:
        """Go back to what was kept under a name.

        Raises
        ------
        MissingKeyError
            If there is nothing of that name.
        """
        if name not in self.kept:
            raise MissingKeyError(f"there is no state {name!r}", "keep one under that name first")
        state = self.kept[name]
        self.plain, self.changed, self.clamps = state.plain, state.changed, list(state.clamps)
        self.said = state.said

    # --- time ---------------------------------------------------------------------------------

    def advance_job(self, steps: int) -> Job[float]:
        """Let all cells go some steps; return their mean speed, of the faster of both."""
        speed = 0.0
        self.plain, speed = yield from self._run_job(self.plain, (), steps)
        if self.changed is not None:
            self.changed, other = yield from self._run_job(self.changed, self.clamps, steps)
            speed = max(speed, other)
        return speed

    def _run_job(
        self, state: EnvironmentState, clamps: list[Clamp] | tuple[()], steps: int
    ) -> Job[tuple[EnvironmentState, float]]:
        seconds = steps * self.delta
        job = self.simulator.run_job(
            state, time=seconds, skip_time=seconds, clamps=clamps, store=None
        )
        run: Trajectory = yield from job
        return run.state, float(run.speeds[-1].max())

    def shot(self, *, with_flow: bool = False) -> Shot:
        """Return all cells as they are."""
        plain, frame = self._view(self.plain, None, with_flow=with_flow)
        if self.changed is None:
            return Shot(self.time, plain)
        changed, _ = self._view(self.changed, frame, with_flow=with_flow)
        return Shot(self.time, plain, changed)

    def _view(
        self, state: EnvironmentState, frame: Frame | None, *, with_flow: bool
    ) -> tuple[View, Frame | None]:
        """Return cells; both are laid onto the tissue as those are that were left alone."""
        x, v = state.position[0], state.velocity[0]
        position, velocity = x.cpu().numpy().copy(), v.cpu().numpy().copy()
        if self.placing is None:
            return View(position, velocity), None
        told = self.placing.told(x)
        frame = self.placing.frame(told) if frame is None else frame
        flow = None
        if with_flow:
            flow = self.placing.flow(x, v, told, frame, self.delta)
        return View(position, velocity, self.placing.laid(told, frame), flow), frame

    def told(self, position: Floats, modality: int, gene: str) -> Floats:
        """Return what (n, d) positions tell of a gene, (n,) in raw units."""
        import torch

        fitted = self.simulator.fitted
        network = fitted.pinning[fitted.targets.index(modality)]
        with torch.no_grad():
            at = torch.from_numpy(position).to(self.simulator.device)
            features = network(at).cpu().numpy()
        maps = fitted.preprocessing.maps  # type: ignore[attr-defined]
        return np.asarray(maps[modality].expression(features, [gene])[:, 0], np.float32)
