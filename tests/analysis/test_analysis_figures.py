"""The figures of dhmd analyse: what they draw, and that it can be read."""

import dataclasses

import matplotlib
import numpy as np
import pytest
from test_figures import texts

from dhmd.analyse.content import compute, figures
from dhmd.analyse.inputs import gather
from dhmd.analysis.edge_classes import edge_distributions, edges_by_class, edges_by_epoch
from dhmd.analysis.edges import edge_history
from dhmd.batch import MODALITIES
from dhmd.runs.arrays import ByEpoch, EdgeRecord
from fabricated import ALL_STAGES, make_run


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return compute(gather(make_run(tmp_path_factory.mktemp("run") / "a", n=60, epochs=6, stages=ALL_STAGES)))


@pytest.fixture(scope="module")
def drawn(content):
    return dict(figures(content))


@pytest.mark.slow
def test_no_text_leaves_its_figure_or_covers_another(drawn, monkeypatch):
    for name, figure in drawn.items():
        page = figure.bbox
        boxes = [(t.get_text(), t.get_window_extent()) for t in texts(figure, monkeypatch) if t.get_rotation() in (0, 90)]
        for i, (text, box) in enumerate(boxes):
            assert box.x0 >= page.x0 - 1, (name, text)
            assert box.x1 <= page.x1 + 1, (name, text)
            assert box.y0 >= page.y0 - 1, (name, text)
            assert box.y1 <= page.y1 + 1, (name, text)
            for other_text, other in boxes[i + 1 :]:
                across = min(box.x1, other.x1) - max(box.x0, other.x0)
                up = min(box.y1, other.y1) - max(box.y0, other.y0)
                assert across <= 1 or up <= 2, (name, text, other_text)


def test_synthetic_data_is_named_in_every_title(drawn, content):
    assert all("(synthetic data)" in figure.get_suptitle() for figure in drawn.values())
    assert all("test split" in figure.get_suptitle() or "validation" in figure.get_suptitle() for figure in drawn.values())


def test_the_prior_stands_in_every_panel_of_the_edges(drawn, content):
    prior = content.analysed.record.edges["heterogeneous"].prior
    for name in ("edges_classes_heterogeneous", "edges_epochs_heterogeneous"):
        lines = [next(line for line in axes.lines if line.get_label() == "prior") for axes in drawn[name].axes]
        assert [line.get_ydata()[0] for line in lines] == pytest.approx(prior)


@pytest.mark.parametrize("prior", [0.92, 0.0])
def test_a_prior_far_from_the_weights_leaves_them_their_scale(prior, monkeypatch):
    pairs = tuple((t, s) for s in MODALITIES for t in MODALITIES if t != s)
    generator = np.random.default_rng(0)
    weights = 1 / 6 + generator.uniform(-0.0015, 0.0015, (60, 6))
    by_class = 1 / 6 + generator.uniform(-0.0015, 0.0015, (5, 7, 6))
    record = EdgeRecord(pairs, np.full(6, prior), by_class.mean(axis=1), weights, by_class)
    training = ByEpoch(np.arange(-3, 4), np.full(7, 1 / 7), {})
    label = np.arange(60) % 7 - 3.0
    drawn = {
        "samples": edge_distributions({"homogeneous": record}, "a"),
        "classes": edges_by_class(record, label, "regression", "b"),
        "epochs": edges_by_epoch(record, training, np.arange(5), "regression", "c", 2),
        "history": edge_history({"homogeneous": record}, np.arange(5), "d", 2),
    }
    arrow = f"{'↑' if prior else '↓'} "
    for name, figure in drawn.items():
        seen = texts(figure, monkeypatch)
        low, high = figure.axes[0].get_ylim()
        assert 0.1 < low < high < 0.2, name
        assert high - low < 0.006, name
        if name == "history":
            beside = figure.axes[1]
            assert beside.get_ylim()[0] <= prior <= beside.get_ylim()[1]
            assert "prior of the\nconfiguration,\nown scale" in [text.get_text() for text in seen]
        else:
            assert sum(text.get_text().startswith(arrow) for text in seen) == 6, name
            assert "prior of the configuration (arrow: beyond the axis)" in [text.get_text() for text in figure.legends[0].get_texts()]
            assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1, name


def test_a_prior_within_reach_is_on_the_scale_of_the_weights(drawn, content):
    axes, beside = drawn["edges_epochs"].axes[:2]
    assert axes.get_ylim() == beside.get_ylim()
    marks = [line.get_ydata()[0] for line in beside.lines]
    assert marks == pytest.approx(content.analysed.record.edges["homogeneous"].prior)


