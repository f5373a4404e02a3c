"""The runner of pages finds what does not hold."""

import pytest
from page_runner import Runner, blocks, commands, small_overrides


def page(folder, text):
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    return path


def run(folder, text):
    runner = Runner()
    for block in blocks(page(folder, text)):
        runner.run(block)
    return runner


def test_output_is_compared_with_wildcards(tmp_path):
    run(tmp_path, "```console\n$ dhmd --version\ndhmd ...\n$ echo one; echo two >&2\none\ntwo\n$ echo not compared\n```\n")
    with pytest.raises(AssertionError, match=r"page.md:3: \$ echo one"):
        run(tmp_path, "text\n```console\n$ echo one\ntwo\n```\n")


def test_exit_statuses_are_those_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(tmp_path, "```console\n$ dhmd show nowhere\ndhmd: ...\n```\n")
    with pytest.raises(AssertionError, match="exit status 1"):
        run(tmp_path, "```console\n$ dhmd show nowhere\n```\n")
    with pytest.raises(AssertionError, match="exit status 0"):
        run(tmp_path, "```console\n$ dhmd --version\ndhmd: unhappy\n```\n")
    with pytest.raises(AssertionError, match="exit status 2"):
        run(tmp_path, "```console\n$ dhmd fly\n```\n")


def test_python_blocks_share_their_names(tmp_path):
    run(
        tmp_path,
        "```python\nx = 2\n```\n<!-- setup python\ny = 3\n-->\n```python\n>>> x * y\n6\n>>> z = 1\n```\n```python\nassert z == 1\n```",
    )
    with pytest.raises(AssertionError, match="Expected"):
        run(tmp_path, "```python\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, "```python\n1 / 0\n```\n")


def test_marks(tmp_path):
    marks = [(b.mark, b.reason) for b in blocks(page(tmp_path, "<!-- skip: no file -->\n\n```console\n$ x\n```\n```console\n$ y\n```\n"))]
    assert marks == [("skip", "no file"), ("", "")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- skip -->\n```console\n$ x\n```\n", "without a reason"),
        ("<!-- slow: because -->\ntext\n", "not followed by a block"),
        ("```console\ndhmd train\n```\n", "begins with"),
        ("```\n$ dhmd train\n```\n", "in a console block"),
        ("```text\ndhmd train\n```\n", "in a console block"),
        ("```bash\ndhmd train\n```\n", "'bash'"),
        ("```python\n", "closes it"),
    ],
)
def test_a_page_that_would_hide_an_example_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        blocks(page(tmp_path, text))


def test_a_block_that_names_a_file_is_that_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GREETING", "none")
    text = "```yaml\n# conf/data/a.yaml\nb: 1\n```\n```python\n# later.py\n1 / 0\n```\n```console\n$ export GREETING=hello\n"
    run(tmp_path, text + "$ echo $GREETING; cat conf/data/a.yaml\nhello\n# conf/data/a.yaml\nb: 1\n```\n")
    assert (tmp_path / "later.py").read_text() == "# later.py\n1 / 0\n"


def test_a_command_may_go_over_several_lines(tmp_path):
    (block,) = blocks(page(tmp_path, "```console\n$ dhmd train \\\n>     seed=1  # why\nfirst\n\nlast\n$ ls\n```\n"))
    first, second = commands(block)
    assert (first.words, first.expected) == (["dhmd", "train", "seed=1"], "first\n\nlast\n")
    assert (second.line, second.expected) == (7, "")


def test_trainings_are_made_small_where_they_have_the_key():
    full = small_overrides(["train"])
    assert "data.synthetic.n_train=24" in full
    assert "model.homogeneous.dictionary.entries=16" in full
    text_only = small_overrides(["train", "-m", "model=text_only", "seed=1,2", "trainer.max_epochs=1"])
    assert "trainer.max_epochs=1" in text_only
    assert not any(o.startswith("model.width") for o in text_only)
    assert "model.width=8" not in small_overrides(["train", "model.width=12"])
    assert not any(o.startswith("data.synthetic") for o in small_overrides(["train", "data=custom", "data.path=x"]))
    assert small_overrides(["train", "--cfg", "job"]) == []
    assert small_overrides(["train", "resume=RUN"]) == []
    assert small_overrides(["train", "modle=dmd"]) == []
    assert small_overrides(["train", "resume=true"]) == full
    assert small_overrides(["show", "RUN"]) == []
