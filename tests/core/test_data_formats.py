"""Every format that is read gives the same tissue."""

from __future__ import annotations

import gzip
import json

import h5py
import numpy as np
import pandas as pd
import pytest
from data_cases import tissue
from scipy.io import mmwrite
from scipy.sparse import coo_matrix

from celldyn import data
from celldyn.errors import DataError, FileFormatError, MissingKeyError, UnavailableError


def assert_same(read, made):
    assert list(read.obs_names) == list(made.obs_names)
    assert list(read.var_names) == list(made.var_names)
    np.testing.assert_array_equal(dense(read.X), dense(made.X))
    np.testing.assert_allclose(data.coordinates(read), data.coordinates(made))


def dense(matrix):
    matrix = matrix if hasattr(matrix, "toarray") else matrix[:]
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


@pytest.mark.parametrize("ending", [".h5ad", ".zarr"])
@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
def test_anndata_backed_gives_the_same_genes(ending, layout, tmp_path):
    made = tissue()
    made.X = made.X.toarray() if layout == "dense" else made.X.asformat(layout)
    path = data.write(made, tmp_path / f"tissue{ending}")
    assert_same(data.read(path), made)
    backed = data.read(path, backed=True)
    assert not isinstance(backed.X, np.ndarray)
    assert not hasattr(backed.X, "check_format"), "X was read into memory"
    wanted = dense(made.X)[:, [3, 0, 3]]
    np.testing.assert_array_equal(data.expression(backed, ["Gene3", "Gene0", "gene3"]), wanted)
    np.testing.assert_array_equal(data.gene_column(backed, "Gene0"), wanted[:, 1])
    data.require_counts(backed)
    np.testing.assert_allclose(data.coordinates(backed), data.coordinates(made))


@pytest.mark.parametrize("ending", [".h5", ".hdf5"])
def test_an_anndata_may_end_as_any_hdf5(ending, tmp_path):
    path = data.write(tissue(), tmp_path / "a.h5ad").rename(tmp_path / f"a{ending}")
    assert_same(data.read(path), tissue())


# --- other names of the coordinates -----------------------------------------------------------


@pytest.mark.parametrize("where", ["X_spatial", "spatial_xy", "x y", "X_Centroid Y_Centroid"])
def test_coordinates_under_another_name_are_adopted(where, tmp_path):
    made, bare = tissue(), tissue(spatial=False)
    xy = data.coordinates(made)
    names = where.split()
    if len(names) == 2:
        bare.obs[names] = xy
    else:
        bare.obsm[where] = np.column_stack([xy, np.zeros(len(xy))])
    np.testing.assert_array_equal(data.coordinates(bare), xy)
    read = data.read(data.write(bare, tmp_path / "a.h5ad"))
    np.testing.assert_array_equal(read.obsm["spatial"], xy)
    assert data.um_per_unit(read) is None


def test_columns_in_micrometres_set_the_unit(tmp_path):
    bare = tissue(spatial=False)
    bare.obs[["x_um", "y_um"]] = data.coordinates(tissue())
    assert data.um_per_unit(data.read(data.write(bare, tmp_path / "a.h5ad"))) == 1


def test_without_coordinates_reading_succeeds_and_asking_for_them_says_what_is_there(tmp_path):
    adata = tissue(spatial=False)
    adata.obsm["X_pca"] = np.zeros((adata.n_obs, 2))
    read = data.read(data.write(adata, tmp_path / "a.h5ad"))
    with pytest.raises(DataError, match=r"obsm.'spatial'.*X_pca.*cell_type, batch, depth"):
        data.coordinates(read)
    with pytest.raises(DataError, match="no coordinates"):
        data.check_tissue(read)


# --- 10x --------------------------------------------------------------------------------------


