package io.llara.benchmarks.teachers;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.llara.LlaraException;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.Map;

/** A model run by ONNX Runtime, in float32. */
final class OnnxModel implements StateModel {
  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
  private final OrtSession session;

  /** Loads an ONNX file. */
  OnnxModel(byte[] file, int threads) {
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      options.setIntraOpNumThreads(threads);
      options.setInterOpNumThreads(1);
      session = environment.createSession(file, options);
    } catch (OrtException e) {
      throw failed(e);
    }
  }

  @Override
  public float[] states(int[] ids, int[] lengths) {
    int length = ids.length / lengths.length;
    LongBuffer tokens = LongBuffer.allocate(ids.length);
    LongBuffer mask = LongBuffer.allocate(ids.length);
    for (int i = 0; i < ids.length; i++) {
      tokens.put(ids[i]);
      mask.put(i % length < lengths[i / length] ? 1 : 0);
    }
    long[] shape = {lengths.length, length};
    LongBuffer kinds = LongBuffer.allocate(ids.length);
    try (OnnxTensor input = OnnxTensor.createTensor(environment, tokens.rewind(), shape);
        OnnxTensor attention = OnnxTensor.createTensor(environment, mask.rewind(), shape);
        OnnxTensor types = OnnxTensor.createTensor(environment, kinds, shape);
        OrtSession.Result result =
            session.run(
                Map.of(
                    "input_ids", input, "attention_mask", attention, "token_type_ids", types))) {
      FloatBuffer states = ((OnnxTensor) result.get(0)).getFloatBuffer();
      float[] values = new float[states.remaining()];
      states.get(values);
      return values;
    } catch (OrtException e) {
      throw failed(e);
    }
  }

  private static LlaraException failed(OrtException e) {
    return new LlaraException("ONNX Runtime failed: " + e.getMessage(), e);
  }

  @Override
  public void close() {
    try {
      session.close();
    } catch (OrtException e) {
      throw failed(e);
    }
  }
}
