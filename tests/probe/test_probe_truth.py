"""The oracle: what the generator plants can be recovered from what it generates, as far as its options say, and no further."""

import numpy as np
import pytest

from dhmd.analysis.readout import explained, read_out
from dhmd.data.module import FeatureDataModule
from dhmd.data.synthetic.generator import VALENCE, SyntheticOptions, generate
from dhmd.errors import RunError
from dhmd.probe.measure import feature_means
from dhmd.probe.truth import check_same, clip_mean, options_of, plant, weak
from dhmd.runs.reader import read_run
from dhmd.training.build import whole_split
from fabricated import make_run

OPTIONS = SyntheticOptions(
    n_train=64,
    n_valid=8,
    n_test=480,
    dims={"language": 16, "vision": 16, "acoustic": 16},
    reliability={"language": 1.0, "vision": 0.5, "acoustic": 0.1},
)


@pytest.fixture(scope="module")
def planted():
    return plant(OPTIONS)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Input of a linear reader: the mean over real frames, standardised, as a run has it."""
    data = FeatureDataModule(
        synthetic={"n_train": 64, "n_valid": 8, "n_test": 480, "dims": dict(OPTIONS.dims), "reliability": dict(OPTIONS.reliability)},
        cache_dir=tmp_path_factory.mktemp("cache"),
        standardise=True,
        non_finite="zero",
    )
    data.prepare_data()
    data.setup()
    return feature_means(whole_split(data, "test"))


def test_the_clean_latent_gives_every_target(planted):
    truth = generate(OPTIONS).truth["test"]
    mix = np.random.default_rng(0).normal(size=(8, 20))
    assert read_out(clip_mean(truth.shared @ mix, truth.words), planted.shared, planted.videos) > 0.99
    for m, private in truth.private.items():
        assert read_out(clip_mean(private @ mix[:3], truth.words), planted.private[m], planted.videos) > 0.99
    shown = (truth.tokens[..., None] == np.arange(len(VALENCE))).astype(float)
    clean = shown.sum(axis=1) / shown.sum(axis=(1, 2))[:, None]
    assert read_out(clean, planted.composition, planted.videos) > 0.99
    assert read_out(clean, planted.valence, planted.videos) > 0.99


def test_the_composition_is_a_share_and_gives_the_valence(planted):
    np.testing.assert_allclose(planted.composition.sum(axis=1), 1)
    np.testing.assert_allclose(planted.composition @ VALENCE, planted.valence)


def test_the_shared_latent_is_read_the_better_the_more_reliable_the_modality(planted, features):
    r2 = {m: read_out(x, planted.shared, planted.videos) for m, x in features.items()}
    assert r2["language"] > r2["vision"] + 0.1 > r2["acoustic"] + 0.2
    assert r2["language"] > 0.7
    valence = {m: read_out(x, planted.valence, planted.videos) for m, x in features.items()}
    assert valence["language"] > valence["vision"] > valence["acoustic"]


def test_private_factors_are_read_from_their_own_modality_alone(planted, features):
    assert read_out(features["language"], planted.private["language"], planted.videos) > 0.9
    for other in ("vision", "acoustic"):
        assert read_out(features[other], planted.private["language"], planted.videos) < 0.1


def test_the_input_is_made_up_of_private_factors_more_than_of_the_shared_latent(planted, features):
    """So that a part which held the shared latent alone would show it."""
    for m, x in features.items():
        private, shared = (explained(factors, x, planted.videos) for factors in (planted.private[m], planted.shared))
        assert private > shared + 0.1
        assert private + shared < 1
    assert explained(planted.shared, planted.shared @ np.ones((8, 2)), planted.videos) > 0.99


def test_clips_of_a_video_stay_together(planted):
    videos = planted.videos
    assert len(np.unique(videos)) == 60
    assert (videos[:8] == videos[0]).all()
    assert videos[8] != videos[0]


def test_weak_modalities():
    assert weak({"a": 0.8, "b": 0.4, "c": 0.8}) == ["b"]
    assert weak({"a": 0.5, "b": 0.5}) == []


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"name": "mosi", "path": "/mosi.pkl"}, "data.path=/mosi.pkl"),
        ({"name": "demo", "synthetic": {"n_test": 8}, "path": "other.pkl"}, "data.path=other.pkl"),
        ({"name": "demo", "synthetic": None, "path": None}, "no data.synthetic"),
        ({"name": "demo", "synthetic": {"n_test": 8}, "path": None, "folds": 5}, "folds"),
    ],
)
def test_runs_on_other_data_are_refused(tmp_path, data, found):
    run = read_run(make_run(tmp_path / "run", n=8, epochs=4, stages=(), config={"data": data}))
    with pytest.raises(RunError, match="not trained on the embedded corpus") as refused:
        options_of(run)
    assert found in str(refused.value)


def test_a_run_on_other_clips_is_refused(tmp_path):
    synthetic = {"n_train": 8, "n_valid": 8, "n_test": 8}
    run = read_run(make_run(tmp_path / "run", n=8, epochs=4, stages=(), config={"data": {"name": "demo", "synthetic": synthetic}}))
    with pytest.raises(RunError, match="its test split is not the one"):
        check_same(run, plant(options_of(run)))
