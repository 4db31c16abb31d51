#!/usr/bin/env python3
"""The side of PyTorch and transformers in io.llara.benchmarks.peers.TrainingSpeed, which starts it.

    transformers-training-peer.py MODEL_DIR THREADS PROMPTS.jsonl float32|bfloat16 POOLED LEARNING_RATE

PROMPTS.jsonl has a pair a line, the ids of a query's prompt and of its passage's, each of which ends with POOLED
markers. For each line that it is sent it makes a step and prints the loss before it and the seconds that took: queries
and passages in a padded batch each, InfoNCE over all passages at temperature 0.02, gradients clipped to 1, fused AdamW.
Parameters are float32; bfloat16 is autocast, as transformers' trainer does it.
"""
import json
import sys
import time

import torch
from transformers import AutoModel


def padded(prompts):
    width = max(len(ids) for ids in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
        mask[row, : len(prompt)] = 1
    return ids, mask


def main(folder, threads, file, dtype, pooled, rate):
    torch.set_num_threads(int(threads))
    pooled = int(pooled)
    with open(file, encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in lines]
    batches = [padded([pair[i] for pair in pairs]) for i in (0, 1)]
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).train()
    model.config.use_cache = False
    optimizer = torch.optim.AdamW(model.parameters(), lr=float(rate), weight_decay=0, fused=True)

    def embed(ids, mask):
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        at = mask.sum(1, keepdim=True) - pooled + torch.arange(pooled)
        of_markers = states[torch.arange(len(ids))[:, None], at]
        return torch.nn.functional.normalize(of_markers.float().mean(1), dim=1)

    for _ in sys.stdin:
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            queries, passages = (embed(*batch) for batch in batches)
        scores = queries @ passages.T / 0.02
        loss = torch.nn.functional.cross_entropy(scores, torch.arange(len(pairs)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        print(loss.item(), time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(*sys.argv[1:])
