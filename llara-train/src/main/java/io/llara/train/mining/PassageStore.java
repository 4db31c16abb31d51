package io.llara.train.mining;

import io.llara.LlaraException;
import io.llara.io.TemporaryPath;
import java.io.BufferedOutputStream;
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
final class PassageStore implements AutoCloseable {
  private final TemporaryPath path = TemporaryPath.file("llara-mining");
  private final int[] places;
  private final long[] offsets;
  private final RandomAccessFile file;

  /**
   * A passage.
   *
   * @param id the id of its document
   * @param text title and text; empty if only the id was wanted
   */
  record Stored(String id, String text) {}

  /**
   * Puts passages aside.
   *
   * @param whole the places of those that are wanted with their text
   * @param named the places of those whose id is wanted
   * @param progress takes how many passages of the collection were read
   */
  PassageStore(Passages passages, BitSet whole, BitSet named, IntConsumer progress) {
    BitSet wanted = (BitSet) whole.clone();
    wanted.or(named);
    places = wanted.stream().toArray();
    offsets = new long[places.length + 1];
    try {
      write(passages, whole, progress);
      file = new RandomAccessFile(path.path().toFile(), "r");
    } catch (IOException e) {
      path.close();
      throw failed(e);
    } catch (RuntimeException | Error e) {
      path.close();
      throw e;
    }
  }

  private void write(Passages passages, BitSet whole, IntConsumer progress) throws IOException {
    try (DataOutputStream out =
        new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(path.path())))) {
      passages.forEach(
          (document, place) -> {
            int index = Arrays.binarySearch(places, place);
            if (index >= 0) {
              byte[] id = document.id().getBytes(StandardCharsets.UTF_8);
              String passage = whole.get(place) ? document.passage() : "";
              byte[] text = passage.getBytes(StandardCharsets.UTF_8);
              try {
                out.writeInt(id.length);
                out.write(id);
                out.write(text);
              } catch (IOException e) {
                throw failed(e);
              }
              offsets[index + 1] = offsets[index] + Integer.BYTES + id.length + text.length;
            }
            progress.accept(place + 1);
          });
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
      file.seek(offsets[index]);
      file.readFully(bytes);
    } catch (IOException e) {
      throw failed(e);
    }
    int idLength = ByteBuffer.wrap(bytes).getInt();
    int textAt = Integer.BYTES + idLength;
    return new Stored(
        new String(bytes, Integer.BYTES, idLength, StandardCharsets.UTF_8),
        new String(bytes, textAt, bytes.length - textAt, StandardCharsets.UTF_8));
  }

  private LlaraException failed(IOException e) {
    return new LlaraException("%s: cannot be written or read: %s".formatted(path.path(), e), e);
  }

  @Override
  public void close() {
    try (path) {
      file.close();
    } catch (IOException e) {
      throw failed(e);
    }
  }
}
