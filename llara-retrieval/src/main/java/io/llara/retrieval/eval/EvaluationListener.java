package io.llara.retrieval.eval;

/** Told what an evaluation does, on the thread that called it. */
public interface EvaluationListener {
  /** Listens to nothing. */
  EvaluationListener NONE = new EvaluationListener() {};

  /**
   * Vectors are needed next: they are taken from the cache, or the encoder encodes the texts and
   * tells its own listener how far it is.
   *
   * @param what "passages" or "queries"
   * @param texts how many there are
   */
  default void encoding(String what, long texts) {}

  /** Something a user should know, in a sentence: a damaged cache, or one that is not writable. */
  default void note(String message) {}
}
