"""Compares hidden states of this library with those of Python's transformers.

usage: compare-hidden-states.py HIDDEN.safetensors [FILE.gguf] MODEL_DIR

HIDDEN.safetensors comes from io.llara.benchmarks.imported.HiddenStates. The same ids go through the model that
transformers loads from the directory that this library wrote and, if one is given, from the GGUF file it came from. Relative
is the largest absolute difference of a text divided by the largest magnitude of the text's states. Exit code 1 if one is
above 1e-3. Needs torch, transformers, accelerate, gguf and safetensors.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors import safe_open

LIMIT = 1e-3


def load(directory, **options):
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, **options)
    return model.eval()


def same_ids(directory, hidden):
    """How many texts the tokenizer files give the same ids when transformers reads them: decode, then encode again."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    texts = [name for name in hidden.keys() if name.startswith("ids.")]
    same = 0
    for name in texts:
        ids = hidden.get_tensor(name).tolist()
        text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        same += tokenizer(text, add_special_tokens=False).input_ids == ids
    return same, len(texts)


def compare(name, model, hidden):
    worst_absolute = worst_relative = 0.0
    tokens = 0
    for key in hidden.keys():
        if not key.startswith("ids."):
            continue
        ids = hidden.get_tensor(key).long().unsqueeze(0)
        ours = hidden.get_tensor("hidden." + key.split(".")[1])
        with torch.no_grad():
            theirs = model.model(ids).last_hidden_state[0]
        difference = (ours - theirs).abs().max().item()
        worst_absolute = max(worst_absolute, difference)
        worst_relative = max(worst_relative, difference / theirs.abs().max().item())
        tokens += ids.shape[1]
    print(f"{name}: {tokens} tokens, largest difference {worst_absolute:.2e} absolute, {worst_relative:.2e} relative")
    return worst_relative <= LIMIT


def compare_gguf(file, from_directory, hidden):
    folder, name = os.path.split(os.path.abspath(file))
    from_gguf = load(folder, gguf_file=name)
    theirs = from_gguf.state_dict()
    ours = from_directory.state_dict()
    equal = theirs.keys() == ours.keys() and all(torch.equal(theirs[key], ours[key]) for key in ours)
    print(f"weights of the two are {'bit-equal' if equal else 'different'}")
    return compare("the GGUF file", from_gguf, hidden)


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    hidden_file, *gguf_file, directory = sys.argv[1:]
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    with safe_open(hidden_file, "pt") as hidden:
        from_directory = load(directory)
        close = all([compare_gguf(file, from_directory, hidden) for file in gguf_file])
        close &= compare("the directory", from_directory, hidden)
        same, texts = same_ids(directory, hidden)
        print(f"tokenizer: {same} of {texts} texts have the same ids")
    sys.exit(0 if close else 1)


main()
