"""Writes a collection of the shape of MS MARCO's: collection.tsv, queries.{train,dev}.tsv, qrels.{train,dev}.tsv.

usage: msmarco-shaped.py OUT [PASSAGES] [QUERIES]

By default 100,000 passages and 2,000 queries, of which a tenth is for dev. A passage is a sentence of 12 words, drawn with
the same seed each time; its query is four of them in another order. Only the standard library is needed.
"""

import os
import random
import sys

SUBJECTS = "girl boy dog cat bird bear fish frog mother father duck fox rabbit mouse king queen horse friend teacher farmer".split()
NAMES = "Lily Tom Ben Mia Sam Anna Max Sue Tim Lucy Jack Amy Bob Sara Leo Emma Joe Kim Dan Zoe".split()
THINGS = (
    "ball box tree house garden river toy cake apple book hat car boat flower stone kite drum lamp door bed chair spoon"
    " cup ring bell leaf nest egg star cloud hill bridge road farm shop school park pond cave beach"
).split()
ADJECTIVES = "big small red blue green old new happy sad loud quiet soft cold warm shiny dirty sweet brave kind funny".split()
VERBS = "found lost saw made gave took broke painted carried hid wanted loved shared dropped opened cleaned".split()


def sentence(draw):
    return (
        f"{draw.choice(NAMES)} the {draw.choice(ADJECTIVES)} {draw.choice(SUBJECTS)} {draw.choice(VERBS)} a"
        f" {draw.choice(ADJECTIVES)} {draw.choice(THINGS)} near the {draw.choice(ADJECTIVES)} {draw.choice(THINGS)}."
    )


def query(draw, passage):
    words = [word for word in passage.replace(".", "").split() if word not in ("the", "a", "near")]
    return " ".join(draw.sample(words, 4))


def main(out, passages=100_000, queries=2_000):
    draw = random.Random(15)
    os.makedirs(out, exist_ok=True)
    asked = set(draw.sample(range(passages), queries))
    dev = set(draw.sample(sorted(asked), queries // 10))
    files = {
        name: open(os.path.join(out, name), "w", encoding="utf-8")
        for name in ("collection.tsv", "queries.train.tsv", "queries.dev.tsv", "qrels.train.tsv", "qrels.dev.tsv")
    }
    for number in range(passages):
        passage = sentence(draw)
        print(number, passage, sep="\t", file=files["collection.tsv"])
        if number in asked:
            split = "dev" if number in dev else "train"
            print(1_000_000 + number, query(draw, passage), sep="\t", file=files[f"queries.{split}.tsv"])
            print(1_000_000 + number, 0, number, 1, sep="\t", file=files[f"qrels.{split}.tsv"])
    for file in files.values():
        file.close()


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
