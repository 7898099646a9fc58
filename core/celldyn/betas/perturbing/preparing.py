"""From an AnnData and a perturbation to what the job reads; says first what cannot be done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import ModelConfig
from celldyn.betas.inputs import THRESHOLDS, Ints, codes_of
from celldyn.betas.names import NameMap
from celldyn.betas.perturbing.config import PerturbConfig
from celldyn.betas.perturbing.inputs import PerturbInputs, PerturbTissue
from celldyn.betas.perturbing.reading import Fields, Models, models_of
from celldyn.data import coordinates, expression, find_gene, um_per_unit
from celldyn.data.words import counted, listed
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.perturbation import Perturbation

if TYPE_CHECKING:
    from anndata import AnnData


def prepare_perturb(
    adata: AnnData,
    perturbation: Perturbation,
    config: PerturbConfig | None = None,
    *,
    fields: Fields | Models | None = None,
    model: ModelConfig | None = None,
    heldout_r2: Mapping[str, float] | None = None,
) -> PerturbInputs:
    """Check everything a perturbation needs, and read it; nothing is computed or written.

    Parameters
    ----------
    adata
        (n_obs, n_vars) with the betas of some genes.
    perturbation
        What is done; genes in any case that is unique.
    config
        The parameters.
    fields
        The betas of each modelled gene: a mapping, a `BetaStore`, or `Models` that were read
        before; None takes all that are on the AnnData or in the store it names.
    model
        What the fields of a mapping were fitted with; None takes what the AnnData says of one.
    heldout_r2
        Held-out R² of the models of a mapping, where they are known.

    Returns
    -------
    Arrays, and notes that tell what a perturbation will not reach and why.

    Raises
    ------
    NotFittedError
        If no gene has betas.
    MissingKeyError
        If a gene, a cell, a layer or a column is not in the data set.
    ConfigError
        If the models do not go together, or lack the reach of a ligand.
    DataError
        If values are missing or not finite.
    """
    config = PerturbConfig() if config is None else config
    named = [find_gene(adata, gene) for gene in perturbation.genes]
    changes = dict(zip(named, perturbation.genes.values(), strict=True))
    told = Perturbation(changes, perturbation.cells, perturbation.released_at)
    models = models_of(adata, fields, model, heldout_r2)
    tissue = prepare_tissue(adata, config, models, named)
    return with_perturbation(tissue, told)


def with_perturbation(
    tissue: PerturbTissue, perturbation: Perturbation, *, notes: bool = True
) -> PerturbInputs:
    """Put a perturbation of some of the tissue's genes beside it, with notes if they are wanted.

    Raises
    ------
    MissingKeyError, DataError
        If a gene or a cell is not there.
    """
    place = {gene: k for k, gene in enumerate(tissue.genes)}
    unknown = [gene for gene in perturbation.genes if gene not in place]
    if unknown:
        raise MissingKeyError(f"gene {unknown[0]!r} was not read", "prepare again with it")
    targets = np.array([place[gene] for gene in perturbation.genes], np.intp)
    rows = perturbation.rows(tissue.obs_names)
    before = tissue.expression[np.ix_(rows, targets)]
    floor = 0.0 if not before.size or before.min() >= 0 else None
    alone = Perturbation(perturbation.genes)
    forced = alone.apply(before, list(perturbation.genes), floor=floor)
    said = _notes(tissue, list(perturbation.genes), before, forced) if notes else ()
    return PerturbInputs(tissue, perturbation, targets, rows, forced, said)


def prepare_tissue(
    adata: AnnData, config: PerturbConfig, models: Models, perturbed: Iterable[str]
) -> PerturbTissue:
    """Read what does not depend on the perturbation; raises as `prepare_perturb` does.

    Parameters
    ----------
    perturbed
        Genes that may be perturbed, in the data set's spelling.
    """
    names = NameMap(adata.var_names)
    modelled = {find_gene(adata, gene): gene for gene in models.fields}
    features = features_of(adata, models)
    genes = list(dict.fromkeys([*modelled, *perturbed]))
    parts = {name: names.parts(name) for name in features}
    read = list(dict.fromkeys([*genes, *(part for name in features for part in parts[name])]))
    levels = np.ascontiguousarray(expression(adata, read, models.config.layer))
    _check_finite(levels, read)
    at = {name: k for k, name in enumerate(read)}
    heldout = np.array([models.heldout_r2.get(modelled.get(g, ""), np.nan) for g in genes])
    cluster_codes, clusters = codes_of(adata, models.config.cluster_annot)
    responds = np.array([gene in modelled for gene in genes])
    notes: list[str] = []
    if config.min_heldout_r2 is not None:
        low = responds & (heldout < config.min_heldout_r2)
        responds &= ~low
        if low.any():
            notes.append(
                f"{counted(int(low.sum()), 'gene')} with a held-out R² below "
                f"{config.min_heldout_r2:g} {'does' if low.sum() == 1 else 'do'} not respond."
            )
    return PerturbTissue(
        model=models.config,
        fields=_renamed(models.fields, modelled),
        genes=tuple(genes),
        names=tuple(read),
        expression=levels,
        features=tuple(features),
        parts=tuple(np.array([at[part] for part in parts[name]], np.intp) for name in features),
        active=_active(adata, features, parts, missing=config.version != "corrected"),
        responds=responds,
        heldout_r2=heldout,
        xy=np.ascontiguousarray(coordinates(adata) * (um_per_unit(adata) or 1.0)),
        section_codes=codes_of(adata, models.config.section_key)[0],
        cluster_codes=cluster_codes,
        clusters=clusters,
        obs_names=np.array(adata.obs_names, object),
        notes=tuple(notes),
    )


def _renamed(fields: Fields, modelled: Mapping[str, str]) -> Fields:
    if all(name == key for name, key in modelled.items()):
        return fields
    return {name: fields[key] for name, key in modelled.items()}


def features_of(adata: AnnData, models: Models) -> list[str]:
    """Return all genes and complexes that the models read, sorted.

    Raises
    ------
    DataError, ConfigError, MissingKeyError
        If a model is of other cells, lacks the reach of a ligand, or reads a gene that is gone.
    """
    found: set[str] = set()
    for gene, field in models.fields.items():
        if field.n_obs != adata.n_obs:
            raise DataError(
                f"the betas of {gene} are of {field.n_obs} cells, and there are {adata.n_obs}",
                "fit again",
            )
        m = field.modulators
        unknown = [x for x in dict.fromkeys(x for x, _ in (*m.lr, *m.tfl)) if x not in m.radii]
        if unknown:
            raise ConfigError(
                f"the betas of {gene} do not tell how far {unknown[0]} reaches", "fit it again"
            )
        found |= set(m.features)
    names = NameMap(adata.var_names)
    missing = [name for name in sorted(found) if names.find(name) is None]
    if missing:
        raise MissingKeyError(
            f"the models read {listed(missing, 3)}, which the data set lacks",
            "keep all genes that were there when they were fitted, or fit again",
        )
    return sorted(found)


def _check_finite(levels: NDArray[Any], names: Sequence[str]) -> None:
    finite = np.isfinite(levels).all(axis=0)
    if not finite.all():
        raise DataError(
            f"the expression of {names[int(np.argmin(finite))]} has values that are not finite",
            "choose another layer when fitting",
        )


def _active(
    adata: AnnData,
    features: Sequence[str],
    parts: Mapping[str, Sequence[str]],
    *,
    missing: bool,
) -> NDArray[np.bool_] | None:
    """Return whether each feature counts in each cell: a complex, if all its parts do.

    Parameters
    ----------
    missing
        Whether a gene counts that the table lacks: not in training, and yet in the perturbations
        of SpaceTravLR's own versions.
    """
    import pandas as pd

    table = adata.uns.get(THRESHOLDS)
    if table is None:
        return None
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"uns[{THRESHOLDS!r}] is a {type(table).__name__}, not a table of cells and genes",
            "make it a DataFrame or remove it",
        )
    genes = sorted({part for name in features for part in parts[name]})
    known = table.reindex(index=adata.obs_names, columns=genes).fillna(float(missing)) > 0
    columns = {gene: known[gene].to_numpy() for gene in genes}
    every = [np.logical_and.reduce([columns[part] for part in parts[name]]) for name in features]
    return np.array(every, bool).reshape(len(features), adata.n_obs).T


def _notes(
    tissue: PerturbTissue, genes: Sequence[str], before: NDArray[Any], forced: NDArray[Any]
) -> tuple[str, ...]:
    """Tell of each perturbed gene why it will reach nothing, if so."""
    notes = list(tissue.notes)
    for k, gene in enumerate(genes):
        if np.array_equal(before[:, k], forced[:, k]):
            notes.append(f"{gene} is in every perturbed cell what it shall be: nothing changes.")
        follow, silent = followers(tissue, gene)
        if not follow and not silent:
            notes.append(f"{gene} modulates none of the fitted genes: no other gene will change.")
        elif not follow:
            notes.append(
                f"the betas of {gene} are 0 in {listed(silent, 3)}, the only fitted genes that "
                "it might modulate: no other gene will change."
            )
        elif tissue.active is not None and not tissue.active[:, _holding(tissue, gene)].any():
            notes.append(
                f"{gene} counts in no cell by {THRESHOLDS}: as ligand or receptor it is silent."
            )
    return tuple(notes)


def _holding(tissue: PerturbTissue, gene: str) -> Ints:
    """Return the features that are this gene or have it as a part."""
    at = tissue.names.index(gene)
    return np.array([k for k, parts in enumerate(tissue.parts) if at in parts], np.intp)


def followers(tissue: PerturbTissue, gene: str) -> tuple[list[str], list[str]]:
    """Return the genes that a gene modulates, and those where all its betas are 0."""
    held = {tissue.features[k] for k in _holding(tissue, gene)}
    follow: list[str] = []
    silent: list[str] = []
    for target, field in tissue.fields.items():
        m = field.modulators
        touched = np.array(
            [name in held for name in m.regulators]
            + [bool(held & {*pair}) for pair in (*m.lr, *m.tfl)],
            bool,
        )
        if not touched.any():
            continue
        (follow if field.coefficients[:, 1:][:, touched].any() else silent).append(target)
    return follow, silent
