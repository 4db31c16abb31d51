"""Compares an adapter on its base, as Python's peft loads it, with the merged model beside it.

usage: check-adapter.py OUT [BASE]

OUT is the directory of a run of llara finetune with LoRA: the merged model, and adapter/. BASE is the model that the run
began with; without it, the one that adapter_config.json names. The same random ids go through both. Relative is the largest
absolute difference of the hidden states divided by their largest magnitude. Exit code 1 if it is above 1e-3, or if the adapter
changes nothing. Needs torch, transformers and peft.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
import transformers

LIMIT = 1e-3


def load(directory):
    return transformers.AutoModelForCausalLM.from_pretrained(directory, torch_dtype=torch.float32).eval()


def hidden(model, ids):
    with torch.no_grad():
        return model(input_ids=ids, output_hidden_states=True).hidden_states[-1]


def main(arguments):
    if len(arguments) not in (1, 2):
        sys.exit(__doc__)
    out = arguments[0]
    adapter = os.path.join(out, "adapter")
    with open(os.path.join(adapter, "adapter_config.json")) as file:
        base = arguments[1] if len(arguments) == 2 else json.load(file)["base_model_name_or_path"]
    merged = load(out)
    torch.manual_seed(1)
    ids = torch.randint(0, merged.config.vocab_size, (4, 48))
    expected = hidden(merged, ids)
    alone = hidden(load(base), ids)
    adapted = hidden(peft.PeftModel.from_pretrained(load(base), adapter).eval(), ids)
    scale = expected.abs().max().item()
    changed = (alone - expected).abs().max().item() / scale
    difference = (adapted - expected).abs().max().item() / scale
    print(f"peft {peft.__version__}: base and adapter against merged {difference:.2e} relative; base alone {changed:.2e}")
    return 0 if difference <= LIMIT and changed > 10 * difference else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
