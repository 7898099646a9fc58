"""Pickles that are read without running them: settings come back, all else is refused."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from functools import reduce

import numpy as np
import pytest
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.preprocessing import StandardScaler

from celldyn.environment.inert import Bag, loads, read_pickle
from celldyn.errors import FileFormatError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_plain_values_and_arrays_come_back(protocol):
    values = {
        "none": None, "yes": True, "no": False, "one": 1, "long": 2**70, "half": 0.5, "text": "µ",
        "bytes": b"ab", "list": [1, [2, []]], "tuple": (1, (2, 3, 4, 5), ()), 3: {"deep": {}},
    }  # fmt: skip
    assert loads(pickle.dumps(values, protocol)) == values
    arrays = {
        "C": RNG.normal(size=(4, 3)),
        "F": np.asfortranarray(RNG.normal(size=(4, 3)).astype(np.float32)),
        "axes": RNG.normal(size=(2, 3, 4)).transpose(1, 0, 2),
        "mask": RNG.random(9) < 0.5,
        "counts": np.arange(5, dtype=np.int64),
        "bytes": np.arange(5, dtype=np.uint8),
        "none": np.zeros((0, 4)),
        "point": np.array(2.5),
        "other order": np.arange(3, dtype=">f8"),
    }
    back = loads(pickle.dumps(arrays, protocol))
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype.newbyteorder("=")
        assert back[name].flags.writeable
    assert loads(pickle.dumps([np.float32(0.25), np.int64(7), np.bool_(True)], protocol)) == [
        0.25, 7, True,
    ]  # fmt: skip
    assert loads(pickle.dumps(np.array(["a", "b"], dtype=object), protocol)) == ["a", "b"]


def test_what_is_named_twice_is_one_thing():
    shared = RNG.normal(size=3)
    back = loads(pickle.dumps([shared, shared, [shared]]))
    assert back[0] is back[1] is back[2][0]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_decompositions_become_their_attributes(protocol):
    x = RNG.normal(size=(30, 6))
    pca, svd = PCA(3, random_state=42).fit(x), TruncatedSVD(2, random_state=42).fit(x)
    scaler = StandardScaler().fit(x)
    back = loads(pickle.dumps([pca, svd, scaler, None, PCA], protocol))
    assert [one.kind for one in back[:3]] == ["PCA", "TruncatedSVD", "StandardScaler"]
    np.testing.assert_array_equal(back[0].get("components_"), pca.components_)
    np.testing.assert_array_equal(back[0].get("mean_"), pca.mean_)
    assert back[0].get("noise_variance_") == pca.noise_variance_
    assert back[0].get("random_state") == 42
    assert back[0].get("nothing", 3) == 3
    np.testing.assert_array_equal(back[1].get("components_"), svd.components_)
    np.testing.assert_array_equal(back[2].get("scale_"), scaler.scale_)
    assert back[3:] == [None, "PCA"]
    assert type(back[0]) is Bag


class Calls:
    """Pickles as a call of whatever it is made of."""

    def __init__(self, function, *arguments):
        self.how = (function, arguments)

    def __reduce__(self):
        return self.how


class Stateful:
    """An object whose state would be set."""


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (lambda f: Calls(os.system, f"touch {f}"), "posix.system"),
        (lambda f: Calls(eval, f"open({str(f)!r}, 'w')"), "builtins.eval"),
        (lambda f: Calls(os.mkdir, str(f)), "posix.mkdir"),
        (lambda f: Calls(getattr, "text", "upper"), "builtins.getattr"),
        (lambda f: Calls(np.load, str(f)), "numpy.load"),
        (lambda f: Calls(reduce, max, [1, 2]), "_functools.reduce"),
        (lambda f: OrderedDict(a=1), "collections.OrderedDict"),
        (lambda f: Stateful(), "test_environment_inert.Stateful"),
        (lambda f: np.random.default_rng(0), "numpy.random._pickle"),
        (lambda f: complex(1, 2), "builtins.complex"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_any_other_name_is_refused_and_nothing_runs(tmp_path, made, names, protocol):
    file, flag = tmp_path / "hostile.pre", tmp_path / "flag"
    file.write_bytes(pickle.dumps({"pca_class": [made(flag)]}, protocol))
    with pytest.raises(FileFormatError, match="neither an array nor a decomposition") as caught:
        read_pickle(file)
    assert names in str(caught.value)
    assert "hostile.pre" in str(caught.value)
    assert not flag.exists()


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


@pytest.mark.parametrize(
    "program",
    [
        named("sklearn.decomposition", "PCA.fit"),
        named("sklearn.utils", "_joblib"),
        named("sklearn_evil", "PCA"),
        named("numpy._core.multiarray", "_reconstruct.__globals__"),
        named("numpy", "ndarray.tofile"),
        b"\x8c\x05numpy\x8c\x0amatmul.foo\x93",
    ],
)
def test_a_name_is_allowed_whole_or_not_at_all(program):
    with pytest.raises(FileFormatError, match="neither an array nor a decomposition"):
        loads(b"\x80\x04" + program + b".")


ARRAY = named("numpy._core.multiarray", "_reconstruct") + named("numpy", "ndarray")
DTYPE = named("numpy", "dtype") + b"X\x02\x00\x00\x00f8\x89\x88\x87R"


def array_state(shape: bytes, dtype: bytes = DTYPE, held: bytes = b"C\x08" + bytes(8)) -> bytes:
    start = ARRAY + b"K\x00\x85C\x01b\x87R"
    return start + b"(K\x01" + shape + dtype + b"\x89" + held + b"tb"


def test_the_hand_written_array_is_one():
    (value,) = loads(b"\x80\x04" + array_state(b"K\x01\x85") + b".")
    assert value == 0


NOTHING = b"}"
NESTED = b"]" * 100_000 + b"a" * 99_999
ITSELF = b"]q\x00h\x00a"
HUGE = b"\x8a\x08" + struct.pack("<q", 2**62)


@pytest.mark.parametrize(
    "program",
    [
        array_state(b"K\x02\x85"),  # more values than bytes
        array_state(HUGE + b"\x85"),
        array_state(HUGE + HUGE + b"\x86"),
        array_state(b"J\xff\xff\xff\xff\x85"),  # a negative axis
        array_state(b"K\x01\x85", dtype=b"N"),
        array_state(b"K\x01\x85", held=b"N"),
        array_state(b"K\x01\x85", dtype=named("numpy", "dtype") + b"X\x02\x00\x00\x00M8\x85R"),
        array_state(b"K\x01\x85", dtype=named("numpy", "dtype") + b"X\x02\x00\x00\x00O8\x85R"),
        array_state(b"K\x01\x85", dtype=named("numpy", "dtype") + NOTHING + b"\x85R"),
        ARRAY + b"\x85R",  # an array without content
        ARRAY[: ARRAY.index(b"cnumpy\n")] + NOTHING + b"\x85R",
        named("numpy", "ndarray") + b")R",
        named("sklearn.decomposition._pca", "PCA") + b"K\x01\x85\x81",
        named("sklearn.decomposition._pca", "PCA") + b")\x81K\x01b",
        named("sklearn.decomposition._pca", "PCA") + b")R",
        named("sklearn.decomposition._pca", "PCA") + b")\x81]b",
        b"]}b",
        b"}K\x01K\x02sK\x01s",
        b"K\x01K\x02a",
        NESTED,
        ITSELF,
        b"(K\x01",
        b"}(K\x01K\x02K\x03u",
        b"}((K\x01K\x02tK\x01u",  # a key that would be hashed
        b"h\x07",
        b"(N",
        b"0",
        b"",
        b"K\x01K\x02",
        b"X\xff\xff\xff\x7fab",
        b"Qx",
        b"Pid\n",
        b"\x82\x01",
        b"(i os\nsystem\n",
        b"(cos\nsystem\n",
        b"\x97",
        b"\x8f(K\x01\x90",
        b"\x00\xff nonsense",
    ],
)
def test_what_is_no_settings_is_one_sentence(program):
    with pytest.raises(FileFormatError) as caught:
        loads(b"\x80\x04" + program + b".")
    assert len(str(caught.value)) < 300


def test_every_byte_that_flips_is_read_or_refused():
    whole = pickle.dumps({"mean": RNG.normal(size=4), "pca": PCA(2).fit(RNG.normal(size=(9, 3)))})
    refused = 0
    for place in range(len(whole)):
        torn = bytearray(whole)
        torn[place] ^= 0x15
        try:
            loads(bytes(torn))
        except FileFormatError:
            refused += 1
        try:
            loads(whole[:place])
        except FileFormatError:
            refused += 1
    assert refused > len(whole)  # every cut, and many a flip


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_pickle(tmp_path / "none.pre")
