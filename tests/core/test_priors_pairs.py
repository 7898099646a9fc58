"""Ligand-receptor pairs, ligand-target scores, and names in the spelling of the data."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from celldyn.betas.names import NameMap, infer_species
from celldyn.data.ligand_receptor import (
    SECRETED,
    explode_complexes,
    read_ligand_receptors,
)
from celldyn.data.ligand_target import read_ligand_target
from celldyn.errors import ConfigError, PriorError, UnavailableError

# --- ligand-receptor -----------------------------------------------------------------------------


def test_pairs_in_cellchats_columns(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(
        "ligand,receptor,pathway,signaling\n"
        "Tgfb1,Tgfbr1_Tgfbr2,TGFb,Secreted Signaling\nJag1,Notch1,NOTCH,Cell-Cell Contact\n"
    )
    pairs = read_ligand_receptors(path)
    assert list(pairs.columns) == ["ligand", "receptor", "pathway", "signaling"]
    assert pairs["signaling"].tolist() == [SECRETED, "Cell-Cell Contact"]
    assert pairs["receptor"].tolist() == ["Tgfbr1_Tgfbr2", "Notch1"]


@pytest.mark.parametrize(
    "text",
    [
        ",0,1,2,3\n1,A,B,P,Cell-Cell Contact\n",
        "interaction_name,pathway_name,ligand,receptor,annotation\nA_B,P,A,B,Cell-Cell Contact\n",
        "gene_a\tgene_b\tclassification\tannotation\nA\tB\tP\tCell-Cell Contact\n",
    ],
    ids=["commot", "cellchat", "cellphonedb"],
)
def test_pairs_in_other_layouts(tmp_path, text):
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    assert read_ligand_receptors(path).to_numpy().tolist() == [
        ["A", "B", "P", "Cell-Cell Contact"]
    ]


def test_pairs_without_a_class_are_secreted():
    table = pd.DataFrame({"ligand": ["A", "B"], "receptor": ["C", "D"], "signaling": ["X", None]})
    assert read_ligand_receptors(table)["signaling"].tolist() == ["X", SECRETED]
    assert read_ligand_receptors(table[["ligand", "receptor"]])["pathway"].tolist() == ["", ""]


def test_pairs_without_their_columns_say_so():
    with pytest.raises(PriorError, match=r"receptor.*its columns are ligand, gene"):
        read_ligand_receptors(pd.DataFrame({"ligand": ["A"], "gene": ["B"]}))


def test_complexes_explode_to_all_pairs_of_sub_units_in_order():
    pairs = pd.DataFrame(
        [("A_B", "C_D", "p", SECRETED), ("E", "F", "q", "ECM-Receptor")],
        columns=["ligand", "receptor", "pathway", "signaling"],
    )
    exploded = explode_complexes(pairs)
    assert list(zip(exploded["ligand"], exploded["receptor"], strict=True)) == [
        ("A", "C"), ("A", "D"), ("B", "C"), ("B", "D"), ("E", "F"),
    ]  # fmt: skip
    assert exploded["signaling"].tolist() == [SECRETED] * 4 + ["ECM-Receptor"]
    assert list(exploded.index) == [0, 1, 2, 3, 4]
    pd.testing.assert_frame_equal(explode_complexes(pairs, "min"), pairs)
    with pytest.raises(ConfigError):
        explode_complexes(pairs, "mean")


def test_liana_by_species_and_by_resource():
    if find_spec("liana") is None:
        pytest.skip("liana is not installed")
    human, mouse = (read_ligand_receptors("liana", kind) for kind in ("human", "mouse"))
    assert len(human) > 3000
    assert infer_species(human["ligand"]) == "human"
    assert infer_species(mouse["ligand"]) == "mouse"
    assert set(mouse["signaling"]) == {SECRETED}
    assert human["receptor"].str.contains("_").any()
    chosen = read_ligand_receptors("liana:cellchatdb")
    assert 1500 < len(chosen) < len(human)
    assert "liana" not in sys.modules  # the table is read without importing seconds of package
    with pytest.raises(PriorError, match="consensus"):
        read_ligand_receptors("liana:nothing")


def test_liana_that_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("celldyn.data.ligand_receptor.find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match=r"napari-celldyn\[priors\]"):
        read_ligand_receptors("liana")


# --- ligand-target -------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_ligand_target_scores(tmp_path, ending):
    scores = pd.DataFrame([[0.1, 0.2], [0.3, 0.0]], index=["T1", "T2"], columns=["L1", "L2"])
    path = tmp_path / f"scores.{ending}"
    getattr(scores, f"to_{ending}")(path)
    pd.testing.assert_frame_equal(read_ligand_target(path), scores)
    pd.testing.assert_frame_equal(read_ligand_target(scores), scores)
    column = scores.rename_axis("gene").reset_index()
    column.to_parquet(path)
    assert read_ligand_target(path).loc["T2", "L1"] == 0.3


def test_ligand_target_scores_must_be_numbers():
    with pytest.raises(PriorError, match="column L1"):
        read_ligand_target(pd.DataFrame({"L1": ["much"]}, index=["T1"]))


# --- names ---------------------------------------------------------------------------------------


def test_species_by_the_capitals_of_the_first_hundred_names():
    assert infer_species(["Sox2", "Pax6", "GFP"]) == "mouse"
    assert infer_species(["SOX2", "PAX6", "Gfp"]) == "human"
    assert infer_species(["sox2", "pax6"]) == "human"
    assert infer_species(["SOX2"] * 100 + ["Sox2"] * 200) == "human"
    assert infer_species(["Sox2", "SOX2"]) == "human"
    assert infer_species(["1", "A", "2Rik"]) == "human"


def test_names_of_complexes_need_all_their_parts():
    names = NameMap(["a1", "B2", "x_y"])
    assert names.find("a1_B2") == "a1_B2"
    assert names.find("A1_b2") is None
    assert names.find("A1_b2", case_free=True) == "a1_B2"
    assert names.find("a1_c") is None
    assert names.find("x_y") == "x_y"
    assert names.parts("x_y") == ["x_y"]


LONG = pd.DataFrame(
    {
        "from": ["L1", "L1", "L2", "L1", "NA"],
        "to": ["T1", "T2", "T1", "T1", "T2"],
        "score": [0.1, 0.2, 0.3, 0.05, 0.4],
    }
)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "table"])
def test_ligand_target_pairs_row_by_row(tmp_path, ending):
    path = tmp_path / f"scores.{ending}"
    if ending == "parquet":
        LONG.to_parquet(path)
    else:
        LONG.to_csv(path, sep="\t" if ending == "tsv" else ",", index=False)
    scores = read_ligand_target(LONG if ending == "table" else path)
    assert scores.loc["T1"].to_dict() == {"L1": 0.1, "L2": 0.3, "NA": 0.0}
    assert scores.loc["T2"].to_dict() == {"L1": 0.2, "L2": 0.0, "NA": 0.4}


def test_a_matrix_with_genes_called_as_headings_stays_a_matrix():
    scores = pd.DataFrame({"from": [0.1], "to": [0.2], "score": [0.3]}, index=["T1"])
    pd.testing.assert_frame_equal(read_ligand_target(scores), scores)


def test_a_pair_without_a_number_is_named():
    with pytest.raises(PriorError, match="'much' in row 2"):
        read_ligand_target(LONG.assign(score=["0.1", "much", "0", "0", "0"]))


def test_ligand_target_scores_from_npz(tmp_path):
    path = tmp_path / "scores.npz"
    np.savez(path, weights=[[1, 2], [3, 4], [5, 6]], genes=["a", "b", "c"], ligands=["L", "M"])
    scores = read_ligand_target(path)
    assert scores.loc["c"].to_dict() == {"L": 5.0, "M": 6.0}
    assert scores.to_numpy().dtype == np.float64


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"weights": np.eye(2), "genes": ["a", "b"]}, "holds weights, genes"),
        ({"weights": np.eye(2), "genes": ["a"], "ligands": ["L", "M"]}, "shape"),
        ({"weights": np.array([[object()]]), "genes": ["a"], "ligands": ["L"]}, "objects"),
    ],
)
def test_ligand_target_npz_that_cannot_be_used(tmp_path, arrays, says):
    path = tmp_path / "scores.npz"
    np.savez(path, **arrays)
    with pytest.raises(PriorError, match=says):
        read_ligand_target(path)
