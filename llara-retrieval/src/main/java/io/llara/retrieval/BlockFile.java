package io.llara.retrieval;

import static java.util.Objects.requireNonNull;

import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import com.google.common.math.LongMath;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.Messages;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorFile;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.math.RoundingMode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Supplier;
import java.util.zip.CRC32C;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * A file in blocks, mapped into memory. Opening it reads a header and the blocks' checksums; a
 * block is checked when it is first read. See docs/vector-files.md for the format.
 *
 * <p>Thread-safe. Closing ends the mapping once nobody reads; closing twice is harmless. The file
 * may be renamed over or, except on Windows, deleted meanwhile, but must not shrink.
 */
final class BlockFile implements AutoCloseable {
  private static final int MAGIC_LENGTH = 8;

  /** What the content's own header may have. */
  static final int CONTENT_LENGTH = 224;

  private static final int CHECKSUM_AT = 252;
  private static final int HEADER_LENGTH = 256;
  private static final int ALIGNMENT = 4096;

  private final Path path;
  private final Header header;
  private final int[] checksums;

  /**
   * Which blocks were found to be in order. Written by any thread; a lost write costs time only.
   */
  private final boolean[] checked;

  private final Tensor mapped;
  private final Pointer begin;

  /** Readers hold it for reading: memory that is read stays mapped. */
  private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();

  private boolean closed;

  /**
   * What a file begins with.
   *
   * @param magic eight ASCII characters that say what is in the file
   * @param version the version of the format
   * @param blockBytes the length of a block; the last may be shorter
   * @param length the length of all blocks
   * @param content {@value #CONTENT_LENGTH} bytes of the content's own
   */
  record Header(String magic, int version, int blockBytes, long length, byte[] content) {

    int blocks() {
      return Math.toIntExact(LongMath.divide(length, blockBytes, RoundingMode.CEILING));
    }

    /** Returns where the first block begins. */
    long begin() {
      long end = HEADER_LENGTH + (long) blocks() * Integer.BYTES;
      return LongMath.divide(end, ALIGNMENT, RoundingMode.CEILING) * ALIGNMENT;
    }

    int bytes(int block) {
      return (int) Math.min(blockBytes, length - (long) block * blockBytes);
    }

    byte[] toBytes() {
      ByteBuffer bytes = littleEndian(HEADER_LENGTH);
      bytes.put(magic.getBytes(StandardCharsets.US_ASCII)).putInt(version).putInt(blockBytes);
      bytes.putLong(length).put(content);
      bytes.putInt(CHECKSUM_AT, checksum(bytes.array(), CHECKSUM_AT));
      return bytes.array();
    }

    /**
     * Reads the header of a file.
     *
     * @throws IOException saying what is wrong
     */
    static Header read(RandomAccessFile file, String magic, int version) throws IOException {
      byte[] bytes = new byte[(int) Math.min(HEADER_LENGTH, file.length())];
      file.seek(0);
      file.readFully(bytes);
      String found =
          new String(bytes, 0, Math.min(MAGIC_LENGTH, bytes.length), StandardCharsets.ISO_8859_1);
      if (!found.equals(magic)) {
        throw new IOException(
            "it begins with %s; expected %s".formatted(Messages.quote(found), magic));
      }
      ByteBuffer header = ByteBuffer.wrap(Arrays.copyOf(bytes, HEADER_LENGTH));
      header.order(ByteOrder.LITTLE_ENDIAN).position(MAGIC_LENGTH);
      int foundVersion = header.getInt();
      if (foundVersion != version) {
        throw new IOException(
            "its format has version %d; expected %d".formatted(foundVersion, version));
      }
      if (header.getInt(CHECKSUM_AT) != checksum(header.array(), CHECKSUM_AT)) {
        throw new IOException("the checksum of its header is wrong");
      }
      int blockBytes = header.getInt();
      long length = header.getLong();
      byte[] content = new byte[CONTENT_LENGTH];
      header.get(content);
      return new Header(magic, version, blockBytes, length, content);
    }

    /** Two headers are one if their bytes are. */
    boolean sameAs(Header other) {
      return Arrays.equals(toBytes(), other.toBytes());
    }
  }

