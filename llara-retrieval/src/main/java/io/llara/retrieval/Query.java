package io.llara.retrieval;

import static java.util.Objects.requireNonNull;

import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * What a {@link Searcher} searches for: a text, a vector, or a text with its vector. BM25 needs the
 * text; searchers of vectors need the vector, or an encoder that makes it of the text.
 *
 * <p>Immutable as long as nobody changes the vector, which is not copied.
 */
public final class Query {
  private final @Nullable String text;
  private final float @Nullable [] vector;

  private Query(@Nullable String text, float @Nullable [] vector) {
    this.text = text;
    this.vector = vector;
  }

  /** Returns the query of a text. */
  public static Query of(String text) {
    return new Query(requireNonNull(text, "text"), null);
  }

  /** Returns the query of a vector. */
  public static Query of(float[] vector) {
    return new Query(null, requireNonNull(vector, "vector"));
  }

  /** Returns this query with a vector. */
  public Query withVector(float[] other) {
    return new Query(text, requireNonNull(other, "vector"));
  }

  /** Returns the text, if there is one. */
  public Optional<String> text() {
    return Optional.ofNullable(text);
  }

  /** Returns the vector, if there is one. */
  public Optional<float[]> vector() {
    return Optional.ofNullable(vector);
  }

  /**
   * Returns queries that all have vectors: those that have none get that of their text.
   *
   * @param encode makes the vectors of different texts, in their order
   */
  static List<Query> withVectors(
      List<Query> queries, Function<List<String>, List<float[]>> encode) {
    List<String> texts =
        queries.stream()
            .filter(query -> query.vector == null)
            .map(Query::requireText)
            .distinct()
            .toList();
    if (texts.isEmpty()) {
      return queries;
    }
    Iterator<float[]> vectors = encode.apply(texts).iterator();
    Map<String, float[]> byText = new HashMap<>();
    texts.forEach(text -> byText.put(text, vectors.next()));
    return queries.stream()
        .map(
            query ->
                query.vector != null
                    ? query
                    : query.withVector(requireNonNull(byText.get(query.requireText()))))
        .toList();
  }

  String requireText() {
    if (text == null) {
      throw new IllegalArgumentException("the query has no text, only a vector; expected a text");
    }
    return text;
  }

  float[] requireVector() {
    if (vector == null) {
      throw new IllegalArgumentException(
          "the query has no vector, and there is no encoder to make one; expected a vector");
    }
    return vector;
  }
}
