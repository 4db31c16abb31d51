#!/usr/bin/env python3
"""Embeds texts with a quantised model that transformers and compressed-tensors read, and compares with this library's vectors.

  llara encode --model MODEL_DIR --mode self --dtype float32 TEXTS > VECTORS
  compressed-tensors.py MODEL_DIR TEXTS VECTORS

The model has the template llama2vec; TEXTS has one text a line, of less than a hundred tokens. Needs torch, transformers and
compressed-tensors.
"""
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from transformers import AutoModel, PreTrainedTokenizerFast

directory, texts_file, vectors_file = sys.argv[1:]
tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
model = AutoModel.from_pretrained(directory, dtype=torch.float32).eval()


def ids(part):
    return tokenizer(part, add_special_tokens=False).input_ids


markers = "".join(f"<s{i}>" for i in range(1, 9))
before = tokenizer("").input_ids + ids('"')
after = ids('", summarize the above passage within eight words: ' + markers)
cosines = []
with open(texts_file, encoding="utf-8") as texts, open(vectors_file, encoding="utf-8") as vectors:
    for text, vector in zip(texts, vectors, strict=True):
        prompt = before + ids(text.rstrip("\n")) + after
        with torch.no_grad():
            found = model(input_ids=torch.tensor([prompt])).last_hidden_state[0, -8:].mean(0)
        cosines.append(torch.nn.functional.cosine_similarity(found, torch.tensor(json.loads(vector)), dim=0).item())
print(f"{len(cosines)} texts, lowest cosine {min(cosines):.6f}")
