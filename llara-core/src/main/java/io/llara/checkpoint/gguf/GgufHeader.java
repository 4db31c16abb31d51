package io.llara.checkpoint.gguf;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.Messages;
import java.io.IOException;
import java.nio.channels.FileChannel;
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
record GgufHeader(Path file, GgufMetadata metadata, Map<String, GgufTensor> tensors) {
  static final String ALIGNMENT = "general.alignment";

  private static final int MAGIC = 'G' | 'G' << 8 | 'U' << 16 | 'F' << 24;

  /** Several times the header of a model with half a million tokens and merges. */
  private static final long MAX_HEADER_BYTES = 64 << 20;

  private static final int MAX_KEYS = 1 << 16;
  private static final int MAX_TENSORS = 1 << 18;
  private static final int MAX_ARRAY = 1 << 23;
  private static final int MAX_KEY_BYTES = (1 << 16) - 1;
  private static final int MAX_NAME_BYTES = 64;
  private static final int MAX_STRING_BYTES = 16 << 20;
  private static final int MAX_DIMENSIONS = 4;
  private static final int DEFAULT_ALIGNMENT = 32;
  private static final int MIN_ALIGNMENT = 8;
  private static final int MAX_ALIGNMENT = 1 << 20;

  /** The fewest bytes of a key with its value, and of a tensor's entry. */
  private static final int LEAST_KEY_BYTES = 8 + 4 + 1;

  private static final int LEAST_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8;

