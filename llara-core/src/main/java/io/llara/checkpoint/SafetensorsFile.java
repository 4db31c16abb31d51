package io.llara.checkpoint;

import com.google.common.io.ByteStreams;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The table of contents of a <a
 * href="https://github.com/huggingface/safetensors#format">safetensors</a> file. Opening reads and
 * checks the header only; no file handle stays open, and no bytes are mapped. Immutable and
 * thread-safe.
 *
 * <p>The header is untrusted: its length, its JSON, every type, shape and offset are checked before
 * anything is allocated for them, and tensors must neither overlap nor leave gaps.
 */
public final class SafetensorsFile {
  static final String METADATA_KEY = "__metadata__";
  static final int LENGTH_BYTES = 8;

  /** The limit of the format's reference implementation. */
  static final long MAX_HEADER_BYTES = 100_000_000;

  private static final int MAX_TENSORS = 1 << 18;
  private static final int MAX_METADATA = 1 << 16;
  private static final int MAX_RANK = 16;
  private static final int MAX_OFFSET_DIGITS = 18;

  private final Path path;
  private final Map<String, TensorEntry> entries;
  private final Map<String, String> metadata;

  private SafetensorsFile(
      Path path, Map<String, TensorEntry> entries, Map<String, String> metadata) {
    this.path = path;
    this.entries = entries;
    this.metadata = metadata;
  }

  /**
   * Reads and checks the header of a file.
   *
   * @throws ModelLoadException if the file cannot be read or is damaged; the message names the
   *     tensor
   */
  public static SafetensorsFile open(Path path) {
    try (FileChannel channel = FileChannel.open(path)) {
      return new Parser(path, channel.size()).read(channel);
    } catch (IOException e) {
      throw new ModelLoadException("%s: cannot be read: %s".formatted(path, Messages.reason(e)), e);
    }
  }

  /** Returns the file. */
  public Path path() {
    return path;
  }

  /** Returns all tensors by name, in the order of the header; unmodifiable. */
  public Map<String, TensorEntry> entries() {
    return entries;
  }

  /** Returns the free-form {@code __metadata__} of the file, in its order; unmodifiable. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /**
   * Returns the entry of a tensor.
   *
   * @throws ModelLoadException if the file has none of that name
   */
  public TensorEntry entry(String name) {
    TensorEntry entry = entries.get(name);
    if (entry == null) {
      throw new ModelLoadException(
          "%s: has no tensor %s; it holds %d others"
              .formatted(path, Messages.quote(name), entries.size()));
    }
    return entry;
  }

  /** One pass over one header. */
  private static final class Parser {
    private final Path file;
    private final long fileSize;
    private final Map<String, TensorEntry> entries = new LinkedHashMap<>();
    private final Map<String, String> metadata = new LinkedHashMap<>();
    private boolean metadataSeen;
    private long dataStart;

    Parser(Path file, long fileSize) {
      this.file = file;
      this.fileSize = fileSize;
    }

    SafetensorsFile read(FileChannel channel) throws IOException {
      long headerLength = headerLength(channel);
      dataStart = LENGTH_BYTES + headerLength;
      InputStream header = ByteStreams.limit(Channels.newInputStream(channel), headerLength);
      // Not closed: the channel is the caller's.
      JsonReader reader = StrictJson.reader(header);
      try {
        parse(reader);
      } catch (IOException e) {
        throw new ModelLoadException(
            "%s: the header is not valid JSON: %s".formatted(file, Messages.reason(e)), e);
      }
      checkTiling();
      return new SafetensorsFile(
          file, Collections.unmodifiableMap(entries), Collections.unmodifiableMap(metadata));
    }

    private long headerLength(FileChannel channel) throws IOException {
      if (fileSize < LENGTH_BYTES) {
        throw new ModelLoadException(
            "%s: has %d bytes; a safetensors file begins with %d bytes of header length"
                .formatted(file, fileSize, LENGTH_BYTES));
      }
      ByteBuffer buffer = ByteBuffer.allocate(LENGTH_BYTES).order(ByteOrder.LITTLE_ENDIAN);
      while (buffer.hasRemaining()) {
        if (channel.read(buffer) < 0) {
          throw new EOFException("the file ends inside the header length");
        }
      }
      long length = buffer.getLong(0);
      // A length with the highest bit set is negative here and refused likewise.
      if (length < 2 || length > MAX_HEADER_BYTES) {
        throw new ModelLoadException(
            "%s: the header length is %s; expected 2 to %d (is this a safetensors file?)"
                .formatted(file, Long.toUnsignedString(length), MAX_HEADER_BYTES));
      }
      if (length > fileSize - LENGTH_BYTES) {
        throw new ModelLoadException(
            "%s: the header length is %d but only %d bytes follow it; the file is truncated"
                .formatted(file, length, fileSize - LENGTH_BYTES));
      }
      return length;
    }

    private void parse(JsonReader reader) throws IOException {
      expect(reader, JsonToken.BEGIN_OBJECT, "header");
      reader.beginObject();
      while (reader.hasNext()) {
        String name = reader.nextName();
        if (name.equals(METADATA_KEY)) {
          parseMetadata(reader);
          continue;
        }
        if (entries.size() == MAX_TENSORS) {
          throw new ModelLoadException(
              "%s: holds more than %d tensors, the limit".formatted(file, MAX_TENSORS));
        }
        if (entries.put(name, parseEntry(reader, name)) != null) {
          throw problem(name, "occurs twice");
        }
      }
      reader.endObject();
      StrictJson.end(reader);
    }

