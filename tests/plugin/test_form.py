"""A form made from a config, really typed into."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, model_validator
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QLineEdit, QListWidget
from superqt import QSearchableComboBox

from celldyn.betas.config import BetasConfig
from celldyn.config import Config, param
from celldyn.errors import ConfigError
from celldyn.simulate.config import SimulationConfig
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.form import ConfigForm
from napari_celldyn.widgets.number_box import NumberBox


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Extra(BaseModel):
    gene: str


class Trial(Config):
    n_cells: int = param(100, "How many cells.", unit="cells", ge=1, le=1000)
    radius: float = param(30.0, "How far.", unit="µm", gt=0)
    penalty: float = param(1e-6, "How strict.", ge=0)
    ceiling: float | None = param(None, "At most.", unit="µm", ge=0)
    use_ligands: bool = param(True, "Whether ligands count.")
    kernel: Literal["truncated", "gaussian"] = param("truncated", "Which.")
    layer: str | None = param(None, "Which layer.")
    clusters: list[str] = param([], "Which clusters.")
    shares: list[float] | None = param(None, "How much of each.")
    colour: Colour = param(Colour.RED, "Which colour.")
    size: float | tuple[float, float] | None = param(None, "Side, or sides.", unit="µm")
    extras: list[Extra] = param([], "More.", advanced=True)
    priors: dict[str, float] = param({}, "By type.", advanced=True)
    path: Path = param(Path("grn.csv"), "Where.", advanced=True)
    seed: int = param(0, "Seed.", ge=0, advanced=True)

    @model_validator(mode="after")
    def _fits(self) -> Trial:
        if self.n_cells == 13:
            raise ValueError("13 cells bring bad luck; take 14")
        return self


class Inner(Config):
    rate: float = param(0.5, "A rate.", ge=0, le=1)
    kind: Literal["a", "b"] = param("a", "Which.", advanced=True)


class Asks(Config):
    name: str = param(..., "A name.", min_length=1)


class Outer(Config):
    plain: int = param(1, "A number.", ge=0)
    always: Inner = param(Inner(), "Always there.")
    perhaps: Inner | None = param(None, "Perhaps there.", advanced=True)
    asks: Asks | None = param(None, "Needs a name.")


class Needs(Config):
    gene: str = param(..., "Which gene.", min_length=1)
    n: int = param(..., "How many.", ge=1)


@pytest.fixture
def form(qtbot):
    form = ConfigForm(Trial)
    qtbot.addWidget(form)
    form.show()
    qtbot.waitExposed(form)
    return form


def type_in(qtbot, widget, text):
    widget.setFocus()
    line = widget.lineEdit() if isinstance(widget, NumberBox) else widget
    line.selectAll()
    qtbot.keyClicks(widget, text)
    qtbot.keyClick(widget, Qt.Key.Key_Return)


def test_the_form_shows_the_defaults_and_gives_them_back(form):
    assert form.value() == Trial()
    assert form.problem == ""
    assert not form.sentence.isVisible()


def test_each_kind_has_its_widget(form):
    kinds = {
        "n_cells": NumberBox, "penalty": NumberBox, "ceiling": QLineEdit,
        "use_ligands": QCheckBox, "kernel": QComboBox, "layer": QLineEdit,
        "clusters": QLineEdit, "colour": QComboBox, "extras": QLineEdit,
    }  # fmt: skip
    for name, kind in kinds.items():
        assert isinstance(form.editor(name), kind), name


def test_unit_bounds_and_help_are_on_the_form(form):
    cells = form.editor("n_cells")
    assert (cells.minimum(), cells.maximum()) == (1, 1000)
    assert cells.text() == "100 cells"
    assert form.editor("radius").text() == "30 µm"
    assert form.editor("radius").toolTip().startswith("How far.")
    assert "at least 1, at most 1000, default 100" in cells.toolTip()
    assert "ceiling (µm)" in [label.text() for label in form.findChildren(QLabel)]


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-7", 3e-7), ("0.1", 0.1), ("12345678.5", 12345678.5), ("1E-300", 1e-300)],
)
def test_a_small_number_can_be_typed_and_is_shown(qtbot, form, text, value):
    box = form.editor("penalty")
    assert box.text() == "1e-06"
    type_in(qtbot, box, text)
    assert form.value().penalty == value
    assert float(box.text()) == value


def test_a_number_is_taken_while_it_is_still_being_typed(qtbot, form):
    box = form.editor("penalty")
    box.setFocus()
    box.lineEdit().selectAll()
    qtbot.keyClicks(box, "2e-5")
    assert form.value().penalty == 2e-5


def test_letters_are_not_let_into_a_number(qtbot, form):
    type_in(qtbot, form.editor("n_cells"), "4x2")
    assert form.value().n_cells == 42


def test_what_is_typed_beyond_a_bound_becomes_the_bound(qtbot, form):
    type_in(qtbot, form.editor("n_cells"), "5000")
    assert form.value().n_cells == 1000
    assert form.editor("n_cells").text() == "1000 cells"


def test_arrows_step_in_the_numbers_own_power_of_ten(qtbot, form):
    box = form.editor("penalty")
    qtbot.keyClick(box, Qt.Key.Key_Up)
    assert box.text() == "1.1e-06"
    cells = form.editor("n_cells")
    qtbot.keyClick(cells, Qt.Key.Key_Down)
    assert form.value().n_cells == 90


def test_the_wheel_does_not_change_what_was_not_clicked(qtbot, form):
    from qtpy.QtCore import QPointF
    from qtpy.QtGui import QWheelEvent
    from qtpy.QtWidgets import QApplication

    form.editor("layer").setFocus()
    for name in ("n_cells", "kernel"):
        event = QWheelEvent(
            QPointF(5, 5), QPointF(5, 5), QPoint(0, 0), QPoint(0, -120),
            Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(form.editor(name), event)
        assert not event.isAccepted()
    assert form.value() == Trial()


def test_lists_options_and_choices_are_read(qtbot, form):
    type_in(qtbot, form.editor("clusters"), 'Astro, "L2/3, upper",  Oligo,')
    type_in(qtbot, form.editor("shares"), "0.25, 1e-3")
    type_in(qtbot, form.editor("ceiling"), "1e3")
    type_in(qtbot, form.editor("layer"), " counts ")
    type_in(qtbot, form.editor("size"), "[100, 50.5]")
    type_in(qtbot, form.editor("extras"), '[{"gene": "Myc"}]')
    tick = form.editor("use_ligands")
    on_it = QPoint(8, tick.height() // 2)
    qtbot.mouseClick(tick, Qt.MouseButton.LeftButton, pos=on_it)
    form.editor("kernel").setCurrentText("gaussian")
    form.editor("colour").setCurrentText("blue")
    value = form.value()
    assert value.clusters == ["Astro", "L2/3, upper", "Oligo"]
    assert value.shares == [0.25, 1e-3]
    assert (value.ceiling, value.layer, value.size) == (1000.0, "counts", (100.0, 50.5))
    assert value.extras == [Extra(gene="Myc")]
    assert value.use_ligands is False
    assert (value.kernel, value.colour) == ("gaussian", Colour.BLUE)
    type_in(qtbot, form.editor("clusters"), " ")
    assert form.value().clusters == []


def test_any_config_goes_in_and_comes_out(qtbot, form):
    config = Trial(
        n_cells=7, radius=0.125, penalty=3.3e-9, ceiling=2.5, use_ligands=False,
        kernel="gaussian", layer="counts", clusters=["a, b", 'say "x"', "c"], shares=[1e-9, 0.1],
        colour=Colour.BLUE, size=(3.0, 4.5), extras=[Extra(gene="Myc")], priors={"ct_0": 0.1},
        path=Path("other.csv"), seed=2**40,
    )  # fmt: skip
    with qtbot.waitSignal(form.changed):
        form.set_value(config)
    assert form.value() == config
    form.set_value(Trial())
    assert form.value() == Trial()


@pytest.mark.parametrize("config", [BetasConfig, SimulationConfig])
def test_the_forms_of_the_systems(qtbot, config):
    required = {"target_gene": "Myc", "n_cells": 20, "n_celltype": 2, "n_genes": 9}
    value = config(**{k: v for k, v in required.items() if k in config.model_fields})
    form = ConfigForm(config)
    qtbot.addWidget(form)
    assert "is required" in form.problem
    form.set_value(value)
    assert form.value() == value
    assert form.minimumSizeHint().width() <= 320


def test_a_wrong_value_is_a_sentence_on_the_form(qtbot, form):
    with qtbot.waitSignal(form.changed):
        type_in(qtbot, form.editor("ceiling"), "-4")
    expected = "ceiling must be greater than or equal to 0 (given: '-4')."
    assert form.sentence.isVisible()
    assert form.sentence.text() == form.problem == expected
    with pytest.raises(ConfigError) as caught:
        form.value()
    assert str(caught.value) == expected
    type_in(qtbot, form.editor("ceiling"), "4")
    assert not form.sentence.isVisible()
    assert form.value().ceiling == 4


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("radius", "0", "radius must be greater than 0"),
        ("n_cells", "13", "13 cells bring bad luck; take 14"),
        ("shares", "0.1, many", "shares.1 must be a valid number"),
        ("extras", "[{", "extras must be a valid list"),
        ("priors", '{"ct_0": "much"}', "priors.ct_0 must be a valid number"),
    ],
)
def test_whatever_is_wrong_is_said(qtbot, form, name, text, said):
    form.advanced.expand(animate=False)
    type_in(qtbot, form.editor(name), text)
    assert said in form.sentence.text()
    assert "Traceback" not in form.sentence.text()


def test_what_is_required_is_asked_for(qtbot):
    form = ConfigForm(Needs)
    qtbot.addWidget(form)
    assert form.problem == "gene is required; n is required."
    qtbot.keyClicks(form.editor("gene"), "Myc")
    qtbot.keyClicks(form.editor("n"), "3")
    assert form.value() == Needs(gene="Myc", n=3)


def test_advanced_parameters_are_folded_away(qtbot, form):
    assert not form.advanced.isExpanded()
    assert form.advanced.isAncestorOf(form.editor("seed"))
    assert not form.advanced.isAncestorOf(form.editor("radius"))
    qtbot.mouseClick(form.advanced.toggleButton(), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: form.editor("seed").height() > 0 and form.advanced.isExpanded())
    assert form.advanced.text() == "▾ Advanced"


def test_the_caller_supplies_choices(qtbot):
    layers = ["counts", "scaled"]
    form = ConfigForm(
        Trial, overrides={"layer": lambda: layers, "clusters": ["Astro", "Oligo", "Micro"]}
    )
    qtbot.addWidget(form)
    box = form.editor("layer")
    assert [box.itemText(i) for i in range(box.count())] == ["none", "counts", "scaled"]
    assert form.value().layer is None
    box.setCurrentText("scaled")
    assert form.value().layer == "scaled"
    several = form.editor("clusters")
    assert isinstance(several, QListWidget)
    several.item(0).setSelected(True)
    several.item(2).setSelected(True)
    assert form.value().clusters == ["Astro", "Micro"]
    layers[:] = ["scaled", "imputed"]
    form.refresh_choices()
    assert form.value().layer == "scaled", "what is still there stays chosen"
    layers[:] = ["raw"]
    form.refresh_choices()
    assert form.value().layer is None


def test_a_choice_that_is_not_offered_is_still_shown(qtbot):
    form = ConfigForm(Trial, overrides={"layer": ["counts"]})
    qtbot.addWidget(form)
    form.set_value(Trial(layer="gone"))
    assert form.value().layer == "gone"


def test_many_choices_can_be_searched(qtbot):
    genes = [f"gene {i}" for i in range(2000)]
    form = ConfigForm(Needs, overrides={"gene": genes})
    qtbot.addWidget(form)
    assert isinstance(form.editor("gene"), QSearchableComboBox)
    qtbot.keyClicks(form.editor("n"), "1")
    assert form.value().gene == "gene 0"
    form.editor("gene").lineEdit().selectAll()
    with qtbot.waitSignal(form.changed):
        qtbot.keyClicks(form.editor("gene").lineEdit(), "gene 1234")
    assert form.value().gene == "gene 1234"


def test_hidden_parameters_are_the_callers(qtbot):
    form = ConfigForm(Needs, hidden=["gene"])
    qtbot.addWidget(form)
    with pytest.raises(KeyError):
        form.editor("gene")
    qtbot.keyClicks(form.editor("n"), "3")
    assert form.problem == "", "the caller will give the gene"
    assert form.value(gene="Myc") == Needs(gene="Myc", n=3)
    with pytest.raises(ConfigError, match="gene is required"):
        form.value()
    form.set_value(Needs(gene="Sox2", n=4))
    assert form.value() == Needs(gene="Sox2", n=4)


def test_a_form_takes_its_own_config_only(form):
    with pytest.raises(ConfigError, match="this form is for Trial, not Needs"):
        form.set_value(Needs(gene="Myc", n=1))


# --- configs within configs -------------------------------------------------------------------


@pytest.fixture
def outer(qtbot):
    form = ConfigForm(Outer)
    qtbot.addWidget(form)
    form.show()
    qtbot.waitExposed(form)
    return form


def tick(qtbot, box):
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))


def test_a_config_that_is_always_there_is_folded_and_asked_for(qtbot, outer):
    box = outer.editor("always")
    assert box.tick is None
    assert outer.value() == Outer()
    qtbot.mouseClick(box.fold.toggleButton(), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: box.fold.isExpanded() and box.form.editor("rate").isVisible())
    with qtbot.waitSignal(outer.changed):
        type_in(qtbot, box.form.editor("rate"), "0.25")
    assert outer.value() == Outer(always=Inner(rate=0.25))


def test_a_config_that_may_be_left_out_has_a_check_box(qtbot, outer):
    outer.advanced.expand(animate=False)
    box = outer.editor("perhaps")
    assert outer.value().perhaps is None
    with qtbot.waitSignal(outer.changed):
        tick(qtbot, box.tick)
    assert outer.value().perhaps == Inner()
    assert box.form.editor("rate").isVisibleTo(box)
    type_in(qtbot, box.form.editor("rate"), "0.75")
    assert outer.value().perhaps == Inner(rate=0.75)
    tick(qtbot, box.tick)
    assert outer.value().perhaps is None
    assert not box.form.isVisible()
    tick(qtbot, box.tick)
    assert outer.value().perhaps == Inner(rate=0.75), "what was typed is still there"


def test_what_is_wrong_inside_is_said_once_and_outside(qtbot, outer):
    box = outer.editor("asks")
    tick(qtbot, box.tick)
    assert outer.problem == outer.sentence.text() == "asks: name is required."
    assert box.form.sentence.text() == ""
    type_in(qtbot, box.form.editor("name"), "Myc")
    assert outer.problem == ""
    assert outer.value().asks == Asks(name="Myc")


def test_configs_within_go_in_and_come_out(qtbot, outer):
    config = Outer(plain=3, always=Inner(rate=0.1), perhaps=Inner(kind="b"), asks=Asks(name="x"))
    with qtbot.waitSignal(outer.changed):
        outer.set_value(config)
    assert outer.value() == config
    outer.set_value(Outer())
    assert outer.value() == Outer()


# --- sections ---------------------------------------------------------------------------------


@pytest.fixture
def simulation_form(qtbot):
    form = ConfigForm(SimulationConfig, hidden=["domain_polygons"])
    qtbot.addWidget(form)
    return form


def test_parameters_of_several_modules_stand_in_sections(simulation_form):
    folds = simulation_form.folds
    assert list(folds) == ["Layout", "Genes", "Cells", "Measurement"]
    assert not any(fold.isExpanded() for fold in folds.values())
    homes = {
        "Layout": ("n_cells", "prototypes"),
        "Genes": ("marker_mu", "dynamics"),
        "Cells": ("size_factor", "default_morphology"),
        "Measurement": ("qv", "technical"),
    }
    for title, names in homes.items():
        for name in names:
            assert folds[title].isAncestorOf(simulation_form.editor(name)), name


def test_advanced_parameters_are_folded_within_their_section(simulation_form):
    genes = simulation_form.folds["Genes"]
    advanced = [fold for fold in genes.findChildren(Fold) if "Advanced" in fold.text()]
    assert any(fold.isAncestorOf(simulation_form.editor("programs")) for fold in advanced)
    assert not any(fold.isAncestorOf(simulation_form.editor("marker_mu")) for fold in advanced)


def test_every_nested_config_of_a_simulation_goes_in_and_comes_out(simulation_form):
    config = SimulationConfig(
        n_cells=200, n_celltype=3, n_genes=30,
        default_morphology={"mean_area": 70.0, "elongation": 2.0},
        technical={"detection": 0.5, "ambient_rate": 50.0},
        segmentation={"jitter": 0.1},
        dynamics={"n_fates": 3, "n_genes": 12},
        platforms=[{"kind": "visium"}],
        prototypes=[{"spec": {"pattern": "ring", "n_cells": 20}, "x": 50, "y": 50}],
    )  # fmt: skip
    simulation_form.set_value(config)
    assert simulation_form.value() == config
    assert simulation_form.editor("technical").form.editor("detection").value() == 0.5
    plain = SimulationConfig(n_cells=10, n_celltype=2, n_genes=9)
    simulation_form.set_value(plain)
    assert simulation_form.value() == plain


def test_a_form_of_one_module_has_no_sections(qtbot):
    form = ConfigForm(BetasConfig)
    qtbot.addWidget(form)
    assert form.folds == {}
    assert len(form.findChildren(Fold)) == 1


def test_some_parameters_can_be_put_at_once(qtbot, form):
    with qtbot.waitSignal(form.changed) as heard:
        form.put(n_cells=7, clusters=["a"])
    assert heard.args == []
    assert form.value() == Trial(n_cells=7, clusters=["a"])


def test_the_beginning_of_a_long_line_is_shown(form):
    form.put(clusters=[f"cluster {i}" for i in range(40)])
    assert form.editor("clusters").cursorPosition() == 0


def test_a_very_long_line_is_not_cut(form):
    extras = [Extra(gene=f"gene {i}") for i in range(5000)]
    form.put(extras=extras)
    assert form.value().extras == extras
