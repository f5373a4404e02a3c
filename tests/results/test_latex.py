"""LaTeX that a compiler takes: everything escaped, every environment and brace closed, as many cells as columns."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhmd.results.latex import escape, to_latex
from dhmd.results.markdown import Document, Sheet
from dhmd.results.summary import tables_of
from dhmd.results.tables import document
from fabricated import make_entry

NASTY = r"a_b & 5 % of #1 {x} $y ~ z^2 \alpha <|> ± × – `code` **bold** [0.1]"


def environments(text):
    """Environments in order of their end; fails where one closes another."""
    opened, closed = [], []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
            closed.append(name)
    assert not opened
    return closed


def check_characters(text):
    """No character left that TeX reads as a command, outside of those written on purpose."""
    depth = 0
    for at, character in enumerate(text):
        escaped = len(re.search(r"\\*$", text[:at]).group()) % 2 == 1
        if character in "{}" and not escaped:
            depth += 1 if character == "{" else -1
            assert depth >= 0
        if not escaped:
            assert character not in "#_~^", (character, text[max(0, at - 20) : at + 5])
    assert depth == 0
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
    assert text.isascii()


def check_tabular(text):
    for columns, prose, body in re.findall(r"\\begin\{tabular\}\{([lc]+)(p\{.*?\})?\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert rows
        for row in rows:
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns) + bool(prose) - 1
        for rule in ("toprule", "midrule", "bottomrule"):
            assert body.count(f"\\{rule}") == 1
        assert not re.search(r"\\\\\s*\[", body), "a bracket after a row's end is read as its option"


def test_tables_with_all_their_parts_are_well_formed():
    entries = [make_entry(seed=s, ablation=a, data="a_b", test={"corr": s / 3}) for s in (1, 2) for a in ("", "no_gd")]
    text = to_latex(document(tables_of([*entries, make_entry(run="z")]), (), {"runs/x_1": NASTY}, published="mosi", reference=""))
    assert environments(text).count("table") == 2
    assert environments(text)[-1] == "itemize"
    body = text.replace(r"% needs \usepackage{booktabs}", "")
    check_characters(body)
    assert not re.search(r"(?<!\\)%", body)
    assert r"\begin{tabular}{llccccccccp{0.25\linewidth}}" in text, "sources are sentences"
    check_tabular(text)
    assert r"\shortstack{84.0 $\pm$ 0.0\\{\scriptsize [84.0, 84.0]}}" in text
    assert r"no\_gd" in text
    assert r"\textbf{a\_b}" in text


@given(st.text(alphabet=st.sampled_from("ab1 \\&%$#_{}~^<>|±×–-[]\n"), max_size=30))
def test_any_text_is_escaped(text):
    written = escape(text)
    check_characters(written)
    assert not re.search(r"(?<!\\)[&%]", written)


@pytest.mark.parametrize(
    ("text", "written"),
    [("-0.3", "$-$0.3"), ("1-3", "1-3"), ("[-0.1, +0.2]", "[$-$0.1, +0.2]"), ("a-b", "a-b"), ("\\", r"\textbackslash{}"), ("5 %", r"5 \%")],
)
def test_signs(text, written):
    assert escape(text) == written


def test_cells_and_notes():
    sheet = Sheet("A **bold** and `code_x`", [["name", "x"], ["[b", "1.0 [0.5, 1.5], p = 0.1"], ["note [c]", "2"]], ["see `a_b`"])
    text = to_latex(Document([sheet]))
    assert r"\caption{A \textbf{bold} and \texttt{code\_x}}" in text
    assert "{[b} & " in text
    assert r"\shortstack{1.0\\{\scriptsize [0.5, 1.5], p = 0.1}}" in text
    assert r"note [c] & 2 \\" in text
    assert r"see \texttt{a\_b}\par" in text
    check_tabular(text)