def write_tenx(folder, made, *, packed, legacy):
    """Genes by cells; the present layout also has a row that is no gene."""
    folder.mkdir(parents=True)
    counts = made.X.toarray().T.astype(int)
    lines = [f"ENS{i}\t{gene}" for i, gene in enumerate(made.var_names)]
    if not legacy:
        counts = np.vstack([counts, np.full(made.n_obs, 7)])
        lines = [f"{line}\tGene Expression" for line in lines] + ["AB1\tCD3\tAntibody Capture"]
    mmwrite(folder / "matrix.mtx", coo_matrix(counts))
    (folder / f"{'genes' if legacy else 'features'}.tsv").write_text("\n".join(lines) + "\n")
    (folder / "barcodes.tsv").write_text("\n".join(made.obs_names) + "\n")
    for file in list(folder.iterdir()) if packed else []:
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("legacy", [True, False])
def test_a_10x_folder(packed, legacy, tmp_path):
    made = tissue()
    place = tmp_path / "outs" / "filtered_feature_bc_matrix"
    write_tenx(place, made, packed=packed, legacy=legacy)
    xy = data.coordinates(made)
    (tmp_path / "outs" / "spatial").mkdir()
    lines = [f"{c},1,0,0,{y},{x}" for c, (x, y) in zip(made.obs_names, xy, strict=True)]
    lines.append("elsewhere,0,0,0,5,5")
    positions = tmp_path / "outs" / "spatial" / "tissue_positions_list.csv"
    positions.write_text("\n".join(lines) + "\n")
    for path in (tmp_path / "outs", place):
        assert_same(data.read(path), made)


def test_a_10x_h5_with_positions_beside_it(tmp_path):
    made = tissue()
    path = tmp_path / "filtered_feature_bc_matrix.h5"
    counts = made.X.astype(np.int32)  # 10x stores genes by cells by column: the same arrays
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        matrix["data"], matrix["indices"], matrix["indptr"] = (
            counts.data,
            counts.indices,
            counts.indptr,
        )
        matrix["shape"] = np.array([made.n_vars, made.n_obs], np.int32)
        matrix["barcodes"] = np.array(made.obs_names, "S")
        features = matrix.create_group("features")
        features["name"] = features["id"] = np.array(made.var_names, "S")
        for key, value in {"feature_type": "Gene Expression", "genome": "mm10"}.items():
            features[key] = np.array([value] * made.n_vars, "S")
    table = pd.DataFrame(data.coordinates(made), made.obs_names, ["x_centroid", "y_centroid"])
    table.to_csv(tmp_path / "cells.csv.gz", index_label="cell_id")
    read = data.read(path)
    assert_same(read, made)
    assert data.um_per_unit(read) == 1


# --- tables of text ---------------------------------------------------------------------------


def tables_of(made):
    genes = pd.DataFrame(made.X.toarray(), made.obs_names, made.var_names)
    cells = pd.DataFrame(data.coordinates(made), made.obs_names, ["x", "y"])
    cells["cell_type"] = made.obs["cell_type"].to_numpy()
    return cells, genes


@pytest.mark.parametrize(("ending", "sep"), [(".csv", ","), (".tsv", "\t"), (".csv.gz", ";")])
def test_one_table_with_coordinates_and_genes(ending, sep, tmp_path):
    made = tissue()
    cells, genes = tables_of(made)
    path = tmp_path / f"all{ending}"
    cells.join(genes).to_csv(path, sep=sep)
    read = data.read(path)
    assert_same(read, made)
    assert "NA" in data.labels(read, "cell_type").categories
    assert_same(data.read(tmp_path), made)


@pytest.mark.parametrize("turned", [False, True])
def test_two_tables_side_by_side(turned, tmp_path):
    made = tissue()
    cells, genes = tables_of(made)
    cells.iloc[::-1].to_csv(tmp_path / "positions.csv", index_label="cell")
    (genes.T if turned else genes).to_csv(tmp_path / "counts.csv")
    for path in (tmp_path, tmp_path / "positions.csv", tmp_path / "counts.csv"):
        read = data.read(path)
        assert_same(read, made)
        assert list(data.labels(read, "cell_type")) == list(made.obs["cell_type"])


