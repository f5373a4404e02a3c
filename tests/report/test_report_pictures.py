"""The pictures of the page: what they draw, in numbers."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhmd.report.graphs import edge_graph
from dhmd.report.heat import LEVELS, Cells, heat_map
from dhmd.report.lines import Line, line_chart
from dhmd.report.pictures import kinds_of
from dhmd.report.scatter import scatter
from dhmd.report.svg import drawing, element, number, short, ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 6))
def test_ticks_lie_between_the_ends_at_even_steps(low, span, n):
    found = ticks(low, low + span, n)
    assert 1 <= len(found) <= 2 * n + 1
    slack = 1e-6 * max(span, abs(low))
    assert all(low - slack <= tick <= low + span + slack for tick in found)
    assert np.ptp(np.diff(found)) <= slack if len(found) > 2 else True


def test_numbers_are_short():
    assert [number(x) for x in (0, -0.04, 1.25, 100.0)] == ["0", "0", "1.2", "100"]
    assert [short(x) for x in (0.0005, -0.25, 12345)] == ["5e−4", "−0.25", "1.23e4"]


def test_everything_in_an_element_is_escaped():
    found = element("text", "<b>", element("tspan", "&"), aria_label='"x"', x=None)
    assert found == '<text aria-label="&#34;x&#34;">&lt;b&gt;<tspan>&amp;</tspan></text>'
    assert 'aria-label="&lt;i&gt;"' in drawing(1, 1, "<i>")


def test_a_value_that_is_not_there_interrupts_its_line():
    values = np.array([1.0, np.nan, 3.0, 4.0])
    (d,) = re.findall(r'<path d="([^"]*)" class="line m0"', line_chart("x", np.arange(4.0), [Line("a", values, "m0")]))
    assert d.count("M") == 2
    assert d.count("L") == 1
    assert "nan" not in line_chart("x", np.arange(2.0), [Line("a", np.full(2, np.nan), "m0")])


def test_one_epoch_is_a_dot():
    assert line_chart("x", np.zeros(1), [Line("a", np.ones(1), "m0")], kept=0).count("<circle") == 1


def test_cells_have_the_level_of_their_value():
    values = np.array([[0.0, 0.01, 0.5], [1.0, 1.0, 0.99]])
    found = heat_map("x", values, ["a", "b"], [], highest=1.0, cells=Cells())
    squares = {int(level): d.count("M") for d, level in re.findall(r'<path d="([^"]*)" class="h(\d)"', found)}
    assert squares == {1: 1, 5: 1, LEVELS: 3}
    assert 'class="h' not in heat_map("x", np.zeros((1, 2)), ["a"], [], highest=0.0, cells=Cells())


def test_a_plane_has_one_scale_for_both_directions():
    points = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 5.0]])
    found = [[float(x) for x in place] for place in re.findall(r"M(\S+) (\S+)h0", scatter("x", points, ["m0"] * 3))]
    (ax, ay), (bx, _), (_, cy) = found
    assert bx - ax == pytest.approx(2 * (ay - cy), abs=0.2)


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_a_graph_has_an_arrow_an_edge_and_names_every_weight(n):
    names = [f"m<{i}>" for i in range(n)]
    pairs = [(t, s) for s in names for t in names if t != s]
    weights = np.linspace(0, 1, len(pairs)) / len(pairs) * 2
    found = edge_graph("edges", pairs, weights, kinds_of(names))
    assert found.count("<g ") == len(pairs)
    assert found.count("<circle") == n
    assert found.partition(">")[0].count(" to ") == len(pairs)
    numbers = found.count('class="weight"')
    assert numbers == len(pairs) if n <= 3 else 0 < numbers < len(pairs)
    places = [float(x) for x in re.findall(r' c?[xy]="([^"]+)"', found)]
    assert min(places) > 0
    assert max(places) < 250
