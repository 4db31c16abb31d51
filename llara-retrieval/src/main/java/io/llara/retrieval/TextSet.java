package io.llara.retrieval;

import static java.util.Objects.requireNonNull;

import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * Texts in a fixed order, read from their start as often as needed; not necessarily in memory.
 *
 * @param name what messages call them
 * @param count how many there are
 * @param digest SHA-256 over them, as {@link TextDigest} makes it
 * @param source opens them from their start; whoever opens a stream closes it
 */
public record TextSet(String name, long count, String digest, Supplier<Stream<String>> source) {
  /** Checks the values. */
  public TextSet {
    requireNonNull(name, "name");
    requireNonNull(digest, "digest");
    requireNonNull(source, "source");
    if (count < 0) {
      throw new IllegalArgumentException("count is " + count + "; expected 0 or more");
    }
  }

  /**
   * Returns the passages of a collection, which is read once for it.
   *
   * @throws io.llara.LlaraException as {@link Corpus#summarize}
   */
  public static TextSet of(Corpus corpus) {
    return of(corpus, corpus.summarize());
  }

  /** Returns the passages of a collection that was read already. */
  public static TextSet of(Corpus corpus, Corpus.Summary summary) {
    return new TextSet(corpus.name(), summary.documents(), summary.digest(), corpus::passages);
  }

  /** Returns the texts of a list. */
  public static TextSet of(String name, List<String> texts) {
    List<String> copy = List.copyOf(texts);
    return read(name, copy::stream);
  }

  /** Returns the texts of a source, which is read once for it. */
  public static TextSet read(String name, Supplier<Stream<String>> source) {
    TextDigest digest = new TextDigest();
    try (Stream<String> texts = source.get()) {
      texts.forEachOrdered(digest::add);
    }
    return new TextSet(name, digest.count(), digest.value(), source);
  }
}
