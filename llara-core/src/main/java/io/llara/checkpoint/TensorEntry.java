package io.llara.checkpoint;

import io.llara.ModelLoadException;
import io.llara.io.ByteChannels;
import io.llara.io.Messages;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Objects;

/**
 * Where a tensor lies: its name, element type, shape, and the bytes {@code [offset, offset +
 * length)} of a file. Elements are little-endian and row-major. Immutable.
 *
 * @param name the tensor's name; in {@link CheckpointDirectory#tensors()} the canonical one
 * @param type the element type
 * @param shape the sizes of all dimensions, outermost first; empty for a scalar
 * @param file the file that holds the bytes
 * @param offset the first byte, counted from the start of the file
 * @param length the number of bytes: the product of the shape times the element size
 */
public record TensorEntry(
    String name, StorageType type, long[] shape, Path file, long offset, long length) {
  private static final int CHUNK_BYTES = 1 << 20;

  /**
   * Creates an entry.
   *
   * @throws IllegalArgumentException if a size is negative or the length does not fit the shape
   */
  public TensorEntry {
    shape = shape.clone();
    Objects.requireNonNull(name, "name");
    Objects.requireNonNull(file, "file");
    long expected = byteLength(shape, type);
    if (length != expected) {
      throw new IllegalArgumentException(
          "length is %d; %s of shape %s needs %d"
              .formatted(length, type, Arrays.toString(shape), expected));
    }
    if (offset < 0) {
      throw new IllegalArgumentException("offset is " + offset + "; expected 0 or more");
    }
  }

  /**
   * Returns the number of bytes of a dense tensor.
   *
   * @throws IllegalArgumentException if a size is negative or the product passes 2^63 - 1
   */
  static long byteLength(long[] shape, StorageType type) {
    long product = type.bytes();
    boolean empty = false;
    for (long size : shape) {
      if (size < 0) {
        throw new IllegalArgumentException(
            "shape " + Arrays.toString(shape) + " has a negative size");
      }
      empty |= size == 0;
    }
    if (empty) {
      return 0;
    }
    try {
      for (long size : shape) {
        product = Math.multiplyExact(product, size);
      }
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException("shape " + Arrays.toString(shape) + " is too large", e);
    }
    return product;
  }

  /** Returns a copy of the shape. */
  @Override
  public long[] shape() {
    return shape.clone();
  }

  /** Returns the number of elements. */
  public long elements() {
    return length / type.bytes();
  }

  /** Returns whether the shape is exactly this one. */
  public boolean hasShape(long... expected) {
    return Arrays.equals(shape, expected);
  }

  /** Returns the same bytes under another name. */
  public TensorEntry withName(String newName) {
    return new TensorEntry(newName, type, shape, file, offset, length);
  }

  /**
   * Reads the tensor into an array, row-major; F16 and BF16 are widened exactly. Meant for small
   * tensors: the whole of it is copied to the heap.
   *
   * @throws ModelLoadException if the type is not F32, F16 or BF16, the tensor has more elements
   *     than an array can hold, or the file cannot be read
   */
  public float[] readFloats() {
    if (!type.isWeightType()) {
      throw wrongType("F32, F16 or BF16");
    }
    float[] values = new float[arrayLength()];
    read((index, bytes) -> values[index] = floatAt(bytes));
    return values;
  }

  /**
   * Reads the tensor into an array of doubles, row-major; F32, F16 and BF16 are widened exactly.
   *
   * @throws ModelLoadException if the type is not a float of 16 bits or more, the tensor has more
   *     elements than an array can hold, or the file cannot be read
   */
  public double[] readDoubles() {
    if (type != StorageType.F64 && !type.isWeightType()) {
      throw wrongType("F64, F32, F16 or BF16");
    }
    double[] values = new double[arrayLength()];
    if (type == StorageType.F64) {
      read((index, bytes) -> values[index] = bytes.getDouble());
    } else {
      read((index, bytes) -> values[index] = floatAt(bytes));
    }
    return values;
  }

  /** Returns whether another tensor has the same type, shape and bytes. */
  boolean sameContent(TensorEntry other) {
    if (type != other.type || !other.hasShape(shape)) {
      return false;
    }
    try (FileChannel mine = FileChannel.open(file);
        FileChannel theirs = FileChannel.open(other.file)) {
      ByteBuffer left = ByteBuffer.allocate((int) Math.min(CHUNK_BYTES, length));
      ByteBuffer right = ByteBuffer.allocate(left.capacity());
      for (long done = 0; done < length; done += left.limit()) {
        int count = (int) Math.min(left.capacity(), length - done);
        ByteChannels.readFully(mine, offset + done, left.clear().limit(count));
        ByteChannels.readFully(theirs, other.offset + done, right.clear().limit(count));
        if (!left.flip().equals(right.flip())) {
          return false;
        }
      }
      return true;
    } catch (IOException e) {
      throw unreadable(e);
    }
  }

  /** Takes the element at an index from the buffer's position and moves past it. */
  private interface ElementReader {
    void read(int index, ByteBuffer bytes);
  }

  private float floatAt(ByteBuffer bytes) {
    return switch (type) {
      case F32 -> bytes.getFloat();
      case F16 -> HalfFloats.fromF16(bytes.getShort());
      default -> HalfFloats.fromBf16(bytes.getShort());
    };
  }

  private void read(ElementReader reader) {
    try (FileChannel channel = FileChannel.open(file)) {
      ByteBuffer buffer = ByteBuffer.allocate((int) Math.min(CHUNK_BYTES, length));
      buffer.order(ByteOrder.LITTLE_ENDIAN);
      int index = 0;
      for (long done = 0; done < length; ) {
        buffer.clear().limit((int) Math.min(buffer.capacity(), length - done));
        ByteChannels.readFully(channel, offset + done, buffer);
        done += buffer.flip().limit();
        while (buffer.hasRemaining()) {
          reader.read(index++, buffer);
        }
      }
    } catch (IOException e) {
      throw unreadable(e);
    }
  }

  private ModelLoadException unreadable(IOException e) {
    return new ModelLoadException(
        "%s: tensor %s cannot be read: %s"
            .formatted(file, Messages.quote(name), Messages.reason(e)),
        e);
  }

  private int arrayLength() {
    if (elements() > Integer.MAX_VALUE - 8) {
      throw new ModelLoadException(
          "%s: tensor %s has %d elements; an array holds at most %d"
              .formatted(file, Messages.quote(name), elements(), Integer.MAX_VALUE - 8));
    }
    return (int) elements();
  }

  private ModelLoadException wrongType(String expected) {
    return new ModelLoadException(
        "%s: tensor %s has type %s; expected %s"
            .formatted(file, Messages.quote(name), type, expected));
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TensorEntry that
        && name.equals(that.name)
        && type == that.type
        && Arrays.equals(shape, that.shape)
        && file.equals(that.file)
        && offset == that.offset
        && length == that.length;
  }

  @Override
  public int hashCode() {
    return Objects.hash(name, type, Arrays.hashCode(shape), file, offset, length);
  }

  @Override
  public String toString() {
    return "%s %s%s in %s [%d, %d)"
        .formatted(name, type, Arrays.toString(shape), file, offset, offset + length);
  }
}
