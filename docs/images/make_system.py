"""Draw docs/images/system.svg, the picture at the top of the README: `python docs/images/make_system.py`."""

from pathlib import Path

COLOURS = {"L": "#0072B2", "V": "#D55E00", "A": "#009E73"}
INK, MUTED, PAPER, HOMO, HETERO = "#222222", "#666666", "#ffffff", "#EAF2FA", "#FBF0E8"
MODALITIES = (("L", "language"), ("V", "vision"), ("A", "acoustic"))
parts: list[str] = []


def box(x: float, y: float, w: float, h: float, lines: list[str], fill: str = PAPER, stroke: str = INK, bold: bool = False) -> None:
    """A rounded box with centred lines; the first may be bold."""
    parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6" fill="{fill}" stroke="{stroke}" stroke-width="1.3"/>')
    for i, line in enumerate(lines):
        size, weight = (13, "600") if bold and i == 0 else (12, "400")
        dy = y + h / 2 + (i - (len(lines) - 1) / 2) * 16 + 4
        parts.append(
            f'<text x="{x + w / 2}" y="{dy}" text-anchor="middle" font-size="{size}" font-weight="{weight}" fill="{INK}">{line}</text>'
        )


def arrow(x1: float, y1: float, x2: float, y2: float, colour: str = INK, dash: str = "", width: float = 1.4) -> None:
    """A line with a head in its colour."""
    extra = f' stroke-dasharray="{dash}"' if dash else ""
    parts.append(
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="{width}" marker-end="url(#h{colour[1:]})"{extra}/>'
    )


def label(x: float, y: float, text: str, size: int = 12, colour: str = MUTED, anchor: str = "start", weight: str = "400") -> None:
    """Text on its own."""
    parts.append(f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}">{text}</text>')


def graph(cx: float, cy: float) -> None:
    """Three modalities teaching each other."""
    at = {"L": (cx, cy - 30), "V": (cx - 38, cy + 26), "A": (cx + 38, cy + 26)}
    for a, b, w in (("L", "V", 3.0), ("L", "A", 3.0), ("V", "A", 1.2)):
        (x1, y1), (x2, y2) = at[a], at[b]
        n = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        ux, uy = (x2 - x1) / n, (y2 - y1) / n
        arrow(x1 + 14 * ux, y1 + 14 * uy, x2 - 18 * ux, y2 - 18 * uy, INK, width=w)
    for m, (x, y) in at.items():
        parts.append(f'<circle cx="{x}" cy="{y}" r="13" fill="{COLOURS[m]}"/>')
        label(x, y + 4, m, 12, "#ffffff", "middle", "600")


def dictionary(x: float, y: float) -> None:
    """Entries in a row, and which of them each modality activates."""
    active = {"L": (1, 4, 9), "V": (1, 5, 9), "A": (1, 4, 8)}
    for i in range(12):
        parts.append(f'<rect x="{x + i * 11}" y="{y}" width="9" height="24" fill="#dddddd"/>')
    for row, (m, entries) in enumerate(active.items()):
        for i in entries:
            parts.append(f'<circle cx="{x + i * 11 + 4.5}" cy="{y + 36 + row * 13}" r="4.5" fill="{COLOURS[m]}"/>')
        label(x - 14, y + 40 + row * 13, m, 11, COLOURS[m], "middle", "600")


def space(y: float, fill: str, name: str, unit: str, pre: str) -> None:
    """One decoupled space from its parts to what it gives to the prediction."""
    parts.append(f'<rect x="330" y="{y}" width="480" height="166" rx="10" fill="{fill}" stroke="none"/>')
    label(344, y + 20, name, 13, INK, weight="600")
    label(344, y + 38, pre)
    graph(420, y + 96)
    label(420, y + 152, unit, 12, INK, "middle", "600")
    dictionary(560, y + 62)
    label(626, y + 152, "dictionary and codes", 12, INK, "middle", "600")
    label(752, y + 88, "[ feature ;", 12, INK, "middle")
    label(752, y + 104, "code ]", 12, INK, "middle")


for i, (letter, name) in enumerate(MODALITIES):
    y = 62 + i * 116
    box(16, y, 104, 46, [name, "(B, T, d)"], stroke=COLOURS[letter], bold=True)
    arrow(120, y + 23, 152, y + 23, COLOURS[letter])
    box(154, y, 96, 46, ["temporal", "convolution"], stroke=COLOURS[letter])
    arrow(250, y + 23, 326, 118 + i * 8, COLOURS[letter])
    arrow(250, y + 23, 326, 302 + i * 8, COLOURS[letter], "5 3")
label(16, 36, "features", 13, INK, weight="600")
label(154, 36, "projection", 13, INK, weight="600")
label(256, 36, "decoupling", 13, INK, weight="600")
for x, text, dash in ((154, "shared part", ""), (154, "private part", "5 3")):
    y = 384 if dash else 366
    parts.append(
        f'<line x1="{x}" y1="{y - 4}" x2="{x + 34}" y2="{y - 4}" stroke="{INK}" stroke-width="1.4" stroke-dasharray="{dash or "none"}"/>'
    )
    label(x + 42, y, text)
space(38, HOMO, "homogeneous space", "HomoGD", "what the modalities share")
space(226, HETERO, "heterogeneous space", "HeteroGD", "what is each one's own, after cross-modal attention")
arrow(810, 121, 852, 196)
arrow(810, 309, 852, 236)
box(854, 190, 110, 52, ["fusion", "prediction"], bold=True)
label(420, 214, "coarse distillation", 12, MUTED, "middle")
label(626, 214, "fine distillation", 12, MUTED, "middle")

heads = "".join(
    f'<marker id="h{c[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'markerUnits="userSpaceOnUse" orient="auto">'
    f'<path d="M0,0 L8,4 L0,8 z" fill="{c}"/></marker>'
    for c in (INK, *COLOURS.values())
)
svg = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 412" font-family="Helvetica, Arial, sans-serif" role="img" '
    'aria-label="From features by decoupling to two spaces, each with graph distillation and a dictionary, to a prediction">'
    f'<rect width="980" height="412" fill="{PAPER}"/><defs>{heads}</defs>{"".join(parts)}</svg>\n'
)
Path(__file__).with_name("system.svg").write_text(svg)
