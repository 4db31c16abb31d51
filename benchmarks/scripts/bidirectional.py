"""Writes the hidden states that transformers gives a model with "is_causal": false.

usage: bidirectional.py DIR OUT.json

DIR is the model of llara-core/src/test/resources/stories260k; OUT is bidirectional/expected.json beside it. Each sequence of
token ids has the final hidden states of its first and its last token, which BidirectionalTest reads. Needs torch and transformers.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoConfig, AutoModel

SEQUENCES = [[1, 403, 407, 261, 378], [1, 346, 275, 268, 315, 418, 419, 13, 434], [1]]


def main(source, target):
    config = AutoConfig.from_pretrained(source)
    config.is_causal = False
    model = AutoModel.from_pretrained(source, config=config, dtype=torch.float32).eval()
    causal = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    lines = []
    for ids in SEQUENCES:
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
            other = causal(input_ids=torch.tensor([ids])).last_hidden_state[0]
        print("cosine with the causal model:", *(torch.nn.functional.cosine_similarity(states, other).tolist()))
        lines.append(json.dumps({"ids": ids, "first": states[0].tolist(), "last": states[-1].tolist()}))
    with open(target, "w") as file:
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
