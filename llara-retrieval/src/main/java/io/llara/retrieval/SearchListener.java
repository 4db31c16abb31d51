package io.llara.retrieval;

/** Hears of the work behind a search, on the thread that called it. */
public interface SearchListener {
  /** A listener that does nothing. */
  SearchListener NONE = new SearchListener() {};

  /**
   * Vectors are needed next: they come from a cache, or the encoder makes them and reports to its
   * own listener.
   *
   * @param what "passages" or "queries"
   * @param texts how many there are
   */
  default void encoding(String what, long texts) {}

  /**
   * There is something that a user should know.
   *
   * @param message a sentence, such as that a cached file is damaged
   */
  default void note(String message) {}
}
