package io.llara.checkpoint.gguf;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The header of a GGUF file of version 2 or 3, as described by the <a
 * href="https://github.com/ggml-org/ggml/blob/master/docs/gguf.md">format's specification</a>:
 * metadata, and where each tensor lies. It is untrusted: every count, length, type and offset is
 * checked against the size of the file before anything is allocated for it, and tensors must not
 * overlap. No file handle stays open.
 */
record GgufHeader(Path file, JsonSection metadata, Map<String, GgufTensor> tensors) {
  static final String ALIGNMENT = "general.alignment";

  private static final int MAGIC = 'G' | 'G' << 8 | 'U' << 16 | 'F' << 24;

  /** Several times the header of a model with half a million tokens and merges. */
  private static final long MAX_HEADER_BYTES = 64 << 20;

  private static final int MAX_KEYS = 1 << 16;
  private static final int MAX_TENSORS = 1 << 18;

  /** Of all arrays together; each becomes an object. */
  private static final int MAX_ELEMENTS = 1 << 22;

  private static final int MAX_KEY_BYTES = (1 << 16) - 1;
  private static final int MAX_NAME_BYTES = 64;
  private static final int MAX_DIMENSIONS = 4;
  private static final int DEFAULT_ALIGNMENT = 32;
  private static final int MIN_ALIGNMENT = 8;
  private static final int MAX_ALIGNMENT = 1 << 20;

  /** The fewest bytes of a key with its value, and of a tensor's entry. */
  private static final int LEAST_KEY_BYTES = 8 + 4 + 1;

  private static final int LEAST_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8;

