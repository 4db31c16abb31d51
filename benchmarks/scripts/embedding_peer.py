"""What the sides in Python of io.llara.benchmarks.peers.EmbeddingSpeed share.

A side is a script that is started as

    SCRIPT MODEL_DIR THREADS TEXTS.jsonl ARGUMENT...

It prints the embedding of each text once, a JSON array a line, then waits; for each line it is sent it embeds all texts
and prints the seconds that took. An embedding is the last hidden state of the end-of-text token behind the text, of length 1.
"""
import json
import os
import sys
import time

import numpy

# Libraries that print do so on standard error: standard output is for answers.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

BATCH = 16  # texts of about one length at a time; 8 and 32 differ little


def texts_of(file):
    with open(file, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class Texts:
    """Texts, and the ids that the model's tokenizer makes of them, with the end-of-text token behind each."""

    def __init__(self, folder, file):
        import tokenizers

        self.texts = texts_of(file)
        self.tokenizer = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        with open(os.path.join(folder, "tokenizer_config.json"), encoding="utf-8") as config:
            eos = json.load(config)["eos_token"]
        # The tokenizer does not always know its name in a text.
        self.eos = self.tokenizer.token_to_id(eos if isinstance(eos, str) else eos["content"])

    def batches(self):
        """Tokenizes, and yields indices, ids and mask [texts, tokens] of batches, padded to the right; longest first."""
        ids = [encoding.ids + [self.eos] for encoding in self.tokenizer.encode_batch(self.texts)]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        for begin in range(0, len(order), BATCH):
            some = order[begin : begin + BATCH]
            width = len(ids[some[0]])
            batch = numpy.full((len(some), width), self.eos, dtype=numpy.int64)
            mask = numpy.zeros((len(some), width), dtype=numpy.int64)
            for row, i in enumerate(some):
                batch[row, : len(ids[i])] = ids[i]
                mask[row, : len(ids[i])] = 1
            yield some, batch, mask

    def embed(self, vectors):
        """Returns the vectors of all texts, batch by batch those of vectors(ids, mask)."""
        embeddings = [None] * len(self.texts)
        for some, ids, mask in self.batches():
            for i, vector in zip(some, vectors(ids, mask)):
                embeddings[i] = vector
        return embeddings


def exported_inputs(ids, mask):
    """Returns the inputs of a graph of export-onnx.py: ids, additive mask [texts, 1, tokens, tokens], positions."""
    texts, tokens = ids.shape
    visible = numpy.tril(numpy.ones((tokens, tokens), dtype=bool)) & (mask[:, None, :] > 0)
    # Rows of padding see themselves, or their softmax had nothing to sum.
    visible |= numpy.eye(tokens, dtype=bool)
    added = numpy.where(visible, 0, numpy.finfo(numpy.float32).min).astype(numpy.float32)
    positions = numpy.broadcast_to(numpy.arange(tokens, dtype=numpy.int64), (texts, tokens))
    return {"input_ids": ids, "attention_mask": added[:, None], "position_ids": numpy.ascontiguousarray(positions)}


def last_states(states, mask):
    """Returns the state of the last token of each text, of length 1."""
    pooled = states[numpy.arange(len(mask)), mask.sum(1) - 1].astype(numpy.float32)
    return pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True)


def serve(embed):
    """Answers the program that started this one; embed() returns the vectors of all texts."""
    for vector in embed():
        print(json.dumps([round(float(x), 6) for x in vector]), file=ANSWERS, flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        embed()
        print(time.perf_counter() - begin, file=ANSWERS, flush=True)


def made_once(path, make):
    """Returns a path that make(path) writes, unless it is there."""
    if not os.path.exists(path):
        make(path + ".part")
        os.replace(path + ".part", path)
    return path
