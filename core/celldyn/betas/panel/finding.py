"""What may modulate the genes of a panel, one after another, from tables that are parsed once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.grn_factory import Regulatory
from celldyn.betas.inputs import codes_of
from celldyn.betas.modulators import Modulators
from celldyn.betas.names import NameMap
from celldyn.betas.panel.config import PanelConfig
from celldyn.betas.panel.pairs import LigandScores, PairTable
from celldyn.betas.panel.proposing import propose_for_all
from celldyn.betas.preparing import allowed_modulators, lr_table_of, network_of, regulators_of
from celldyn.data import find_gene
from celldyn.data.ligand_target import read_ligand_target
from celldyn.errors import PriorError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_GENES_AT_ONCE = 256


class Finder:
    """What may modulate one gene after another.

    Parameters
    ----------
    adata, config, grn, lr, ligand_target
        As `prepare_panel` takes them.
    names, species
        The data set's gene names, and whose they are.
    genes
        The genes that it will be asked about, in this order.
    """

    def __init__(
        self,
        adata: AnnData,
        config: PanelConfig,
        names: NameMap,
        species: str,
        genes: Sequence[str],
        grn: Regulatory | None,
        lr: Path | str | pd.DataFrame | None,
        ligand_target: Path | str | pd.DataFrame | None,
    ) -> None:
        self._adata, self._config = adata, config
        self._grn = network_of(config, grn)
        self._genes = list(genes)
        self._proposed: dict[str, list[str]] = {}
        self.proposes = config.propose > 0 and self._grn is None and config.regulators is None
        self._pairs: PairTable | None = None
        self._scores: LigandScores | None = None
        if config.use_ligands:
            self._read_ligands(names, species, lr, ligand_target)

    def _read_ligands(
        self,
        names: NameMap,
        species: str,
        lr: Path | str | pd.DataFrame | None,
        ligand_target: Path | str | pd.DataFrame | None,
    ) -> None:
        config = self._config
        self._pairs = PairTable(
            lr_table_of(config, lr, species),
            names,
            radius=config.radius,
            contact_distance=config.contact_distance,
            secreted=config.secreted_classes,
        )
        scores = config.ligand_target if ligand_target is None else ligand_target
        if scores is not None:
            self._scores = LigandScores(
                read_ligand_target(scores),
                names,
                self._pairs.ligands,
                cutoff=config.tf_ligand_cutoff,
                grn=self._grn,
                adata=self._adata,
            )

    def of(self, gene: str) -> Modulators:
        """Return the modulators of a gene; raises PriorError if it has none."""
        regulators = self._regulators(gene)
        if self._pairs is None:
            found = Modulators(regulators)
        else:
            lr, radii = self._pairs.of(gene)
            tfl = self._scores.of(gene, regulators, radii) if self._scores is not None else ()
            found = Modulators(regulators, lr, tfl, radii)
        if not len(found):
            raise PriorError("nothing that could modulate it is in the data set")
        return found

    def _regulators(self, gene: str) -> tuple[str, ...]:
        config = self._config
        if not self.proposes:
            return regulators_of(self._adata, config, gene, self._grn)
        if gene not in self._proposed:  # for the next ones, too, in one pass
            at = self._genes.index(gene)
            self._proposed |= propose_for_all(
                self._adata,
                self._genes[at : at + _GENES_AT_ONCE],
                _types_in_sections(self._adata, config),
                layer=config.layer,
                n=config.propose,
            )
        extra = [find_gene(self._adata, name) for name in config.extra_regulators or ()]
        every = dict.fromkeys((*self._proposed[gene], *extra))
        return tuple(name for name in every if name != gene)

    def allowed(
        self, gene: str, modulators: Modulators, clusters: Sequence[str]
    ) -> NDArray[np.bool_] | None:
        """Return which clusters may have which modulator; None if all may have all."""
        if not self._config.cluster_regulators:
            return None
        return allowed_modulators(self._adata, self._config, gene, modulators, clusters, self._grn)


def _types_in_sections(adata: AnnData, config: PanelConfig) -> NDArray[np.intp]:
    codes, names = codes_of(adata, config.cluster_annot)
    return codes_of(adata, config.section_key)[0] * len(names) + codes
