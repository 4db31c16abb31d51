package io.llara.retrieval;

import io.llara.io.TemporaryPath;
import java.io.BufferedOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.zip.CRC32C;
import java.util.zip.CheckedInputStream;
import java.util.zip.CheckedOutputStream;

/**
 * The vectors of collections, on disk, each set under a key: the SHA-256 of everything they depend
 * on. Another model, template, type or collection is another key and another file, so that none is
 * taken for another.
 *
 * <p>A file is: {@code LLARAVEC}, a version, the dimension, the number of vectors, the key; the
 * vectors as float32; a CRC-32C over all of that. Everything is little-endian. It is written aside
 * and renamed, so that an unfinished one is never taken for a whole one.
 */
public final class VectorCache {
  private static final byte[] MAGIC = "LLARAVEC".getBytes(StandardCharsets.US_ASCII);
  private static final int VERSION = 1;
  private static final int KEY_LENGTH = 64;
  private static final int HEADER_LENGTH = 8 + 4 + 4 + 8 + KEY_LENGTH;

  private final Path directory;

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
    return TextDigest.of(dependencies);
  }

  /**
   * Opens a set of vectors, once every byte of its file has been checked. The caller closes it.
   *
   * @return the vectors, or nothing if there is no file of that key
   * @throws IOException if the file cannot be read or is not what was written
   */
  public Optional<StoredVectors> open(Entry entry) throws IOException {
    Path file = file(entry);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    check(file, entry);
    return Optional.of(new StoredVectors(file, HEADER_LENGTH, entry.count(), entry.dimension()));
  }

  /** Not by a channel: an interrupt would close it, and a file in order would look damaged. */
  private static void check(Path file, Entry entry) throws IOException {
    long vectors = entry.count() * entry.dimension() * Float.BYTES;
    long expected = HEADER_LENGTH + vectors + Long.BYTES;
    if (Files.size(file) != expected) {
      throw new IOException("it has %d bytes; expected %d".formatted(Files.size(file), expected));
    }
    try (CheckedInputStream in =
        new CheckedInputStream(new FileInputStream(file.toFile()), new CRC32C())) {
      if (!Arrays.equals(in.readNBytes(HEADER_LENGTH), header(entry).array())) {
        throw new IOException("its header does not match these vectors");
      }
      byte[] buffer = new byte[1 << 20];
      for (long left = vectors; left > 0; ) {
        int read = in.read(buffer, 0, (int) Math.min(buffer.length, left));
        if (read < 0) {
          throw new EOFException("it became shorter while it was read");
        }
        left -= read;
      }
      byte[] sum = littleEndian(in.getChecksum().getValue());
      if (!Arrays.equals(in.readNBytes(Long.BYTES), sum)) {
        throw new IOException("its checksum is wrong");
      }
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

  private static byte[] littleEndian(long value) {
    return ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array();
  }

  /** Stores vectors one by one. Closed before {@link #commit}, it leaves nothing behind. */
  public static final class Writer implements Closeable {
    private final Path target;
    private final Entry entry;
    private final TemporaryPath aside;
    private final CheckedOutputStream out;
    private final ByteBuffer row;
    private long written;

    private Writer(Path target, Entry entry) throws IOException {
      this.target = target;
      this.entry = entry;
      Files.createDirectories(target.toAbsolutePath().getParent());
      this.aside = TemporaryPath.beside(target);
      this.row =
          ByteBuffer.allocate(entry.dimension() * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      // Not a channel, which an interrupt would close.
      OutputStream file = new FileOutputStream(aside.path().toFile());
      this.out = new CheckedOutputStream(new BufferedOutputStream(file, 1 << 18), new CRC32C());
      out.write(header(entry).array());
    }

    /** Adds the next vector. */
    public void add(float[] vector) throws IOException {
      row.clear().asFloatBuffer().put(vector);
      out.write(row.array());
      written++;
    }

    /** Makes the file known under its name. */
    public void commit() throws IOException {
      if (written != entry.count()) {
        throw new IOException(written + " vectors were stored, not " + entry.count());
      }
      out.write(littleEndian(out.getChecksum().getValue()));
      out.close();
      aside.moveTo(target);
    }

    @Override
    public void close() throws IOException {
      try (aside) {
        out.close();
      }
    }
  }
}
