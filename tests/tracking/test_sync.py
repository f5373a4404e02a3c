"""`dhmd sync`: finds offline logs, calls `wandb sync`, says what it did. The program is a fake, the server a local one, or none."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dhmd.cli import main
from dhmd.errors import RunError, UsageError
from dhmd.files import locked
from dhmd.tracking import server as address
from dhmd.tracking import sync as module
from dhmd.tracking.offline import State, offline_logs
from dhmd.tracking.sync import sync

FAKE = """#!{python}
import os, pathlib, sys
folder = pathlib.Path(__file__).parent
with (folder / "calls").open("a") as file:
    print(os.environ.get("WANDB_MODE"), sys.stdin.read() == "", *sys.argv[1:], sep="\\t", file=file)
{body}
"""
UPLOADS = """
for path in map(pathlib.Path, sys.argv[2:]):
    for log in path.glob("*.wandb"):
        log.with_suffix(".wandb.synced").touch()
        print("wandb: done", log.name)
"""


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(404)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    """Something that answers where W&B would be."""
    with HTTPServer(("127.0.0.1", 0), Answer) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        monkeypatch.setattr(address, "server", lambda: f"http://127.0.0.1:{found.server_port}")
        yield
        found.shutdown()
        thread.join()


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """Makes a fake `wandb` that does as told; its calls are the lines of the file returned."""

    def make(body):
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "wandb").write_text(FAKE.format(python=sys.executable, body=body))
        (folder / "wandb").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return folder / "calls"

    return make


@pytest.fixture
def runs(tmp_path):
    """Two runs with three logs: one uploaded, and one of the two of a run that was continued."""
    logs = []
    for name in ("a/wandb/offline-run-20260101_000000-aa", "a/wandb/offline-run-20260102_000000-aa", "sweep/b/wandb/offline-run-1-bb"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        logs.append(folder / f"run-{name[-2:]}.wandb")
        logs[-1].touch()
    online = tmp_path / "runs" / "c" / "wandb" / "run-20260101_000000-cc"
    online.mkdir(parents=True)
    (online / "run-cc.wandb").touch()
    logs[0].with_suffix(".wandb.synced").touch()
    return tmp_path / "runs"


@pytest.mark.usefixtures("server")
def test_open_logs_are_uploaded_once(runs, wandb, capsys, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    calls = wandb(UPLOADS)
    assert main(["sync", str(runs)]) == 0
    mode, no_input, *arguments = calls.read_text().rstrip("\n").split("\t")
    second = str(runs / "a/wandb/offline-run-20260102_000000-aa")
    assert (mode, no_input) == ("None", "True")
    assert arguments == ["sync", second, str(runs / "sweep/b/wandb/offline-run-1-bb")]
    printed = capsys.readouterr().out
    assert "3 offline logs: 2 to upload, 1 uploaded before" in printed
    assert "wandb: done run-bb.wandb" in printed
    assert printed.endswith("2 uploaded\n")
    sync(runs)
    assert "3 offline logs: 3 uploaded before" in capsys.readouterr().out
    assert len(calls.read_text().splitlines()) == 1


@pytest.mark.usefixtures("server")
def test_many_logs_take_several_commands(runs, wandb, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 1)
    calls = wandb(UPLOADS)
    sync(runs)
    assert len(calls.read_text().splitlines()) == 2


def test_a_dry_run_uploads_nothing(runs, wandb, capsys):
    calls = wandb(UPLOADS)
    sync(runs, dry_run=True)
    assert "offline-run-20260102_000000-aa" in capsys.readouterr().out
    assert not calls.exists()


def test_a_run_that_trains_is_left_alone(runs):
    with locked(runs / "sweep" / "b" / ".lock"):
        assert [log.state() for log in offline_logs(runs)] == [State.UPLOADED, State.OPEN, State.TRAINING]
    assert [log.state() for log in offline_logs(runs)] == [State.UPLOADED, State.OPEN, State.OPEN]


@pytest.mark.usefixtures("server")
def test_without_a_login_it_says_so(runs, wandb):
    wandb('print("Error: No API key configured. Use `wandb login` to log in.", file=sys.stderr); sys.exit(1)')
    with pytest.raises(RunError, match=r"no login on this machine.*wandb login"):
        sync(runs)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(("body", "status"), [("sys.exit(3)", 3), ("print('wandb: nothing done')", 0)])
def test_what_was_not_uploaded_is_an_error(runs, wandb, body, status):
    wandb(body)
    with pytest.raises(RunError, match=rf"2 of 2 offline logs were not uploaded .*exit status {status}"):
        sync(runs)


def test_without_a_network_it_does_not_wait(runs, wandb, free_port, monkeypatch, capsys):
    calls = wandb(UPLOADS)
    monkeypatch.setattr(address, "server", lambda: f"http://127.0.0.1:{free_port}")
    assert main(["sync", str(runs)]) == 1
    assert f"127.0.0.1:{free_port} does not answer" in capsys.readouterr().err
    assert not calls.exists()


def test_the_server_is_the_one_wandb_would_take(monkeypatch):
    code = "from dhmd.tracking.server import server; print(server())"
    monkeypatch.setenv("WANDB_BASE_URL", "http://wandb.example")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "http://wandb.example"


def test_wrong_folders_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        sync(tmp_path / "nowhere")
    with pytest.raises(RunError, match="no offline W&B runs below"):
        sync(tmp_path)
