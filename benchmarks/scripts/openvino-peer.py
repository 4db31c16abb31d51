#!/usr/bin/env python3
"""The side of OpenVINO in io.llara.benchmarks.peers.EmbeddingSpeed, which starts it; see embedding_peer.py.

    openvino-peer.py MODEL_DIR THREADS TEXTS.jsonl float32|int8|int8-static FILE.onnx [STREAMS]

FILE.onnx comes from export-onnx.py. int8 compresses weights to eight bits, a scale for each row (nncf.compress_weights);
activations are quantised as the processor's plugin does by itself, which wants VNNI. int8-static quantises activations with
ranges that half of the texts have (nncf.quantize). STREAMS batches run at once, 1 by default, and share the threads.
"""
import sys

import embedding_peer
import openvino


def model_in(dtype, graph, texts):
    model = openvino.Core().read_model(graph)
    if dtype == "float32":
        return model
    import nncf

    if dtype == "int8":
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    if dtype == "int8-static":
        inputs = [embedding_peer.exported_inputs(ids, mask) for _, ids, mask in texts.batches()]
        return nncf.quantize(model, nncf.Dataset(inputs[::2]), model_type=nncf.ModelType.TRANSFORMER)
    sys.exit(__doc__)


def main(folder, threads, file, dtype, graph, streams="1"):
    texts = embedding_peer.Texts(folder, file)
    settings = {
        "INFERENCE_NUM_THREADS": int(threads),
        "NUM_STREAMS": int(streams),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino.Core().compile_model(model_in(dtype, graph, texts), "CPU", settings)
    queue = openvino.AsyncInferQueue(compiled, int(streams))

    def embed():
        embeddings = [None] * len(texts.texts)

        def take(request, batch):
            some, mask = batch
            for i, vector in zip(some, embedding_peer.last_states(request.get_output_tensor(0).data, mask)):
                embeddings[i] = vector

        queue.set_callback(take)
        for some, ids, mask in texts.batches():
            queue.start_async(embedding_peer.exported_inputs(ids, mask), (some, mask))
        queue.wait_all()
        return embeddings

    embedding_peer.serve(embed)


if __name__ == "__main__":
    if not 6 <= len(sys.argv) <= 7:
        sys.exit(__doc__)
    main(*sys.argv[1:])
