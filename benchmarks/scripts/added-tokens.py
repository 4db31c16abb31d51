"""Writes the ids that transformers gives texts when ordinary vocabulary was added to a tokenizer.

usage: added-tokens.py DIR OUT.json

DIR holds the tokenizer files of llara-core/src/test/resources/stories260k; OUT is added-tokens/expected.json beside it. Each case
has entries of added_tokens, as add_tokens makes them, and texts with their ids, which AddedTokensTest reads. Needs transformers.
"""

import json
import os
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

from transformers import PreTrainedTokenizerFast

TEXTS = [
    "a supersonic bird",
    "supersonic",
    "supersonicsupersonic birds",
    "hypersupersonic plane, supersonic!",
    "Supersonic  supersonic\nsupersonic",
    "one\nred bird and two red birds\n\n",
    "W",
    "Why 日本 W\tX?",
    "  red bird  ",
    "\n",
]


def token(name, id, special=False, normalized=True, **flags):
    entry = {"id": id, "content": name, "single_word": False, "lstrip": False, "rstrip": False}
    return {**entry, "normalized": normalized, "special": special, **flags}


CASES = {
    "as add_tokens writes it": [token("supersonic", 512), token("red bird", 513)],
    "after a special token": [token("<s1>", 512, special=True, normalized=False), token("supersonic", 513)],
    "with a gap before it": [token("supersonic", 520), token("red bird", 530, normalized=False)],
    "not normalised": [token("supersonic", 512, normalized=False), token("red bird", 513, normalized=False)],
    "whole words": [token("supersonic", 512, single_word=True), token("bird", 513, single_word=True, normalized=False)],
    "with the space around": [token("supersonic", 512, lstrip=True, normalized=False), token("bird", 513, rstrip=True)],
    "white space": [token("\n", 512), token("  ", 513, normalized=False)],
    "one within the other": [token("super", 512), token("supersonic", 513), token("sonic", 514)],
    "bytes that are special": [token(f"<0x{i:02X}>", i + 3, special=True, normalized=False) for i in range(256)],
}


# What the file has, and what transformers 5 makes of it for the class LlamaTokenizer, and then saves.
PIPELINES = {
    "Prepend": {},
    "Metaspace": {
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": False},
    },
}


def ids(source, added, pipeline):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(source, "tokenizer.json")) as file:
            tokenizer = {**json.load(file), **pipeline}
        vocabulary = tokenizer["model"]["vocab"]
        for entry in added:
            # The library numbers added tokens one after the other; the vocabulary keeps the ids that are meant.
            vocabulary.setdefault(entry["content"], entry["id"])
        tokenizer["added_tokens"] += added
        path = os.path.join(folder, "tokenizer.json")
        with open(path, "w") as file:
            json.dump(tokenizer, file)
        loaded = PreTrainedTokenizerFast(tokenizer_file=path)
        return {text: loaded.encode(text, add_special_tokens=False) for text in TEXTS}


def main(source, target):
    cases = [
        {"name": f"{name}, {kind}", "added": added, "pipeline": pipeline, "ids": ids(source, added, pipeline)}
        for name, added in CASES.items()
        for kind, pipeline in PIPELINES.items()
    ]
    with open(target, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
