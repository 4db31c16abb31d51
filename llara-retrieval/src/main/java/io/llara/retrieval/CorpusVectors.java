package io.llara.retrieval;

import static java.util.Objects.requireNonNull;

import com.google.common.collect.Iterators;
import com.google.common.collect.Streams;
import com.google.common.primitives.Ints;
import io.llara.Encoder;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The vectors of a collection, or of any other texts, under an encoder and a mode: taken from a
 * cache or a file, or made and stored. Texts and vectors are streamed; neither are ever in memory
 * as a whole, so that a collection may be larger than the heap.
 *
 * <pre>{@code
 * try (StoredVectors passages = CorpusVectors.open(TextSet.of(corpus), encoder, Mode.SELF);
 *     StoredVectors queries =
 *         CorpusVectors.open(TextSet.of("queries", questions), encoder, Mode.NEXT);
 *     ExactSearch search = new ExactSearch(passages, encoder.lanes())) {
 *   List<Hits> hits = search.search(queries, 100);
 * }
 * }</pre>
 *
 * <p>Without a cache the vectors lie in a temporary folder until they are closed. With one, or with
 * {@link #encode}, an encoding that is interrupted, or whose process dies, goes on where it ended
 * and gives the bits that it would have given; nothing unfinished is ever taken for a whole set. A
 * file of the cache that is damaged is made again, and where none can be written a temporary folder
 * does. The encoder is only used while the vectors are made.
 */
public final class CorpusVectors {
  /** Files of so many bytes are checked as a whole before they are taken from a cache. */
  private static final long CHECKED_BYTES = 256L << 20;

  /**
   * Where vectors are kept, and what made them.
   *
   * @param directory the directory of the cache, made when something is stored
   * @param model what tells the encoder's weights from all others: {@link ModelFingerprint}
   * @param storage how the vectors of passages are stored; those of queries are float32
   * @param passages a file with the vectors of the passages, as {@link #encode} and {@link #merge}
   *     make it, in place of the cache; of any storage
   */
  public record CachePlace(
      Path directory, String model, VectorStorage storage, Optional<Path> passages) {
    /** Checks that all are there. */
    public CachePlace {
      requireNonNull(directory, "directory");
      requireNonNull(model, "model");
      requireNonNull(storage, "storage");
      requireNonNull(passages, "passages");
    }

    /** Returns a place for float32 vectors, in a cache alone. */
    public CachePlace(Path directory, String model) {
      this(directory, model, VectorStorage.FLOAT32, Optional.empty());
    }

    /**
     * Returns a place for the vectors of a checkpoint and of the adapter on top of it, whose files
     * are hashed.
     *
     * @throws LlaraException if a file cannot be read
     */
    public static CachePlace of(Path directory, Path model, Optional<Path> adapter) {
      return new CachePlace(
          directory, new ModelFingerprint(Optional.of(directory)).of(model, adapter));
    }

    /** Returns this place with another storage. */
    public CachePlace withStorage(VectorStorage other) {
      return new CachePlace(directory, model, other, passages);
    }

    /** Returns this place with a file of the passages' vectors. */
    public CachePlace withPassages(Path file) {
      return new CachePlace(directory, model, storage, Optional.of(file));
    }
  }

  /**
   * What makes vectors of texts.
   *
   * @param encoder embeds the texts; the caller closes it
   * @param mode {@link Mode#SELF} for passages, {@link Mode#NEXT} for queries
   * @param model what tells the encoder's weights from all others: {@link ModelFingerprint}
   */
  public record Encoding(Encoder encoder, Mode mode, String model) {}

  /**
   * What is written where.
   *
   * @param file the vectors; until they are complete, {@code FILE.partial}
   * @param storage how they are stored
   * @param shard which part of the texts they are of
   */
  public record Target(Path file, VectorStorage storage, Shard shard) {}

  /** A vector could not be stored; passes through the encoder. */
  private static final class StoringFailed extends UncheckedIOException {
    private static final long serialVersionUID = 1;

    StoringFailed(IOException reason) {
      super(reason);
    }
  }

  private CorpusVectors() {}

  /**
   * Encodes texts into a temporary folder.
   *
   * @param texts the texts, none of them blank
   * @param encoder embeds them; the caller closes it
   * @param mode {@link Mode#SELF} for passages, {@link Mode#NEXT} for queries
   * @throws LlaraException if a text cannot be encoded, the texts changed since their digest was
   *     made, this thread is interrupted, or the folder cannot be written
   */
  public static StoredVectors open(TextSet texts, Encoder encoder, Mode mode) {
    TemporaryPath folder = TemporaryPath.folder("llara-vectors");
    try {
      Encoding encoding = new Encoding(encoder, mode, "");
      Path file = folder.path().resolve("texts.vectors");
      make(texts, encoding, file, header(texts, encoding), done -> {});
      return StoredVectors.read(file).in(folder);
    } catch (IOException e) {
      folder.close();
      throw new LlaraException(
          "the vectors of %s cannot be stored in %s: %s"
              .formatted(texts.name(), folder.path(), Messages.reason(e)),
          e);
    } catch (RuntimeException | Error e) {
      folder.close();
      throw e;
    }
  }

  /**
   * Takes the vectors of texts from a cache, or encodes the texts and stores the vectors there.
   *
   * @param texts the texts, none of them blank
   * @param encoder embeds them; the caller closes it
   * @param mode {@link Mode#SELF} for passages, {@link Mode#NEXT} for queries
   * @param place where the vectors are kept
   * @param notes gets a sentence when a file is damaged or cannot be written
   * @throws LlaraException as {@link #open(TextSet, Encoder, Mode)}
   */
  public static StoredVectors open(
      TextSet texts, Encoder encoder, Mode mode, CachePlace place, Consumer<String> notes) {
    Encoding encoding = new Encoding(encoder, mode, place.model());
    VectorHeader header = header(texts, encoding).with(place.storage());
    Path file = place.directory().resolve(header.key() + ".vectors");
    try {
      if (Files.exists(file)) {
        return checked(file, header);
      }
    } catch (IOException | LlaraException e) {
      notes.accept(
          "the cached vectors in %s are damaged and will be computed again: %s"
              .formatted(file, e instanceof IOException io ? Messages.reason(io) : e.getMessage()));
    }
    try {
      make(texts, encoding, file, header, done -> {});
      return StoredVectors.read(file);
    } catch (IOException e) {
      notes.accept("the vectors cannot be cached: " + Messages.reason(e));
    }
    return open(texts, encoder, mode);
  }

  private static StoredVectors checked(Path file, VectorHeader header) throws IOException {
    StoredVectors vectors = StoredVectors.read(file);
    try {
      vectors.header().requireSame(header, file);
      if (Files.size(file) <= CHECKED_BYTES) {
        vectors.checkAll();
      }
      return vectors;
    } catch (IOException | RuntimeException e) {
      vectors.close();
      throw e;
    }
  }

  /**
   * Opens a file of the vectors of texts, of any storage.
   *
   * @throws LlaraException if the file cannot be read, or holds the vectors of other texts, of
   *     another model or of other settings, or of a shard only; the message says which
   */
  public static StoredVectors open(Path file, TextSet texts, Encoding encoding) {
    StoredVectors vectors = StoredVectors.open(file);
    try {
      vectors.header().requireSame(header(texts, encoding).with(vectors.storage()), file);
      return vectors;
    } catch (RuntimeException e) {
      vectors.close();
      throw e;
    }
  }

  /**
   * Encodes texts, or a shard of them, into a file. Where another process of the same settings
   * ended, for whatever reason, it goes on: at most the last two windows of texts ({@link
   * Encoder#window}) are encoded twice. A file that is complete is left as it is.
   *
   * @param resumed takes, before anything is encoded, how many of the shard's texts need not be
   * @throws LlaraException if a text cannot be encoded, the texts changed since their digest was
   *     made, this thread is interrupted, something else is writing the file, it cannot be written,
   *     or it is there and holds something else
   */
  public static void encode(TextSet texts, Encoding encoding, Target target, LongConsumer resumed) {
    VectorHeader header = header(texts, encoding).with(target.storage()).with(target.shard());
    if (Files.exists(target.file())) {
      try (StoredVectors vectors = StoredVectors.open(target.file())) {
        vectors.header().requireSame(header, target.file());
        resumed.accept(vectors.count());
      }
      return;
    }
    try {
      make(texts, encoding, target.file(), header, resumed);
    } catch (IOException e) {
      throw StoredVectors.unwritten(target.file(), e);
    }
  }

  /**
   * Makes one file of the shards of a collection: the bytes are those of a file that was encoded as
   * a whole.
   *
   * @param out replaced at once, or not at all
   * @param shards in any order
   * @throws LlaraException if a file cannot be read or is damaged, they do not belong together, one
   *     is missing or there twice, or the file cannot be written
   */
  public static void merge(Path out, List<Path> shards) {
    Map<Integer, StoredVectors> opened = new TreeMap<>();
    try {
      for (Path shard : shards) {
        StoredVectors vectors = StoredVectors.open(shard);
        StoredVectors twin = opened.putIfAbsent(vectors.shard().number(), vectors);
        if (twin != null) {
          vectors.close();
          throw new LlaraException(
              "%s: is shard %s, as is %s".formatted(shard, vectors.shard(), twin.file()));
        }
      }
      List<StoredVectors> parts = new ArrayList<>(opened.values());
      requireComplete(parts);
      VectorHeader whole = parts.get(0).header().with(Shard.WHOLE);
      try (BlockFile.Writer writer = new BlockFile.Writer(out, whole.toBlocks())) {
        try {
          writer.truncate(0);
          for (StoredVectors part : parts) {
            part.appendTo(writer);
          }
          writer.commit();
        } finally {
          writer.discard();
        }
      }
    } catch (IOException e) {
      throw StoredVectors.unwritten(out, e);
    } finally {
      opened.values().forEach(StoredVectors::close);
    }
  }

  private static void requireComplete(List<StoredVectors> parts) {
    if (parts.isEmpty()) {
      throw new IllegalArgumentException("there are no shards; expected one or more");
    }
    StoredVectors first = parts.get(0);
    int of = first.shard().of();
    for (StoredVectors part : parts) {
      if (part.shard().of() != of) {
        throw new LlaraException(
            "%s: is shard %s, %s shard %s; expected shards of the same number"
                .formatted(part.file(), part.shard(), first.file(), first.shard()));
      }
      part.header().requireSame(first.header().with(part.shard()), part.file());
    }
    List<Integer> numbers = parts.stream().map(part -> part.shard().number()).toList();
    List<String> missing =
        IntStream.rangeClosed(1, of)
            .filter(number -> !numbers.contains(number))
            .mapToObj(number -> new Shard(number, of).toString())
            .toList();
    if (!missing.isEmpty()) {
      throw new LlaraException(
          "of the shards of %s, %s %s missing"
              .formatted(
                  first.file(), String.join(", ", missing), missing.size() == 1 ? "is" : "are"));
    }
  }

  private static VectorHeader header(TextSet texts, Encoding encoding) {
    Encoder encoder = encoding.encoder();
    String version = Internal.class.getPackage().getImplementationVersion();
    String made =
        TextDigest.of(
            List.of(
                "mode " + encoding.mode(),
                version == null ? "unreleased" : version,
                encoding.model(),
                encoder.template().toJson(),
                encoder.computeType().name(),
                "max tokens " + encoder.maxTokens(),
                "dimension " + encoder.dimension(),
                "normalized " + encoder.normalizes()));
    return new VectorHeader(
        made,
        texts.digest(),
        VectorStorage.FLOAT32,
        encoder.dimension(),
        texts.count(),
        Shard.WHOLE);
  }

  private static void make(
      TextSet texts, Encoding encoding, Path file, VectorHeader header, LongConsumer resumed)
      throws IOException {
    try (VectorWriter writer = new VectorWriter(file, header)) {
      if (writer.written() < header.count()) {
        // The windows of an encoding that did not end, or batches would not be the same.
        int step = Math.max(encoding.encoder().window(), header.blockRows());
        writer.truncate(writer.written() / step * step);
      }
      resumed.accept(writer.written());
      try {
        encode(texts, encoding, header.shard(), writer);
        writer.commit();
      } catch (StoringFailed e) {
        throw e.getCause();
      } finally {
        if (writer.isEmpty()) {
          writer.discard();
        }
      }
    }
  }

  private static void encode(TextSet texts, Encoding encoding, Shard shard, VectorWriter writer)
      throws IOException {
    long begin = shard.begin(texts.count()) + writer.written();
    long count = shard.end(texts.count()) - begin;
    TextDigest digest = new TextDigest();
    try (Stream<String> stream = texts.source().get()) {
      Iterator<String> rest = stream.iterator();
      while (digest.count() < begin && rest.hasNext()) {
        digest.add(rest.next());
      }
      Iterator<String> part = Iterators.limit(rest, Ints.saturatedCast(count));
      encoding
          .encoder()
          .encodeAll(
              Streams.stream(part).peek(digest::add),
              encoding.mode(),
              (index, text, vector) -> {
                try {
                  writer.add(vector);
                } catch (IOException e) {
                  throw new StoringFailed(e);
                }
              });
      rest.forEachRemaining(digest::add);
    } catch (IllegalArgumentException | LlaraException e) {
      if (begin == 0) {
        throw e;
      }
      throw new LlaraException(
          "%s, counted from text %d on: %s".formatted(texts.name(), begin, e.getMessage()), e);
    }
    if (!digest.value().equals(texts.digest())) {
      // What was written may be of other texts.
      writer.discard();
      throw new LlaraException(texts.name() + ": changed while it was read");
    }
  }
}
