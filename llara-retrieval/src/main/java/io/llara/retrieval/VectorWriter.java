package io.llara.retrieval;

import io.llara.LlaraException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;

/**
 * Writes a file of vectors one by one; goes on where another writer of the same vectors ended. For
 * one thread.
 */
final class VectorWriter implements AutoCloseable {
  private final VectorHeader header;
  private final BlockFile.Writer blocks;
  private final ByteBuffer block;
  private long written;

  /**
   * Begins a file, or goes on with it.
   *
   * @throws IOException if it cannot be written, or something else is writing it
   * @throws LlaraException if a part of other vectors is there
   */
  VectorWriter(Path target, VectorHeader header) throws IOException {
    this.header = header;
    this.blocks = new BlockFile.Writer(target, header.toBlocks());
    this.block = BlockFile.littleEndian(header.blockRows() * header.rowBytes());
    this.written = Math.min(header.count(), (long) blocks.written() * header.blockRows());
  }

  /** Returns how many vectors are there. */
  long written() {
    return written;
  }

  /** Forgets the vectors after so many, a multiple of a block's. */
  void truncate(long vectors) {
    blocks.truncate(Math.toIntExact(vectors / header.blockRows()));
    written = vectors;
  }

  /**
   * Adds the next vector.
   *
   * @throws LlaraException if the storage cannot hold it
   */
  void add(float[] vector) throws IOException {
    header.storage().write(vector, block);
    written++;
    if (!block.hasRemaining() || written == header.count()) {
      blocks.write(block.array());
      block.clear();
    }
  }

  /** Gives the complete file its name. */
  void commit() throws IOException {
    blocks.commit();
  }

  /** Returns whether nothing is there that another writer could go on with. */
  boolean isEmpty() {
    return blocks.written() == 0;
  }

  /** Deletes what was written, unless it is complete. */
  void discard() throws IOException {
    blocks.discard();
  }

  @Override
  public void close() throws IOException {
    blocks.close();
  }
}