  static GgufHeader read(Path file) {
    try (GgufInput in = new GgufInput(file, MAX_HEADER_BYTES)) {
      return new Parser(file, in).read();
    } catch (IOException e) {
      throw new ModelLoadException("%s: cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
  }

  /** One pass over one header. */
  private static final class Parser {
    private final Path file;
    private final GgufInput in;
    private final JsonObject values = new JsonObject();
    private final Map<String, GgufTensor> tensors = new LinkedHashMap<>();
    private int elements;

    Parser(Path file, GgufInput in) {
      this.file = file;
      this.in = in;
    }

    GgufHeader read() throws IOException {
      if (in.fileSize() < 4 || in.number(4) != MAGIC) {
        throw new ModelLoadException(
            "%s: is not a GGUF file: it does not begin with 'GGUF'".formatted(file));
      }
      checkVersion((int) in.number(4));
      int tensorCount = count("tensors", MAX_TENSORS, LEAST_TENSOR_BYTES);
      int keyCount = count("metadata keys", MAX_KEYS, LEAST_KEY_BYTES);
      for (int i = 0; i < keyCount; i++) {
        readKey(i);
      }
      JsonSection metadata = StrictJson.modelSection(values, file + ": metadata");
      int alignment = alignment(metadata);
      List<GgufTensor> entries = new ArrayList<>();
      for (int i = 0; i < tensorCount; i++) {
        entries.add(readTensor(i));
      }
      long dataStart = (in.position() + alignment - 1) / alignment * alignment;
      for (GgufTensor entry : entries) {
        place(entry, dataStart, alignment);
      }
      checkOverlap();
      return new GgufHeader(file, metadata, Collections.unmodifiableMap(tensors));
    }

    private void checkVersion(int version) {
      if (version == 2 || version == 3) {
        return;
      }
      String found =
          Integer.reverseBytes(version) == 2 || Integer.reverseBytes(version) == 3
              ? "big-endian"
              : "of version " + Integer.toUnsignedString(version);
      throw new UnsupportedModelException(
          "%s: a GGUF file %s is not read; supported: versions 2 and 3, little-endian"
              .formatted(file, found));
    }

    private int count(String what, int max, int leastBytes) throws IOException {
      in.at("the number of " + what);
      int count = in.count("is", max);
      in.at("the header with its %d %s".formatted(count, what));
      in.require((long) count * leastBytes);
      return count;
    }

    private void readKey(int index) throws IOException {
      in.at("metadata key number " + index);
      String key = in.string(MAX_KEY_BYTES);
      in.at("metadata key " + Messages.quote(key));
      GgufValueType type = valueType();
      JsonElement value = type == GgufValueType.ARRAY ? array() : type.read(in);
      if (values.has(key)) {
        throw in.problem("occurs twice");
      }
      values.add(key, value);
    }

    private GgufValueType valueType() throws IOException {
      long number = in.number(4);
      GgufValueType[] types = GgufValueType.values();
      if (number >= types.length) {
        throw in.problem(
            "has a value of type %d; known are 0 to %d".formatted(number, types.length - 1));
      }
      return types[(int) number];
    }

    private JsonArray array() throws IOException {
      GgufValueType type = valueType();
      if (type == GgufValueType.ARRAY) {
        throw in.problem("is an array of arrays; arrays of numbers and strings are read");
      }
      int count = in.count("is an array whose length is", MAX_ELEMENTS - elements);
      elements += count;
      in.require((long) count * type.leastBytes());
      JsonArray array = new JsonArray(count);
      for (int i = 0; i < count; i++) {
        array.add(type.read(in));
      }
      return array;
    }

    private int alignment(JsonSection metadata) {
      int alignment = metadata.integer(ALIGNMENT).orElse(DEFAULT_ALIGNMENT);
      if (alignment < MIN_ALIGNMENT
          || alignment > MAX_ALIGNMENT
          || Integer.bitCount(alignment) != 1) {
        throw metadata.invalid(
            ALIGNMENT,
            Integer.toString(alignment),
            "a power of two from %d to %d".formatted(MIN_ALIGNMENT, MAX_ALIGNMENT));
      }
      return alignment;
    }

    /** Reads a tensor's entry, whose offset is still counted from where the data begins. */
    private GgufTensor readTensor(int index) throws IOException {
      in.at("tensor number " + index);
      String name = in.string(MAX_NAME_BYTES);
      in.at("tensor " + Messages.quote(name));
      long dimensions = in.number(4);
      if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
        throw in.problem(
            "has %d dimensions; expected 1 to %d".formatted(dimensions, MAX_DIMENSIONS));
      }
      long[] shape = new long[(int) dimensions];
      for (int i = shape.length - 1; i >= 0; i--) {
        shape[i] = in.number(8);
        if (shape[i] < 1) {
          throw in.problem(
              "has a size of %s; expected 1 to 2^63 - 1"
                  .formatted(Long.toUnsignedString(shape[i])));
        }
      }
      long number = in.number(4);
      GgufType type =
          GgufType.numbered(number)
              .orElseThrow(
                  () ->
                      new UnsupportedModelException(
                          "%s: tensor %s has type %s, which is not read; supported: %s"
                              .formatted(
                                  file,
                                  Messages.quote(name),
                                  GgufType.name(number),
                                  GgufType.names())));
      return new GgufTensor(name, type, shape, in.number(8), length(type, shape));
    }

    private long length(GgufType type, long[] shape) {
      long row = shape[shape.length - 1];
      if (row % type.blockElements() != 0) {
        throw in.problem(
            "has rows of %d elements; %s has blocks of %d"
                .formatted(row, type, type.blockElements()));
      }
      try {
        long elements = Arrays.stream(shape).reduce(1, Math::multiplyExact);
        return Math.multiplyExact(elements / type.blockElements(), (long) type.blockBytes());
      } catch (ArithmeticException e) {
        throw in.problem("of shape %s is too large".formatted(Arrays.toString(shape)));
      }
    }

    private void place(GgufTensor tensor, long dataStart, int alignment) {
      in.at("tensor " + Messages.quote(tensor.name()));
      long offset = tensor.offset();
      long available = in.fileSize() - dataStart;
      if (offset < 0 || offset > available || tensor.length() > available - offset) {
        throw in.problem(
            "begins at byte %s of the data and has %d; the file has %d bytes of data and is"
                    .formatted(
                        Long.toUnsignedString(offset), tensor.length(), Math.max(0, available))
                + " truncated or damaged");
      }
      if (offset % alignment != 0) {
        throw in.problem(
            "begins at byte %d of the data; expected a multiple of %d"
                .formatted(offset, alignment));
      }
      GgufTensor placed =
          new GgufTensor(
              tensor.name(), tensor.type(), tensor.shape(), dataStart + offset, tensor.length());
      if (tensors.put(tensor.name(), placed) != null) {
        throw in.problem("occurs twice");
      }
    }

    private void checkOverlap() {
      List<GgufTensor> byOffset =
          tensors.values().stream().sorted(Comparator.comparingLong(GgufTensor::offset)).toList();
      long end = 0;
      String before = "";
      for (GgufTensor tensor : byOffset) {
        if (tensor.offset() < end) {
          in.at("tensor " + Messages.quote(tensor.name()));
          throw in.problem(
              "begins at byte %d of the file, where %s lies until %d"
                  .formatted(tensor.offset(), Messages.quote(before), end));
        }
        end = tensor.offset() + tensor.length();
        before = tensor.name();
      }
    }
  }
}
