"""The house: imports run one way, every name of the manifest is there, every parameter speaks."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import celldyn
from celldyn import keys
from celldyn.config import Config

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "celldyn"
PLUGIN = ROOT / "napari_celldyn"
SYSTEMS = {"simulate", "betas", "vae", "landscape", "environment"}
SHARED = {"jobs", "devices", "keys", "errors", "config", "persist", "perturbation", "data",
          "kernels"}  # fmt: skip
SCREEN = {"napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "vispy", "magicgui", "superqt",
          "napari_celldyn", "pyqtgraph", "npe2"}  # fmt: skip


def imports_of(path: Path) -> set[str]:
    """Full dotted names of all that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


CORE_FILES = sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda p: str(p.relative_to(CORE)))
def test_the_core_knows_no_screen(path):
    assert not {name.split(".")[0] for name in imports_of(path)} & SCREEN


@pytest.mark.parametrize(
    "path",
    [p for p in CORE_FILES if p.relative_to(CORE).parts[0] in SYSTEMS],
    ids=lambda p: str(p.relative_to(CORE)),
)
def test_no_system_imports_another(path):
    system = path.relative_to(CORE).parts[0]
    rooms = {n.split(".")[1] for n in imports_of(path) if n.startswith("celldyn.")}
    rooms -= {"__version__"}
    extra = rooms - SHARED - {system}
    # A method that draws may reach up to the plots when it is called, never at import.
    if extra == {"plots"}:
        body = ast.parse(path.read_text()).body
        names = [n for n in body if isinstance(n, ast.ImportFrom | ast.Import)]
        assert not any("plots" in ast.unparse(n) for n in names)
        extra = set()
    assert not extra


@pytest.mark.parametrize("room", sorted(SHARED))
def test_the_shared_rooms_import_no_system(room):
    files = list((CORE / room).rglob("*.py")) or [p for p in [CORE / f"{room}.py"] if p.exists()]
    for path in files:
        rooms = {n.split(".")[1] for n in imports_of(path) if n.startswith("celldyn.")}
        assert not rooms & (SYSTEMS | {"plots", "cluster", "cli"}), path


def fresh(script: str) -> str:
    """Run a script in a Python of its own and return what it prints."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_celldyn_is_quick_and_light():
    script = (
        "import sys, time; start = time.perf_counter(); import celldyn;"
        "took = time.perf_counter() - start;"
        "heavy = [m for m in ('napari', 'qtpy', 'torch', 'matplotlib') if m in sys.modules];"
        "print(took); print(heavy)"
    )
    took, heavy = fresh(script).splitlines()
    assert heavy == "[]"
    assert float(took) < 0.5


def test_importing_the_plugin_loads_no_torch():
    script = "import napari_celldyn.widgets.betas, sys; print('torch' in sys.modules)"
    assert fresh(script).strip() == "False"


def manifest() -> dict:
    return yaml.safe_load((PLUGIN / "napari.yaml").read_text())["contributions"]


@pytest.mark.parametrize("command", manifest()["commands"], ids=lambda c: c["id"])
def test_every_name_of_the_manifest_imports(command):
    module, name = command["python_name"].split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_every_contribution_names_a_command_and_back():
    there = manifest()
    commands = {command["id"] for command in there.pop("commands")}
    used = {row["command"] for rows in there.values() for row in rows}
    assert used == commands


def configs() -> list[type[Config]]:
    found = []
    for module in pkgutil.walk_packages(celldyn.__path__, "celldyn."):
        declares = re.search(r"\.config$|\.(specs|parameters)\.\w+$", module.name)
        if not declares or module.name == "celldyn.config":
            continue
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, Config) and kind is not Config and kind.__module__ == module.name:
                found.append(kind)
    return found


FIELDS = [(config, name) for config in configs() for name in config.model_fields]


def test_there_are_configs():
    assert {config.__name__ for config in configs()} >= {"BetasConfig", "SimulationConfig"}


@pytest.mark.parametrize(("config", "name"), FIELDS, ids=lambda x: getattr(x, "__name__", x))
def test_every_parameter_has_help_bounds_and_unit(config, name):
    field = config.model_fields[name]
    assert field.description, "no help"
    assert len(field.description) < 200
    extra = field.json_schema_extra
    assert isinstance(extra, dict), "declare it with celldyn.config.param"
    assert "unit" in extra
    if field.annotation in (int, float):
        assert field.metadata, "a number without a bound"
    is_weight = name.startswith("reward_")
    if re.search(r"radius|distance|extent|canvas|_um\b", name) and not is_weight:
        assert extra["unit"], "a length without its unit"


def test_the_table_of_keys_has_no_two_alike():
    paths = [(key.slot, key.name) for key in keys.TABLE]
    assert len(set(paths)) == len(paths)
    rows = [value for value in vars(keys).values() if isinstance(value, keys.Key)]
    assert len(rows) == len(keys.TABLE)


@pytest.mark.parametrize("folder", [CORE, PLUGIN], ids=["core", "plugin"])
def test_no_file_is_two_rooms(folder):
    long = {
        p.name: n for p in folder.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400
    }
    assert not long


@pytest.mark.parametrize("folder", [CORE, PLUGIN], ids=["core", "plugin"])
def test_no_pickle_within_reach_of_a_file(folder):
    for path in folder.rglob("*.py"):
        text = path.read_text()
        assert not {n.split(".")[0] for n in imports_of(path)} & {"pickle", "dill", "joblib"}, path
        assert "allow_pickle=True" not in text, path
