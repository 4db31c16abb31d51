"""Makes the tiny checkpoint with a slow tokenizer that llara-core's tests read, and what Python computes with it.

usage: slow-tokenizer-fixture.py DIR [SHARED]

DIR becomes a checkpoint as LLARA's own pretraining writes it: architecture PreLlamaModel, a SentencePiece tokenizer.model
with added_tokens.json, special_tokens_map.json and tokenizer_config.json, and no tokenizer.json. expected.json holds texts
with the ids that SentencePiece gives, and the embeddings of some of them in both modes, computed by transformers: mean of
the last hidden states of the eight markers, normalised. With SHARED, the shared test data, it also prints a digest of the
ids that SentencePiece gives a thousand texts with each of the shared vocabularies, whose scores fall with the ids. Needs
torch, transformers, sentencepiece and protobuf.
"""

import gzip
import hashlib
import io
import json
import os
import random
import sys

import sentencepiece
import torch
import transformers
from sentencepiece import sentencepiece_model_pb2

SENTENCES = """
The encoder turns a text into a vector, and similar texts into similar vectors.
A passage is summarised within eight words; the next passage is predicted within eight words.
Water boils at 100 degrees Celsius at sea level, but at 93 degrees in a town 2000 metres above it.
She said: "We will be there at half past seven," and closed the door behind her.
Le café est fermé le dimanche; die Straße ist naß und dunkel; mañana será otro día.
def add(left, right):\\n\\treturn left + right  # two spaces before the comment
Retrieval finds documents for a query; training teaches the model which documents answer it.
The quick brown fox jumps over the lazy dog while the children summarize the story above.
Предложение на русском языке стоит рядом с английским.
A tokenizer cuts words into pieces: token, tokens, tokenize, tokenizer, tokenization.
""".strip().replace("\\n", "\n").replace("\\t", "\t").split("\n")

TEXTS = [
    "The encoder turns a text into a vector.",
    "summarize the above passage within eight words: ",
    '", predict the following passage within eight words: ',
    "",
    " ",
    "  two spaces before and after  ",
    "tabs\tand\nline ends\r\n\n",
    "日本語 and 🦙 and é and e\u0301",
    "Предложение",
    "3141592653589793",
    "<s1> </s> <unk> <0x41> are text",
    "\u2581 is how a space is written",
    "a\u00a0b\u3000c\u200dd",
    "x" * 40 + " " * 9 + "y",
    "TOKENIZATION, tokenization: tokenizer's tokens",
]

SELF = '", summarize the above passage within eight words: '
NEXT = '", predict the following passage within eight words: '


class PreLlamaModel(transformers.LlamaForCausalLM):
    """Named as in the reference, whose class adds the two losses."""


def train():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 3),
        model_writer=model,
        model_type="bpe",
        vocab_size=384,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        character_coverage=0.995,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def embedding(model, ids, markers):
    ids = ids + markers
    with torch.no_grad():
        hidden = model.model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    mean = hidden[-len(markers):].mean(dim=0)
    return [round(value, 7) for value in (mean / mean.norm()).tolist()]


def write(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")


def main(directory):
    os.makedirs(directory, exist_ok=True)
    proto = train()
    with open(os.path.join(directory, "tokenizer.model"), "wb") as file:
        file.write(proto)
    sp = sentencepiece.SentencePieceProcessor(model_proto=proto)

    # The reference adds a set of names, so that their ids are in no order.
    names = [f"<s{i}>" for i in range(1, 17)]
    random.Random(3).shuffle(names)
    added = {name: sp.vocab_size() + i for i, name in enumerate(names)}
    write(os.path.join(directory, "added_tokens.json"), added)
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    described = {
        role: {"content": name, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        for role, name in special.items()
    }
    write(os.path.join(directory, "special_tokens_map.json"), {**described, "additional_special_tokens": names})
    decoder = {str(i): {**token, "special": True} for i, token in ((sp.piece_to_id(t["content"]), t) for t in described.values())}
    write(
        os.path.join(directory, "tokenizer_config.json"),
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "added_tokens_decoder": decoder,
            **special,
            "clean_up_tokenization_spaces": False,
            "legacy": True,
            "model_max_length": 64,
            "tokenizer_class": "LlamaTokenizer",
        },
    )

    torch.manual_seed(11)
    config = transformers.LlamaConfig(
        vocab_size=sp.vocab_size() + len(added),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        initializer_range=0.4,
        dtype="float32",
    )
    model = PreLlamaModel(config).eval()
    model.save_pretrained(directory)

    expected = []
    for text in TEXTS:
        ids = sp.encode(text)
        case = {"text": text, "ids": ids}
        if text.strip():
            for mode, suffix, first in (("self", SELF, 1), ("next", NEXT, 9)):
                prompt = [sp.bos_id()] + sp.encode('"') + ids + sp.encode(suffix)
                markers = [added[f"<s{i}>"] for i in range(first, first + 8)]
                case[mode] = embedding(model, prompt, markers)
        expected.append(case)
    with open(os.path.join(directory, "expected.json"), "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in expected) + "\n]\n")


def shared_texts(shared):
    texts = []
    for name in ("wikipedia-en-sample", "gutenberg-litbank", "microsoft-docs"):
        with gzip.open(f"{shared}/data/text/{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"][:2000] for _, line in zip(range(334), lines)]
    return texts


def shared_model(path):
    with open(path, encoding="utf-8") as file:
        vocabulary = json.load(file)["model"]["vocab"]
    model = sentencepiece_model_pb2.ModelProto()
    for token, id in sorted(vocabulary.items(), key=lambda item: item[1]):
        is_byte = len(token) == 6 and token.startswith("<0x")
        piece = model.pieces.add()
        piece.piece = token
        piece.type = 2 if id == 0 else 3 if id < 3 else 6 if is_byte else 1
        # LLaMA 2 gives all runs of spaces one score, the lowest.
        spaces = len(token) > 1 and not token.strip("\u2581")
        piece.score = 0 if piece.type != 1 else -1e9 if spaces else -id
    model.trainer_spec.model_type = 2
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(vocabulary)
    model.normalizer_spec.remove_extra_whitespaces = False
    return model.SerializeToString()


def digests(shared):
    texts = shared_texts(shared)
    for name in ("llama2", "mistral-v0.1", "open-llama"):
        sp = sentencepiece.SentencePieceProcessor(
            model_proto=shared_model(f"{shared}/data/tokenizers/{name}/tokenizer.json"))
        digest = hashlib.sha256()
        for text in texts:
            digest.update((" ".join(map(str, sp.encode(text))) + "\n").encode())
        print(name, len(texts), "texts", digest.hexdigest())


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1])
    if len(sys.argv) == 3:
        digests(sys.argv[2])
