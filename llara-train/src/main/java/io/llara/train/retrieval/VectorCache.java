package io.llara.train.retrieval;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.Closeable;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.zip.CRC32C;

/**
 * The vectors of collections, on disk, each set under a key: the SHA-256 of everything they depend
 * on. Another model, template, type or collection is another key and another file, so that none is
 * taken for another.
 *
 * <p>A file is: {@code LLARAVEC}, a version, the dimension, the number of vectors, the key; the
 * vectors as float32; a CRC-32C over all of that. Everything is little-endian. It is written aside
 * and renamed.
 */
public final class VectorCache {
  private static final byte[] MAGIC = "LLARAVEC".getBytes(StandardCharsets.US_ASCII);
  private static final int VERSION = 1;
  private static final int KEY_LENGTH = 64;
  private static final int HEADER_LENGTH = 8 + 4 + 4 + 8 + KEY_LENGTH;

  private final Path directory;

  /** Takes the vectors of a file in order. */
  @FunctionalInterface
  public interface Receiver {
    /** Takes one; the array is used again afterwards. */
    void accept(long index, float[] vector);
  }

  /** How the reading of a file went. */
  public enum Outcome {
    /** All vectors were handed over. */
    FOUND,
    /** There is no file of that key. */
    ABSENT,
    /** The file is not what was written; what was handed over must be forgotten. */
    DAMAGED
  }

  /**
   * A set of vectors.
   *
   * @param key 64 hexadecimal digits, from {@link #key}
   * @param count the number of vectors
   * @param dimension their length
   */
  public record Entry(String key, long count, int dimension) {}

  /** Creates a cache in a directory, which is made when something is stored. */
  public VectorCache(Path directory) {
    this.directory = directory;
  }

  /** Returns the key of vectors that depend on these values. */
  public static String key(List<String> dependencies) {
    return Digests.of(dependencies);
  }

  /** Reads a set of vectors. */
  public Outcome read(Entry entry, Receiver receiver) {
    Path file = file(entry);
    if (!Files.isRegularFile(file)) {
      return Outcome.ABSENT;
    }
    try {
      return readVectors(file, entry, receiver) ? Outcome.FOUND : Outcome.DAMAGED;
    } catch (IOException e) {
      return Outcome.DAMAGED;
    }
  }

  private static boolean readVectors(Path file, Entry entry, Receiver receiver) throws IOException {
    long expected = HEADER_LENGTH + entry.count() * entry.dimension() * Float.BYTES + Long.BYTES;
    if (Files.size(file) != expected) {
      return false;
    }
    CRC32C checksum = new CRC32C();
    try (DataInputStream in =
        new DataInputStream(new BufferedInputStream(Files.newInputStream(file), 1 << 18))) {
      byte[] header = in.readNBytes(HEADER_LENGTH);
      if (!Arrays.equals(header, header(entry).array())) {
        return false;
      }
      checksum.update(header);
      byte[] row = new byte[entry.dimension() * Float.BYTES];
      ByteBuffer buffer = ByteBuffer.wrap(row).order(ByteOrder.LITTLE_ENDIAN);
      float[] vector = new float[entry.dimension()];
      for (long i = 0; i < entry.count(); i++) {
        in.readFully(row);
        checksum.update(row);
        buffer.clear().asFloatBuffer().get(vector);
        receiver.accept(i, vector);
      }
      return Long.reverseBytes(in.readLong()) == checksum.getValue();
    } catch (EOFException e) {
      return false;
    }
  }

  /** Opens a file for vectors that are about to be made. */
  public Writer write(Entry entry) throws IOException {
    return new Writer(file(entry), entry);
  }

  /** Returns the file of a set of vectors, whether it is there or not. */
  public Path file(Entry entry) {
    return directory.resolve(entry.key() + ".vectors");
  }

  private static ByteBuffer header(Entry entry) {
    return ByteBuffer.allocate(HEADER_LENGTH)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(MAGIC)
        .putInt(VERSION)
        .putInt(entry.dimension())
        .putLong(entry.count())
        .put(entry.key().getBytes(StandardCharsets.US_ASCII));
  }

  /** Stores vectors one by one. Closed before {@link #commit}, it leaves nothing behind. */
  public static final class Writer implements Closeable {
    private final Path target;
    private final Entry entry;
    private final Path aside;
    private final OutputStream out;
    private final CRC32C checksum = new CRC32C();
    private final ByteBuffer row;
    private long written;

    private Writer(Path target, Entry entry) throws IOException {
      this.target = target;
      this.entry = entry;
      this.aside = CacheFiles.aside(target);
      this.row =
          ByteBuffer.allocate(entry.dimension() * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      this.out = new BufferedOutputStream(Files.newOutputStream(aside), 1 << 18);
      write(header(entry).array());
    }

    /** Adds the next vector. */
    public void add(float[] vector) throws IOException {
      row.clear().asFloatBuffer().put(vector);
      write(row.array());
      written++;
    }

    private void write(byte[] bytes) throws IOException {
      checksum.update(bytes);
      out.write(bytes);
    }

    /** Makes the file known under its name. */
    public void commit() throws IOException {
      if (written != entry.count()) {
        throw new IOException(written + " vectors were stored, not " + entry.count());
      }
      ByteBuffer end = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      out.write(end.putLong(checksum.getValue()).array());
      out.close();
      CacheFiles.publish(aside, target);
    }

    @Override
    public void close() throws IOException {
      try {
        out.close();
      } finally {
        Files.deleteIfExists(aside);
      }
    }
  }
}
