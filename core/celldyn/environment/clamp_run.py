"""Clamps while cells move: what they change of what cells see, of rank g, step by step.

Shapes: B environments, n cells, F features of a modality, g features that a clamp holds, h width
of the embeddings. Offsets are never formed: o = w A, what a clamp misses is M Aᵀ + Σ w' A' Aᵀ − t,
and the embedding of what cells see is that of M, plus w times the embedding of A. A step so costs
n g (g + 2 h) multiplications instead of the n F 2 h of embedding anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from celldyn.environment.clamping import gain, push
from celldyn.environment.clamps import Clamp, Held
from celldyn.environment.networks import Embedded, Pinning, Policy
from celldyn.errors import DataError


class _Holding:
    """One clamp of what cells see ("pre", "post"), or what a former one left."""

    def __init__(
        self, clamp: Clamp, weight: Tensor | None, modality: Tensor, dt: float, *, frozen: bool
    ) -> None:
        self.clamp, self.frozen = clamp, frozen
        self.basis = clamp.basis.to(modality)
        self.gain = gain("post" if clamp.kind == "action" else clamp.kind, self.basis, dt)
        self.told = modality @ self.basis.mT
        self.weight = torch.zeros_like(self.told) if weight is None else weight.to(modality)
        cells = clamp.cells
        self.cells = None if cells is None else torch.from_numpy(cells).to(modality)[:, None]
        self.cross: list[tuple[_Holding, Tensor]] = []
        self.change: Embedded | None = None
        self.target: Tensor | None = None

    def advance(self, time: float) -> bool:
        """Change coefficients by one step; return whether they changed."""
        if self.frozen:
            return False
        if not self.clamp.active(time):
            # Let go: a cell is again what it was.
            released = bool(self.weight.any())
            self.weight = torch.zeros_like(self.weight)
            self.frozen = True
            return released
        if self.target is None or self.clamp.changing:
            self.target = self.clamp.targets(time).to(self.told)
        miss = self.told - self.target
        for other, between in self.cross:
            miss = miss + other.weight @ between
        step = miss @ self.gain
        self.weight = self.weight - (step if self.cells is None else step * self.cells)
        return True


class ClampRun:
    """All clamps of a run, in the order in which they were added.

    Parameters
    ----------
    policy
        What embeds features.
    inputs
        Modalities that it sees, in order.
    modalities
        {modality: (n, F)} what cells see without clamps.
    pinning
        {modality: its network}, for pushes.
    clamps
        What is held.
    held
        What clamps changed before.
    dt
        Seconds of a step.

    Raises
    ------
    DataError
        If a clamp is of a modality that cells do not see, or that positions do not tell.
    """

    def __init__(
        self,
        policy: Policy,
        inputs: Sequence[int],
        modalities: Mapping[int, Tensor],
        pinning: Mapping[int, Pinning],
        clamps: Sequence[Clamp],
        held: Sequence[Held],
        dt: float,
    ) -> None:
        check_clamps(clamps, inputs, tuple(pinning))
        before = {id(one.clamp.token): one.weight for one in held}
        now = {id(clamp.token) for clamp in clamps}
        left = [(one.clamp, one.weight, True) for one in held if id(one.clamp.token) not in now]
        seeing = [
            (clamp, before.get(id(clamp.token)), False)
            for clamp in clamps
            if clamp.kind != "action"
        ]
        self._holding = [
            _Holding(clamp, weight, modalities[clamp.modality], dt, frozen=frozen)
            for clamp, weight, frozen in left + seeing
        ]
        for one in self._holding:
            one.cross = [
                (other, other.basis @ one.basis.mT)
                for other in self._holding
                if other.clamp.modality == one.clamp.modality
            ]
            one.change = _embedded_basis(policy, inputs, modalities, one)
        self._pushing = [clamp for clamp in clamps if clamp.kind == "action"]
        self._pinning, self._dt = pinning, dt

    @property
    def changes_inputs(self) -> bool:
        """Whether what cells see differs from their modalities."""
        return bool(self._holding)

    @property
    def pushes(self) -> bool:
        """Whether a clamp acts on the actions."""
        return bool(self._pushing)

    def advance(self, time: float) -> bool:
        """Change what cells see by one step; return whether it changed."""
        changed = [one.advance(time) for one in self._holding]
        return any(changed)

    def embedded(self, base: Embedded) -> Embedded:
        """Return the embedding of what cells see, of that of their modalities."""
        own, node = base
        for one in self._holding:
            assert one.change is not None
            own = own + one.weight @ one.change.self_part
            node = node + one.weight @ one.change.node_part
        return Embedded(own, node)

    def pushed(self, position: Tensor, velocity: Tensor, action: Tensor, time: float) -> Tensor:
        """Return actions with the pushes of "action" clamps, (B, n, d) each."""
        for clamp in self._pushing:
            if clamp.active(time):
                told: Callable[[Tensor], Tensor] = self._pinning[clamp.modality]
                cells = clamp.cells
                action = push(
                    position, velocity, action, told, clamp.basis.to(position),
                    clamp.targets(time).to(position), factor=clamp.factor, delta=self._dt,
                    cells=None if cells is None else torch.from_numpy(cells).to(position.device),
                )  # fmt: skip
        return action

    def held(self) -> tuple[Held, ...]:
        """Return what clamps changed so far."""
        return tuple(
            Held(one.clamp, one.weight) for one in self._holding if bool(one.weight.any())
        )


def check_clamps(clamps: Sequence[Clamp], inputs: Sequence[int], targets: Sequence[int]) -> None:
    """Refuse a clamp that could do nothing.

    Raises
    ------
    DataError
        If it is of a modality that cells do not see, or, for a push, that positions do not tell.
    """
    for clamp in clamps:
        there = targets if clamp.kind == "action" else inputs
        if clamp.modality not in there:
            what = "told by positions" if clamp.kind == "action" else "seen by cells"
            other = "use clamping 'pre' or 'post'" if clamp.kind == "action" else (
                "use clamping='action'" if clamp.modality in targets else ""
            )  # fmt: skip
            known = ", ".join(map(str, there)) or "none"
            raise DataError(
                f"modality {clamp.modality} is not {what}, so clamping {clamp.kind!r} cannot "
                "act on it",
                f"choose modality {known}" + (f", or {other}" if other else ""),
            )


def _embedded_basis(
    policy: Policy, inputs: Sequence[int], modalities: Mapping[int, Tensor], one: _Holding
) -> Embedded:
    """Return what a clamp's directions add to the embeddings, (..., g, h)."""
    sizes = [modalities[k].shape[-1] for k in inputs]
    at = list(inputs).index(one.clamp.modality)
    wide = one.basis.new_zeros((*one.basis.shape[:-1], sum(sizes)))
    first = sum(sizes[:at])
    wide[..., first : first + sizes[at]] = one.basis
    with torch.no_grad():
        return policy.embed_change(wide)
