"""Exports a LLaMA to ONNX, for io.llara.benchmarks.peers.OnnxVectors.

usage: export-onnx.py MODEL FILE.onnx

Inputs: input_ids and position_ids [batch, tokens] (int64), attention_mask [batch, 1, tokens, tokens], added to the scores;
output: last_hidden_state [batch, tokens, hidden] (float32). Needs torch, transformers and onnx.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers


class HiddenStates(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids):
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        ).last_hidden_state


def main(directory, out):
    model = transformers.AutoModel.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.ones(2, 5, dtype=torch.long)
    mask = torch.zeros(2, 1, 5, 5)
    names = ["input_ids", "attention_mask", "position_ids"]
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "position_ids", "last_hidden_state")}
    axes["attention_mask"] = {0: "batch", 2: "tokens", 3: "tokens"}
    torch.onnx.export(
        HiddenStates(model),
        (ids, mask, torch.arange(5).expand(2, 5)),
        out,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