def test_a_cell_without_a_row_of_coordinates_is_counted_and_not_dropped(tmp_path):
    made = tissue()
    cells, genes = tables_of(made)
    cells.iloc[2:].to_csv(tmp_path / "positions.csv")
    genes.to_csv(tmp_path / "counts.csv")
    read = data.read(tmp_path)
    assert read.n_obs == made.n_obs
    with pytest.raises(DataError, match="2 cells, first 'cell0'"):
        data.coordinates(read)


def test_tables_that_could_be_meant_either_way_are_refused(tmp_path):
    cells, genes = tables_of(tissue())
    cells.to_csv(tmp_path / "positions.csv")
    for name in "ab":
        genes.to_csv(tmp_path / f"{name}.csv")
    with pytest.raises(FileFormatError, match=r"several tables .*: a\.csv, b\.csv"):
        data.read(tmp_path / "positions.csv")


def test_coordinates_without_genes_are_refused(tmp_path):
    cells, _ = tables_of(tissue())
    cells.to_csv(tmp_path / "positions.csv")
    with pytest.raises(FileFormatError, match="no genes"):
        data.read(tmp_path / "positions.csv")


def test_tables_cannot_stay_on_disk(tmp_path):
    cells, genes = tables_of(tissue())
    cells.join(genes).to_csv(tmp_path / "a.csv")
    with pytest.raises(UnavailableError, match="cannot be left on disk"):
        data.read(tmp_path / "a.csv", backed=True)


# --- SpatialData ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spatialdata_folder(tmp_path_factory):
    spatialdata = pytest.importorskip("spatialdata")
    from spatialdata.models import ShapesModel, TableModel

    made = tissue(spatial=False)
    xy = data.coordinates(tissue())
    made.obs["region"] = pd.Categorical(["cells"] * made.n_obs)
    made.obs["instance"] = np.arange(made.n_obs) + 10
    order = np.arange(made.n_obs)[::-1]
    shapes = ShapesModel.parse(xy[order], geometry=0, radius=1.0, index=(order + 10))
    annotated = {"region": "cells", "region_key": "region", "instance_key": "instance"}
    table = TableModel.parse(made, **annotated)
    plain = TableModel.parse(tissue()[:5].copy())
    path = tmp_path_factory.mktemp("sdata") / "tissue.zarr"
    sdata = spatialdata.SpatialData(shapes={"cells": shapes}, tables={"rna": table, "few": plain})
    sdata.write(path)
    return path


@pytest.mark.parametrize("backed", [False, True])
def test_spatialdata_gives_a_table_with_the_centroids_of_its_shapes(spatialdata_folder, backed):
    read = data.read(spatialdata_folder, table="rna", backed=backed)
    assert_same(read, tissue())
    assert data.section_key(read) is None


def test_spatialdata_keeps_the_coordinates_of_its_table(spatialdata_folder):
    read = data.read(spatialdata_folder, table="few")
    np.testing.assert_array_equal(data.coordinates(read), data.coordinates(tissue())[:5])


def test_several_tables_are_listed(spatialdata_folder):
    with pytest.raises(MissingKeyError, match="several tables: few, rna"):
        data.read(spatialdata_folder)
    with pytest.raises(MissingKeyError, match="no table 'x'; its tables are: few, rna"):
        data.read(spatialdata_folder, table="x")


def test_spatialdata_is_not_overwritten_by_its_table(spatialdata_folder):
    with pytest.raises(FileFormatError, match="something else"):
        data.write(tissue(), spatialdata_folder)
    assert json.loads((spatialdata_folder / "tables" / "zarr.json").read_text())


def test_a_table_of_an_anndata_is_refused(tmp_path):
    path = data.write(tissue(), tmp_path / "a.h5ad")
    with pytest.raises(MissingKeyError, match="has no tables"):
        data.read(path, table="rna")
