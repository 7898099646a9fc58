"""Gene regulatory networks: read from any table, and looked up gene by gene."""

from __future__ import annotations

import gzip
import io

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from celldyn.betas import RegulatoryFactory
from celldyn.data.grn import read_grn
from celldyn.errors import ConfigError, PriorError

LINKS = pd.DataFrame(
    {
        "source": ["Sox2", "Pax6", "Myc", "Pax6", "Myc", "Sox2"],
        "target": ["Myc", "Myc", "Myc", "Myc", "Sox2", "Pax6"],
        "cluster": ["a", "a", "b", "b", "a", "b"],
        "coef_mean": [0.5, -0.2, 0.1, 0.3, 0.2, 0.1],
        "p": [0.01, 0.05, 0.001, 0.02, 0.01, 0.5],
    }
)


def genes(*names):
    return ad.AnnData(np.zeros((2, len(names))), var=pd.DataFrame(index=list(names)))


# --- GRN -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "csv.gz", "txt"])
def test_grn_from_any_table(tmp_path, ending):
    path = tmp_path / f"links.{ending}"
    if ending == "parquet":
        LINKS.to_parquet(path)
    else:
        LINKS.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    pd.testing.assert_frame_equal(read_grn(path), LINKS, check_dtype=False)
    assert read_grn(str(path))["p"].dtype == float


@pytest.mark.parametrize(
    "names", [("TF", "target_gene"), ("from", "to"), ("Regulator", "Gene"), ("tf", "Target")]
)
def test_grn_knows_usual_headings(names):
    table = pd.DataFrame({"x": [0], names[0]: ["NA "], names[1]: ["Myc"], "importance": ["2.5"]})
    links = read_grn(table)
    assert links.to_dict("records") == [{"source": "NA", "target": "Myc", "coef_mean": 2.5}]


def test_grn_called_na_in_a_file_is_a_gene(tmp_path):
    path = tmp_path / "links.csv"
    path.write_text("source,target\nNA,Myc\n,Myc\nSox2,NaN\n")
    assert read_grn(path)["source"].tolist() == ["NA", "Sox2"]


def test_grn_from_celloracle_links():
    table = LINKS.drop(columns="cluster")
    links = read_grn({0: table[:2], "b": table[2:]})
    assert links["cluster"].tolist() == ["0", "0", "b", "b", "b", "b"]
    assert links["source"].tolist() == LINKS["source"].tolist()


@pytest.mark.parametrize("name", ["l.pkl", "l.pickle", "net.celloracle.links", "l.csv"])
def test_grn_pickles_are_refused_by_name_or_by_their_first_byte(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x80\x04\x95" if name == "l.csv" else b"source,target\na,b\n")
    with pytest.raises(PriorError, match="pickle"):
        read_grn(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"source,target\n", "no rows"),
        (b"a,b\n1,2\n", "source.*its columns are a, b"),
        (b"\xff\xfe\x00\x01garbage", "not a table"),
        (b"PAR1 but not really", "damaged"),
        (b"\x1f\x8bnot gzip", "not a table"),
        (b"MZ\x00\x00\x01", "not a table"),
        (b"just some words\nand more\n", "source"),
        (b'source,target\n"a,b\n', "."),
        (b"source,target\n,\n", "no gene"),
        (b"source,target,p\na,b,often\n", "'often' in row 1"),
    ],
)
def test_grn_wrong_files_are_one_sentence(tmp_path, content, says):
    path = tmp_path / "links.csv"
    path.write_bytes(content)
    with pytest.raises(PriorError, match=says) as caught:
        read_grn(path)
    assert "\n" not in str(caught.value)


def test_grn_that_is_not_there_or_no_table(tmp_path):
    with pytest.raises(PriorError, match="not there"):
        read_grn(tmp_path / "no.csv")
    with pytest.raises(PriorError, match="list, not a table"):
        read_grn({"a": []})
    with pytest.raises(PriorError, match="empty"):
        read_grn({})


# --- RegulatoryFactory ---------------------------------------------------------------------------


def test_regulators_are_the_significant_ones_in_the_data_without_the_gene():
    factory = RegulatoryFactory(links=LINKS)
    adata = genes("Myc", "Pax6", "Sox2")
    assert factory.get_regulators(adata, "Myc") == ["Pax6", "Sox2"]
    assert factory.get_regulators(adata, "Myc", alpha=0.015) == ["Sox2"]
    assert factory.get_regulators(adata, "Pax6") == []
    assert factory.get_regulators(adata, "Pax6", alpha=1.0) == ["Sox2"]
    assert factory.get_regulators(genes("Myc", "Pax6"), "Myc") == ["Pax6"]
    assert factory.get_regulators(adata, "Actb") == []


def test_regulators_by_cluster():
    factory = RegulatoryFactory(links=LINKS, annot="kind")
    adata = genes("Myc", "Pax6", "Sox2")
    adata.obs["kind"] = ["a", "c"]
    expected = {"a": ["Sox2"], "b": ["Pax6"], "c": []}
    assert factory.get_cluster_regulators(adata, "Myc") == expected
    with pytest.raises(PriorError, match="cluster"):
        RegulatoryFactory(links=LINKS[["source", "target"]]).get_cluster_regulators(adata, "Myc")


def test_regulators_match_case_free_only_where_nothing_matches():
    adata = genes("myc", "pax6", "sox2")
    assert RegulatoryFactory(links=LINKS).get_regulators(adata, "myc") == ["pax6", "sox2"]
    both = pd.DataFrame({"source": ["Sox2", "PAX6"], "target": "Myc"})
    adata = genes("Myc", "Pax6", "Sox2")
    assert RegulatoryFactory(links=both).get_regulators(adata, "Myc") == ["Sox2"]
    adata = genes("myc", "SOX2", "sox2", "Pax6")
    assert RegulatoryFactory(links=both).get_regulators(adata, "myc") == ["Pax6"]


def test_links_without_p_all_count():
    links = LINKS.assign(p=[np.nan] * 6)
    adata = genes("Myc", "Pax6", "Sox2")
    assert RegulatoryFactory(links=links).get_regulators(adata, "Pax6") == ["Sox2"]


def test_factory_takes_exactly_one_source(tmp_path):
    path = tmp_path / "links.csv"
    LINKS.to_csv(path)
    assert len(RegulatoryFactory(colinks_path=path).links) == 6
    for options in ({}, {"colinks_path": path, "links": LINKS}):
        with pytest.raises(ConfigError, match="exactly one"):
            RegulatoryFactory(**options)


def test_lookups_of_many_genes_are_quick():
    import time

    rng = np.random.default_rng(0)
    names = [f"Gene{i}" for i in range(3000)]
    links = pd.DataFrame({"source": rng.choice(names[:300], 100_000),
                          "target": rng.choice(names, 100_000)})  # fmt: skip
    factory, adata = RegulatoryFactory(links=links), genes(*names)
    factory.get_regulators(adata, names[0])
    start = time.perf_counter()
    found = [factory.get_regulators(adata, name) for name in names[:100]]
    assert time.perf_counter() - start < 2.0
    expected = set(links["source"][links["target"] == "Gene7"]) - {"Gene7"}
    assert found[7] == sorted(expected)


def test_gzip_of_a_pickle_is_no_table(tmp_path):
    path = tmp_path / "links.csv.gz"
    held = io.BytesIO()
    with gzip.open(held, "wb") as file:
        file.write(b"\x80\x04\x95\x00\x00")
    path.write_bytes(held.getvalue())
    with pytest.raises(PriorError, match="not a table"):
        read_grn(path)