  static GgufHeader read(Path file) {
    try (FileChannel channel = FileChannel.open(file)) {
      return new Parser(file, new GgufInput(file, channel, MAX_HEADER_BYTES)).read();
    } catch (IOException e) {
      throw new ModelLoadException("%s: cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
  }

  /** One pass over one header. */
  private static final class Parser {
    private final Path file;
    private final GgufInput in;
    private final Map<String, Object> values = new LinkedHashMap<>();
    private final Map<String, GgufTensor> tensors = new LinkedHashMap<>();

    Parser(Path file, GgufInput in) {
      this.file = file;
      this.in = in;
    }

    GgufHeader read() throws IOException {
      if (in.fileSize() < 4 || in.u32() != MAGIC) {
        throw new ModelLoadException(
            "%s: does not begin with 'GGUF'; no GGUF file".formatted(file));
      }
      checkVersion((int) in.u32());
      int tensorCount = count("tensors", MAX_TENSORS, LEAST_TENSOR_BYTES);
      int keyCount = count("metadata keys", MAX_KEYS, LEAST_KEY_BYTES);
      for (int i = 0; i < keyCount; i++) {
        readKey(i);
      }
      GgufMetadata metadata = new GgufMetadata(file, Collections.unmodifiableMap(values));
      int alignment = alignment(metadata);
      List<Entry> entries = new ArrayList<>();
      for (int i = 0; i < tensorCount; i++) {
        entries.add(readTensor(i));
      }
      long dataStart = align(in.position(), alignment);
      for (Entry entry : entries) {
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
      long count = in.u64();
      if (count < 0 || count > max) {
        throw in.problem("is %s; expected at most %d".formatted(Long.toUnsignedString(count), max));
      }
      in.at("the header with its %d %s".formatted(count, what));
      in.require(count * leastBytes);
      return (int) count;
    }

    private void readKey(int index) throws IOException {
      in.at("metadata key number " + index);
      String key = in.string(MAX_KEY_BYTES);
      String where = "metadata key " + Messages.quote(key);
      in.at(where);
      GgufValueType type = valueType();
      Object value =
          switch (type) {
            case ARRAY -> array();
            case STRING -> in.string(MAX_STRING_BYTES);
            case BOOL -> bool();
            default -> type.number(in.bytes(type.leastBytes()), 0);
          };
      if (values.putIfAbsent(key, value) != null) {
        throw in.problem("occurs twice");
      }
    }

    private GgufValueType valueType() throws IOException {
      long number = in.u32();
      GgufValueType[] types = GgufValueType.values();
      if (number >= types.length) {
        throw in.problem(
            "has a value of type %d; known are 0 to %d".formatted(number, types.length - 1));
      }
      return types[(int) number];
    }

    private boolean bool() throws IOException {
      int value = in.u8();
      if (value > 1) {
        throw in.problem("is a truth value of %d; expected 0 or 1".formatted(value));
      }
      return value == 1;
    }

    private Object array() throws IOException {
      GgufValueType type = valueType();
      if (type == GgufValueType.ARRAY) {
        throw in.problem("is an array of arrays; arrays of numbers and strings are read");
      }
      long count = in.u64();
      if (count < 0 || count > MAX_ARRAY) {
        throw in.problem(
            "is an array of %s values; expected at most %d"
                .formatted(Long.toUnsignedString(count), MAX_ARRAY));
      }
      in.require(count * type.leastBytes());
      if (type != GgufValueType.STRING) {
        return new GgufMetadata.Numbers(type, (int) count, in.bytes(count * type.leastBytes()));
      }
      List<String> strings = new ArrayList<>((int) count);
      for (int i = 0; i < count; i++) {
        strings.add(in.string(MAX_STRING_BYTES));
      }
      return Collections.unmodifiableList(strings);
    }

    private int alignment(GgufMetadata metadata) {
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

    /** A tensor before it is known where the data begins. */
    private record Entry(String name, GgufType type, long[] shape, long offset) {}

    private Entry readTensor(int index) throws IOException {
      in.at("tensor number " + index);
      String name = in.string(MAX_NAME_BYTES);
      in.at("tensor " + Messages.quote(name));
      long dimensions = in.u32();
      if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
        throw in.problem(
            "has %d dimensions; expected 1 to %d".formatted(dimensions, MAX_DIMENSIONS));
      }
      long[] shape = new long[(int) dimensions];
      for (int i = shape.length - 1; i >= 0; i--) {
        shape[i] = in.u64();
        if (shape[i] < 1) {
          throw in.problem(
              "has a size of %s; expected 1 to 2^63 - 1"
                  .formatted(Long.toUnsignedString(shape[i])));
        }
      }
      long number = in.u32();
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
      return new Entry(name, type, shape, in.u64());
    }

    private void place(Entry entry, long dataStart, int alignment) {
      in.at("tensor " + Messages.quote(entry.name()));
      long length = length(entry);
      long available = in.fileSize() - dataStart;
      if (entry.offset() < 0 || entry.offset() > available || length > available - entry.offset()) {
        throw in.problem(
            "begins at byte %s of the data and has %d; the file has %d bytes of data and is"
                    .formatted(
                        Long.toUnsignedString(entry.offset()), length, Math.max(0, available))
                + " truncated or damaged");
      }
      if (entry.offset() % alignment != 0) {
        throw in.problem(
            "begins at byte %d of the data; expected a multiple of %d"
                .formatted(entry.offset(), alignment));
      }
      GgufTensor tensor =
          new GgufTensor(
              entry.name(), entry.type(), entry.shape(), dataStart + entry.offset(), length);
      if (tensors.put(entry.name(), tensor) != null) {
        throw in.problem("occurs twice");
      }
    }

    private long length(Entry entry) {
      long row = entry.shape()[entry.shape().length - 1];
      if (row % entry.type().blockElements() != 0) {
        throw in.problem(
            "has rows of %d elements; %s has blocks of %d"
                .formatted(row, entry.type(), entry.type().blockElements()));
      }
      try {
        long length = 1;
        for (long size : entry.shape()) {
          length = Math.multiplyExact(length, size);
        }
        return Math.multiplyExact(
            length / entry.type().blockElements(), (long) entry.type().blockBytes());
      } catch (ArithmeticException e) {
        throw new ModelLoadException(
            "%s: tensor %s of shape %s is too large"
                .formatted(file, Messages.quote(entry.name()), Arrays.toString(entry.shape())),
            e);
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

    private static long align(long position, int alignment) {
      return (position + alignment - 1) / alignment * alignment;
    }
  }
}
