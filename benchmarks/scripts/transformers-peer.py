#!/usr/bin/env python3
"""The side of transformers in io.llara.benchmarks.peers.EmbeddingSpeed, which starts it.

    transformers-peer.py MODEL_DIR float32|bfloat16 THREADS TEXTS.jsonl

Prints the embedding of each text once, a JSON array a line, then waits; for each line it is sent it embeds all texts
and prints the seconds that took. Texts are sorted by length and go in batches of 16; 8 and 32 differ little.
"""
import json
import sys
import time

import torch
from transformers import AutoModel, AutoTokenizer

BATCH = 16


def main(folder, dtype, threads, file):
    torch.set_num_threads(int(threads))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.padding_side = "right"
    tokenizer.pad_token = tokenizer.eos_token
    model = AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    with open(file, encoding="utf-8") as lines:
        texts = [json.loads(line) + tokenizer.eos_token for line in lines]

    @torch.inference_mode()
    def embed():
        ids = tokenizer(texts)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: -len(ids[i]))
        embeddings = [None] * len(texts)
        for begin in range(0, len(order), BATCH):
            some = order[begin:begin + BATCH]
            batch = tokenizer.pad({"input_ids": [ids[i] for i in some]}, return_tensors="pt")
            states = model(**batch).last_hidden_state
            last = batch["attention_mask"].sum(1) - 1
            pooled = states[torch.arange(len(some)), last].float()
            for i, vector in zip(some, torch.nn.functional.normalize(pooled, dim=1)):
                embeddings[i] = vector
        return embeddings

    for vector in embed():
        print(json.dumps([round(x, 6) for x in vector.tolist()]), flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        embed()
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
