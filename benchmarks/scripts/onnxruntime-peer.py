#!/usr/bin/env python3
"""The side of ONNX Runtime in io.llara.benchmarks.peers.EmbeddingSpeed, which starts it; see embedding_peer.py.

    onnxruntime-peer.py MODEL_DIR THREADS TEXTS.jsonl float32|int8 FILE.onnx

FILE.onnx comes from export-onnx.py. int8 is the library's dynamic quantisation, a scale for each channel of the weights;
the graph is written beside the file once.
"""
import sys

import embedding_peer
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic


def main(folder, threads, file, dtype, graph):
    if dtype == "int8":
        graph = embedding_peer.made_once(
            graph.removesuffix(".onnx") + ".int8.onnx",
            lambda target: quantize_dynamic(graph, target, per_channel=True, weight_type=QuantType.QInt8),
        )
    elif dtype != "float32":
        sys.exit(__doc__)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    texts = embedding_peer.Texts(folder, file)

    def vectors(ids, mask):
        states = session.run(["last_hidden_state"], embedding_peer.exported_inputs(ids, mask))[0]
        return embedding_peer.last_states(states, mask)

    embedding_peer.serve(lambda: texts.embed(vectors))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
