"""Linear readers: what they must find, what they must not, and that videos stay together."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dhmd.analysis.readout import ALPHAS, classify, explained, read_each, read_out

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6))
WEIGHTS = RNG.normal(size=(6, 3))
VIDEOS = np.repeat(np.arange(15), 8)


def test_a_linear_target_is_read_whole_and_noise_not_at_all():
    assert read_out(X, X @ WEIGHTS) > 0.999
    assert abs(read_out(X, np.random.default_rng(1).normal(size=120))) < 0.15


def test_scale_and_offset_of_features_and_targets_make_no_difference():
    noisy = X @ WEIGHTS + 0.5 * np.random.default_rng(2).normal(size=(120, 3))
    once = read_out(X, noisy)
    assert read_out(X * [1, 1e4, 1e-4, 7, 7, 7] + 100, noisy * [1, 1e3, 1e-3] - 5) == pytest.approx(once)
    assert 0.5 < once < 0.99
    assert read_out(X, noisy) == once


def test_columns_count_equally_and_constant_ones_not():
    y = np.stack([X[:, 0], 1000 * np.random.default_rng(3).normal(size=120)], axis=1)
    single = [read_out(X, y[:, k]) for k in (0, 1)]
    assert read_out(X, y) == pytest.approx(np.mean(single))
    assert read_out(X, np.column_stack([y, np.ones(120)])) == pytest.approx(np.mean(single))


def test_the_known_variance_share_comes_out():
    big = np.random.default_rng(4).normal(size=(4000, 3))
    y = big[:, 0] + np.random.default_rng(5).normal(size=4000)  # half of the variance can be known
    assert read_out(big, y) == pytest.approx(0.5, abs=0.03)


def test_what_only_names_the_video_is_no_knowledge_of_a_new_video():
    style = np.random.default_rng(6).normal(size=15)[VIDEOS]
    which = np.eye(15)[VIDEOS]
    assert read_out(which, style) > 0.95
    assert read_out(which, style, VIDEOS) < 0.05


def test_it_is_ridge_regression_with_the_penalty_of_least_error_on_videos_left_out():
    y = X @ WEIGHTS + 3 * np.random.default_rng(8).normal(size=(120, 3))
    predicted = np.empty_like(y)
    for train, test in GroupKFold(5).split(X, groups=VIDEOS):
        for column in range(3):
            search = GridSearchCV(
                make_pipeline(StandardScaler(), Ridge()),
                {"ridge__alpha": ALPHAS},
                scoring=lambda reader, x, t: -((t - reader.predict(x)) ** 2).sum(),
                cv=GroupKFold(5),
            )
            predicted[test, column] = search.fit(X[train], y[train, column], groups=VIDEOS[train]).predict(X[test])
    expected = np.mean(1 - ((y - predicted) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0))
    assert read_out(X, y, VIDEOS) == pytest.approx(expected, abs=1e-9)


def by_video(seed: int, signal: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features and target of 40 videos of 12 clips, each video with a style of its own in both, and a signal in all clips."""
    random = np.random.default_rng(seed)
    videos = np.repeat(np.arange(40), 12)
    latent = random.normal(size=480)
    features = random.normal(size=(480, 30)) + 3 * random.normal(size=(40, 30))[videos] + np.outer(signal * latent, random.normal(size=30))
    return features, signal * latent + random.normal(size=40)[videos], videos


def test_videos_do_not_choose_the_penalty():
    """Clips of one video tell each other's style; a penalty chosen clip by clip would be too small for a new video."""
    styles = [read_out(*by_video(seed, 0)) for seed in range(4)]
    assert np.mean(styles) > -0.3, "nothing can be known of a new video's style: 0 at best, and -1 by leave-one-clip-out"
    both = [by_video(seed, 1) for seed in range(4)]
    clip_by_clip = []
    for x, y, videos in both:
        errors = 0.0
        for train, test in GroupKFold(5).split(x, groups=videos):
            errors += ((y[test] - make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(x[train], y[train]).predict(x[test])) ** 2).sum()
        clip_by_clip.append(1 - errors / ((y - y.mean()) ** 2).sum())
    assert np.mean([read_out(*of) for of in both]) > np.mean(clip_by_clip) + 0.02


def test_more_features_than_samples_can_be_read():
    wide = np.random.default_rng(9).normal(size=(120, 300))
    assert 0.2 < read_out(np.column_stack([wide, 10 * X]), X[:, 0] + X[:, 1]) <= 1
    assert read_out(wide, X) < 0.1


def test_several_targets_at_once_are_what_each_is_alone():
    targets = {"one": X[:, 0] ** 2, "three": X @ WEIGHTS}
    assert read_each(X, targets, VIDEOS) == pytest.approx({name: read_out(X, y, VIDEOS) for name, y in targets.items()})


def test_what_hardly_any_sample_shows_does_no_harm():
    """An entry that is on in a few clips, and then for something else in each, must not make up the rest of the target."""
    rare = np.zeros((120, 40))
    rare[np.arange(120), np.arange(120) % 40] = 1e-6 + np.random.default_rng(10).exponential(size=120) ** 4
    assert read_out(np.column_stack([X[:, :1], rare]), X[:, 0], VIDEOS) > 0.99
    assert read_out(rare, np.random.default_rng(11).normal(size=120), VIDEOS) == pytest.approx(0, abs=0.1)


def test_the_share_of_variance_is_by_size_not_by_column():
    """One loud column of one factor, three quiet ones of another: 9 of 12 parts of the variance, though both are read whole."""
    one, other = X[:, :1], X[:, 1:2]
    features = np.column_stack([3 * one, other, other, other]) / np.array([one.std(), *[other.std()] * 3])
    assert explained(one, features, VIDEOS) == pytest.approx(0.75, abs=0.03)
    assert explained(other, features, VIDEOS) == pytest.approx(0.25, abs=0.03)
    assert explained(X[:, 2:], features, VIDEOS) == pytest.approx(0, abs=0.1)
    assert read_out(features, np.column_stack([one, other]), VIDEOS) > 0.999


def test_classes():
    classes = (X[:, 0] > 0).astype(int) + (X[:, 0] > 0.8)
    found = classify(X, classes, VIDEOS)
    assert found.accuracy > 0.75
    assert found.chance == pytest.approx(1 / 3)
    assert classify(X, classes, VIDEOS) == found
    assert abs(classify(np.random.default_rng(7).normal(size=(120, 2)), classes).accuracy - 1 / 3) < 0.15


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    constant = np.zeros((100, 1))
    classes = np.array([1] * 5 + [0] * 95)
    assert classify(constant, classes).accuracy == 0.5
    assert classify(constant, np.array([1] + [0] * 99)).accuracy == 0.5  # one fold trains on a single class


@pytest.mark.parametrize(
    ("x", "y", "groups", "told"),
    [
        (X[:, 0], X[:, 0], None, "expected"),
        (X, X[:9], None, "expected"),
        (X * np.nan, X, None, "finite"),
        (X, X, np.zeros(120), "found 1 groups"),
        (X, X, np.arange(9), "found 9 groups of 120"),
    ],
)
@pytest.mark.parametrize("reader", [read_out, lambda x, y, groups: classify(x, y[..., 0] > 0 if y.ndim > 1 else y > 0, groups)])
def test_what_cannot_be_read_is_refused(reader, x, y, groups, told):
    with pytest.raises(ValueError, match=told):
        reader(x, y, groups)


def test_targets_without_variation_are_refused():
    with pytest.raises(ValueError, match="does not vary"):
        read_out(X, np.ones(120))
    with pytest.raises(ValueError, match="found 1 class"):
        classify(X, np.ones(120))
