"""The figures of a run: all of them, legible, repeatable, and only of stages there were."""

import json
import subprocess
import sys

import h5py
import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from dhmd.analysis.figures import figures, write_figures
from dhmd.analysis.style import save
from dhmd.errors import RunError
from dhmd.runs.reader import read_run
from fabricated import LOSSES, make_run

ALWAYS = ["loss_terms", "metrics", "confusion"]
EDGES = ["edge_graphs", "edge_history"]
DICTIONARY = ["dictionary_usage", "dictionary_overlap", "dictionary_homogeneous", "dictionary_heterogeneous"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The figures of a whole run, by name."""
    return dict(figures(read_run(make_run(tmp_path_factory.mktemp("run") / "a", n=40, epochs=5), finished=False)))


def texts(figure, monkeypatch):
    """Ticks within the view; those beyond it exist, but are not drawn."""
    seen = []
    draw = matplotlib.text.Text.draw

    def recording(self, *args, **kwargs):
        seen.append(self)
        return draw(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(matplotlib.text.Text, "draw", recording)
        figure.canvas.draw()
    return list(dict.fromkeys(t for t in seen if t.get_visible() and t.get_text().strip()))


def test_every_stage_has_its_figures(drawn):
    assert list(drawn) == [*ALWAYS, *EDGES, *DICTIONARY, "embeddings"]


def test_both_formats_are_written_where_they_belong(tmp_path):
    folder = make_run(tmp_path / "a", n=20, epochs=4, stages=("edges",), done=False)  # drawn before DONE
    written = write_figures(folder)
    assert [p.name for p in written] == [f"{name}.{kind}" for name in [*ALWAYS, *EDGES] for kind in ("png", "svg")]
    assert sorted(p.name for p in (folder / "figures").iterdir()) == sorted(p.name for p in written)
    for path in written:
        if path.suffix == ".png":
            pixels = np.asarray(Image.open(path).convert("L"))
            assert min(pixels.shape) > 300
            assert 0.005 < (pixels < 128).mean() < 0.5  # something is drawn, on white
        else:
            assert path.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("stages", "names"), [((), []), (("activations",), DICTIONARY), (("embeddings",), ["embeddings"]), (("edges",), EDGES)]
)
def test_absent_stages_have_no_figures(tmp_path, stages, names):
    run = read_run(make_run(tmp_path / "a", n=20, epochs=4, stages=stages))
    assert [name for name, _ in figures(run)] == [*ALWAYS, *names]


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_other_tasks(tmp_path, task):
    names = [name for name, _ in figures(read_run(make_run(tmp_path / "a", n=30, epochs=4, task=task)))]
    assert names == [*ALWAYS, *EDGES, *DICTIONARY, "embeddings"]


def test_synthetic_data_is_named_in_every_title(drawn, tmp_path):
    for figure in drawn.values():
        assert "(synthetic data)" in figure.get_suptitle()
    real = read_run(make_run(tmp_path / "a", n=20, epochs=4, stages=(), synthetic=False))
    assert not [name for name, figure in figures(real) if "synthetic" in figure.get_suptitle()]


def test_every_loss_term_has_its_panel(drawn):
    panels = [axes for axes in drawn["loss_terms"].axes if axes.get_visible()]
    assert len(panels) == len(LOSSES) + 1
    assert panels[0].get_title(loc="left") == "total"
    assert all([line.get_label() for line in axes.lines[:2]] == ["train", "validation"] for axes in panels)


def test_every_metric_has_its_panel_in_the_right_unit(drawn):
    panels = {axes.get_title(loc="left"): axes for axes in drawn["metrics"].axes if axes.get_visible()}
    assert list(panels)[-1] == "learning rate"
    assert panels["ACC7, %"].lines[0].get_ydata().max() > 1
    assert panels["Corr"].lines[0].get_ydata().max() <= 1
    assert len(panels) == 10
    rows = {round(axes.get_position().y0, 3) for axes in panels.values()}
    assert len(rows) == 2
    assert [bool(axes.get_xlabel()) for axes in panels.values()] == [False] * 5 + [True] * 5


def test_an_ablation_is_named_in_every_title_and_leaves_no_figure(tmp_path, monkeypatch):
    run = read_run(make_run(tmp_path / "a", n=40, epochs=5, ablation="no_cross_modal_attention"))
    for name, figure in figures(run):
        assert "(ablation no_cross_modal_attention)" in figure.get_suptitle().replace("\n", " "), name
        texts(figure, monkeypatch)
        box = figure._suptitle.get_window_extent()
        assert box.x0 >= 0, name
        assert box.x1 <= figure.bbox.x1, name


def test_the_colour_of_labels_is_called_label(drawn):
    assert [axes.get_ylabel() for axes in drawn["embeddings"].axes if axes.get_ylabel()] == ["label", "label"]


def test_arrows_carry_the_weights(tmp_path):
    run = read_run(make_run(tmp_path / "a", n=20, epochs=4, stages=("edges",)))
    figure = dict(figures(run))["edge_graphs"]
    learned, prior = figure.axes[:2]
    record = run.record().edges["homogeneous"]
    for axes, weights in ((learned, record.weights.mean(axis=0)), (prior, record.prior)):
        written = sorted(t.get_text() for t in axes.texts if t.get_text()[0].isdigit())
        assert written == sorted(f"{w:.2f}" for w in weights)
        widths = [p.get_linewidth() for p in axes.patches if isinstance(p, matplotlib.patches.FancyArrowPatch)]
        assert widths == pytest.approx([0.5 + 9 * w for w in sorted(weights)])


def test_edges_without_prior_or_without_learned_weights(tmp_path):
    folder = make_run(tmp_path / "a", n=20, epochs=4, stages=("edges",))
    with h5py.File(folder / "record.h5", "a") as file:
        del file["edges/homogeneous/prior"]
        del file["edges/heterogeneous/validation"], file["edges/heterogeneous/test"]
    drawn = dict(figures(read_run(folder)))
    nothing = [[t.get_text() for t in axes.texts] == ["none"] for axes in drawn["edge_graphs"].axes]
    assert nothing == [False, True, True, False]
    assert [axes.get_title(loc="left") for axes in drawn["edge_history"].axes] == ["homogeneous"]


def test_one_epoch_is_drawn_as_points(tmp_path):
    folder = make_run(tmp_path / "a", n=20, epochs=3)
    header, first, *_ = (folder / "history.csv").read_text().splitlines()
    (folder / "history.csv").write_text(f"{header}\n{first}\n")
    drawn = dict(figures(read_run(folder)))
    assert drawn["loss_terms"].axes[0].lines[0].get_marker() == "."


def test_no_text_leaves_its_figure_or_covers_another(drawn, monkeypatch):
    """Titles, ticks, labels and numbers stay inside the page and apart from each other."""
    for name, figure in drawn.items():
        page = figure.bbox
        boxes = [(t.get_text(), t.get_window_extent()) for t in texts(figure, monkeypatch) if t.get_rotation() in (0, 90)]
        for text, box in boxes:
            assert box.x0 >= page.x0 - 1, (name, text)
            assert box.x1 <= page.x1 + 1, (name, text)
            assert box.y0 >= page.y0 - 1, (name, text)
            assert box.y1 <= page.y1 + 1, (name, text)
        for i, (text, box) in enumerate(boxes):
            for other_text, other in boxes[i + 1 :]:
                across = min(box.x1, other.x1) - max(box.x0, other.x0)
                up = min(box.y1, other.y1) - max(box.y0, other.y0)
                assert across <= 1 or up <= 2, (name, text, other_text)


def test_files_repeat_bit_for_bit_and_pyplot_stays_away(tmp_path):
    folder = make_run(tmp_path / "a", n=20, epochs=4, stages=("edges",))
    code = f"""
import sys
from pathlib import Path
from dhmd.analysis.figures import figures
from dhmd.analysis.style import save
from dhmd.runs.reader import read_run
drawn = dict(figures(read_run(Path({str(folder)!r}))))
save(drawn["edge_graphs"], Path({str(tmp_path)!r}), "theirs")
sys.exit("matplotlib.pyplot" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    save(dict(figures(read_run(folder)))["edge_graphs"], tmp_path, "ours")
    for kind in ("png", "svg"):
        assert (tmp_path / f"ours.{kind}").read_bytes() == (tmp_path / f"theirs.{kind}").read_bytes()


def test_drawing_leaves_no_global_state(drawn, tmp_path):
    before = dict(matplotlib.rcParams)
    figure = drawn["confusion"]
    assert isinstance(figure.canvas, FigureCanvasAgg)
    save(figure, tmp_path, "x")
    assert dict(matplotlib.rcParams) == before


def test_a_missing_file_is_named(tmp_path):
    folder = make_run(tmp_path / "a", n=20, epochs=4, stages=())
    (folder / "record.h5").unlink()
    with pytest.raises(RunError, match=r"record\.h5: missing"):
        write_figures(folder)
    assert not (folder / "figures").exists()


def test_a_selection_at_another_epoch_moves_the_line(tmp_path):
    folder = make_run(tmp_path / "a", n=20, epochs=5, stages=())
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["selection"]["epoch"] = 1
    (folder / "metrics.json").write_text(json.dumps(metrics))
    line = dict(figures(read_run(folder)))["metrics"].axes[0].lines[-1]
    assert set(line.get_xdata()) == {1}
