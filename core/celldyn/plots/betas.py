"""Figures of the spatial-betas model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

    from celldyn.betas import BetasResult

ROLES = {"ligands": "viridis", "receptors": "magma", "regulators": "rainbow"}
"""Colour map of each role; a gene in several roles has the colour of the first."""


def modulator_cloud(
    gene: str,
    *,
    ligands: Iterable[str] = (),
    receptors: Iterable[str] = (),
    regulators: Iterable[str] = (),
    sizes: Mapping[str, float] | None = None,
    seed: int = 0,
    figure: Figure | None = None,
) -> Figure:
    """Draw the genes that modulate a target as a cloud of words.

    Parameters
    ----------
    gene
        The target, for the title.
    ligands, receptors, regulators
        Genes by role: coloured from viridis, magma and rainbow. A gene in several roles is drawn
        once, as ligand before receptor before regulator.
    sizes
        Weight of each gene, such as its mean expression; None, or none above 0, makes all alike.
    seed
        Of layout and colours; the same seed draws the same picture.
    figure
        Where to draw; a new figure of 16 × 8 inches by default.

    Returns
    -------
    The figure, titled "<gene> modulators".
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 8)) if figure is None else figure
    axes = figure.add_subplot()
    roles: dict[str, str] = {}
    for role, genes in zip(ROLES, (ligands, receptors, regulators), strict=True):
        for name in genes:
            roles.setdefault(name, role)
    if roles:
        image = _cloud(_frequencies(roles, sizes), roles, seed)
        axes.imshow(image, interpolation="bilinear")
    axes.set_axis_off()
    axes.set_title(f"{gene} modulators", fontsize=20)
    return figure


def result_cloud(adata: AnnData, result: BetasResult) -> Figure:
    """Draw the modulators of a fitted gene as a cloud of words.

    Parameters
    ----------
    adata
        The tissue that the result belongs to: a word is as large as its gene is expressed there.
    result
        Fitted betas.
    """
    from celldyn.data import expression

    roles: dict[str, list[str]] = {"ligands": [], "receptors": [], "regulators": []}
    for name, kind in zip(result.modulators, result.kinds, strict=True):
        if kind == "regulator":
            roles["regulators"].append(name)
            continue
        mark, other = ("$", "receptors") if kind == "ligand-receptor" else ("#", "regulators")
        ligand, partner = name.split(mark)
        roles["ligands"].append(ligand)
        roles[other].append(partner)
    genes = list(dict.fromkeys(name for names in roles.values() for name in names))
    known = [gene for gene in genes if gene in adata.var_names]  # a complex is no gene
    means = expression(adata, known, result.config.layer).mean(axis=0)
    sizes = {**dict.fromkeys(genes, 0.0), **dict(zip(known, means.tolist(), strict=True))}
    return modulator_cloud(
        result.gene,
        ligands=roles["ligands"],
        receptors=roles["receptors"],
        regulators=roles["regulators"],
        sizes=sizes,
        seed=result.config.seed,
    )


def _frequencies(names: Iterable[str], sizes: Mapping[str, float] | None) -> dict[str, float]:
    names = list(names)
    weight = {name: max(float((sizes or {}).get(name, 0.0)), 0.0) for name in names}
    if not any(weight.values()):
        return dict.fromkeys(names, 1.0)
    return {name: value for name, value in weight.items() if value > 0}


def _cloud(frequencies: dict[str, float], roles: Mapping[str, str], seed: int) -> Any:  # noqa: ANN401
    from matplotlib import colormaps
    from matplotlib.colors import to_hex
    from wordcloud import WordCloud

    rng = np.random.default_rng(seed)
    colours = {name: to_hex(colormaps[ROLES[roles[name]]](rng.random())) for name in frequencies}

    def colour(word: str, **_: Any) -> str:  # noqa: ANN401
        return colours[word]

    cloud = WordCloud(
        width=800,
        height=300,
        background_color="white",
        contour_width=1,
        contour_color="black",
        random_state=seed,
        color_func=colour,
    )
    return cloud.generate_from_frequencies(frequencies).to_array()
