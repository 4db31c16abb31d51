package io.llara.checkpoint.gguf;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Makes GGUF files for tests, right ones and wrong ones. */
final class GgufBuilder {
  private static final long NEXT = Long.MIN_VALUE;

  private int version = 3;
  private int alignment = 32;
  private int capacity = 4 << 20;
  private long tensorCount = -1;
  private long keyCount = -1;
  private final Map<String, Object> metadata = new LinkedHashMap<>();
  private final List<Tensor> tensors = new ArrayList<>();

  /** An array of any element type, as it is to lie in the file. */
  record RawArray(int type, long count, byte[] elements) {}

  /** A value of any type, as it is to lie in the file. */
  record RawValue(int type, byte[] value) {}

  /** Sizes innermost first; the offset {@link #NEXT} is replaced by the next free one. */
  private record Tensor(byte[] name, long[] dimensions, int type, long offset, byte[] data) {}

  GgufBuilder version(int number) {
    version = number;
    return this;
  }

  /** Sets where tensors begin; without the metadata key, which is to be put in its place. */
  GgufBuilder alignment(int bytes) {
    alignment = bytes;
    return this;
  }

  /** Sets how large the file may become. */
  GgufBuilder capacity(int bytes) {
    capacity = bytes;
    return this;
  }

  /** Says how many tensors and keys there are, whatever the truth is. */
  GgufBuilder counts(long tensorsSaid, long keysSaid) {
    tensorCount = tensorsSaid;
    keyCount = keysSaid;
    return this;
  }

  /**
   * Sets a key: a String, Integer (written as UINT32), Long (UINT64), Float, Double, Boolean, an
   * array or list of strings, floats or ints, or something raw. Null removes it.
   */
  GgufBuilder put(String key, Object value) {
    if (value == null) {
      metadata.remove(key);
    } else {
      metadata.put(key, value);
    }
    return this;
  }

  Object get(String key) {
    return metadata.get(key);
  }

  /** Adds a tensor of single precision; the shape is outermost first. */
  GgufBuilder tensor(String name, long[] shape, float[] values) {
    ByteBuffer data = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
    data.asFloatBuffer().put(values);
    return tensor(name, shape, 0, data.array());
  }

  /** Adds a tensor of any type; the shape is outermost first. */
  GgufBuilder tensor(String name, long[] shape, int type, byte[] data) {
    long[] dimensions = new long[shape.length];
    for (int i = 0; i < shape.length; i++) {
      dimensions[i] = shape[shape.length - 1 - i];
    }
    return rawTensor(name, dimensions, type, NEXT, data);
  }

  /** Adds a tensor; sizes are innermost first, as in the file. */
  GgufBuilder rawTensor(String name, long[] dimensions, int type, long offset, byte[] data) {
    tensors.add(new Tensor(name.getBytes(StandardCharsets.UTF_8), dimensions, type, offset, data));
    return this;
  }

  GgufBuilder removeTensor(String name) {
    tensors.removeIf(tensor -> new String(tensor.name(), StandardCharsets.UTF_8).equals(name));
    return this;
  }

  Path write(Path file) {
    try {
      return Files.write(file, build());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  byte[] build() {
    ByteBuffer out = ByteBuffer.allocate(capacity).order(ByteOrder.LITTLE_ENDIAN);
    out.put("GGUF".getBytes(StandardCharsets.US_ASCII)).putInt(version);
    out.putLong(tensorCount < 0 ? tensors.size() : tensorCount);
    out.putLong(keyCount < 0 ? metadata.size() : keyCount);
    metadata.forEach(
        (key, value) -> {
          string(out, key);
          value(out, value);
        });
    long offset = 0;
    List<byte[]> data = new ArrayList<>();
    for (Tensor tensor : tensors) {
      out.putLong(tensor.name().length).put(tensor.name());
      out.putInt(tensor.dimensions().length);
      for (long size : tensor.dimensions()) {
        out.putLong(size);
      }
      out.putInt(tensor.type());
      out.putLong(tensor.offset() == NEXT ? offset : tensor.offset());
      byte[] padded = Arrays.copyOf(tensor.data(), (int) align(tensor.data().length));
      data.add(padded);
      offset += padded.length;
    }
    out.position((int) align(out.position()));
    data.forEach(out::put);
    return Arrays.copyOf(out.array(), out.position());
  }

  private long align(long position) {
    return (position + alignment - 1) / alignment * alignment;
  }

  private static void value(ByteBuffer out, Object value) {
    if (value instanceof String text) {
      out.putInt(8);
      string(out, text);
    } else if (value instanceof Integer number) {
      out.putInt(4).putInt(number);
    } else if (value instanceof Long number) {
      out.putInt(10).putLong(number);
    } else if (value instanceof Float number) {
      out.putInt(6).putFloat(number);
    } else if (value instanceof Double number) {
      out.putInt(12).putDouble(number);
    } else if (value instanceof Boolean flag) {
      out.putInt(7).put((byte) (flag ? 1 : 0));
    } else if (value instanceof List<?> strings) {
      out.putInt(9).putInt(8).putLong(strings.size());
      strings.forEach(text -> string(out, (String) text));
    } else if (value instanceof float[] numbers) {
      out.putInt(9).putInt(6).putLong(numbers.length);
      for (float number : numbers) {
        out.putFloat(number);
      }
    } else if (value instanceof int[] numbers) {
      out.putInt(9).putInt(5).putLong(numbers.length);
      for (int number : numbers) {
        out.putInt(number);
      }
    } else if (value instanceof RawArray array) {
      out.putInt(9).putInt(array.type()).putLong(array.count()).put(array.elements());
    } else if (value instanceof RawValue raw) {
      out.putInt(raw.type()).put(raw.value());
    } else {
      throw new IllegalArgumentException(String.valueOf(value));
    }
  }

  private static void string(ByteBuffer out, String text) {
    byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
    out.putLong(encoded.length).put(encoded);
  }
}
