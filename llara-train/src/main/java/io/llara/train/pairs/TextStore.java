package io.llara.train.pairs;

import com.google.common.hash.Hashing;
import io.llara.LlaraException;
import io.llara.io.ByteChannels;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.Document;
import io.llara.retrieval.DocumentReader;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Texts by their ids, put aside in a temporary folder: a collection may be packed, and need not fit
 * into memory. One file has the texts; another has their places by a hash of the id, in buckets, of
 * which one is read to find a text. It takes half a megabyte of memory, and some 70 while it is
 * made, however many texts there are. Not thread-safe.
 */
final class TextStore implements AutoCloseable {
  private static final String REPEATED_ID = "repeats the id '%s' of line %d";
  private static final int SORTED_AT_ONCE = 1 << 22;
  private static final int BUCKET_BITS = 16;
  private static final int BUCKETS = 1 << BUCKET_BITS;

  /** The hash of an id, and where its record begins. */
  private static final int ENTRY_BYTES = 2 * Long.BYTES;

  /** The number of the line, and the lengths of id and text. */
  private static final int HEADER_BYTES = Long.BYTES + 2 * Integer.BYTES;

  private final Path source;
  private final TemporaryPath folder = TemporaryPath.folder("llara-texts");

  /** How many entries lie before each bucket, and how many there are. */
  private final long[] begins = new long[BUCKETS + 1];

  private final FileChannel records;
  private final FileChannel index;

  /** A text, its id, and the number of the line that it was on. */
  private record Stored(long line, String id, String text) {}

  /** Takes texts as they come. */
  final class Input implements AutoCloseable {
    private final DataOutputStream texts = output("texts");
    private final DataOutputStream entries = output("entries");
    private long offset;

    private Input() throws IOException {}

    private DataOutputStream output(String name) throws IOException {
      return new DataOutputStream(
          new BufferedOutputStream(Files.newOutputStream(folder.path().resolve(name)), 1 << 16));
    }

    void put(String id, String text, long line) {
      if (Thread.currentThread().isInterrupted()) {
        throw new LlaraException(source + ": reading it was interrupted");
      }
      byte[] name = id.getBytes(StandardCharsets.UTF_8);
      byte[] body = text.getBytes(StandardCharsets.UTF_8);
      long hash = hash(id);
      try {
        texts.writeLong(line);
        texts.writeInt(name.length);
        texts.writeInt(body.length);
        texts.write(name);
        texts.write(body);
        entries.writeLong(hash);
        entries.writeLong(offset);
      } catch (IOException e) {
        throw failed(e);
      }
      begins[bucket(hash) + 1]++;
      offset += HEADER_BYTES + name.length + body.length;
    }

    @Override
    public void close() throws IOException {
      try (texts) {
        entries.close();
      }
    }
  }

  /**
   * Makes a store.
   *
   * @param source what messages name
   * @param reader hands in all texts
   * @param repeats the message about an id that is there twice, with places for the id and the line
   *     that had it first
   * @param sortedAtOnce how many entries may lie in memory
   */
  TextStore(Path source, Consumer<Input> reader, String repeats, int sortedAtOnce) {
    this.source = source;
    try {
      try (Input input = new Input()) {
        reader.accept(input);
      }
      Arrays.parallelPrefix(begins, Long::sum);
      records = FileChannel.open(folder.path().resolve("texts"), StandardOpenOption.READ);
      index =
          FileChannel.open(
              folder.path().resolve("index"),
              StandardOpenOption.CREATE_NEW,
              StandardOpenOption.READ,
              StandardOpenOption.WRITE);
      sort(sortedAtOnce, repeats);
    } catch (IOException e) {
      folder.close();
      throw failed(e);
    } catch (RuntimeException | Error e) {
      folder.close();
      throw e;
    }
  }

  /** Makes a store, as the other constructor does. */
  TextStore(Path source, Consumer<Input> reader, String repeats) {
    this(source, reader, repeats, SORTED_AT_ONCE);
  }

  /**
   * Reads a file of documents or queries.
   *
   * @param text what is wanted of each
   * @throws LlaraException naming file and line if it is something else, or an id is repeated
   */
  static TextStore read(Path source, Function<Document, String> text) {
    return new TextStore(
        source,
        input -> {
          try (DocumentReader documents = DocumentReader.open(source)) {
            for (Document next = documents.next(); next != null; next = documents.next()) {
              input.put(next.id(), text.apply(next), documents.lines().number());
            }
          }
        },
        REPEATED_ID);
  }

