"""Writes a golden folder for `llara verify`: what transformers computes, in float64, with a checkpoint of yours.

usage: golden.py MODEL OUT [--template NAME] [TEXT...]

MODEL is a Hugging Face directory of architecture Llama or Mistral. OUT becomes a folder of schema llara-golden-1
(docs/golden.md): encode.json, its float64 tensors, and a link to MODEL named "checkpoint". The template of the prompts is
the one that MODEL/llara.json names or holds, or --template: llama2vec, llara-paper. Without any, the cases are plain
sequences: hidden states and logits. Needs torch, transformers and safetensors.
"""

import argparse
import importlib
import inspect
import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors.torch import save_file

TEXTS = [
    "a",
    "Once upon a time, there was a little girl named Lily.",
    "What is the tallest mountain?\nIt is 8,849 metres high – \"Chomolungma\" in Tibetan.",
    "def add(x, y):\n    return x + y  # naïve café 日本 🦙",
]

NAMED = {
    "llama2vec": {
        "pooling": "mean_of_markers",
        "self": {
            "prefix": [{"text": '"'}],
            "suffix": [{"text": '", summarize the above passage within eight words: '}] + [{"token": f"<s{i}>"} for i in range(1, 9)],
        },
        "next": {
            "prefix": [{"text": '"'}],
            "suffix": [{"text": '", predict the following passage within eight words: '}] + [{"token": f"<s{i}>"} for i in range(9, 17)],
        },
    },
    "llara-paper": {
        "pooling": "last_token",
        "self": {"suffix": [{"text": "The original sentence:"}, {"eos": True}]},
        "next": {"suffix": [{"text": "The next sentence:"}, {"eos": True}]},
    },
}


def load_in_double(directory):
    """transformers computes norms, rotary angles and softmax in float32 whatever the type: its source is read with float64."""
    for name in ("modeling_rope_utils", "models.llama.modeling_llama", "models.mistral.modeling_mistral"):
        module = importlib.import_module("transformers." + name)
        source = inspect.getsource(module).replace("torch.float32", "torch.float64").replace(".float()", ".double()")
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    torch.set_default_dtype(torch.float64)
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64, attn_implementation="eager").eval()


def template_of(directory, name):
    """Returns what encode.json says of the template, and the template."""
    path = os.path.join(directory, "llara.json")
    if name is None and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            name = json.load(file)["template"]
    return name, NAMED[name] if isinstance(name, str) else name


class Recipe:
    """The ids around a text. Texts, prefixes and suffixes are tokenised apart."""

    def __init__(self, tokenizer, template):
        if template.get("joined") or template["pooling"] not in ("last_token", "mean_of_markers"):
            raise SystemExit(f"this script knows no template that is joined or pools {template['pooling']}")
        self.tokenizer = tokenizer
        self.bos = bos_ids(tokenizer)
        self.prefix = {mode: self.bos + self.ids(template[mode].get("prefix", [])) for mode in ("self", "next")}
        self.suffix = {mode: self.ids(template[mode].get("suffix", [])) for mode in ("self", "next")}
        markers = 0
        for part in reversed(template["self"].get("suffix", [])):
            if "text" in part:
                break
            markers += 1
        self.pooled = markers if template["pooling"] == "mean_of_markers" else 1

    def ids(self, parts):
        ids = []
        for part in parts:
            if "text" in part:
                ids += text_ids(self.tokenizer, part["text"])
            elif "token" in part:
                ids.append(self.tokenizer.convert_tokens_to_ids(part["token"]))
            else:
                ids.append(self.tokenizer.eos_token_id)
        return ids

    def row(self, kind, text):
        """Returns ids, positions, what each position may see, and the end of the SELF suffix."""
        modes = ("self", "next") if kind == "JOINT" else (kind.lower(),)
        ids = self.prefix[modes[0]] + text
        start = len(ids)
        positions = list(range(start))
        ends = {}
        for mode in modes:
            ids = ids + self.suffix[mode]
            # NEXT begins right after the text, too.
            positions += range(start, start + len(self.suffix[mode]))
            ends[mode] = len(ids)
        sees = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
        if kind == "JOINT":
            sees[ends["self"] :, start : ends["self"]] = False
        return ids, positions, sees, ends


def bos_ids(tokenizer):
    ids = tokenizer("").input_ids
    return ids[:1] if ids and ids[0] == tokenizer.bos_token_id else []


def text_ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False).input_ids


