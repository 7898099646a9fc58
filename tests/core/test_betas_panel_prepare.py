"""What a panel reads: its targets, what modulates them, and what cannot be modelled."""

from __future__ import annotations

import time

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from panel_tissue import PAIRS, SCORES, TARGETS, config, network, prepared, tissue
from scipy import sparse

from celldyn.betas import RegulatoryFactory, find_modulators, prepare, propose_regulators
from celldyn.betas.panel import prepare_panel
from celldyn.betas.panel.proposing import propose_for_all
from celldyn.errors import ConfigError, DataError, MissingKeyError, PriorError

COMPLEXES = pd.DataFrame(
    [
        # Without the target RecA, LigA's first row is one of contact: it reaches less far.
        ("LigA", "RecA", "a", "Secreted Signaling"),
        ("LigA", "RecB", "a", "Cell-Cell Contact"),
        ("LigB", "RecA_RecC", "b", "Secreted Signaling"),
        ("LigB_LigA", "RecB", "b", "ECM-Receptor"),
        ("LigB", "RecB", "b", "ECM-Receptor"),
    ],
    columns=["ligand", "receptor", "pathway", "signaling"],
)


@pytest.mark.parametrize("complexes", ["product", "min"])
@pytest.mark.parametrize("case", ["as spelt", "upper"])
def test_each_target_has_the_modulators_that_it_has_alone(complexes, case):
    adata, settings = tissue(), config(complexes=complexes)
    pairs, scores = COMPLEXES, SCORES
    if case == "upper":
        pairs = pairs.assign(ligand=pairs["ligand"].str.upper())
        pairs = pairs.assign(receptor=pairs["receptor"].str.upper())
        scores = scores.rename(index=str.upper, columns=str.upper)
    inputs = prepare_panel(adata, settings, grn=network(), lr=pairs, ligand_target=scores)
    assert inputs.genes == tuple(TARGETS)
    reach = set()
    for target in inputs.targets:
        alone = find_modulators(
            adata, settings.of_gene(target.gene), grn=network(), lr=pairs, ligand_target=scores
        )
        assert target.modulators == alone.modulators
        reach.add(target.modulators.radii["LigA"])
    assert reach == {100.0, 30.0}


def test_the_union_holds_every_column_once_and_each_target_finds_its_own():
    inputs = prepared(lr=COMPLEXES)
    union = inputs.union
    whole = [*union.regulators, *union.lr, *union.tfl]
    assert len(set(whole)) == len(union)
    for target in inputs.targets:
        m, names = target.modulators, []
        for column in target.columns:
            item = whole[column]
            names.append(item if isinstance(item, str) else (item[0][0], item[1]))
            if not isinstance(item, str):
                assert item[0][1] == m.radii[item[0][0]]
        assert names == [*m.regulators, *m.lr, *m.tfl]


def test_expression_keeps_its_digits_in_the_room_it_needs():
    adata = tissue()
    alone = prepare(adata, config().of_gene("RecA"), grn=network(), lr=PAIRS)
    inputs = prepared(adata)
    at = [inputs.features.index(name) for name in alone.features]
    assert inputs.levels.dtype == np.float64
    np.testing.assert_array_equal(inputs.levels[:, at], alone.expression)
    adata.layers["imputed_count"] = adata.layers["imputed_count"].astype(np.float32)
    assert prepared(adata).levels.dtype == np.float32


def test_what_cannot_be_modelled_is_named_and_left_out():
    adata = tissue()
    adata.layers["imputed_count"][3, 7] = np.nan  # RecB
    settings = config(genes=None, use_ligands=False)
    inputs = prepare_panel(adata, settings, grn=network())
    assert inputs.genes == ("Target", "Tf2", "LigA", "LigB", "RecA")
    why = dict(inputs.skipped)
    assert "same in every cell" in why["Silent"]
    assert "not finite" in why["RecB"]
    assert "no regulator of RecC" in why["RecC"]
    assert list(inputs.skipped_table().columns) == ["gene", "reason"]


