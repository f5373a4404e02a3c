"""dhmd data from the command line, from a file of nothing to a trained run."""

import subprocess
import sys

import pytest

from dhmd.cli import main


def dhmd(*arguments, cwd):
    return subprocess.run([sys.executable, "-m", "dhmd.cli", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)


def test_synth_inspect_convert_verify(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "synth", "-o", "corpus.pkl", "n_train=24", "n_valid=8", "n_test=8", "aligned=false"]) == 0
    assert main(["data", "inspect", "corpus.pkl"]) == 0
    assert main(["data", "convert", "corpus.pkl"]) == 0
    assert main(["data", "verify", "corpus.pkl.dhmd.h5"]) == 0
    said = capsys.readouterr().out
    for part in ("synthetic", "unaligned", "train 24, valid 8, test 8", "corpus.pkl.dhmd.h5", "whole", "corpus.pkl: the same"):
        assert part in said


def test_a_wrong_file_is_one_message_and_status_1(tmp_path):
    (tmp_path / "x.pkl").write_text("nothing")
    result = dhmd("data", "inspect", "x.pkl", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("dhmd: x.pkl")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["data"], ["data", "look"], ["data", "synth", "-o", "a.pkl", "n_train=no"], ["data", "synth"]])
def test_wrong_usage_is_status_2(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    assert status == 2


def test_help_needs_no_heavy_library(tmp_path):
    code = "import sys; sys.argv=['dhmd','--help']\nfrom dhmd.cli import main\ntry: main(['data','--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch','h5py','numpy','hydra') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout.splitlines()[-1] == "[]"
