"""Which molecules leave their cell, and how far they go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from celldyn.errors import DataError, MissingKeyError
from celldyn.simulate.molecules import noise
from celldyn.simulate.streams import Bits, name_ids

Floats = NDArray[np.float64]


def leak_probability(p_celltype: ArrayLike, p_gene: ArrayLike) -> Floats:
    """Return the probability that a molecule leaks, for its cell's reason or for its gene's.

    Parameters
    ----------
    p_celltype, p_gene
        Probabilities of each reason; they broadcast.

    Returns
    -------
    1 - (1 - p_celltype)(1 - p_gene), as either of two independent reasons suffices.

    Raises
    ------
    DataError
        If a probability lies outside [0, 1].
    """
    ours, theirs = np.asarray(p_celltype, dtype=float), np.asarray(p_gene, dtype=float)
    for name, given in (("p_celltype", ours), ("p_gene", theirs)):
        if not ((given >= 0) & (given <= 1)).all():
            raise DataError(f"{name} leaves 0 to 1", "give probabilities")
    either: Floats = 1.0 - (1.0 - ours) * (1.0 - theirs)
    return either


def is_leaked(
    p_celltype: ArrayLike,
    p_gene: ArrayLike,
    seed: int,
    *,
    cell: ArrayLike | None = None,
    gene: ArrayLike | None = None,
    number: ArrayLike | None = None,
) -> NDArray[np.bool_]:
    """Decide per molecule whether it leaks.

    Parameters
    ----------
    p_celltype, p_gene
        Probabilities, one per molecule or one for all; see `leak_probability`.
    seed
        The simulation's seed.
    cell, gene
        Integer identities of each molecule's cell and gene (of a gene its `streams.name_ids`).
    number
        Which molecule of this cell and gene, from 0. Without any of the three, elements are
        counted in C order.

    Returns
    -------
    Booleans in the broadcast shape. At the same seed and identities a larger probability never
    takes a leak back.

    Raises
    ------
    DataError
        If a probability lies outside [0, 1].
    """
    chance = leak_probability(p_celltype, p_gene)
    entry, number = _identity(seed, chance.shape, cell, gene, number)
    leaked: NDArray[np.bool_] = noise.uniform(entry, number, noise.LEAK) < chance
    return leaked


def leak_distance(
    n: int,
    area: ArrayLike,
    factor: float,
    coverage: float,
    seed: int,
    *,
    cell: ArrayLike | None = None,
    gene: ArrayLike | None = None,
    number: ArrayLike | None = None,
) -> Floats:
    """Draw how far leaked molecules lie from their cell.

    The density at distance d is proportional to exp(-rate d) up to max_dist = factor sqrt(area /
    pi), and 0 beyond, with rate = -ln(1 - coverage) / max_dist: without the end at max_dist, a
    share `coverage` of the molecules would lie within it.

    Parameters
    ----------
    n
        How many molecules.
    area
        Area of each molecule's cell in µm², (n,) or one for all.
    factor, coverage
        `SimulationConfig.leak_dist_factor` and `leak_coverage`.
    seed
        The simulation's seed.
    cell, gene, number
        (n,) identities as in `is_leaked`; by default molecules 0 to n - 1.

    Returns
    -------
    (n,) µm, in [0, max_dist]; their mean is 0.2543 max_dist at coverage 0.97.

    Raises
    ------
    DataError
        If area or factor is below 0, or coverage does not lie within (0, 1).
    """
    areas = np.asarray(area, dtype=np.float64)
    if not (areas >= 0).all() or not factor >= 0 or not 0 < coverage < 1:
        raise DataError(
            f"a leak over area {areas.min(initial=0.0):g}, factor {factor} and coverage "
            f"{coverage} has no law",
            "give area and factor of at least 0, and coverage between 0 and 1",
        )
    entry, number = _identity(seed, (n,), cell, gene, number)
    bits = noise.draw(entry, number, noise.DEPTH)
    reach = factor * np.sqrt(areas / np.pi)
    distance: Floats = np.broadcast_to(reach * leak_share(noise.lower(bits), coverage), (n,))
    return distance


def leak_share(u: Floats, coverage: float) -> Floats:
    """Return the distances at levels `u` of the leak law, as shares of the largest."""
    share: Floats = np.log1p(-u * coverage) / np.log1p(-coverage)
    return share


def classify_leakage(
    trs_df: pd.DataFrame,
    cell_gdf: pd.DataFrame,
    gpar_df: pd.DataFrame | None = None,
    rng: int | np.random.Generator = 0,
) -> NDArray[np.bool_]:
    """Decide for every row of a table of molecules whether it leaks.

    Parameters
    ----------
    trs_df
        Molecules: `cell_id`, `feature_name`.
    cell_gdf
        Cells: `cell_id` (or that as index) and `leakage_percentage`, a probability.
    gpar_df
        Genes: `feature_name` (or that as index) and `gene_leakage`; without it none leaks for its
        gene's reason.
    rng
        A seed, which gives each molecule the number that it has everywhere in this package, or a
        generator, which is drawn from once per row.

    Returns
    -------
    (n_molecules,) booleans, by the rule of `leak_probability`.

    Raises
    ------
    MissingKeyError
        If a column is missing, or a molecule's cell or gene is not in its table.
    DataError
        If a probability lies outside [0, 1].
    """
    _require(trs_df, "the table of molecules", "cell_id", "feature_name")
    ours = _looked_up(cell_gdf, "cell_id", "leakage_percentage", trs_df["cell_id"])
    theirs: ArrayLike = 0.0
    if gpar_df is not None:
        theirs = _looked_up(gpar_df, "feature_name", "gene_leakage", trs_df["feature_name"])
    if isinstance(rng, np.random.Generator):
        chosen: NDArray[np.bool_] = rng.random(len(trs_df)) < leak_probability(ours, theirs)
        return chosen
    number = trs_df.groupby(["cell_id", "feature_name"], observed=True, sort=False).cumcount()
    codes, names = pd.factorize(trs_df["feature_name"])
    cell = trs_df["cell_id"]
    numeric = pd.api.types.is_integer_dtype(cell)
    cells = cell.to_numpy() if numeric else _named(cell)
    gene = name_ids(str(name) for name in names)[codes]
    return is_leaked(ours, theirs, rng, cell=cells, gene=gene, number=number.to_numpy())


def counts_to_transcript_df(
    counts: ArrayLike | sparse.spmatrix | sparse.sparray,
    cell_ids: ArrayLike,
    gene_names: Sequence[str],
) -> pd.DataFrame:
    """Write counts as one row per molecule.

    Parameters
    ----------
    counts
        (n_cells, n_genes) whole numbers, dense or sparse.
    cell_ids
        (n_cells,) identities.
    gene_names
        (n_genes,).

    Returns
    -------
    `transcript_id` (0, 1, ...), `cell_id`, `feature_name` (categorical): by cell, then gene.

    Raises
    ------
    DataError
        If the lengths differ or a count is no whole number of at least 0.
    """
    table: sparse.csr_array = sparse.csr_array(counts)  # type: ignore[arg-type]
    ids = np.asarray(cell_ids)
    if table.shape != (ids.size, len(gene_names)):
        raise DataError(
            f"counts are {table.shape}, with {ids.size} cell_ids and {len(gene_names)} names",
            "give one cell_id per row and one name per column",
        )
    table.sum_duplicates()
    times = table.data.astype(np.int64)
    if (times < 0).any() or not np.array_equal(times, table.data):
        raise DataError("counts hold fractions or negative numbers", "give counts of molecules")
    cell = np.repeat(np.repeat(ids, np.diff(table.indptr)), times)
    gene = np.repeat(table.indices, times)
    names = pd.Categorical.from_codes(gene, pd.Index(list(gene_names), dtype=object))
    return pd.DataFrame(
        {"transcript_id": np.arange(cell.size), "cell_id": cell, "feature_name": names}
    )


def _identity(
    seed: int,
    shape: tuple[int, ...],
    cell: ArrayLike | None,
    gene: ArrayLike | None,
    number: ArrayLike | None,
) -> tuple[Bits, NDArray[np.intp]]:
    if number is None:
        nobody = cell is None and gene is None
        number = np.arange(int(np.prod(shape))).reshape(shape) if nobody else 0
    entry = noise.entry_bits(seed, 0 if cell is None else cell, 0 if gene is None else gene)
    return entry, np.asarray(number)


def _require(table: pd.DataFrame, what: str, *columns: str) -> None:
    for column in columns:
        if column not in table.columns:
            raise MissingKeyError(f"{what} has no column {column!r}", "add it")


def _looked_up(table: pd.DataFrame, key: str, column: str, wanted: pd.Series) -> Floats:
    """Return a column of a table at the keys of the molecules."""
    _require(table, f"the table of {key}", column)
    index = pd.Index(table[key]) if key in table.columns else table.index
    codes, uniques = pd.factorize(wanted)
    at = index.get_indexer(pd.Index(uniques))
    if (at < 0).any() or (codes < 0).any():
        lost = uniques[at < 0][0] if (at < 0).any() else None
        raise MissingKeyError(f"the {key} {lost!r} of a molecule is not in its table", "add it")
    values = table[column].to_numpy(dtype=np.float64)
    found: Floats = values[at][codes]
    return found


def _named(cells: pd.Series) -> NDArray[np.uint64]:
    codes, names = pd.factorize(cells)
    return name_ids(str(name) for name in names)[codes]
