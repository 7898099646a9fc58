"""All that a panel reads, as arrays that its targets share; read once, and without the AnnData."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.inputs import BetasInputs, Floats, Ints
from celldyn.betas.modulators import Modulators

if TYPE_CHECKING:
    import pandas as pd

Signal = tuple[str, float]
"""A ligand, and how far it reaches."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One gene of a panel.

    Parameters
    ----------
    gene
        As the data set spells it.
    modulators
        All that may modulate it.
    columns
        (n_modulators,) their columns in the `Union` of the panel.
    proposed
        Whether its regulators are candidates read off the data.
    allowed
        (n_clusters, n_modulators), whether a cluster may have a modulator; None if all may.
    """

    gene: str
    modulators: Modulators
    columns: Ints
    proposed: bool = False
    allowed: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Union:
    """The modulators of all targets side by side: the columns of the panel's design.

    Parameters
    ----------
    regulators
        Transcription factors.
    lr, tfl
        (signal, receptor) and (signal, transcription factor) pairs. A ligand that reaches
        differently far for two targets is two signals.
    """

    regulators: tuple[str, ...]
    lr: tuple[tuple[Signal, str], ...]
    tfl: tuple[tuple[Signal, str], ...]

    def __len__(self) -> int:
        return len(self.regulators) + len(self.lr) + len(self.tfl)

    @property
    def features(self) -> list[str]:
        """Genes and complexes whose expression the design reads, sorted."""
        pairs = {name for (ligand, _), other in (*self.lr, *self.tfl) for name in (ligand, other)}
        return sorted(pairs | set(self.regulators))

    @classmethod
    def of(cls, modulators: Sequence[Modulators]) -> tuple[Union, list[Ints]]:
        """Return the union, and the columns that each target has in it, in its own order."""
        regulators: dict[str, int] = {}
        lr: dict[tuple[Signal, str], int] = {}
        tfl: dict[tuple[Signal, str], int] = {}
        places = []
        for m in modulators:
            parts: list[list[int]] = [
                [regulators.setdefault(name, len(regulators)) for name in m.regulators]
            ]
            for pairs, known in ((m.lr, lr), (m.tfl, tfl)):
                parts.append(
                    [
                        known.setdefault(((ligand, m.radii[ligand]), other), len(known))
                        for ligand, other in pairs
                    ]
                )
            places.append(parts)
        first = np.array([0, len(regulators), len(regulators) + len(lr)], np.intp)
        columns = [
            np.concatenate([first[k] + np.array(part, np.intp) for k, part in enumerate(parts)])
            for parts in places
        ]
        return cls(tuple(regulators), tuple(lr), tuple(tfl)), columns


@dataclass(frozen=True, eq=False)
class PanelInputs:
    """What a panel reads, as arrays; it holds no AnnData.

    Parameters
    ----------
    targets
        The genes that are modelled, in their order.
    skipped
        (gene, why) of those that cannot be.
    species
        "mouse" or "human".
    union
        The modulators of all targets.
    xy
        (n_obs, 2) coordinates, in µm where the data set gives their unit.
    features, levels
        Targets, genes and complexes that are read, and their (n_obs, n_features) expression:
        float64, or float32 if the data set has no more digits or memory would not hold more.
    active
        (n_obs, n_features), whether a ligand or receptor counts in a cell; None if all do.
    cluster_codes, clusters, section_codes, sections
        Code of each cell's cluster and section, and their names.
    obs_names
        (n_obs,) names of the cells.
    notes
        What a person should know, in sentences.
    """

    targets: tuple[Target, ...]
    skipped: tuple[tuple[str, str], ...]
    species: str
    union: Union
    xy: Floats
    features: tuple[str, ...]
    levels: NDArray[np.floating]
    active: NDArray[np.bool_] | None
    cluster_codes: Ints
    clusters: tuple[str, ...]
    section_codes: Ints
    sections: tuple[str, ...]
    obs_names: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.xy)

    @property
    def genes(self) -> tuple[str, ...]:
        """Names of the targets."""
        return tuple(target.gene for target in self.targets)

    @cached_property
    def place(self) -> dict[str, int]:
        """Column of `levels` of each feature."""
        return {name: column for column, name in enumerate(self.features)}

    @cached_property
    def fits(self) -> list[tuple[int, int, Ints]]:
        """Section, cluster and cells of each model, in the order of the coefficients."""
        codes = self.section_codes * len(self.clusters) + self.cluster_codes
        return [
            (int(code) // len(self.clusters), int(code) % len(self.clusters), cells)
            for code in np.unique(codes)
            for cells in [np.flatnonzero(codes == code)]
        ]

    def label(self, section: int, cluster: int) -> str:
        """Return "section · cluster"."""
        return " · ".join(
            name for name in (self.sections[section], self.clusters[cluster]) if name
        )

    @property
    def fit_of_cell(self) -> Ints:
        """(n_obs,) row of the coefficients that each cell has."""
        fit = np.empty(self.n_obs, np.intp)
        for k, (_, _, cells) in enumerate(self.fits):
            fit[cells] = k
        return fit

    def of_target(self, target: Target) -> BetasInputs:
        """Return the inputs of one gene alone, as `prepare` does but without its features."""
        return BetasInputs(
            target=target.gene,
            species=self.species,
            modulators=target.modulators,
            xy=self.xy,
            y=self.levels[:, self.place[target.gene]].astype(np.float64),
            features=(),
            expression=np.empty((self.n_obs, 0)),
            active=None,
            cluster_codes=self.cluster_codes,
            clusters=self.clusters,
            section_codes=self.section_codes,
            sections=self.sections,
            notes=self.notes,
            allowed=target.allowed,
        )

    def skipped_table(self) -> pd.DataFrame:
        """Return the genes that cannot be modelled: gene, reason."""
        import pandas as pd

        return pd.DataFrame(list(self.skipped), columns=["gene", "reason"])
