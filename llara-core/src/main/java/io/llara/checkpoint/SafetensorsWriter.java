package io.llara.checkpoint;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.ByteChannels;
import io.llara.io.Messages;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Writes a safetensors file: declare every tensor, then {@link #write(Path)}. Contents are asked
 * for one after another while writing, so that a model never sits in memory twice.
 *
 * <p>The file appears under its name complete and on disk, or not at all: it is written aside and
 * renamed, and a file that some process has mapped is never changed in place. The header is padded
 * to eight bytes, and tensors are ordered by element size, largest first, then as declared: every
 * tensor begins at a multiple of its element size. The metadata {@code format: pt}, which the
 * transformers library asks for, is there from the start.
 *
 * <pre>{@code
 * new SafetensorsWriter()
 *     .add("norm.weight", StorageType.BF16, new long[] {768}, values)
 *     .write(dir.resolve("model.safetensors"));
 * }</pre>
 *
 * <p>Not thread-safe.
 */
public final class SafetensorsWriter {
  private static final int CHUNK_BYTES = 1 << 20;

  private final Map<String, Tensor> tensors = new LinkedHashMap<>();
  private final Map<String, String> metadata = new LinkedHashMap<>(Map.of("format", "pt"));

  /** Creates a writer without tensors. */
  public SafetensorsWriter() {}

  /** Gives the bytes of one tensor, little-endian and row-major, in any number of pieces. */
  @FunctionalInterface
  public interface Content {
    /**
     * Writes exactly as many bytes as the tensor has. Called once, by the thread that writes the
     * file.
     */
    void writeTo(WritableByteChannel out) throws IOException;
  }

  private record Tensor(StorageType type, long[] shape, long length, Content content) {}

  /**
   * Declares a tensor whose bytes come while the file is written.
   *
   * @throws IllegalArgumentException if the name is taken or reserved, or the shape has a negative
   *     or too large size
   */
  public SafetensorsWriter add(String name, StorageType type, long[] shape, Content content) {
    if (name.equals(SafetensorsFile.METADATA_KEY)) {
      throw new IllegalArgumentException("the name " + name + " is reserved by the format");
    }
    long[] copy = shape.clone();
    Tensor tensor = new Tensor(type, copy, TensorEntry.byteLength(copy, type), content);
    if (tensors.putIfAbsent(name, tensor) != null) {
      throw new IllegalArgumentException("tensor " + Messages.quote(name) + " is already there");
    }
    return this;
  }

  /**
   * Declares a tensor of floats, row-major, narrowed to the type while the file is written (round
   * to nearest, ties to even). The array is not copied and must not change until then.
   *
   * @throws IllegalArgumentException if the type is not F32, F16 or BF16, the array's length is not
   *     the product of the shape, or as in {@link #add(String, StorageType, long[], Content)}
   */
  public SafetensorsWriter add(String name, StorageType type, long[] shape, float[] values) {
    if (!type.isWeightType()) {
      throw new IllegalArgumentException("floats are stored as F32, F16 or BF16, not as " + type);
    }
    long elements = TensorEntry.byteLength(shape, type) / type.bytes();
    if (values.length != elements) {
      throw new IllegalArgumentException(
          "tensor %s has %d values; its shape needs %d"
              .formatted(Messages.quote(name), values.length, elements));
    }
    return add(name, type, shape, out -> writeFloats(values, type, out));
  }

  /** Sets an entry of the file's metadata. */
  public SafetensorsWriter metadata(String key, String value) {
    metadata.put(key, value);
    return this;
  }

  /**
   * Writes the file, replacing one of that name.
   *
   * @throws LlaraException if the file cannot be written; an older one is still whole then
   * @throws IllegalStateException if a content gives more or fewer bytes than its tensor has
   */
  public void write(Path file) {
    List<Map.Entry<String, Tensor>> ordered =
        tensors.entrySet().stream()
            .sorted(Comparator.comparingInt(entry -> -entry.getValue().type().bytes()))
            .toList();
    ByteBuffer header = header(ordered);
    AtomicFiles.write(
        file,
        channel -> {
          ByteChannels.writeFully(channel, header);
          for (Map.Entry<String, Tensor> entry : ordered) {
            writeTensor(entry.getKey(), entry.getValue(), channel);
          }
        });
  }

  private ByteBuffer header(List<Map.Entry<String, Tensor>> ordered) {
    JsonObject root = new JsonObject();
    JsonObject meta = new JsonObject();
    metadata.forEach(meta::addProperty);
    root.add(SafetensorsFile.METADATA_KEY, meta);
    long offset = 0;
    for (Map.Entry<String, Tensor> entry : ordered) {
      Tensor tensor = entry.getValue();
      long end = Math.addExact(offset, tensor.length());
      JsonObject json = new JsonObject();
      json.addProperty("dtype", tensor.type().name());
      json.add("shape", array(tensor.shape()));
      json.add("data_offsets", array(offset, end));
      root.add(entry.getKey(), json);
      offset = end;
    }
    byte[] json = root.toString().getBytes(StandardCharsets.UTF_8);
    int padded = Math.addExact(json.length, 7) & ~7;
    if (padded > SafetensorsFile.MAX_HEADER_BYTES) {
      throw new IllegalArgumentException(
          "the header would have %d bytes; the format allows %d"
              .formatted(padded, SafetensorsFile.MAX_HEADER_BYTES));
    }
    ByteBuffer header = ByteBuffer.allocate(SafetensorsFile.LENGTH_BYTES + padded);
    header.order(ByteOrder.LITTLE_ENDIAN).putLong(padded).put(json);
    while (header.hasRemaining()) {
      header.put((byte) ' ');
    }
    return header.flip();
  }

  private static JsonArray array(long... values) {
    JsonArray array = new JsonArray();
    for (long value : values) {
      array.add(value);
    }
    return array;
  }

  private static void writeTensor(String name, Tensor tensor, FileChannel channel)
      throws IOException {
    long begin = channel.position();
    tensor.content().writeTo(channel);
    long written = channel.position() - begin;
    if (written != tensor.length()) {
      throw new IllegalStateException(
          "the content of tensor %s has %d bytes; its shape needs %d"
              .formatted(Messages.quote(name), written, tensor.length()));
    }
  }

  private static void writeFloats(float[] values, StorageType type, WritableByteChannel out)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(CHUNK_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      switch (type) {
        case F32 -> buffer.putFloat(value);
        case F16 -> buffer.putShort(HalfFloats.toF16(value));
        default -> buffer.putShort(HalfFloats.toBf16(value));
      }
      if (!buffer.hasRemaining()) {
        ByteChannels.writeFully(out, buffer.flip());
        buffer.clear();
      }
    }
    ByteChannels.writeFully(out, buffer.flip());
  }
}
