#!/usr/bin/env python3
"""Compares what llara merge writes with what Python's peft merges.

    check-merge.py make MODEL ADAPTER     an adapter of MODEL with random factors, patterns and excluded modules
    llara merge --model MODEL --adapter ADAPTER --out MERGED
    check-merge.py compare MODEL ADAPTER MERGED

MODEL is a LlamaForCausalLM. "make" has PEFT itself decide ranks, scales and modules by rank_pattern, alpha_pattern and
exclude_modules. "compare" prints the largest difference between two weights, relative to the largest magnitude in the
matrix, and exits with 1 if it is above 1e-6 (float32). Needs torch, transformers and peft.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
import transformers

LIMIT = 1e-6


def load(directory):
    return transformers.AutoModelForCausalLM.from_pretrained(directory, torch_dtype=torch.float32)


def make(model, adapter):
    settings = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=["q_proj", "v_proj", "down_proj", "up_proj"],
        exclude_modules=r".*\.layers\.0\.mlp\..*",
        rank_pattern={r"layers\.\d+\.self_attn\.(q|k)_proj": 2, "down_proj": 3},
        alpha_pattern={"^model.layers.1.self_attn.v_proj": 32, ".*proj": 5},
        init_lora_weights=False,
    )
    torch.manual_seed(3)
    peft.get_peft_model(load(model), settings).save_pretrained(adapter)


def compare(model, adapter, merged):
    theirs = peft.PeftModel.from_pretrained(load(model), adapter).merge_and_unload().state_dict()
    ours = load(merged).state_dict()
    base = load(model).state_dict()
    assert theirs.keys() == ours.keys()
    worst = max(((theirs[k] - ours[k]).abs().max() / theirs[k].abs().max()).item() for k in theirs)
    changed = sum(not torch.equal(theirs[k], base[k]) for k in theirs)
    print(f"{len(theirs)} weights, {changed} changed by the adapter, largest relative difference {worst:.2e}")
    return 0 if worst <= LIMIT and changed else 1


if len(sys.argv) == 4 and sys.argv[1] == "make":
    make(*sys.argv[2:])
elif len(sys.argv) == 5 and sys.argv[1] == "compare":
    sys.exit(compare(*sys.argv[2:]))
else:
    sys.exit(__doc__)
