"""Plate diagram of the model that generates the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HYPER, _OBSERVED, _LATENT = ("#dde8ff", "#0072b2"), ("#cccccc", "black"), ("white", "black")
_NODES: dict[str, tuple[float, float, str, tuple[str, str]]] = {
    "marker": (0.7, 5.0, "marker\nμ prior", _HYPER),
    "silence": (0.7, 3.3, "silence\nμ prior", _HYPER),
    "hk": (0.7, 1.6, "housekeeping\nμ prior", _HYPER),
    "theta_prior": (11.4, 4.3, "θ prior", _HYPER),
    "mu": (4.6, 4.2, r"$\mu_{gc}$", _LATENT),
    "theta": (7.6, 4.2, r"$\theta_{gc}$", _LATENT),
    "scale": (9.9, 1.5, r"$s_n$", _LATENT),
    "counts": (6.1, 1.9, r"$Y_{ng}$", _OBSERVED),
}
"""Place, label and colours (face, edge) of each node."""
_ARROWS = (
    ("marker", "mu"),
    ("silence", "mu"),
    ("hk", "mu"),
    ("theta_prior", "theta"),
    ("mu", "counts"),
    ("theta", "counts"),
    ("scale", "counts"),
)
_PLATES = (
    (2.3, 0.55, 6.6, 5.2, "g = 1 … G (genes)", (2.45, 0.72), "-"),
    (3.1, 3.1, 5.5, 2.4, "c = 1 … C (cell types)", (6.0, 5.2), "--"),
    (4.9, 0.95, 5.8, 1.75, "n = 1 … N (cells)", (8.0, 2.42), ":"),
)
"""Corner, width, height, label, place of the label, style of the line."""
_LEGEND = (
    ("Hyperparameter (prior)", _HYPER),
    ("Latent variable", _LATENT),
    ("Observed: counts Y ~ NB(mean μ s, inverse dispersion θ)", _OBSERVED),
    ("Plate: repeated structure", ("none", "#888888")),
)


def plate_diagram() -> Figure:
    """Draw how counts come about: priors, means and inverse dispersions, size factors, counts.

    θ stands for every gene and cell type, as the gene table draws it.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(11, 5.8), layout="tight")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.4, 12.2), ylim=(-0.7, 6.2), aspect="equal")
    axes.set_axis_off()
    for x, y, width, height, label, at, line in _PLATES:
        _plate(axes, (x, y), width, height, line)
        axes.text(*at, label, fontsize=8.5, color="#555555", style="italic")
    for source, target in _ARROWS:
        _arrow(axes, _NODES[source][:2], _NODES[target][:2])
    for x, y, label, (face, edge) in _NODES.values():
        style = "round,pad=0.4" if edge == _HYPER[1] else "circle,pad=0.4"
        box = {"boxstyle": style, "fc": face, "ec": edge, "lw": 1.6}
        axes.text(x, y, label, ha="center", va="center", fontsize=10, bbox=box, zorder=5)
    handles = [Patch(fc=face, ec=edge, label=label) for label, (face, edge) in _LEGEND]
    axes.legend(handles=handles, loc="lower center", ncol=2, fontsize=8, frameon=False,
                bbox_to_anchor=(0.5, -0.06))  # fmt: skip
    axes.set_title("The model that generates the counts")
    return figure


def _plate(
    axes: Axes, corner: tuple[float, float], width: float, height: float, line: str
) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle(corner, width, height, fc="none", ec="#888888", lw=1.5, ls=line))


def _arrow(axes: Axes, source: tuple[float, float], target: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": "#333333", "lw": 1.3, "shrinkA": 26, "shrinkB": 22}
    axes.annotate("", xy=target, xytext=source, arrowprops=style, zorder=4)
