"""Draws the pairs that the default encoder is fine-tuned with (docs/default-encoder.md), in two steps.

    default-encoder-pairs.py draw SHARED_PAIRS OUT.jsonl [PART [SEED [LONG]]]  which pairs, cut to what the encoder reads of them
    default-encoder-pairs.py group OUT.jsonl VECTORS FOLDER      neighbours into files, for batches of one source

PART draws fewer pairs of each source (0.5), or more (1.5), as far as it has them; SEED (17) draws others;
LONG (0) is the part of the passages that are cut at twice the length.

VECTORS is what JarTeacher makes of OUT.jsonl. Needs numpy and safetensors.
"""

import collections
import gzip
import hashlib
import json
import os
import random
import re
import sys

# How many pairs of each source. medquad, fetaqa-dev-test and aws-docs are held out.
SOURCES = {
    "acl-anthology-title-abstract": 3600,
    "arxiv-title-abstract": 5200,
    "scitldr": 2400,
    "openstax": 5200,
    "qed-nq-dev": 1200,
    "squad-dev": 3200,
    "squad-train-sentences": 2400,
    "wikipedia-factoid-questions": 2800,
    "wikipedia-title-lead": 2000,
    "wikipedia-title-section": 3600,
    "wikipedia-vital-summaries": 2200,
    "microsoft-docs": 2800,
    "debian-package-descriptions": 1300,
    "foldoc": 600,
    "wordnet-glosses": 300,
    "world-factbook": 300,
    "disease-ontology": 300,
    "wikibooks-recipes": 600,
    "desktop-help": 600,
    "xquad-en": 256,
}
# Pairs made of passages alone: a sentence of a passage, and the passage without it.
SENTENCES = {"acl-anthology-title-abstract": 700, "arxiv-title-abstract": 1200, "openstax": 700, "wikipedia-vital-summaries": 600}

PASSAGE_CHARACTERS = 560  # about a hundred and twenty tokens
QUERY_CHARACTERS = 200
LOWERED = 0.15  # of queries and passages, each, without capitals and punctuation
GROUP = 256  # neighbours: four batches of 64
BATCH = 64


def cut(text, most):
    text = " ".join(text.split())
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0]


def lowered(text):
    return " ".join(re.sub(r"[^\w\s-]", " ", text.lower()).split())


def without_sentence(passage, chance):
    """A sentence as the query and the rest as the passage, or None."""
    sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", passage)
    long = [i for i, sentence in enumerate(sentences) if 40 <= len(sentence) <= QUERY_CHARACTERS]
    if len(sentences) < 4 or not long:
        return None
    at = chance.choice(long)
    return sentences[at], " ".join(sentences[:at] + sentences[at + 1 :])


def draw(folder, out, part="1", seed="17", long="0"):
    chance = random.Random(int(seed))
    kept, seen = [], set()
    for source, count in SOURCES.items():
        count = round(count * float(part))
        with gzip.open(f"{folder}/{source}.jsonl.gz", "rt", encoding="utf-8") as lines:
            pairs = [json.loads(line) for line in lines]
        chance.shuffle(pairs)
        of_passage = collections.Counter()
        pairs_of_source, sentences = [], round(SENTENCES.get(source, 0) * float(part))
        for pair in pairs:
            most = PASSAGE_CHARACTERS * (2 if float(long) and chance.random() < float(long) else 1)
            passage = cut(chance.choice(pair["pos"]), most)
            query = cut(pair["query"], QUERY_CHARACTERS)
            if len(query) < 3 or len(passage) < 40 or of_passage[passage] >= 2 or query in seen:
                continue
            if sentences > 0 and of_passage[passage] == 0:
                made = without_sentence(" ".join(pair["pos"][0].split()), chance)
                if made:
                    query, passage = made[0], cut(made[1], most)
                    sentences -= 1
                    count += 1
            of_passage[passage] += 1
            seen.add(query)
            query = lowered(query) if chance.random() < LOWERED else query
            passage = lowered(passage) if chance.random() < LOWERED else passage
            pairs_of_source.append({"query": query, "pos": [passage], "neg": [], "source": source})
            if len(pairs_of_source) == count:
                break
        print(f"{source}: {len(pairs_of_source)}", file=sys.stderr)
        kept += pairs_of_source
    with open(out + ".part", "w", encoding="utf-8") as lines:
        for pair in kept:
            print(json.dumps(pair, ensure_ascii=False), file=lines)
    os.rename(out + ".part", out)


def in_order_of_neighbours(vectors, places):
    """Halves the places along the direction between two means, again and again, down to groups."""
    import numpy as np

    if len(places) <= GROUP:
        return list(places)
    own = vectors[places]
    random_order = np.random.default_rng(len(places))
    means = own[random_order.choice(len(places), 2, replace=False)]
    for _ in range(12):
        side = (own @ means.T).argmax(1)
        if side.min() == side.max():
            break
        means = np.stack([own[side == i].mean(0) for i in (0, 1)])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    order = np.argsort(own @ (means[0] - means[1]), kind="stable")
    groups = max(2, round(len(places) / GROUP))
    half = min(len(places) - 1, groups // 2 * GROUP)
    return in_order_of_neighbours(vectors, places[order[:half]]) + in_order_of_neighbours(vectors, places[order[half:]])


def group(file, vector_file, folder):
    import numpy as np
    from safetensors.numpy import load_file

    stored = load_file(vector_file)
    rows = {bytes(key): row for row, key in enumerate(stored["keys"])}
    pairs = [json.loads(line) for line in open(file, encoding="utf-8")]

    def vectors(kind, texts):
        keys = [hashlib.sha256(kind + text.encode()).digest()[:16] for text in texts]
        found = stored["vectors"][[rows[key] for key in keys]].astype(np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    queries = vectors(b"q", [pair["query"] for pair in pairs])
    passages = vectors(b"p", [pair["pos"][0] for pair in pairs])
    agreement = (queries * passages).sum(1)
    of_source = collections.defaultdict(list)
    for place, pair in enumerate(pairs):
        of_source[pair["source"]].append(place)
    os.makedirs(folder, exist_ok=True)
    files = 0
    for source, places in of_source.items():
        # The tenth that the teacher thinks least of is mostly wrong.
        places = sorted(sorted(places, key=lambda place: agreement[place])[len(places) // 10 :])
        ordered = in_order_of_neighbours(passages, np.array(places))
        for begin in range(0, len(ordered), GROUP):
            some = ordered[begin : begin + GROUP]
            # One line of each passage: two could not be told apart within a batch.
            unique = list({pairs[place]["pos"][0]: place for place in some}.values())
            some = unique[: len(unique) // BATCH * BATCH]
            if not some:
                continue
            with open(f"{folder}/{source}-{begin // GROUP:03}.jsonl", "w", encoding="utf-8") as lines:
                for place in some:
                    print(json.dumps(pairs[place], ensure_ascii=False), file=lines)
            files += 1
    print(f"{files} files", file=sys.stderr)


if __name__ == "__main__":
    {"draw": draw, "group": group}[sys.argv[1]](*sys.argv[2:])
