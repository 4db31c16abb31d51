#!/usr/bin/env python3
"""The side of llama.cpp, as llama-cpp-python builds it from source, in io.llara.benchmarks.peers.EmbeddingSpeed, which starts
it; see embedding_peer.py.

    llama-cpp-peer.py MODEL_DIR THREADS TEXTS.jsonl FILE.gguf [TOKENS]

TOKENS are computed at once, 512 by default.
"""
import sys

import embedding_peer
import llama_cpp


class Model(llama_cpp.Llama):
    def tokenize(self, text, add_bos=True, special=False):
        return super().tokenize(text, add_bos, special) + [self.token_eos()]


def main(folder, threads, file, model, tokens="512"):
    texts = embedding_peer.texts_of(file)
    llama = Model(
        model_path=model,
        embedding=True,
        n_ctx=int(tokens),
        n_batch=int(tokens),
        n_ubatch=int(tokens),
        n_threads=int(threads),
        n_threads_batch=int(threads),
        pooling_type=llama_cpp.LLAMA_POOLING_TYPE_LAST,
        verbose=False,
    )
    embedding_peer.serve(lambda: llama.embed(texts, normalize=True))


if __name__ == "__main__":
    if not 5 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
