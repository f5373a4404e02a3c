"""Both sides of the benchmarks compute the same; results.json and the documents' tables cannot be edited apart."""

from dataclasses import replace

import pytest
import torch

from benchmarks.cases import AUTHORS, CASES, NO_DROPOUT, authors_objective, batch_of, features, plain_system, suite_network
from benchmarks.record import DOCUMENTS, RESULTS, check_document, read, table, write
from benchmarks.sections.lengths import corpus
from dhmd.errors import RunError
from dhmd.interop.dmd import LETTERS

SHORT = replace(CASES["unaligned"], lengths={"l": 6, "v": 19, "a": 14})


def test_plain_and_suite_compute_the_same():
    system = plain_system(SHORT, NO_DROPOUT)
    network = suite_network(system, NO_DROPOUT)
    objective = authors_objective(network)
    x, label = features(SHORT)
    out = system(x)
    terms = system.terms(out, label)
    terms["total"].backward()
    batch = batch_of(x, label)
    outputs = network(batch)
    found = objective(outputs, batch)
    found["total"].backward()
    torch.testing.assert_close(outputs.prediction, out["output_logit"], rtol=1e-4, atol=1e-6)
    assert found["total"].item() == pytest.approx(terms["total"].item(), rel=1e-5)
    of_all = [torch.cat([p.grad.flatten() for p in m.parameters() if p.grad is not None]).norm().item() for m in (network, system)]
    assert of_all[0] == pytest.approx(of_all[1], rel=1e-4)


def test_both_sides_drop_at_the_authors_rates():
    dropped = suite_network(plain_system(SHORT, AUTHORS), AUTHORS).train()
    batch = batch_of(*features(SHORT))
    assert not torch.equal(dropped(batch).prediction, dropped(batch).prediction)
    system = plain_system(SHORT, AUTHORS)
    assert not torch.equal(system(features(SHORT)[0])["output_logit"], system(features(SHORT)[0])["output_logit"])


def test_the_corpus_of_real_lengths_has_its_mean():
    batches = corpus({"l": 50, "v": 500, "a": 375}, 20)
    share = torch.cat([batch.masks["vision"].float().mean(1) for batch in batches])
    assert share.mean().item() == pytest.approx(0.4, abs=0.03)
    assert share.max() > 0.8
    for batch in batches[:1]:
        assert all((batch.features[m][~batch.masks[m]] == 0).all() for m in LETTERS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_the_tables_are_those_of_results_json(document):
    check_document(document, DOCUMENTS[document], RESULTS)


START = {
    "machine": {"processor": "one", "threads": 2, "devices": [], "python": "3", "packages": {"torch": "2"}},
    "date": "2000-01-01",
    "quick": False,
    "found": {"seconds": {"dhmd --help": [0.1, 0.2, 0.3]}},
}


def test_an_edited_number_is_found(tmp_path):
    results, document = tmp_path / "results.json", tmp_path / "page.md"
    write(results, {"start": START})
    document.write_text(f"<!-- bench:start -->\n{table('start', {'start': START})}\n<!-- /bench:start -->\n")
    check_document(document, ["start"], results)
    document.write_text(document.read_text().replace("0.20 s", "0.10 s"))
    with pytest.raises(RunError, match=r"found .*0\.10 s"):
        check_document(document, ["start"], results)
    results.write_text(results.read_text().replace("0.2", "0.1"))
    with pytest.raises(RunError, match="edited"):
        read(results)
