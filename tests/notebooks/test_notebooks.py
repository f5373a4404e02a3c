"""Every notebook is its source, executed: the same cells, no error, nothing of the machine it was made on; and every source runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))
LARGEST = 500_000  # bytes: a notebook is text in a repository
every_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def cells_of_source(source):
    """(kind, text) of each cell of a percent-format file."""
    cells = []
    for part in re.split(r"^# %%", source.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        mark, _, text = part.partition("\n")
        if mark.strip() == "[markdown]":
            cells.append(("markdown", "\n".join(line.removeprefix("#").removeprefix(" ") for line in text.strip().splitlines())))
        else:
            assert not mark.strip(), f"{source.name}: a cell marked {mark.strip()}; expected '# %%' or '# %% [markdown]'"
            cells.append(("code", text.strip()))
    return cells


def notebook(source):
    return json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))


def text(lines):
    return lines if isinstance(lines, str) else "".join(lines)


def outputs(source):
    return [output for cell in notebook(source)["cells"] for output in cell.get("outputs", ())]


def test_four_notebooks_and_their_sources():
    assert len(SOURCES) == 4
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == [path.stem for path in SOURCES]


@every_source
def test_a_notebook_has_the_cells_of_its_source(source):
    found = [(cell["cell_type"], text(cell["source"])) for cell in notebook(source)["cells"]]
    assert found == cells_of_source(source), "one of the two was edited alone; run `make notebooks`"


@every_source
def test_a_notebook_was_executed_from_top_to_bottom_without_an_error(source):
    code = [cell for cell in notebook(source)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert [output for output in outputs(source) if output["output_type"] == "error" or output.get("name") == "stderr"] == []
    assert any("image/png" in output.get("data", {}) for output in outputs(source)), "no figure"


@every_source
def test_a_notebook_holds_nothing_of_the_machine(source):
    content = source.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert len(content) < LARGEST
    said = "".join(text(output.get("text", "")) + text(output.get("data", {}).get("text/plain", "")) for output in outputs(source))
    for trace in (
        r"/tmp\b",  # noqa: S108  # looked for, not written to
        r"/home/",
        r"/Users/",
        r"/root",
        r"\bat 0x[0-9a-f]{6,}",
        r"\d\d:\d\d:\d\d",
        r"\d s\b",
        re.escape(str(FOLDER.parent)),
    ):
        assert not re.search(trace, said), f"{trace} in an output"
    assert set(notebook(source)["metadata"]) == {"kernelspec", "language_info"}
    assert all(cell["metadata"] == {} for cell in notebook(source)["cells"])


@every_source
def test_links_of_a_notebook_lead_somewhere(source):
    for kind, written in cells_of_source(source):
        for link in re.findall(r"\]\(([^)#]+)", written) if kind == "markdown" else ():
            assert (FOLDER / link).is_file(), f"{link}: no such file"


@every_source
def test_a_notebook_says_that_its_data_is_synthetic(source):
    cells = cells_of_source(source)
    assert "**synthetic**" in cells[0][1]
    figures = [i for i, (kind, written) in enumerate(cells) if kind == "code" and shows_a_figure(source, i)]
    assert figures
    for i in figures:  # the next words after a figure say what it shows
        assert "ynthetic" in written_after(cells, i), f"the figure of cell {i}: nothing after it says synthetic"


def shows_a_figure(source, i):
    return any("image/png" in output.get("data", {}) for output in notebook(source)["cells"][i]["outputs"])


def written_after(cells, i):
    code = cells[i][1]
    return code + next(written for kind, written in cells[i + 1 :] if kind == "markdown")


@pytest.mark.slow
@every_source
def test_a_source_runs(source, tmp_path):
    places = {"TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    before = sorted(FOLDER.iterdir())
    done = subprocess.run(
        [sys.executable, str(source)], cwd=tmp_path, env={**os.environ, **places}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(FOLDER.iterdir()) == before, "a notebook writes to a folder of its own"
