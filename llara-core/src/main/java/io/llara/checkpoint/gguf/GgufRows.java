package io.llara.checkpoint.gguf;

import io.llara.ModelLoadException;
import io.llara.io.ByteChannels;
import io.llara.io.Messages;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Arrays;

/** Reads rows of tensors of a GGUF file. Holds two buffers; not thread-safe. */
final class GgufRows implements AutoCloseable {
  private final Path file;
  private final FileChannel channel;
  private ByteBuffer bytes = ByteBuffer.allocate(0);
  private float[] values = new float[0];

  /**
   * Opens the file.
   *
   * @throws ModelLoadException if it cannot be read
   */
  GgufRows(Path file) {
    this.file = file;
    try {
      this.channel = FileChannel.open(file);
    } catch (IOException e) {
      throw new ModelLoadException("%s: cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
  }

  /** Reads a small tensor. */
  static float[] readWhole(Path file, GgufTensor tensor) {
    try (GgufRows rows = new GgufRows(file)) {
      int elements = Math.toIntExact(tensor.rows() * tensor.rowElements());
      return Arrays.copyOf(rows.read(tensor, 0, (int) tensor.rows()), elements);
    }
  }

  /**
   * Reads neighbouring rows as floats, row-major. What is returned is good until the next call, and
   * may be longer than the rows.
   *
   * @throws ModelLoadException if the file cannot be read
   */
  float[] read(GgufTensor tensor, long first, int count) {
    ByteBuffer blocks = readBlocks(tensor, first, count);
    int elements = Math.toIntExact(tensor.rowElements() * count);
    if (values.length < elements) {
      values = new float[elements];
    }
    GgufType type = tensor.type();
    for (int from = 0, to = 0; from < blocks.limit(); ) {
      type.decode(blocks, from, values, to);
      from += type.blockBytes();
      to += type.blockElements();
    }
    return values;
  }

  /**
   * Reads neighbouring rows as they lie in the file, from 0 to the limit of what is returned, which
   * is good until the next call.
   *
   * @throws ModelLoadException if the file cannot be read
   */
  ByteBuffer readBlocks(GgufTensor tensor, long first, int count) {
    int length = Math.toIntExact(tensor.rowBytes() * count);
    if (bytes.capacity() < length) {
      bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    }
    bytes.clear().limit(length);
    long offset = tensor.offset() + first * tensor.rowBytes();
    try {
      ByteChannels.readFully(channel, offset, bytes);
    } catch (IOException e) {
      throw new ModelLoadException(
          "%s: tensor %s cannot be read: %s"
              .formatted(file, Messages.quote(tensor.name()), Messages.reason(e)),
          e);
    }
    return bytes.flip();
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new ModelLoadException(
          "%s: cannot be closed: %s".formatted(file, Messages.reason(e)), e);
    }
  }
}
