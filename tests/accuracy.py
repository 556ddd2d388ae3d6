"""What to expect of a model, before you train one.

    python tests/accuracy.py [FILE]

Joins both sets of FILE, a training-data.json (without it, those of a real table), and
splits the whole at random, ten times. On each split it trains and tests two models on
three sets of features: a logistic regression on standardized features, and gradient-
boosted trees, both from scikit-learn. README.md shows what it prints. A "-" stands
where there are too few videos for a figure.

scikit-learn is in no requirements file: pip install scikit-learn
"""

# mypy: disable-error-code="import-not-found, import-untyped"

import argparse
import gzip
import json
import os
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

# One thread is as quick, and much quicker beside other programs.
os.environ.setdefault("OMP_NUM_THREADS", "1")

try:
    import numpy as np
    from sklearn.base import clone
    from sklearn.dummy import DummyClassifier
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

PUBLISHED = Path(__file__).resolve().parent / "data" / "published.json.gz"
SPLITS = 10
LEAST = 5  # videos of a tier, so that there are some to train and some to test
RANKED = 55  # about as many of a test set have known followers and are tier 5
RATES = ["shareRate", "commentRate", "likeRate"]  # the tier is computed from them
AFTER_POSTING = [feature.name for feature in FEATURES if feature.star]

REGRESSION = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
TREES = HistGradientBoostingClassifier(  # fewer and smaller: the defaults overfit
    max_iter=60,
    learning_rate=0.05,
    max_leaf_nodes=8,
    min_samples_leaf=40,
    random_state=0,
)
LARGEST = DummyClassifier(strategy="most_frequent")

Trained = tuple[Any, Any, Any]  # a model; the features and tiers of its test set


def load(path: Path) -> tuple[list[str], Any, Any]:
    """Return the features' names, and the features and the tiers of both sets."""
    try:
        content = path.read_bytes()
        data = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
        names = list(data["featureNames"])
        parts = [data["trainSet"], data["testSet"]]
        x = np.array([row for part in parts for row in part["features"]], dtype=float)
        y = np.array([tier for part in parts for tier in part["labels"]], dtype=int)
        if x.shape != (len(y), len(names)) or not np.isfinite(x).all():
            raise ValueError("there must be a number for each video and feature")
        if "hasFollowerData" not in names:
            raise KeyError("hasFollowerData")
    except OSError as error:
        sys.exit(f"Error: {path}: {error.strerror or error}")
    except (KeyError, TypeError, ValueError, OverflowError, EOFError):
        sys.exit(f"Error: {path} does not have the form of a training-data.json.")
    _, sizes = np.unique(y, return_counts=True)  # of the tiers
    if len(sizes) < 2 or min(sizes) < LEAST:
        sys.exit(f"Error: {path} needs at least two tiers, and {LEAST} videos of each.")
    return names, x, y


def train(model: Any, x: Any, y: Any) -> list[Trained]:
    """Return the model as trained on each of ten random splits, with the test set."""
    trained = []
    for seed in range(SPLITS):
        split = train_test_split(x, y, test_size=0.2, random_state=seed)
        x_train, x_test, y_train, y_test = split
        trained.append((clone(model).fit(x_train, y_train), x_test, y_test))
    return trained


def accuracy(model: Any, x: Any, y: Any) -> float:
    """Return the percentage of the videos whose tier the model predicts."""
    return 100 * float(model.score(x, y))


def ranked_tiers(model: Any, x: Any, y: Any) -> Any:
    """Return the tiers of the videos, that of the likeliest to be tier 5 first."""
    chances = model.predict_proba(x) @ (model.classes_ == 5)  # of tier 5
    return y[np.argsort(-chances, kind="stable")]


def spread(values: list[float]) -> str:
    """Return the mean and the standard deviation, or "-" of fewer than two values."""
    return f"{fmean(values):.1f} +- {stdev(values):.1f}" if len(values) > 1 else "-"


def print_row(title: str, kind: str, trained: list[Trained]) -> None:
    """Test each model on the test set of its split, and print a row of the table."""
    right, found = [], []
    for model, x, y in trained:
        right.append(accuracy(model, x, y))
        if 5 in y:
            found.append(accuracy(model, x[y == 5], y[y == 5]))
    print(f"{title:28}{kind:25}{spread(right):11}  {spread(found)}", flush=True)


def main() -> None:
    """Print the table, and two more figures for what is known before posting."""
    parser = argparse.ArgumentParser(description="Tell what to expect of a model.")
    parser.add_argument("FILE", nargs="?", type=Path, default=PUBLISHED)
    names, x, y = load(parser.parse_args().FILE)
    known = [name for name in names if name not in AFTER_POSTING]
    feature_sets = {
        f"all {len(names)}": names,
        "all but the three rates": [name for name in names if name not in RATES],
        f"the {len(known)} known before posting": known,
    }
    print("This takes about ten seconds.", file=sys.stderr)
    print(
        f"{len(y):,} videos, {SPLITS} random splits 80/20: "
        "mean +- standard deviation.\n\n"
        f"{'features':28}{'model':25}accuracy, %  tier 5 recall, %"
    )
    for title, chosen in feature_sets.items():
        columns = x[:, [names.index(name) for name in chosen]]
        print_row(title, "logistic regression", train(REGRESSION, columns, y))
        trees = train(TREES, columns, y)
        print_row(title, "boosted trees", trees)
    print_row("none", "always the largest tier", train(LARGEST, x, y))

    highest, overall, reused = [], [], []
    # The last trees are those of what is known before posting. They rank only videos
    # with known followers, as those of one's own next video always are. Whether they
    # are known tells how a video was scraped, and would decide most of the ranking.
    for i, (model, x_test, y_test) in enumerate(trees):
        followed = x_test[:, known.index("hasFollowerData")] == 1
        if followed.sum() > RANKED:
            tiers = ranked_tiers(model, x_test[followed], y_test[followed])
            highest.append(100 * fmean(tiers[:RANKED] == 5))
            overall.append(100 * fmean(tiers == 5))
        _, x_other, y_other = trees[i - 1]
        reused.append(accuracy(model, x_other, y_other))
    print(
        f"\nOf the test videos with known followers, {spread(overall)} % are tier 5; "
        f"of the {RANKED}\nof them that the trees on those {len(known)} rank highest "
        f"for it, {spread(highest)} % are.\n"
        "On the test set of another seed, of which they have seen about four fifths,\n"
        f"the same trees seem to reach {spread(reused)} %: keep the seed."
    )


if __name__ == "__main__":
    main()
