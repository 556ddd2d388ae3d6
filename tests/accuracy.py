"""What to expect of a model, before you train one.

    python tests/accuracy.py [FILE]

Joins both sets of FILE, a training-data.json (without it, those of a real table), and
splits the whole at random, ten times. On each split it trains and tests two models on
three sets of features: gradient-boosted trees, and a logistic regression on
standardized features, both from scikit-learn. README.md shows what it prints.

scikit-learn is in no requirements file: pip install scikit-learn
"""

# mypy: disable-error-code="import-not-found, import-untyped"

import argparse
import gzip
import json
import os
import sys
from collections import Counter
from operator import itemgetter
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

# One thread is as quick, and much quicker beside other programs.
os.environ.setdefault("OMP_NUM_THREADS", "1")

try:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError:
    install = f"{sys.executable} -m pip install scikit-learn"
    sys.exit(f"Error: scikit-learn is missing. Install it:\n    {install}")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from extract_training_data import FEATURES

Video = tuple[dict[str, float], int]  # its features by name, and its tier
Split = tuple[list[Video], list[Video]]  # a train set and a test set

PUBLISHED = Path(__file__).resolve().parent / "data" / "published.json.gz"
SPLITS = 10
LEAST = 5  # videos of a tier, so that there are some to train and some to test
LIKELIEST = 100
RATES = ["shareRate", "commentRate", "likeRate"]  # the tier is computed from them
AFTER_POSTING = [feature.name for feature in FEATURES if feature.after_posting]


def load(path: Path) -> tuple[list[str], list[Video]]:
    """Return the names of the features, and the videos of both sets."""
    videos = []
    try:
        content = path.read_bytes()
        data = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
        names = data["featureNames"]
        for part in data["trainSet"], data["testSet"]:
            for vector, tier in zip(part["features"], part["labels"], strict=True):
                features = dict(zip(names, map(float, vector), strict=True))
                videos.append((features, int(tier)))
    except OSError as error:
        sys.exit(f"Error: {path}: {error.strerror or error}")
    except (KeyError, TypeError, ValueError, EOFError):
        sys.exit(f"Error: {path} does not have the form of a training-data.json.")
    tiers = Counter(tier for _, tier in videos)
    if len(tiers) < 2 or min(tiers.values()) < LEAST:
        sys.exit(
            f"Error: {path} has too few videos. There must be two tiers or more,\n"
            f"and at least {LEAST} videos of each."
        )
    return names, videos


def arrays(
    videos: list[Video], names: list[str]
) -> tuple[list[list[float]], list[int]]:
    """Return the vectors of these features, and the tiers."""
    vectors = [[features[name] for name in names] for features, _ in videos]
    return vectors, [tier for _, tier in videos]


def train(kind: str, videos: list[Video], names: list[str]) -> Any:
    """Return a model of this kind, trained on these features of the videos."""
    if kind == "boosted trees":
        model = HistGradientBoostingClassifier(random_state=0)
    else:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return model.fit(*arrays(videos, names))


def accuracy(model: Any, videos: list[Video], names: list[str]) -> float:
    """Return the percentage of the videos whose tier the model predicts."""
    return 100 * float(model.score(*arrays(videos, names)))


def guess(split: Split) -> float:
    """Return the accuracy, in percent, of always guessing the largest tier."""
    train_set, test_set = split
    largest = Counter(tier for _, tier in train_set).most_common(1)[0][0]
    return 100 * fmean(tier == largest for _, tier in test_set)


def hits_of_tier_5(model: Any, videos: list[Video], names: list[str]) -> float:
    """Count tier 5 among the videos with the highest probability of it."""
    vectors, tiers = arrays(videos, names)
    chances = model.predict_proba(vectors) @ (model.classes_ == 5)  # of tier 5
    likeliest = sorted(zip(chances, tiers, strict=True), key=itemgetter(0))[-LIKELIEST:]
    return [tier for _, tier in likeliest].count(5)


def spread(values: list[float]) -> str:
    """Return the mean and the standard deviation, or "-" of fewer than two values."""
    return f"{fmean(values):.1f} +- {stdev(values):.1f}" if len(values) > 1 else "-"


def print_row(*cells: str) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def compare(kind: str, title: str, splits: list[Split], names: list[str]) -> list[Any]:
    """Train and test a model on each split, print the row, and return the models."""
    models, right, found = [], [], []
    for train_set, test_set in splits:
        models.append(train(kind, train_set, names))
        right.append(accuracy(models[-1], test_set, names))
        if tier_5 := [video for video in test_set if video[1] == 5]:
            found.append(accuracy(models[-1], tier_5, names))
    print_row(title, kind, spread(right), spread(found))
    return models


def main() -> None:
    """Print the table, and two more figures for what is known before posting."""
    parser = argparse.ArgumentParser(description="Tell what to expect of a model.")
    parser.add_argument("FILE", nargs="?", type=Path, default=PUBLISHED)
    names, videos = load(parser.parse_args().FILE)
    known = [name for name in names if name not in AFTER_POSTING]
    feature_sets = {
        f"all {len(names)}": names,
        "all but the three rates": [name for name in names if name not in RATES],
        f"the {len(known)} known before posting": known,
    }
    splits: list[Split] = [
        train_test_split(videos, test_size=0.2, random_state=seed)
        for seed in range(SPLITS)
    ]
    print("This takes about a minute.", file=sys.stderr)
    print(
        f"{len(videos):,} videos, {SPLITS} random splits 80/20: "
        "mean +- standard deviation.\n"
    )
    print_row("features", "model", "accuracy, %", "tier 5 recall, %")
    print_row("---", "---", "---", "---")
    trees: list[Any] = []
    for title, chosen in feature_sets.items():
        compare("logistic regression", title, splits, chosen)
        trees = compare("boosted trees", title, splits, chosen)
    print_row("none", "always the largest tier", spread(list(map(guess, splits))), "-")

    hits, reused = [], []
    for i, model in enumerate(trees):  # the last ones: of what is known before posting
        hits.append(hits_of_tier_5(model, splits[i][1], known))
        reused.append(accuracy(model, splits[(i + 1) % SPLITS][1], known))
    count = min(LIKELIEST, len(splits[0][1]))
    by_chance = count * fmean(tier == 5 for _, tier in videos)
    print(
        f"\nOf the {count} test videos that the trees on those {len(known)} rank highest "
        "for tier 5,\n"
        f"{spread(hits)} are tier 5 (of {count} at random: {by_chance:.1f}).\n"
        "On the test set of another seed, of which they have seen about four fifths,\n"
        f"the same trees seem to reach {spread(reused)} %: keep the seed."
    )


if __name__ == "__main__":
    main()
