"""Edges between modalities as a directed graph of teachers and students with weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from dhmd.analysis.activations import Array
from dhmd.report.svg import drawing, element, number, text

Pairs = Sequence[tuple[str, str]]
WIDTH = 240.0
_RADIUS = 78.0
_TOP = 10.0
_LONGEST = 10


def edge_graph(label: str, pairs: Pairs, weights: Array, kinds: dict[str, str]) -> Markup:
    """Draw arrows from teacher to student; width and number are the weight, the colour is the teacher's.

    With more than three modalities, only weights above the average have a number.

    Args:
        label: description of the picture in words; the weights are added.
        pairs: (teacher, student) of each of the E edges.
        weights: (E,) weights.
        kinds: class of the style sheet by modality.
    """
    names = list(dict.fromkeys([student for _, student in pairs] + [teacher for teacher, _ in pairs]))
    node = min(29.0, 0.62 * _RADIUS * math.sin(math.pi / len(names)))
    first = math.pi if len(names) == 2 else math.pi / 2
    turn = 2 * math.pi / len(names)
    middle = _TOP + node + (_RADIUS if len(names) > 2 else 2 * _TOP)
    angles = {name: first - turn * i for i, name in enumerate(names)}
    place = {name: (WIDTH / 2 + _RADIUS * math.cos(angle), middle - _RADIUS * math.sin(angle)) for name, angle in angles.items()}
    height = max(y for _, y in place.values()) + node + (_TOP if len(names) > 2 else 3 * _TOP)
    arrows, numbers, heard = [], [], []
    for (teacher, student), value in sorted(zip(pairs, weights, strict=True), key=lambda edge: float(edge[1])):
        arrow, written = _arrow(place[teacher], place[student], float(value), node, kinds[teacher])
        arrows.append(arrow)
        if len(names) <= 3 or value >= 1 / len(pairs):  # else they lie on top of each other
            numbers.append(written)
        heard.append(f"{teacher} to {student} {value:.2f}")
    nodes = []
    for name, (x, y) in place.items():
        shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        nodes.append(element("circle", cx=x, cy=y, r=node, class_=f"node {kinds[name]}"))
        nodes.append(text(x, y + 3.5, shown, anchor="middle", kind="name"))
    return drawing(WIDTH, height, f"{label}: {', '.join(reversed(heard))}", *arrows, *nodes, *numbers)


def _arrow(start: tuple[float, float], end: tuple[float, float], weight: float, node: float, kind: str) -> tuple[Markup, Markup]:
    distance = math.hypot(end[0] - start[0], end[1] - start[1])
    along = ((end[0] - start[0]) / distance, (end[1] - start[1]) / distance)
    across = (-along[1], along[0])
    width = 0.7 + 11 * max(0.0, weight)
    head = 5 + 0.7 * width
    shift = 7.0

    def at(way: float, aside: float) -> tuple[float, float]:
        return start[0] + along[0] * way + across[0] * aside, start[1] + along[1] * way + across[1] * aside

    begin, tip, neck = at(node + 1, shift), at(distance - node - 1, shift), at(distance - node - 1 - head, shift + 1.5)
    bend = at(distance / 2, shift + 16)
    wide = 0.5 * width + 2.6
    wings = [(neck[0] + across[0] * side, neck[1] + across[1] * side) for side in (wide, -wide)]
    curve = f"M{_at(begin)}Q{_at(bend)} {_at(neck)}"
    opacity = f"{0.35 + 0.65 * min(1.0, 3 * max(0.0, weight)):.2f}"
    shaft = element("path", d=curve, class_="shaft", stroke_width=width)
    point = element("path", d=f"M{_at(tip)}L{_at(wings[0])}L{_at(wings[1])}Z", class_="head")
    # nearer to the teacher, so that the numbers between three nodes do not overlap, and beside the shaft: a number is wider than high
    beside = shift + 10 + width / 2 + 11 * abs(across[0]) + 4 * abs(across[1])
    x, y = at(0.36 * distance, beside)
    return element("g", shaft, point, class_=kind, opacity=opacity), text(x, y + 3.5, f"{weight:.2f}", anchor="middle", kind="weight")


def _at(point: tuple[float, float]) -> str:
    return f"{number(point[0])} {number(point[1])}"
