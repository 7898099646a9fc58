"""How the design changes with the genes: as the model has it, and as SpaceTravLR's versions do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np

from celldyn.betas.inputs import Floats
from celldyn.betas.perturbing.circuit import Circuit
from celldyn.betas.perturbing.columns import Factors, Side, Slopes
from celldyn.betas.perturbing.config import Version
from celldyn.jobs import Job, Progress, scaled

Label: TypeAlias = tuple[str, int]

_STAGE = "received ligands"


class Stepper(Protocol):
    """Makes the slopes of one step after the other."""

    circuit: Circuit

    def slopes_job(self, delta: Floats) -> Job[Slopes]:
        """Return the change of the design that goes with the (n_genes, n_cells) change so far."""
        ...

    def label(self, role: str, feature: int, signal: int) -> Label:
        """Return what a derivative is by, for `beta_cap`."""
        ...

    def middle(self, slopes: Slopes) -> tuple[Floats, Floats, Floats, Floats]:
        """Return signal, receptor, tfl signal and tfl factor at which derivatives are taken."""
        ...

    def moved(self, slopes: Slopes, label: Label) -> Floats:
        """Return the (n_cells,) change of what a derivative is by."""
        ...


def stepper_of(version: Version, circuit: Circuit) -> Stepper:
    """Return the stepper of a version, at its first step."""
    if version == "corrected":
        return Difference(circuit)
    return Released(circuit, version)


def design_of(circuit: Circuit) -> Slopes:
    """Return the design itself: its change from nothing."""
    f = circuit.features
    gated = f.gated(f.heard(f.plain))
    none, none_tfl = np.zeros_like(circuit.received), np.zeros_like(circuit.received_tfl)
    return Slopes(
        regulators=f.plain,
        lr=Factors(none, circuit.received, gated, np.zeros_like(gated)),
        tfl=Factors(none_tfl, circuit.received_tfl, f.plain, np.zeros_like(f.plain)),
    )


@dataclass(slots=True)
class Difference:
    """The model's own difference: the design at the new expression less that at the old one.

    A pair is a product, so that its change is W₁ dR + R₀ dW exactly. Received signals come anew
    from the changed expression, gated for receptors and plain for factors, and a gene that is
    both ligand and regulator counts in each role by what it does there.
    """

    circuit: Circuit

    def slopes_job(self, delta: Floats) -> Job[Slopes]:
        """See `Stepper`."""
        c, f = self.circuit, self.circuit.features
        change = f.change(c.start, delta)
        yield Progress(_STAGE)
        heard = f.heard(f.plain)
        d_heard = np.where(change == 0, 0.0, f.heard(f.plain + change) - heard)
        yield Progress(_STAGE)
        gated, d_gated = f.gated(heard), f.gated(d_heard)
        lr, tfl = c.columns.lr, c.columns.tfl
        d_received = yield from scaled(_received_job(c, d_gated[lr.ligand], lr), 0, 2)
        d_received_tfl = yield from scaled(_received_job(c, d_heard[tfl.ligand], tfl), 1, 2)
        return Slopes(
            regulators=change,
            lr=Factors(c.received + d_received, d_received, gated, d_gated),
            tfl=Factors(c.received_tfl + d_received_tfl, d_received_tfl, f.plain, change),
        )

    def label(self, role: str, feature: int, signal: int) -> Label:
        """See `Stepper`: each thing that changes on its own has a derivative of its own."""
        return {
            "regulator": ("plain", feature),
            "tfl factor": ("plain", feature),
            "receptor": ("gated", feature),
            "ligand": ("signal", signal),
            "tfl ligand": ("tfl signal", signal),
        }[role]

    def middle(self, slopes: Slopes) -> tuple[Floats, Floats, Floats, Floats]:
        """See `Stepper`: half way, where derivative times change is the whole difference."""
        lr, tfl = slopes.lr, slopes.tfl
        return (
            lr.signal - lr.d_signal / 2,
            lr.partner + lr.d_partner / 2,
            tfl.signal - tfl.d_signal / 2,
            tfl.partner + tfl.d_partner / 2,
        )

    def moved(self, slopes: Slopes, label: Label) -> Floats:
        """See `Stepper`."""
        kind, k = label
        table = {
            "plain": slopes.regulators,
            "gated": slopes.lr.d_partner,
            "signal": slopes.lr.d_signal,
            "tfl signal": slopes.tfl.d_signal,
        }[kind]
        moved: Floats = table[k]
        return moved


@dataclass(slots=True)
class Released:
    """SpaceTravLR 0.1.18 and 0.1.21 as they are.

    The derivative at the expression of the step before is multiplied by the whole change, in
    which ligands are replaced by the change of the larger of their gated and plain received
    signal. 0.1.18 takes the received signals of the start throughout, 0.1.21 only the plain ones.
    """

    circuit: Circuit
    version: Literal["0.1.18", "0.1.21"]
    gated: Floats = field(init=False)
    signal: Floats = field(init=False)
    largest: Floats = field(init=False)

    def __post_init__(self) -> None:
        c, f = self.circuit, self.circuit.features
        self.gated = f.gated(f.heard(f.plain))
        self.largest = self._larger(c.received, c.received_tfl)
        first = np.zeros(self.largest.shape)
        first[c.columns.lr.ligand] = c.received
        self.signal = self.largest if self.version == "0.1.18" else first

    def slopes_job(self, delta: Floats) -> Job[Slopes]:
        """See `Stepper`."""
        c, f = self.circuit, self.circuit.features
        lr, tfl = c.columns.lr, c.columns.tfl
        gated, signal = self.gated, self.signal
        moved = f.change(c.start, delta)
        yield Progress(_STAGE)
        heard = f.heard(f.plain + moved)
        self.gated = f.gated(heard)
        received = yield from scaled(_received_job(c, self.gated[lr.ligand], lr), 0, 2)
        received_tfl = yield from scaled(_received_job(c, heard[tfl.ligand], tfl), 1, 2)
        larger = self._larger(received, received_tfl)
        ligands = np.union1d(lr.ligand, tfl.ligand)
        moved[ligands] = larger[ligands] - self.largest[ligands]
        if self.version == "0.1.21":
            self.signal = larger
        yield Progress(_STAGE)
        d_partner = moved * (gated > 0)
        return Slopes(
            regulators=moved,
            lr=Factors(signal[lr.ligand], moved[lr.ligand], gated, d_partner),
            tfl=Factors(c.received_tfl, moved[tfl.ligand], gated, moved),
        )

    def label(self, role: str, feature: int, signal: int) -> Label:
        """See `Stepper`: what a gene does in all its roles is one derivative."""
        side = {"ligand": self.circuit.columns.lr, "tfl ligand": self.circuit.columns.tfl}
        return ("gene", int(side[role].ligand[signal]) if role in side else feature)

    def middle(self, slopes: Slopes) -> tuple[Floats, Floats, Floats, Floats]:
        """See `Stepper`: at the step before."""
        lr, tfl = slopes.lr, slopes.tfl
        return lr.signal, lr.partner, tfl.signal, tfl.partner

    def moved(self, slopes: Slopes, label: Label) -> Floats:
        """See `Stepper`."""
        moved: Floats = slopes.regulators[label[1]]
        return moved

    def _larger(self, received: Floats, received_tfl: Floats) -> Floats:
        """Return (n_features, n_cells) the larger of the two received signals of each ligand."""
        lr, tfl = self.circuit.columns.lr, self.circuit.columns.tfl
        larger = np.zeros(self.circuit.features.plain.shape)
        larger[lr.ligand] = received
        larger[tfl.ligand] = np.maximum(larger[tfl.ligand], received_tfl)
        return larger


def _received_job(circuit: Circuit, sent: Floats, side: Side) -> Job[Floats]:
    """Return what cells receive of signals of which only some are sent."""
    sending = np.flatnonzero(sent.any(axis=1))
    received = np.zeros(sent.shape)
    job = circuit.diffuser.received_job(sent[sending], side.radius[sending], _STAGE)
    received[sending] = yield from job
    return received
