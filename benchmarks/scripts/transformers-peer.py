#!/usr/bin/env python3
"""The side of transformers in io.llara.benchmarks.peers.EmbeddingSpeed, which starts it; see embedding_peer.py.

    transformers-peer.py MODEL_DIR THREADS TEXTS.jsonl float32|bfloat16
"""
import sys

import embedding_peer
import torch
from transformers import AutoModel


def main(folder, threads, file, dtype):
    torch.set_num_threads(int(threads))
    texts = embedding_peer.Texts(folder, file)
    model = AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    @torch.inference_mode()
    def vectors(ids, mask):
        states = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state
        last = torch.from_numpy(mask).sum(1) - 1
        pooled = states[torch.arange(len(ids)), last].float()
        return torch.nn.functional.normalize(pooled, dim=1).numpy()

    embedding_peer.serve(lambda: texts.embed(vectors))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