  private BlockFile(Path path, Header header, int[] checksums) throws IOException {
    Libtorch.load();
    this.path = path;
    this.header = header;
    this.checksums = checksums;
    this.checked = new boolean[checksums.length];
    try (TensorFile tensors = new TensorFile(path)) {
      this.mapped = tensors.map(0, ScalarType.Byte, header.begin() + header.length());
    }
    this.begin = new BytePointer(mapped.data_ptr()).getPointer(header.begin());
  }

  /**
   * Opens a file.
   *
   * @throws IOException if it cannot be read or is not what its writer wrote, saying why
   */
  static BlockFile open(Path path, String magic, int version) throws IOException {
    if (!Files.isRegularFile(path)) {
      throw new IOException(Files.exists(path) ? "it is not a file" : "no such file");
    }
    // Not by a channel: an interrupt would close it, and a file in order would look damaged.
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "r")) {
      Header header = Header.read(file, magic, version);
      long expected = header.begin() + header.length();
      if (file.length() != expected) {
        throw new IOException("it has %d bytes; expected %d".formatted(file.length(), expected));
      }
      return new BlockFile(path, header, checksums(file, header));
    }
  }

  private static int[] checksums(RandomAccessFile file, Header header) throws IOException {
    byte[] table = new byte[header.blocks() * Integer.BYTES];
    file.seek(HEADER_LENGTH);
    file.readFully(table);
    int[] checksums = new int[header.blocks()];
    ByteBuffer.wrap(table).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer().get(checksums);
    return checksums;
  }

  static ByteBuffer littleEndian(int length) {
    return ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Zero stands for a block that was not written yet. */
  private static int checksum(CRC32C crc) {
    return crc.getValue() == 0 ? 1 : (int) crc.getValue();
  }

  private static int checksum(byte[] bytes, int length) {
    CRC32C crc = new CRC32C();
    crc.update(bytes, 0, length);
    return checksum(crc);
  }

  Path path() {
    return path;
  }

  Header header() {
    return header;
  }

  /** Returns the SHA-256 of header and checksums: that of another content is another. */
  byte[] digest() {
    Hasher hasher = Hashing.sha256().newHasher().putBytes(header.toBytes());
    for (int checksum : checksums) {
      hasher.putInt(checksum);
    }
    return hasher.hash().asBytes();
  }

  /**
   * Reads something while the file stays mapped.
   *
   * @throws IllegalStateException if the file is closed
   */
  <T> T reading(Supplier<T> reader) {
    lock.readLock().lock();
    try {
      if (closed) {
        throw new IllegalStateException(path + " is closed");
      }
      return reader.get();
    } finally {
      lock.readLock().unlock();
    }
  }

  /**
   * Returns a new pointer to a place in the blocks, which the caller has {@link #check checked}. To
   * be used only while {@link #reading}.
   */
  Pointer at(long offset) {
    return begin.getPointer(offset);
  }

  /**
   * Checks the blocks with some of the bytes, unless they were before. To be used only while {@link
   * #reading}.
   *
   * @throws LlaraException if one is damaged
   */
  void check(long offset, long length) {
    if (length == 0) {
      return;
    }
    int last = (int) ((offset + length - 1) / header.blockBytes());
    for (int block = (int) (offset / header.blockBytes()); block <= last; block++) {
      if (!checked[block]) {
        CRC32C crc = new CRC32C();
        crc.update(
            new BytePointer(begin.getPointer((long) block * header.blockBytes()))
                .capacity(header.bytes(block))
                .asByteBuffer());
        if (checksum(crc) != checksums[block]) {
          throw new LlaraException(
              "%s: is damaged: the checksum of block %d, bytes %d to %d, is wrong"
                  .formatted(
                      path,
                      block,
                      header.begin() + (long) block * header.blockBytes(),
                      header.begin()
                          + (long) block * header.blockBytes()
                          + header.bytes(block)
                          - 1));
        }
        checked[block] = true;
      }
    }
  }

  /**
   * Ends the mapping.
   *
   * @throws IllegalStateException if this thread is reading
   */
  @Override
  public void close() {
    if (lock.getReadHoldCount() > 0) {
      throw new IllegalStateException(path + " is closed while it is read");
    }
    lock.writeLock().lock();
    try {
      if (!closed) {
        closed = true;
        mapped.close();
      }
    } finally {
      lock.writeLock().unlock();
    }
  }

  /**
   * Writes a file block by block, under a name of its own ({@code FILE.partial}) until it is
   * complete. A writer of the same header goes on with what is there: what was written survives the
   * process. For one thread.
   */
  static final class Writer implements AutoCloseable {
    private final Path target;
    private final Path partial;
    private final Header header;
    private final RandomAccessFile file;
    private int written;
    private boolean committed;

    /**
     * Begins a file, or goes on with it.
     *
     * @throws IOException if it cannot be written, or something else is writing it
     * @throws LlaraException if a part of another content is there
     */
    Writer(Path target, Header header) throws IOException {
      this.target = target;
      this.header = header;
      this.partial = partial(target);
      Files.createDirectories(requireNonNull(target.toAbsolutePath().getParent()));
      this.file = new RandomAccessFile(partial.toFile(), "rw");
      try {
        lock();
        begin();
      } catch (IOException | RuntimeException e) {
        file.close();
        throw e;
      }
    }

    /** The lock ends when the file is closed. */
    private void lock() throws IOException {
      boolean free;
      try {
        free = file.getChannel().tryLock() != null;
      } catch (OverlappingFileLockException e) {
        free = false;
      }
      if (!free) {
        throw new IOException("something else is writing " + partial);
      }
    }

    private static Path partial(Path target) {
      return target.resolveSibling(target.getFileName() + ".partial");
    }

    private void begin() throws IOException {
      if (file.length() > 0 && !damaged()) {
        int[] checksums = checksums(file, header);
        byte[] block = new byte[header.blockBytes()];
        file.seek(header.begin());
        while (written < header.blocks() && checksums[written] != 0) {
          file.readFully(block, 0, header.bytes(written));
          if (checksum(block, header.bytes(written)) != checksums[written]) {
            return;
          }
          written++;
        }
        return;
      }
      file.setLength(0);
      file.write(header.toBytes());
      file.setLength(header.begin() + header.length());
    }

    /** Tells what a dying machine left from what belongs to somebody else. */
    private boolean damaged() throws IOException {
      Header found;
      try {
        found = Header.read(file, header.magic(), header.version());
      } catch (IOException e) {
        return true;
      }
      if (!found.sameAs(header)) {
        throw new LlaraException(
            "%s: holds a part of something else: of other texts, another model or other settings;"
                    .formatted(partial)
                + " delete it, or write elsewhere");
      }
      return file.length() != header.begin() + header.length();
    }

    /** Returns how many blocks are there. */
    int written() {
      return written;
    }

    /** Forgets the blocks from one on. */
    void truncate(int blocks) {
      written = Math.min(written, blocks);
    }

    /**
     * Writes the next block.
     *
     * @param block as many bytes as it has
     */
    void write(byte[] block) throws IOException {
      int length = header.bytes(written);
      file.seek(header.begin() + (long) written * header.blockBytes());
      file.write(block, 0, length);
      // Only now: a block counts once its checksum is there.
      file.seek(HEADER_LENGTH + (long) written * Integer.BYTES);
      file.write(littleEndian(Integer.BYTES).putInt(checksum(block, length)).array());
      written++;
    }

    /** Gives the complete file its name. */
    void commit() throws IOException {
      if (written != header.blocks()) {
        throw new IllegalStateException(
            "%s: has %d blocks; expected %d".formatted(partial, written, header.blocks()));
      }
      file.getFD().sync();
      file.close();
      Files.move(
          partial, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      committed = true;
      try {
        AtomicFiles.forceFolder(requireNonNull(target.toAbsolutePath().getParent()));
      } catch (ClosedByInterruptException e) {
        // The file has its name; whoever is interrupted will notice elsewhere.
        return;
      }
    }

    /** Deletes what was written. */
    void discard() throws IOException {
      if (!committed) {
        file.close();
        Files.deleteIfExists(partial);
      }
    }

    @Override
    public void close() throws IOException {
      file.close();
    }
  }
}
