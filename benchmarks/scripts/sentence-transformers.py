"""Writes directories of the sentence-transformers library and the vectors it gives with them.

usage: sentence-transformers.py DIR OUT

DIR is the model of llara-core/src/test/resources/stories260k, OUT the folder sentence-transformers beside it. Each case is a
folder with the files that lie over those of DIR, and expected.json: texts with their vectors as query and as document.
SentenceTransformersTest reads them. Needs torch, transformers, tokenizers and sentence-transformers.
"""

import json
import os
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import tokenizers
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "a little red bird sat on a tree",
    "Once upon a time, there was a girl named Lily. " * 3,
    "1 cat",
    "newline\nand 日本",
]


def byte_level(folder):
    """A small byte-level tokenizer that puts tokens on both sides of a text."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "<bos>", "<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    words = ["query: a little bird", "passage: a girl named Lily", "query: there was a red cat", "passage: upon a time", "newline"]
    tokenizer.train_from_iterator(TEXTS + words * 20, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)])
    os.remove(os.path.join(folder, "special_tokens_map.json"))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")
    fast.save_pretrained(folder)


def as_it_is(folder):
    """The tokenizer of the model, by the class that takes a file as it is, with a token to pad with."""
    fast = PreTrainedTokenizerFast(
        tokenizer_file=os.path.join(folder, "tokenizer.json"), bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )
    fast.save_pretrained(folder)


def last_token(folder):
    byte_level(folder)
    transformer = Transformer(folder, max_seq_length=40)
    modules = [transformer, Pooling(64, pooling_mode="lasttoken"), Normalize()]
    return SentenceTransformer(modules=modules, prompts={"query": "query: ", "document": "passage: "}, device="cpu")


def mean(folder):
    as_it_is(folder)
    return SentenceTransformer(modules=[Transformer(folder), Pooling(64, pooling_mode="mean")], truncate_dim=24, device="cpu")


def dense(folder):
    byte_level(folder)
    torch.manual_seed(7)
    modules = [Transformer(folder, max_seq_length=40), Pooling(64, pooling_mode="mean"), Dense(64, 24, activation_function=torch.nn.Tanh()), Normalize()]
    return SentenceTransformer(modules=modules, prompts={"query": "query: ", "document": "passage: "}, device="cpu")


def old_files(folder):
    """As version 2 wrote them."""
    byte_level(folder)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    types = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (path, kind) in enumerate(kinds)]
    files = {
        "modules.json": types,
        "1_Pooling/config.json": {
            "word_embedding_dimension": 64,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        "sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "2.7.0", "transformers": "4.40.0", "pytorch": "2.2.0"},
            "prompts": {"s2p_query": "Instruct: find it\nQuery: ", "passage": "text: "},
            "default_prompt_name": "s2p_query",
        },
    }
    os.makedirs(os.path.join(folder, "1_Pooling"))
    for name, content in files.items():
        with open(os.path.join(folder, name), "w") as file:
            json.dump(content, file, indent=2)
    return None


CASES = {"last-token": last_token, "mean": mean, "dense": dense, "old-files": old_files}
KEPT = [
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "2_Normalize/config.json",
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
    "3_Normalize/config.json",
    "tokenizer.json",
    "tokenizer_config.json",
]


def encode(model, text, names):
    """As encode_query and encode_document say they do: in 6.2 empty places for "query" and "document" hide the others from them."""
    for name in names:
        if model.prompts.get(name):
            return model.encode(text, prompt_name=name)
    return model.encode(text)


def write(source, out, make):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as saved:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(os.path.join(source, name), folder)
        model = make(folder)
        if model is None:
            saved = folder
        else:
            model.save_pretrained(saved)
        # From the files alone, as a user loads it.
        model = SentenceTransformer(saved, device="cpu")
        tokenizer = model.tokenizer
        cases = []
        for text in TEXTS:
            query, passage = encode(model, text, ["query"]), encode(model, text, ["document", "passage", "corpus"])
            cases.append({"text": text, "query": query.tolist(), "passage": passage.tolist()})
        shutil.rmtree(out, ignore_errors=True)
        for name in KEPT:
            if os.path.exists(os.path.join(saved, name)):
                os.makedirs(os.path.dirname(os.path.join(out, name)), exist_ok=True)
                shutil.copyfile(os.path.join(saved, name), os.path.join(out, name))
        with open(os.path.join(out, "expected.json"), "w") as file:
            file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
        print(out, model.max_seq_length, len(tokenizer(TEXTS[1]).input_ids))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for name, make in CASES.items():
        write(sys.argv[1], os.path.join(sys.argv[2], name), make)
