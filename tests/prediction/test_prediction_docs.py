"""The examples of docs/prediction.md do what they say."""

import doctest
import json
from pathlib import Path

from dhmd.data.store import Store

PAGE = Path(__file__).parents[2] / "docs" / "prediction.md"


def test_the_python_examples(finished):
    store = Store(json.loads((finished / "data.json").read_text())["store"])
    names = {"RUN": finished, "arrays": store.read("test", [0, 1, 2])}
    examples = doctest.DocTestParser().get_doctest(PAGE.read_text(encoding="utf-8"), names, PAGE.name, str(PAGE), 0)
    assert len(examples.examples) > 10
    said: list[str] = []
    result = doctest.DocTestRunner().run(examples, out=said.append)
    assert result.failed == 0, "".join(said)
