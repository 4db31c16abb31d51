package io.llara.retrieval;

import static java.util.Objects.requireNonNull;

import io.llara.Encoder;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * The vectors of a collection, or of any other texts, under an encoder and a mode: taken from a
 * cache, or made and stored. Texts and vectors are streamed; neither are ever in memory as a whole,
 * so that a collection may be larger than the heap.
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
 * <p>Without a cache the vectors lie in a temporary folder until they are closed. With one, an
 * encoding that is interrupted, or whose process dies, leaves nothing that is taken for a whole
 * set; a file that is damaged is made again, and where none can be written a temporary folder does.
 * The encoder is only used while the vectors are made.
 */
public final class CorpusVectors {
  /**
   * Where vectors are kept, and what made them.
   *
   * @param directory the directory of the cache, made when something is stored
   * @param model what tells the encoder's weights from all others: {@link ModelFingerprint}
   */
  public record CachePlace(Path directory, String model) {
    /** Checks that both are there. */
    public CachePlace {
      requireNonNull(directory, "directory");
      requireNonNull(model, "model");
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
  }

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
      VectorCache.Entry entry =
          new VectorCache.Entry(
              VectorCache.key(List.of(texts.digest())), texts.count(), encoder.dimension());
      VectorCache cache = new VectorCache(folder.path());
      return make(texts, encoder, mode, cache, entry).in(folder);
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
    VectorCache cache = new VectorCache(place.directory());
    VectorCache.Entry entry = entry(texts, encoder, mode, place.model());
    try {
      Optional<StoredVectors> found = cache.open(entry);
      if (found.isPresent()) {
        return found.get();
      }
    } catch (IOException e) {
      notes.accept(
          "the cached vectors in %s are damaged and will be computed again: %s"
              .formatted(cache.file(entry), Messages.reason(e)));
    }
    try {
      return make(texts, encoder, mode, cache, entry);
    } catch (IOException e) {
      notes.accept("the vectors cannot be cached: " + Messages.reason(e));
    }
    return open(texts, encoder, mode);
  }

  private static VectorCache.Entry entry(TextSet texts, Encoder encoder, Mode mode, String model) {
    String version = Internal.class.getPackage().getImplementationVersion();
    String key =
        VectorCache.key(
            List.of(
                "mode " + mode,
                version == null ? "unreleased" : version,
                model,
                encoder.template().toJson(),
                encoder.computeType().name(),
                "max tokens " + encoder.maxTokens(),
                "dimension " + encoder.dimension(),
                "normalized " + encoder.normalizes(),
                texts.digest()));
    return new VectorCache.Entry(key, texts.count(), encoder.dimension());
  }

  private static StoredVectors make(
      TextSet texts, Encoder encoder, Mode mode, VectorCache cache, VectorCache.Entry entry)
      throws IOException {
    try (VectorCache.Writer writer = cache.write(entry)) {
      encode(texts, encoder, mode, writer);
      writer.commit();
    } catch (StoringFailed e) {
      throw e.getCause();
    }
    return cache
        .open(entry)
        .orElseThrow(() -> new NoSuchFileException(cache.file(entry).toString()));
  }

  private static void encode(TextSet texts, Encoder encoder, Mode mode, VectorCache.Writer writer) {
    TextDigest digest = new TextDigest();
    try (Stream<String> stream = texts.source().get()) {
      encoder.encodeAll(
          stream.peek(digest::add),
          mode,
          (index, text, vector) -> {
            try {
              writer.add(vector);
            } catch (IOException e) {
              throw new StoringFailed(e);
            }
          });
    }
    if (!digest.value().equals(texts.digest())) {
      throw new LlaraException(texts.name() + ": changed while it was read");
    }
  }
}
