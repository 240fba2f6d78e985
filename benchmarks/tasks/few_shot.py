"""Few-shot classification: embeddings of new classes, by the nearest mean of a few examples of each."""

import numpy as np

from benchmarks.data.dataset import Array
from benchmarks.terminal.errors import UsageError


def few_shot_accuracy(
    embeddings: Array,
    labels: Array,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    episodes: int = 600,
    seed: int = 0,
) -> tuple[float, float]:
    """The accuracy of N-way k-shot classification, and the half-width of its 95 % confidence interval.

    Each episode draws classes, and examples of each. The mean of the first embeddings of a class is its prototype; each
    of the others is assigned to the nearest prototype.

    Args:
        embeddings: `(examples, features)`, of classes that the network was not trained on.
        labels: `(examples,)`, integers.
        ways: number of classes in an episode.
        shots: number of examples of each that make its prototype.
        queries: number of examples of each that are classified.
        episodes: number of episodes.
        seed: of the draws.

    Returns:
        The mean accuracy of the episodes, from 0 to 1, and 1.96 standard errors.

    Raises:
        UsageError: fewer than `ways` classes have `shots + queries` examples, or a number is not positive.

    Source: Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", 2017, arXiv 1703.05175, section 3.
    """
    for value, name in ((ways, "ways"), (shots, "shots"), (queries, "queries"), (episodes, "episodes")):
        if value < 1:
            raise UsageError(f"`{name}` must be a positive integer; got {value}")
    needed = shots + queries
    x = np.asarray(embeddings, "float64")
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    members = [rows for rows in members if len(rows) >= needed]
    if len(members) < ways:
        raise UsageError(f"{ways} classes need {needed} examples each; got {len(members)} such classes")
    rng = np.random.default_rng(seed)
    right = np.empty(episodes)
    wanted = np.repeat(np.arange(ways), queries)
    for episode in range(episodes):
        classes = rng.choice(len(members), ways, replace=False)
        rows = np.stack([rng.choice(members[each], needed, replace=False) for each in classes])
        prototypes = x[rows[:, :shots]].mean(axis=1)
        found = x[rows[:, shots:]].reshape(ways * queries, -1)
        squares = ((found[:, None] - prototypes[None]) ** 2).sum(-1)
        right[episode] = np.mean(squares.argmin(axis=1) == wanted)
    error = right.std(ddof=1) / np.sqrt(episodes) if episodes > 1 else float("nan")
    return float(right.mean()), float(1.96 * error)
