"""A model that was fitted: its scores and betas, shown, exported and loaded."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.applying import apply_result, network_of
from celldyn.betas.features import ProgramFeatures
from celldyn.betas.inputs import read_inputs
from celldyn.betas.results import BetasResult
from celldyn.betas.saved import load_model, save_model
from celldyn.errors import NotFittedError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class FittedPrograms(ProgramFeatures):
    """What the estimator knows once it was fitted or loaded; base of the estimator."""

    def _forget(self) -> None:
        """Start without a result."""
        self._result: BetasResult | None = None
        self.models: dict[Hashable, Any] = {}
        self.scores: dict[Hashable, float] = {}
        self.heldout_scores: dict[Hashable, float] = {}
        self.loss_dict: dict[Hashable, list[float]] = {}

    def _keep(self, result: BetasResult) -> None:
        """Publish a result under the names of the clusters as they are in obs."""
        import pandas as pd

        label = dict(zip(self._inputs.clusters, self._labels, strict=True))
        has_sections = self.config.section_key is not None
        self._forget()
        self._result = result
        for k, (fitted, row) in enumerate(zip(result.fits, result.coefficients, strict=True)):
            if fitted.status == "skipped":
                continue
            cluster = label.get(fitted.cluster, fitted.cluster)
            key = (fitted.section, cluster) if has_sections else cluster
            network = network_of(result, k)
            self.models[key] = pd.Series(row, index=result.columns) if network is None else network
            self.scores[key] = fitted.r2
            self.heldout_scores[key] = fitted.heldout_r2
            self.loss_dict[key] = list(result.losses[k]) if result.losses else []
        self._name(self._inputs.modulators.select(self._kept()))
        gone = dict.fromkeys(name for names in result.dropped.values() for name in names)
        self.dropped_modulators = [name for name in gone if name not in result.modulators]

    def _kept(self) -> NDArray[np.bool_]:
        """Return which modulators have a column: once fitted, those that have betas."""
        if self._result is None:
            return super()._kept()
        fitted = set(self._result.modulators)
        return np.array([name in fitted for name in self._inputs.modulators.names], bool)

    @property
    def result(self) -> BetasResult:
        """All that was fitted, with its tables.

        Raises
        ------
        NotFittedError
            Before `fit` or `load`.
        """
        if self._result is None:
            raise NotFittedError(
                f"the model of {self.target_gene} is not fitted", "call fit or load"
            )
        return self._result

    def get_betas(self) -> pd.DataFrame:
        """Return the betas of every cell.

        Returns
        -------
        (n_obs, 1 + n_modulators) in the order of the cells: beta0, then beta_<modulator>. Cells
        of skipped clusters, and of clusters that a loaded model does not know, have 0.

        Raises
        ------
        NotFittedError
            Before `fit` or `load`.
        """
        import pandas as pd

        result = self.result
        return pd.DataFrame(
            result.values.copy(), index=self.adata.obs_names, columns=result.columns
        )

    @property
    def betadata(self) -> pd.DataFrame:
        """The same as `get_betas()`."""
        return self.get_betas()

    def plot_modulators(
        self,
        use_expression: bool = True,  # noqa: FBT001, FBT002
        *,
        show: bool = True,
        seed: int = 0,
    ) -> Figure | None:
        """Show the genes that modulate the target as a cloud of words.

        Parameters
        ----------
        use_expression
            Whether a gene is as large as its mean expression; else all are alike.
        show
            Whether to show it with pyplot and return nothing, or to return the figure.
        seed
            Of layout and colours.
        """
        from celldyn.plots.betas import modulator_cloud

        features = self._inputs.features
        mean = dict(zip(features, self._inputs.expression.mean(axis=0).tolist(), strict=True))
        figure = None
        if show:
            from matplotlib import pyplot as plt

            figure = plt.figure(figsize=(16, 8))
        drawn = modulator_cloud(
            self.target_gene,
            ligands=[*self.ligands, *self.tfl_ligands],
            receptors=self.receptors,
            regulators=[*self.regulators, *self.tfl_regulators],
            sizes=mean if use_expression else None,
            seed=seed,
            figure=figure,
        )
        if not show:
            return drawn
        plt.show()
        return None

    def export(self, save_dir: Path | str = "./models") -> Path:
        """Write the fitted model, without any cells, to `<save_dir>/<gene>_estimator.safetensors`.

        Raises
        ------
        NotFittedError
            Before `fit` or `load`.
        """
        return save_model(self.result, self._inputs.modulators.select(self._kept()), save_dir)

    def load(self, path: Path | str) -> None:
        """Take over a model that `export` wrote, and apply it to this data set.

        Clusters are matched by their labels; target, modulators and parameters become the file's.

        Raises
        ------
        FileFormatError
            If it is not such a file.
        MissingKeyError
            If a gene, layer or column of the model is not in this data set.
        """
        result, modulators = load_model(path)
        inputs = read_inputs(
            self.adata, result.config, result.gene, result.species, modulators, result.notes
        )
        values = apply_result(result, inputs)
        self.config = result.config
        self._take(inputs)
        self._keep(replace(result, values=values))
