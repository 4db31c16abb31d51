package io.llara.benchmarks.teachers;

import io.llara.LlaraException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * The float32 weights in an ONNX file (its {@code ModelProto.graph.initializer}, see onnx.proto3).
 * The exporter keeps the names of biases, norms and embeddings; matrices are {@code [in, out]} and
 * numbered in the order they are used in.
 */
final class OnnxWeights {
  private static final String MATRIX = "onnx::MatMul_";
  private static final int GRAPH = 7;
  private static final int INITIALIZER = 5;
  private static final int DATA_TYPE = 2;
  private static final int NAME = 8;
  private static final int RAW_DATA = 9;
  private static final int FLOAT = 1;

  private final Map<String, float[]> named = new HashMap<>();
  private final SortedMap<Integer, float[]> matrices = new TreeMap<>();

  /** Reads a file. */
  OnnxWeights(byte[] file) {
    forEachField(
        ByteBuffer.wrap(file),
        (field, graph) -> {
          if (field == GRAPH) {
            forEachField(
                graph,
                (part, tensor) -> {
                  if (part == INITIALIZER) {
                    add(tensor);
                  }
                });
          }
        });
  }

  private void add(ByteBuffer tensor) {
    String[] name = {""};
    long[] type = {0};
    float[][] values = {{}};
    forEachField(
        tensor,
        (field, value) -> {
          if (field == NAME) {
            name[0] = StandardCharsets.UTF_8.decode(value).toString();
          } else if (field == DATA_TYPE) {
            type[0] = varint(value);
          } else if (field == RAW_DATA) {
            FloatBuffer floats = value.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
            values[0] = new float[floats.remaining()];
            floats.get(values[0]);
          }
        });
    if (type[0] == FLOAT && name[0].startsWith(MATRIX)) {
      matrices.put(Integer.parseInt(name[0].substring(MATRIX.length())), values[0]);
    } else if (type[0] == FLOAT) {
      named.put(name[0], values[0]);
    }
  }

  /** Takes the value of a field: its bytes, or those of its number. */
  private interface Receiver {
    void accept(int field, ByteBuffer value);
  }

  private static void forEachField(ByteBuffer message, Receiver receiver) {
    while (message.hasRemaining()) {
      int key = (int) varint(message);
      int length;
      switch (key & 7) {
        case 0 -> {
          int begin = message.position();
          varint(message);
          length = message.position() - begin;
          message.position(begin);
        }
        case 1 -> length = Long.BYTES;
        case 2 -> length = (int) varint(message);
        case 5 -> length = Integer.BYTES;
        default -> throw new LlaraException("an ONNX file has a field of wire type " + (key & 7));
      }
      receiver.accept(key >>> 3, message.slice(message.position(), length));
      message.position(message.position() + length);
    }
  }

  private static long varint(ByteBuffer bytes) {
    long value = 0;
    for (int shift = 0; ; shift += 7) {
      byte next = bytes.get();
      value |= (long) (next & 0x7F) << shift;
      if (next >= 0) {
        return value;
      }
    }
  }

  /** Returns a tensor by its name. */
  float[] named(String name) {
    float[] values = named.get(name);
    if (values == null) {
      throw new LlaraException("the ONNX file has no tensor " + name);
    }
    return values;
  }

  /** Returns the matrices in the order they are used in, row-major {@code [in, out]}. */
  Iterable<float[]> matrices() {
    return matrices.values();
  }
}