class Writer:
    def __init__(self, model):
        self.model = model
        self.cases = []
        self.tensors = {}

    def batch(self, rows):
        """Pads rows of ids, positions and visibility on the left."""
        width = max(len(ids) for ids, *_ in rows)
        padded = {"input_ids": [], "attention_mask": [], "position_ids": []}
        sees = torch.zeros(len(rows), width, width, dtype=torch.bool)
        for number, (ids, positions, visible, *_) in enumerate(rows):
            pad = width - len(ids)
            padded["input_ids"].append([0] * pad + list(ids))
            padded["attention_mask"].append([0] * pad + [1] * len(ids))
            padded["position_ids"].append([0] * pad + list(positions))
            sees[number, pad:, pad:] = visible
        return padded, sees

    def add(self, name, case, rows, outputs):
        padded, sees = self.batch(rows)
        # A row of padding sees itself, or its softmax would have nothing to sum.
        mask = (sees | torch.eye(sees.shape[1], dtype=torch.bool)).unsqueeze(1)
        additive = torch.zeros(mask.shape).masked_fill(~mask, float("-inf"))
        with torch.no_grad():
            states = self.model.model(
                input_ids=torch.tensor(padded["input_ids"]),
                attention_mask=additive,
                position_ids=torch.tensor(padded["position_ids"]),
                use_cache=False,
            ).last_hidden_state
            tensors = {"last_hidden_state": states, **outputs(states)}
        case = {"name": name, **case, **padded, "pad_to_multiple_of": 1}
        if sees.shape[1] <= 40:
            case["visibility"] = [["".join("01"[int(one)] for one in line) for line in row] for row in sees]
        case["tensors"] = {key: f"{name}/{key}" for key in tensors}
        self.tensors.update({f"{name}/{key}": tensor.contiguous() for key, tensor in tensors.items()})
        self.cases.append(case)

    def prompts(self, name, kind, recipe, texts):
        rows = [recipe.row(kind, text_ids(recipe.tokenizer, text)) for text in texts]
        width = max(len(ids) for ids, *_ in rows)
        columns = {}
        for mode in ("self", "next"):
            columns[mode] = None
            if mode in rows[0][3]:
                end = width - len(rows[0][0]) + rows[0][3][mode]
                columns[mode] = [end - recipe.pooled, end]

        def embeddings(states):
            found = {}
            for mode, range_ in columns.items():
                if range_:
                    raw = states[:, range_[0] : range_[1]].mean(dim=1)
                    found[f"{mode}_embedding_raw"] = raw
                    found[f"{mode}_embedding"] = torch.nn.functional.normalize(raw, dim=-1)
            return found

        case = {
            "prompt": kind,
            "prefix_ids": recipe.prefix["next" if kind == "NEXT" else "self"],
            "self_suffix_ids": recipe.suffix["self"],
            "next_suffix_ids": recipe.suffix["next"],
            "texts": texts,
            "text_ids": [text_ids(recipe.tokenizer, text) for text in texts],
            "self_columns": columns["self"],
            "next_columns": columns["next"],
        }
        self.add(name, case, rows, embeddings)

    def plain(self, name, tokenizer, texts):
        rows = []
        for text in texts:
            ids = bos_ids(tokenizer) + text_ids(tokenizer, text)
            rows.append((ids, range(len(ids)), torch.ones(len(ids), len(ids), dtype=torch.bool).tril()))
        self.add(name, {"texts": texts}, rows, lambda states: {"last_logits": self.model.lm_head(states[:, -1])})


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--template")
    parser.add_argument("texts", nargs="*")
    arguments = parser.parse_args()
    texts = arguments.texts or TEXTS
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    writer = Writer(load_in_double(arguments.model))
    name, template = template_of(arguments.model, arguments.template)
    sets = {f"text{number}": [text] for number, text in enumerate(texts)} | ({"batch": texts} if len(texts) > 1 else {})
    for label, some in sets.items():
        writer.plain(f"plain-{label}", tokenizer, some)
        if template:
            recipe = Recipe(tokenizer, template)
            kinds = ["SELF", "NEXT"]
            if recipe.prefix["self"] == recipe.prefix["next"] and recipe.suffix["self"] and recipe.suffix["next"]:
                kinds.append("JOINT")
            for kind in kinds:
                writer.prompts(f"{kind.lower()}-{label}", kind, recipe, some)

    os.makedirs(arguments.out)
    os.symlink(os.path.abspath(arguments.model), os.path.join(arguments.out, "checkpoint"))
    save_file(writer.tensors, os.path.join(arguments.out, "encode.f64.safetensors"))
    golden = {
        "schema": "llara-golden-1",
        "made_with": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "tensor_file_f64": "encode.f64.safetensors",
        "checkpoint": "checkpoint",
    }
    if template:
        golden["template"] = name
    with open(os.path.join(arguments.out, "encode.json"), "w", encoding="utf-8") as file:
        json.dump({**golden, "cases": writer.cases}, file, ensure_ascii=False)
        file.write("\n")


if __name__ == "__main__":
    main()
