#!/usr/bin/env python3
"""The side of transformers in io.llara.benchmarks.GpuCheck, which starts it.

    transformers-gpu-peer.py CONFIG_DIR DEVICE float32|bfloat16 sdpa|flash_attention_2

Builds the model of CONFIG_DIR/config.json with random weights and prints "ready" with what it is; then, for each line
"BATCH TOKENS REPEATS" it is sent, runs that many forward passes on random ids, without padding and without a cache, and
prints the seconds of each, a JSON array a line: from ids in the host's memory to the last token's states back in it.
"""
import json
import sys
import time

import torch
import transformers
from transformers import AutoConfig, AutoModel


def main(folder, device, dtype, attention):
    config = AutoConfig.from_pretrained(folder)
    torch.set_grad_enabled(False)
    with torch.device(device):
        torch.set_default_dtype(getattr(torch, dtype))
        model = AutoModel.from_config(config, attn_implementation=attention).eval()
        torch.set_default_dtype(torch.float32)
    print("ready", torch.__version__, transformers.__version__, attention, flush=True)

    def embed(ids):
        states = model(input_ids=ids.to(device), use_cache=False).last_hidden_state
        return torch.nn.functional.normalize(states[:, -1].float(), dim=1).cpu()

    for line in sys.stdin:
        batch, tokens, repeats = map(int, line.split())
        ids = torch.randint(3, config.vocab_size, (batch, tokens), generator=torch.Generator().manual_seed(1))
        seconds = []
        for _ in range(repeats):
            begin = time.perf_counter()
            vectors = embed(ids)
            seconds.append(time.perf_counter() - begin)
        if not torch.isfinite(vectors).all():
            sys.exit("embeddings are not finite")
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
