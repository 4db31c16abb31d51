package io.llara.train.mining;

import io.llara.LlaraException;
import io.llara.io.TemporaryPath;
import java.io.BufferedOutputStream;
import java.io.Closeable;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.BitSet;
import java.util.function.IntConsumer;

/**
 * Passages put aside in a file, to be read in any order: a collection may be packed, and need not
 * fit into memory. Takes twelve bytes of memory a passage. For one thread.
 */
final class PassageStore implements Closeable {
  private final TemporaryPath file;
  private final int[] places;
  private final long[] offsets;
  private final RandomAccessFile in;

  private PassageStore(TemporaryPath file, int[] places, long[] offsets) throws IOException {
    this.file = file;
    this.places = places;
    this.offsets = offsets;
    this.in = new RandomAccessFile(file.path().toFile(), "r");
  }

  /**
   * A passage.
   *
   * @param id the id of its document
   * @param text title and text; empty if only the id was asked for
   */
  record Stored(String id, String text) {}

  /**
   * Puts passages aside.
   *
   * @param whole the places of those that are wanted with their text
   * @param named the places of those whose id is wanted
   * @param progress told how many passages of the collection were passed
   */
  static PassageStore of(Passages passages, BitSet whole, BitSet named, IntConsumer progress) {
    BitSet wanted = (BitSet) whole.clone();
    wanted.or(named);
    int[] places = wanted.stream().toArray();
    long[] offsets = new long[places.length + 1];
    TemporaryPath file = TemporaryPath.file("llara-mining");
    try {
      try (DataOutputStream out =
          new DataOutputStream(
              new BufferedOutputStream(Files.newOutputStream(file.path()), 1 << 16))) {
        Filling filling = new Filling(out, offsets);
        passages.forEach(
            (place, document) -> {
              if (wanted.get(place)) {
                try {
                  filling.add(document.id(), whole.get(place) ? document.passage() : "");
                } catch (IOException e) {
                  throw failed(file, e);
                }
              }
              progress.accept(place + 1);
            });
      }
      return new PassageStore(file, places, offsets);
    } catch (IOException e) {
      file.close();
      throw failed(file, e);
    } catch (RuntimeException | Error e) {
      file.close();
      throw e;
    }
  }

  /** The writing of the file. */
  private static final class Filling {
    private final DataOutputStream out;
    private final long[] offsets;
    private int count;

    Filling(DataOutputStream out, long[] offsets) {
      this.out = out;
      this.offsets = offsets;
    }

    void add(String id, String text) throws IOException {
      byte[] idBytes = id.getBytes(StandardCharsets.UTF_8);
      byte[] textBytes = text.getBytes(StandardCharsets.UTF_8);
      out.writeInt(idBytes.length);
      out.write(idBytes);
      out.write(textBytes);
      offsets[count + 1] = offsets[count] + Integer.BYTES + idBytes.length + textBytes.length;
      count++;
    }
  }

  /** Returns the passage at a place of the collection, one of those that were put aside. */
  Stored get(int place) {
    int index = Arrays.binarySearch(places, place);
    if (index < 0) {
      throw new IllegalArgumentException("passage " + place + " was not put aside");
    }
    byte[] bytes = new byte[(int) (offsets[index + 1] - offsets[index])];
    try {
      in.seek(offsets[index]);
      in.readFully(bytes);
    } catch (IOException e) {
      throw failed(file, e);
    }
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    int idLength = buffer.getInt();
    int textAt = Integer.BYTES + idLength;
    return new Stored(
        new String(bytes, Integer.BYTES, idLength, StandardCharsets.UTF_8),
        new String(bytes, textAt, bytes.length - textAt, StandardCharsets.UTF_8));
  }

  private static LlaraException failed(TemporaryPath file, IOException e) {
    return new LlaraException("%s: cannot be written or read: %s".formatted(file.path(), e), e);
  }

  @Override
  public void close() {
    try {
      in.close();
    } catch (IOException e) {
      throw failed(file, e);
    } finally {
      file.close();
    }
  }
}