  /** Writes the entries bucket after bucket: at a time, of as many buckets as fit into memory. */
  private void sort(int atOnce, String repeats) throws IOException {
    Path entries = folder.path().resolve("entries");
    int first = 0;
    while (first < BUCKETS) {
      int end = first + 1;
      while (end < BUCKETS && begins[end + 1] - begins[first] <= atOnce) {
        end++;
      }
      for (long[] bucket : read(entries, first, end)) {
        requireUnique(bucket, repeats);
        ByteBuffer bytes = ByteBuffer.allocate(bucket.length * Long.BYTES);
        bytes.asLongBuffer().put(bucket);
        ByteChannels.writeFully(index, bytes);
      }
      first = end;
    }
    Files.delete(entries);
  }

  /** Returns some buckets, each an array of entries. */
  private long[][] read(Path entries, int first, int end) throws IOException {
    long[][] buckets = new long[end - first][];
    Arrays.setAll(buckets, i -> new long[2 * count(first + i)]);
    int[] filled = new int[buckets.length];
    try (InputStream bytes = Files.newInputStream(entries);
        DataInputStream in = new DataInputStream(new BufferedInputStream(bytes, 1 << 16))) {
      for (long left = begins[BUCKETS]; left > 0; left--) {
        long hash = in.readLong();
        long offset = in.readLong();
        int place = bucket(hash) - first;
        if (place >= 0 && place < buckets.length) {
          buckets[place][filled[place]++] = hash;
          buckets[place][filled[place]++] = offset;
        }
      }
    }
    return buckets;
  }

  /** Fails if two entries of a bucket have the same id. */
  private void requireUnique(long[] bucket, String repeats) throws IOException {
    for (int i = 0; i < bucket.length; i += 2) {
      for (int j = 0; j < i; j += 2) {
        if (bucket[i] == bucket[j]) {
          Stored before = record(bucket[j + 1]);
          Stored after = record(bucket[i + 1]);
          if (before.id().equals(after.id())) {
            throw new LlaraException(
                "%s:%d: %s"
                    .formatted(source, after.line(), repeats.formatted(after.id(), before.line())));
          }
        }
      }
    }
  }

  /**
   * Returns the text of an id, or null if there is none.
   *
   * @throws LlaraException if the temporary files cannot be read
   */
  @Nullable String get(String id) {
    long hash = hash(id);
    int bucket = bucket(hash);
    ByteBuffer entries = ByteBuffer.allocate(count(bucket) * ENTRY_BYTES);
    try {
      ByteChannels.readFully(index, begins[bucket] * ENTRY_BYTES, entries);
      entries.flip();
      while (entries.hasRemaining()) {
        boolean same = entries.getLong() == hash;
        long offset = entries.getLong();
        if (same) {
          Stored record = record(offset);
          if (record.id().equals(id)) {
            return record.text();
          }
        }
      }
      return null;
    } catch (IOException e) {
      throw failed(e);
    }
  }

  private Stored record(long offset) throws IOException {
    ByteBuffer header = ByteBuffer.allocate(HEADER_BYTES);
    ByteChannels.readFully(records, offset, header);
    header.flip();
    long line = header.getLong();
    int idLength = header.getInt();
    int textLength = header.getInt();
    ByteBuffer bytes = ByteBuffer.allocate(idLength + textLength);
    ByteChannels.readFully(records, offset + HEADER_BYTES, bytes);
    return new Stored(
        line,
        new String(bytes.array(), 0, idLength, StandardCharsets.UTF_8),
        new String(bytes.array(), idLength, textLength, StandardCharsets.UTF_8));
  }

  private int count(int bucket) {
    return Math.toIntExact(begins[bucket + 1] - begins[bucket]);
  }

  private static long hash(String id) {
    return Hashing.murmur3_128().hashString(id, StandardCharsets.UTF_8).asLong();
  }

  private static int bucket(long hash) {
    return (int) (hash >>> Long.SIZE - BUCKET_BITS);
  }

  private LlaraException failed(IOException e) {
    return new LlaraException(
        "%s: its texts cannot be put aside in %s: %s"
            .formatted(source, folder.path(), Messages.reason(e)),
        e);
  }

  /** Returns the file that the texts are from. */
  @Override
  public String toString() {
    return source.toString();
  }

  @Override
  public void close() {
    try (folder) {
      records.close();
      index.close();
    } catch (IOException e) {
      throw failed(e);
    }
  }
}