    private void parseMetadata(JsonReader reader) throws IOException {
      if (metadataSeen) {
        throw problem(METADATA_KEY, "occurs twice");
      }
      metadataSeen = true;
      expect(reader, JsonToken.BEGIN_OBJECT, METADATA_KEY);
      reader.beginObject();
      while (reader.hasNext()) {
        String key = reader.nextName();
        if (metadata.size() == MAX_METADATA) {
          throw problem(METADATA_KEY, "has more than %d keys, the limit".formatted(MAX_METADATA));
        }
        expect(reader, JsonToken.STRING, METADATA_KEY);
        if (metadata.put(key, reader.nextString()) != null) {
          throw problem(METADATA_KEY, "has the key " + Messages.quote(key) + " twice");
        }
      }
      reader.endObject();
    }

    private TensorEntry parseEntry(JsonReader reader, String name) throws IOException {
      StorageType type = null;
      long[] shape = null;
      long[] offsets = null;
      expect(reader, JsonToken.BEGIN_OBJECT, name);
      reader.beginObject();
      while (reader.hasNext()) {
        String key = reader.nextName();
        switch (key) {
          case "dtype" -> type = once(name, key, type, parseType(reader, name));
          case "shape" -> shape = once(name, key, shape, parseSizes(reader, name, key));
          case "data_offsets" -> offsets = once(name, key, offsets, parseSizes(reader, name, key));
          default ->
              throw problem(
                  name,
                  "has the key %s; expected dtype, shape, data_offsets"
                      .formatted(Messages.quote(key)));
        }
      }
      reader.endObject();
      if (type == null || shape == null || offsets == null) {
        String missing = type == null ? "dtype" : shape == null ? "shape" : "data_offsets";
        throw problem(name, "has no " + missing);
      }
      return entry(name, type, shape, offsets);
    }

    private TensorEntry entry(String name, StorageType type, long[] shape, long[] offsets) {
      long available = fileSize - dataStart;
      String found = "has data_offsets " + Arrays.toString(offsets);
      if (offsets.length != 2) {
        throw problem(name, found + "; expected [begin, end]");
      }
      if (offsets[0] > offsets[1] || offsets[1] > available) {
        throw problem(
            name,
            found
                + "; expected begin <= end <= %d, the bytes after the header; the file is %s"
                    .formatted(available, offsets[1] > available ? "truncated" : "damaged"));
      }
      long length;
      try {
        length = TensorEntry.byteLength(shape, type);
      } catch (IllegalArgumentException e) {
        throw new ModelLoadException(
            "%s: tensor %s: %s".formatted(file, Messages.quote(name), e.getMessage()), e);
      }
      if (length != offsets[1] - offsets[0]) {
        throw problem(
            name,
            found
                + ", %d bytes; %s of shape %s needs %d"
                    .formatted(offsets[1] - offsets[0], type, Arrays.toString(shape), length));
      }
      return new TensorEntry(name, type, shape, file, dataStart + offsets[0], length);
    }

    private StorageType parseType(JsonReader reader, String name) throws IOException {
      expect(reader, JsonToken.STRING, name);
      String text = reader.nextString();
      return StorageType.named(text)
          .orElseThrow(
              () ->
                  new UnsupportedModelException(
                      "%s: tensor %s has type %s; known: %s"
                          .formatted(
                              file,
                              Messages.quote(name),
                              Messages.quote(text),
                              Arrays.toString(StorageType.values()))));
    }

    private long[] parseSizes(JsonReader reader, String name, String key) throws IOException {
      expect(reader, JsonToken.BEGIN_ARRAY, name);
      long[] sizes = new long[MAX_RANK];
      int count = 0;
      reader.beginArray();
      while (reader.hasNext()) {
        if (count == MAX_RANK) {
          throw problem(name, "has more than %d numbers in %s".formatted(MAX_RANK, key));
        }
        expect(reader, JsonToken.NUMBER, name);
        String text = reader.nextString();
        if (text.length() > MAX_OFFSET_DIGITS || !text.matches("[0-9]+")) {
          throw problem(
              name,
              "has %s in %s; expected whole numbers from 0 on"
                  .formatted(Messages.quote(text), key));
        }
        sizes[count++] = Long.parseLong(text);
      }
      reader.endArray();
      return Arrays.copyOf(sizes, count);
    }

    private <T> T once(String name, String key, @Nullable T before, T value) {
      if (before != null) {
        throw problem(name, "has the key '" + key + "' twice");
      }
      return value;
    }

    /** The format wants the tensors to fill the file: every byte belongs to exactly one. */
    private void checkTiling() {
      List<TensorEntry> byOffset =
          entries.values().stream()
              .sorted(
                  Comparator.comparingLong(TensorEntry::offset)
                      .thenComparingLong(TensorEntry::length))
              .toList();
      long end = dataStart;
      for (TensorEntry entry : byOffset) {
        if (entry.offset() < end) {
          throw problem(
              entry.name(),
              "begins at byte %d of the file, where another tensor still lies until %d"
                  .formatted(entry.offset(), end));
        }
        if (entry.offset() > end) {
          throw problem(
              entry.name(),
              "begins at byte %d of the file; the %d bytes before it belong to no tensor"
                  .formatted(entry.offset(), entry.offset() - end));
        }
        end += entry.length();
      }
      if (end != fileSize) {
        throw new ModelLoadException(
            "%s: has %d bytes; its tensors end at %d, what follows belongs to none"
                .formatted(file, fileSize, end));
      }
    }

    private void expect(JsonReader reader, JsonToken expected, String where) throws IOException {
      JsonToken found = reader.peek();
      if (found != expected) {
        throw problem(
            where,
            "has %s at %s; expected %s"
                .formatted(found, Messages.quote(reader.getPath()), expected));
      }
    }

    private ModelLoadException problem(String name, String what) {
      return new ModelLoadException("%s: tensor %s %s".formatted(file, Messages.quote(name), what));
    }
  }
}
