package io.llara.retrieval;

import com.google.common.hash.Hashing;
import com.google.common.io.BaseEncoding;
import io.llara.LlaraException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;

/**
 * What a file of vectors says of itself.
 *
 * @param encoder SHA-256, in hexadecimal digits, of what makes vectors of texts; of vectors of your
 *     own {@link #UNKNOWN}
 * @param texts SHA-256 of the texts, likewise
 * @param dimension the length of the vectors
 * @param total how many vectors there are in all shards
 * @param shard which of them are in this file
 */
record VectorHeader(
    String encoder, String texts, VectorStorage storage, int dimension, long total, Shard shard) {
  static final String MAGIC = "LLARAVEC";
  static final int VERSION = 2;

  /** In place of a digest. */
  static final String UNKNOWN = "0".repeat(64);

  /** Near to that many bytes are checked at once. */
  private static final int BLOCK_BYTES = 1 << 16;

  /** No more than the smallest window of an encoder: what is encoded is soon in a whole block. */
  private static final int BLOCK_ROWS = 128;

  VectorHeader with(VectorStorage other) {
    return new VectorHeader(encoder, texts, other, dimension, total, shard);
  }

  VectorHeader with(Shard other) {
    return new VectorHeader(encoder, texts, storage, dimension, total, other);
  }

  /** Returns a name for a file of these vectors: that of others is another. */
  String key() {
    return Hashing.sha256().hashBytes(toBlocks().toBytes()).toString();
  }

  /** Returns how many vectors are in the file. */
  long count() {
    return shard.end(total) - shard.begin(total);
  }

  int rowBytes() {
    return storage.rowBytes(dimension);
  }

  /** Returns how many vectors a block has: a power of two, so that shards end where blocks do. */
  int blockRows() {
    return Integer.highestOneBit(
        Math.max(1, Math.min(BLOCK_ROWS, BLOCK_BYTES / Math.max(1, rowBytes()))));
  }

  BlockFile.Header toBlocks() {
    ByteBuffer content = BlockFile.littleEndian(BlockFile.CONTENT_LENGTH);
    content.put(bytes(encoder)).put(bytes(texts)).putInt(storage.ordinal()).putInt(dimension);
    content.putLong(total).putInt(shard.number()).putInt(shard.of());
    return new BlockFile.Header(
        MAGIC,
        VERSION,
        Math.max(1, blockRows() * rowBytes()),
        count() * rowBytes(),
        content.array());
  }

  private static byte[] bytes(String hex) {
    return BaseEncoding.base16().lowerCase().decode(hex);
  }

  private static String hex(ByteBuffer content) {
    byte[] digest = new byte[32];
    content.get(digest);
    return BaseEncoding.base16().lowerCase().encode(digest);
  }

  static VectorHeader of(BlockFile.Header blocks) throws IOException {
    ByteBuffer content = ByteBuffer.wrap(blocks.content()).order(ByteOrder.LITTLE_ENDIAN);
    String encoder = hex(content);
    String texts = hex(content);
    int storage = content.getInt();
    int dimension = content.getInt();
    long total = content.getLong();
    int number = content.getInt();
    int of = content.getInt();
    if (storage < 0 || storage >= VectorStorage.values().length) {
      throw new IOException("its vectors are stored in a way unknown here, " + storage);
    }
    if (number < 1 || number > of || dimension < 0 || total < 0) {
      throw new IOException(
          "it is shard %d of %d, with %d vectors in all, of dimension %d; that cannot be"
              .formatted(number, of, total, dimension));
    }
    VectorHeader header =
        new VectorHeader(
            encoder,
            texts,
            VectorStorage.values()[storage],
            dimension,
            total,
            new Shard(number, of));
    if (!header.toBlocks().sameAs(blocks)) {
      throw new IOException(
          "it has %d bytes of vectors; expected %d"
              .formatted(blocks.length(), header.toBlocks().length()));
    }
    return header;
  }

  /**
   * Fails unless these are the vectors that are wanted.
   *
   * @throws LlaraException naming what differs
   */
  void requireSame(VectorHeader wanted, Path file) {
    require(file, "the dimension", dimension, wanted.dimension);
    require(file, "the number of texts", total, wanted.total);
    if (!texts.equals(wanted.texts)) {
      throw new LlaraException(
          "%s: holds the vectors of other texts (their SHA-256 is %s; expected %s)"
              .formatted(file, texts, wanted.texts));
    }
    if (!encoder.equals(wanted.encoder)) {
      throw new LlaraException(
          "%s: holds vectors of another model or of other settings: adapter, template, mode, type,"
                  .formatted(file)
              + " length or scaling (their SHA-256 is %s; expected %s)"
                  .formatted(encoder, wanted.encoder));
    }
    require(file, "the storage", storage, wanted.storage);
    require(file, "the shard", shard, wanted.shard);
  }

  private static void require(Path file, String what, Object found, Object expected) {
    if (!found.equals(expected)) {
      throw new LlaraException("%s: %s is %s; expected %s".formatted(file, what, found, expected));
    }
  }
}
