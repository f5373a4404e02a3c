"""Counts by class and modality as grouped bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from dhmd.report.svg import drawing, element, line, short, text, ticks

WIDTH, HEIGHT = 420.0, 190.0


def grouped_bars(label: str, groups: Sequence[str], values: Mapping[str, Sequence[float]], kinds: Mapping[str, str]) -> Markup:
    """Draw a group of bars for each class, with a bar for each modality.

    Args:
        label: description of the picture in words.
        groups: names of the groups, drawn below them.
        values: values by modality, one for each group.
        kinds: class of the style sheet by modality.
    """
    left, top, bottom = 34.0, 8.0, HEIGHT - 20
    highest = max((max(row) for row in values.values()), default=0) or 1
    step = (WIDTH - left) / max(len(groups), 1)
    width = 0.8 * step / max(len(values), 1)

    def up(value: float) -> float:
        return bottom - (bottom - top) * value / highest

    parts = []
    for tick in ticks(0, highest, 4):
        parts += [line(left, up(tick), WIDTH, up(tick), "grid"), text(left - 4, up(tick) + 3.5, short(tick), anchor="end")]
    for g, name in enumerate(groups):
        parts.append(text(left + (g + 0.5) * step, HEIGHT - 6, name, anchor="middle"))
        for m, (modality, row) in enumerate(values.items()):
            x = left + (g + 0.1) * step + m * width
            parts.append(
                element("rect", x=x, y=up(row[g]), width=width * 0.92, height=bottom - up(row[g]), class_=f"bar {kinds[modality]}")
            )
    return drawing(WIDTH, HEIGHT, label, *parts)
