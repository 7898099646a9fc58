"""Chances to go from cell to cell downhill on the learned potential."""

from __future__ import annotations

from numpy.typing import ArrayLike

from celldyn.landscape.graph import (
    Csr,
    Matrix,
    check_beta,
    neighbour_graph,
    per_cell,
    refuse_isolated,
    spread_by_score,
)


def boltzmann_transitions(
    connectivities: Matrix, potential: ArrayLike, *, beta: float = 1.0
) -> Csr:
    """Return P_ij = e^{−β(V_j − V_i)} / Σ_k e^{−β(V_k − V_i)} over the neighbours k of i.

    Where i's neighbours have i as their neighbour, too, the chain is reversible.

    Parameters
    ----------
    connectivities
        (n, n) neighbour graph, of which it matters only which entries are above 0.
    potential
        (n,) V of each cell.
    beta
        Inverse temperature; 0 takes every neighbour alike.

    Returns
    -------
    (n, n) CSR of float64; rows sum to 1. sclsd writes it, dense, to obsp["transitions"].

    Raises
    ------
    DataError
        If the graph is not (n, n), of finite weights of 0 or more; if a cell has no neighbour; if
        V is not one finite number per cell.
    """
    check_beta(beta)
    graph = neighbour_graph(connectivities)
    refuse_isolated(graph, "compute the graph with more neighbours, or drop them")
    values = per_cell(potential, graph.shape[0], "potential")
    return spread_by_score(graph, -beta * values)
