"""Train `recommender`: how many stars would this user give that film?

Matrix factorisation with biases, by alternating least squares. The data are MADE
UP by this script, because no ratings come with a package: 300 users and 200 films
in five genres. A user likes one genre, dislikes another, and is a generous or a
strict judge; a film is better or worse than others of its genre. Ratings are
rounded to half stars after noise is added. One pair in five is rated.

The graph takes any integer. An id it has not been trained on (negative ones
included) is an unknown user or film: its vector and bias are zero, so the score
rests on the other's bias alone, and is the mean where both are unknown.
"""

import numpy as np
from onnx import helper

import export

SEED = 5
USERS, FILMS, GENRES = 300, 200, 5
FACTORS = 6
ROUNDS = 20
REGULARISATION = 1.0


def make_ratings(rng):
    """The made-up data: arrays of user, film and stars (0.5 to 5 in halves).

    Film `i` is of genre `i % 5`. User `u` likes genre `u % 5` and dislikes
    genre `(u // 5) % 5` where that is another one.
    """
    user, film = np.nonzero(rng.random((USERS, FILMS)) < 0.2)
    liked, disliked = user % GENRES, user // GENRES % GENRES
    genre = film % GENRES
    stars = 3.0 + rng.normal(0, 0.4, USERS)[user] + rng.normal(0, 0.4, FILMS)[film]
    stars += 1.3 * (genre == liked) - 1.3 * ((genre == disliked) & (liked != disliked))
    stars += rng.normal(0, 0.3, len(user))
    return user, film, np.clip(np.round(stars * 2) / 2, 0.5, 5.0)


def solve(count, mine, vectors, target):
    """One side of the alternation: a ridge regression for each user (or film)."""
    solved = np.zeros((count, vectors.shape[1]))
    ridge = REGULARISATION * np.eye(vectors.shape[1])
    for index in range(count):
        rows = mine == index
        x = vectors[rows]
        solved[index] = np.linalg.solve(x.T @ x + ridge, x.T @ target[rows])
    return solved


def train(rng, user, film, stars):
    """Factors and biases; each row is [vector..., bias]."""
    mean = stars.mean()
    users = np.zeros((USERS, FACTORS + 1))
    films = rng.normal(0, 0.3, (FILMS, FACTORS + 1))
    ones = np.ones((len(user), 1))
    for _ in range(ROUNDS):
        seen = np.hstack([films[film, :-1], ones])
        users = solve(USERS, user, seen, stars - mean - films[film, -1])
        seen = np.hstack([users[user, :-1], ones])
        films = solve(FILMS, film, seen, stars - mean - users[user, -1])
    return mean, users, films


def with_unknown(table):
    """A row of zeros before and after: where ids that are out of range end up."""
    zero = np.zeros((1, table.shape[1]))
    return np.vstack([zero, table, zero]).astype(np.float32)


def lookup(side, count):
    """Nodes: `side` (ids) → `side_vector` [batch, FACTORS], `side_bias` [batch].

    Ids are cut to -1 ..= count and moved up by one, so that both ends meet the
    rows of zeros.
    """
    return [
        helper.make_node("Max", [side, "minus_one"], [f"{side}_low"]),
        helper.make_node("Min", [f"{side}_low", f"{side}_count"], [f"{side}_cut"]),
        helper.make_node("Add", [f"{side}_cut", "one"], [f"{side}_row"]),
        helper.make_node("Gather", [f"{side}_vectors", f"{side}_row"], [f"{side}_vector"], axis=0),
        helper.make_node("Gather", [f"{side}_biases", f"{side}_row"], [f"{side}_bias"], axis=0),
    ], [export.weight(f"{side}_count", np.array([count]))]


def save(mean, users, films):
    users, films = with_unknown(users), with_unknown(films)
    user_nodes, user_weights = lookup("user", USERS)
    film_nodes, film_weights = lookup("item", FILMS)
    nodes = user_nodes + film_nodes + [
        helper.make_node("Mul", ["user_vector", "item_vector"], ["product"]),
        helper.make_node("ReduceSum", ["product", "last_axis"], ["match"], keepdims=0),
        helper.make_node("Sum", ["match", "user_bias", "item_bias", "mean"], ["stars"]),
        helper.make_node("Clip", ["stars", "fewest", "most"], ["score"]),
    ]
    weights = user_weights + film_weights + [
        export.weight("minus_one", np.array([-1])),
        export.weight("one", np.array([1])),
        export.weight("last_axis", np.array([1])),
        export.weight("user_vectors", users[:, :-1]),
        export.weight("user_biases", users[:, -1]),
        export.weight("item_vectors", films[:, :-1]),
        export.weight("item_biases", films[:, -1]),
        export.weight("mean", np.array([mean], np.float32)),
        export.weight("fewest", np.float32(0.5)),
        export.weight("most", np.float32(5)),
    ]
    export.save_model(
        "recommender",
        "Stars (0.5 to 5) that a user would give an item. Users 0 to 299, items 0 to 199; other ids count as unknown.",
        nodes,
        [export.tensor("user", np.int64), export.tensor("item", np.int64)],
        [export.tensor("score", np.float32)],
        weights,
    )


def main():
    rng = np.random.default_rng(SEED)
    user, film, stars = make_ratings(rng)
    held_out = rng.random(len(user)) < 0.2
    kept = ~held_out
    mean, users, films = train(rng, user[kept], film[kept], stars[kept])
    save(mean, users, films)
    # Measured on the saved file, on ratings that training has not seen.
    score = export.run("recommender", user=user[held_out], item=film[held_out])["score"]
    rmse = np.sqrt(np.mean((score - stars[held_out]) ** 2))
    floor = np.sqrt(np.mean((mean - stars[held_out]) ** 2))
    print(
        f"recommender: RMSE {rmse:.2f} stars on {held_out.sum()} held-out ratings "
        f"of {len(stars)}; always answering the mean: {floor:.2f}"
    )
    # User 7 likes genre 2 and dislikes genre 1. In turn: a film of each of these, the
    # same two for a user nobody knows.
    ids = dict(user=np.array([7, 7, 999, 999]), item=np.array([12, 11, 12, 11]))
    liked, disliked, _, _ = export.write_samples("recommender", "user-7", **ids)["score"]
    assert liked > disliked + 1, (liked, disliked)


if __name__ == "__main__":
    main()
