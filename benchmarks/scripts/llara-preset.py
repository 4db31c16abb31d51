"""Computes what the released code trains on, and how fast, in the first ten steps over its toy data.

usage: llara-preset.py SHARED OUT.json

SHARED is the shared test data. The prompts and targets are those of FlagEmbedding's research/LLARA (commit 7ed43d6,
pretrain/data.py and finetune/data.py), with the values of the commands in its README; one text a step, in the order of the
file. The learning rates are DeepSpeed's WarmupDecayLR itself, set up as transformers' trainer fills in the "auto" values of
stage1.json for five epochs. Needs torch, deepspeed (0.15 or newer: before, the first step was made at the peak) and
tokenizers.
"""

import json
import math
import pathlib
import re
import sys
import zlib

import torch
from deepspeed.runtime.lr_schedules import WarmupDecayLR
from tokenizers import Tokenizer

STEPS = 10
EPOCHS = 5
MARKERS = ["<s%d>" % i for i in range(1, 17)]
PREFIX = '"'
SELF = '", summarize the above passage within eight words: ' + "".join(MARKERS[:8])
NEXT = '", predict the following passage within eight words: ' + "".join(MARKERS[8:])

shared = pathlib.Path(sys.argv[1])
tokenizer = Tokenizer.from_file(str(shared / "data/tokenizers/llama2/tokenizer.json"))
tokenizer.add_special_tokens(MARKERS)
stop_words = set((shared / "data/stopwords-en.txt").read_text().split()) | set("!,.?")


def lines(name):
    with open(shared / "data/llara-toy" / name, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def ids(text, bos=False):
    return tokenizer.encode(text, add_special_tokens=bos).ids


def learning_rates(peak, examples):
    total = examples * EPOCHS
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = WarmupDecayLR(
        optimizer,
        total_num_steps=total,
        warmup_min_lr=0,
        warmup_max_lr=peak,
        warmup_num_steps=math.ceil(total * 0.1),
    )
    rates = []
    for _ in range(STEPS):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return rates


def targets(text, most):
    words = re.sub(r"[\W_]+", " ", text).split()
    kept = " ".join(word for word in words if word.lower() not in stop_words)
    return sorted({token for token in ids(kept, bos=True)[:most] if token > 2})


def pretrain(most=128):
    data = lines("toy_pretrain_data.jsonl")
    before, behind = ids(PREFIX, bos=True), ids(SELF) + ids(NEXT)
    room = most - len(before) - len(behind)
    return {
        "learning_rates": learning_rates(1e-5, len(data)),
        "steps": [
            {
                "prompt": before + ids(line["input"])[:room] + behind,
                "self": targets(line["output_summarize"], most),
                "next": targets(line["output_predict"], most),
            }
            for line in data[:STEPS]
        ],
    }


def finetune(query_most=64, passage_most=160):
    data = lines("toy_finetune_data.jsonl")

    def prompt(text, suffix, most):
        before, behind = ids(PREFIX, bos=True), ids(suffix)
        return before + ids(text)[: most - len(before) - len(behind)] + behind

    def checksum(text):
        return zlib.crc32(" ".join(map(str, prompt(text, SELF, passage_most))).encode())

    return {
        "learning_rates": learning_rates(3e-4, len(data)),
        "steps": [
            {
                "query": prompt(line["query"], NEXT, query_most),
                "positives": [checksum(text) for text in line["pos"]],
                "negatives": [checksum(text) for text in line["neg"]],
            }
            for line in data[:STEPS]
        ],
    }


with open(sys.argv[2], "w", encoding="utf-8") as out:
    json.dump({"pretrain": pretrain(), "finetune": finetune()}, out, separators=(",", ":"))
    out.write("\n")