def test_a_line_a_class_and_none_for_an_empty_one(drawn, content):
    training, edges = content.analysed.record.training, content.analysed.record.edges["homogeneous"]
    (first, *_) = drawn["edges_epochs_homogeneous"].axes
    lines = {line.get_label(): line.get_ydata() for line in first.lines if line.get_label().startswith("class")}
    assert len(lines) == (training.share > 0).sum() < 7
    at = training.classes.tolist().index(1)
    np.testing.assert_allclose(lines["class +1"], edges.validation_by_class[:, at, 0])


def test_bars_carry_the_probes(drawn, content):
    heights = [p.get_height() for axes in drawn["probes"].axes for p in axes.patches]
    rows = content.tables["probes"]
    assert sorted(heights) == pytest.approx(sorted(row["value"] for row in rows))
    marks = [line.get_ydata()[0] for axes in drawn["probes"].axes for line in axes.lines if line.get_marker() == "x"]
    assert sorted(marks) == pytest.approx(sorted(row["shuffled"] for row in rows))


def test_the_drift_map_shows_the_epochs_of_the_entries_it_names(drawn, content):
    figure, means = drawn["dictionary_drift_homogeneous"], content.drift["homogeneous"]
    first = figure.axes[0]
    entries = [int(t.get_text()) for t in figure.axes[2].get_xticklabels()]
    np.testing.assert_allclose(first.images[0].get_array(), means["language"][:, entries])
    kept = content.analysed.kept
    together = np.mean([mean[kept] for mean in means.values()], axis=0)
    assert (np.diff(together[entries]) <= 0).all()


def test_the_components_say_what_they_explain(drawn, content):
    share = 100 * content.projections["homogeneous"].explained[0]
    assert drawn["embeddings_homogeneous"].axes[0].get_xlabel() == f"component 1 ({share:.0f} % of the variance)"


def test_edges_without_prior_equal_weights_and_one_sample_are_drawn(monkeypatch):
    pairs = (("vision", "language"), ("language", "vision"))
    record = EdgeRecord(pairs, None, None, np.full((1, 2), 0.5))
    figure = edge_distributions({"homogeneous": record}, "equal")
    figure.canvas.draw()
    assert not figure.legends
    panels = edges_by_class(record, np.array([1.0]), "regression", "one").axes
    assert [axes.get_title(loc="left") for axes in panels] == ["vision → language", "language → vision"]
    assert not [line for axes in panels for line in axes.lines if line.get_label() == "prior"]


def test_two_modalities_leave_room_for_title_and_legend():
    pairs = (("vision", "acoustic"), ("acoustic", "vision"))
    record = EdgeRecord(pairs, np.array([0.5, 0.5]), np.full((3, 2), 0.5), None, np.full((3, 7, 2), 0.5))
    training = ByEpoch(np.arange(-3, 4), np.full(7, 1 / 7), {})
    title = "Edge weights by epoch and class, heterogeneous space, validation\ndhmd on demo (synthetic data), seed 1111"
    figure = edges_by_epoch(record, training, np.arange(3), "regression", title, 1)
    figure.canvas.draw()
    assert figure._suptitle is not None
    for box in (figure.legends[0].get_window_extent(), figure._suptitle.get_window_extent()):
        assert (box.x0 >= 0, box.x1 <= figure.bbox.x1) == (True, True)
    assert len(figure.legends[0].get_texts()) == 9


def test_twelve_edges_of_four_modalities_stand_in_two_rows():
    names = ("language", "vision", "acoustic", "physiology")
    pairs = tuple((t, s) for s in names for t in names if t != s)
    weights = np.random.default_rng(0).dirichlet(np.ones(12), 30)
    figure = edges_by_class(EdgeRecord(pairs, np.full(12, 1 / 12), None, weights), np.arange(30) % 3, "multiclass", "four")
    figure.canvas.draw()
    rows = {round(axes.get_position().y0, 3) for axes in figure.axes}
    assert (len(figure.axes), len(rows)) == (12, 2)
    assert [bool(axes.get_xlabel()) for axes in figure.axes] == [False] * 6 + [True] * 6


def test_one_epoch_is_drawn_as_points(content):
    found = content.analysed
    record = found.record
    edges = {
        space: dataclasses.replace(e, validation=e.validation[:1], validation_by_class=e.validation_by_class[:1])
        for space, e in record.edges.items()
    }
    means = {space: {m: x[:1] for m, x in inner.items()} for space, inner in record.training.activations.items()}
    training = dataclasses.replace(record.training, activations=means)
    short = dataclasses.replace(found, record=dataclasses.replace(record, edges=edges, training=training), epochs=np.array([0]), kept=0)
    with matplotlib.rc_context():
        drawn = dict(figures(compute(short)))
    assert drawn["dictionary_drift"].axes[0].lines[0].get_marker() == "."
    assert drawn["edges_epochs_homogeneous"].axes[0].lines[0].get_marker() == "."