def test_nothing_to_model_is_an_error_with_the_first_reason():
    with pytest.raises(PriorError, match=r"Silent: .* same in every cell"):
        prepared(settings=config(genes=["Silent"]))
    with pytest.raises(ConfigError, match="colinks_path"):
        prepare_panel(tissue(), config(), lr=PAIRS)
    with pytest.raises(MissingKeyError, match="Targte"):
        prepared(settings=config(genes=["Targte"]))
    with pytest.raises(ConfigError, match="skip_clusters"):
        prepared(settings=config(skip_clusters=["9"]))
    adata = tissue()
    adata.layers["imputed_count"][3, 7] = np.nan  # RecB, which all read
    with pytest.raises(DataError, match="RecB"):
        prepared(adata)


@pytest.mark.parametrize(
    ("order", "first"), [("given", "Target"), ("quick", "LigB"), ("regulated", "Target")]
)
def test_which_genes_come_first(order, first):
    inputs = prepared(settings=config(order=order, max_genes=2))
    assert len(inputs.targets) == 2
    assert inputs.genes[0] == first


def test_the_most_variable_genes_come_first():
    adata = tissue()
    adata.layers["imputed_count"][:, 6] *= np.where(np.arange(adata.n_obs) < 5, 50, 1)  # RecA
    assert prepared(adata, config(order="variable", max_genes=1)).genes == ("RecA",)


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
def test_candidates_of_all_genes_are_those_of_each(kind):
    adata = tissue(noise=0.5)
    adata.X = adata.X.astype(np.float32)
    labels = adata.obs["type"].to_numpy()
    expected = {g: propose_regulators(adata, g, labels, n=4) for g in adata.var_names}
    if kind != "dense":
        adata.X = sparse.csr_matrix(adata.X) if kind == "csr" else sparse.csc_matrix(adata.X)
    assert propose_for_all(adata, list(adata.var_names), labels, n=4) == expected
    assert expected["Target"][0] == "Tf1"


def test_without_a_network_candidates_stand_in_and_it_is_said():
    adata = tissue(noise=0.3)
    inputs = prepare_panel(adata, config(genes=["Target"], propose=2, extra_regulators=["Tf3"],
                                         use_ligands=False))  # fmt: skip
    assert inputs.targets[0].modulators.regulators == ("Tf1", "Tf2", "Tf3")
    assert inputs.targets[0].proposed
    assert "flatter" in inputs.notes[0]


def test_a_thousand_targets_take_no_more_than_their_share():
    def seconds(n_targets):
        """CPU time of the tables of n targets, 300 ligands and a network of all genes."""
        rng = np.random.default_rng(0)
        tfs, ligands = [f"Tf{i}" for i in range(200)], [f"Lig{i}" for i in range(300)]
        receptors = [f"Rec{i}" for i in range(300)]
        targets = [f"Gene{i}" for i in range(n_targets)]
        genes = [*targets, *tfs, *ligands, *receptors]
        X = rng.poisson(1.0, (40, len(genes))).astype(np.float32)
        adata = ad.AnnData(X, var=pd.DataFrame(index=genes))
        adata.obsm["spatial"] = rng.uniform(0, 100, (40, 2))
        links = pd.DataFrame({"source": rng.choice(tfs, 20 * len(genes)),
                              "target": np.repeat(genes, 20)})  # fmt: skip
        pairs = pd.DataFrame({"ligand": rng.choice(ligands, 2000),
                              "receptor": rng.choice(receptors, 2000)})  # fmt: skip
        scores = pd.DataFrame(rng.gamma(0.5, 0.03, (len(genes), 300)), genes, ligands)
        settings = config(genes=targets, layer=None, cluster_annot=None)
        grn = RegulatoryFactory(links=links)
        started = time.process_time()
        inputs = prepare_panel(adata, settings, grn=grn, lr=pairs, ligand_target=scores)
        assert len(inputs.targets) == n_targets
        assert len(inputs.targets[0].modulators.tfl) > 50
        return time.process_time() - started

    few, many = seconds(250), seconds(1000)
    assert many < 12.0  # the reference takes as long for one
    assert many < 8 * few  # 4, and what machines do
