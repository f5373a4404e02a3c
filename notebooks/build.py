"""Make the .ipynb of every source here: its cells, executed by this Python in a kernel, with outputs and nothing of the machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
from nbconvert.preprocessors import ExecutePreprocessor

FOLDER = Path(__file__).parent


def build(source: Path) -> Path:
    """Execute a source in an empty folder and write its notebook beside it; the same source gives the same file on the same machine."""
    notebook = jupytext.read(source)
    with TemporaryDirectory() as empty:
        ExecutePreprocessor(timeout=600, kernel_name="python3", record_timing=False).preprocess(notebook, {"metadata": {"path": empty}})
    language = notebook.metadata["language_info"]["name"]
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": language, "name": "python3"},
            "language_info": {"name": language},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = nbformat.NotebookNode()
    target = source.with_suffix(".ipynb")
    nbformat.validate(notebook)
    nbformat.write(notebook, target)
    return target


if __name__ == "__main__":
    # tqdm looks for a widget that no run here draws
    os.environ.update(OMP_NUM_THREADS="1", WANDB_MODE="offline", PYTHONWARNINGS="ignore:IProgress")
    wanted = [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("[0-9]*.py"))
    for source in wanted:
        print(build(source), flush=True)
