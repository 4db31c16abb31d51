"""Compares an adapter on its base, loaded in each way that Python has, with the merged model beside it.

usage: check-adapter.py OUT [BASE]

OUT is the directory of a run of llara finetune with LoRA: the merged model, and adapter/. BASE is the model that the run
began with; without it, the one that adapter_config.json names. The same random ids go through both. Relative is the largest
absolute difference of the hidden states divided by their largest magnitude. Exit code 1 if one is above 1e-3, or if the
adapter changes nothing. Needs torch, transformers and peft.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
import transformers
from transformers import AutoModel, AutoModelForCausalLM

LIMIT = 1e-3


def load(auto, directory):
    return auto.from_pretrained(directory, dtype=torch.float32).eval()


def loaded(auto, base, adapter):
    model = load(auto, base)
    model.load_adapter(adapter)
    return model


def hidden(model, ids):
    with torch.no_grad():
        return model.eval()(input_ids=ids, output_hidden_states=True).hidden_states[-1]


def main(arguments):
    if len(arguments) not in (1, 2):
        sys.exit(__doc__)
    transformers.utils.logging.disable_progress_bar()
    out = arguments[0]
    adapter = os.path.join(out, "adapter")
    with open(os.path.join(adapter, "adapter_config.json")) as file:
        base = arguments[1] if len(arguments) == 2 else json.load(file)["base_model_name_or_path"]
    ways = {
        "PeftModel on AutoModel": lambda: peft.PeftModel.from_pretrained(load(AutoModel, base), adapter),
        "PeftModel on AutoModelForCausalLM": lambda: peft.PeftModel.from_pretrained(load(AutoModelForCausalLM, base), adapter),
        "load_adapter of AutoModel": lambda: loaded(AutoModel, base, adapter),
        "load_adapter of AutoModelForCausalLM": lambda: loaded(AutoModelForCausalLM, base, adapter),
    }
    if len(arguments) == 1:
        ways["AutoPeftModelForFeatureExtraction"] = lambda: peft.AutoPeftModelForFeatureExtraction.from_pretrained(adapter)
    merged = load(AutoModelForCausalLM, out)
    torch.manual_seed(1)
    ids = torch.randint(0, merged.config.vocab_size, (4, 48))
    expected = hidden(merged, ids)
    scale = expected.abs().max().item()

    def difference(model):
        return (hidden(model, ids) - expected).abs().max().item() / scale

    changed = difference(load(AutoModelForCausalLM, base))
    print(f"peft {peft.__version__}, transformers {transformers.__version__}: base alone {changed:.2e} relative to merged")
    right = True
    for name, way in ways.items():
        found = difference(way())
        print(f"{name}: {found:.2e}")
        right = right and found <= LIMIT and changed > 10 * found
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
