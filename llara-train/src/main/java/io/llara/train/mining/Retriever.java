package io.llara.train.mining;

import io.llara.retrieval.Hits;
import java.util.List;
import java.util.OptionalDouble;

/** Finds the passages of a collection that are nearest to queries. */
interface Retriever extends AutoCloseable {

  /**
   * A passage whose score is asked for.
   *
   * @param text what it says
   * @param place its place in the collection, or -1 if it is not there
   */
  record Positive(String text, int place) {}

  /**
   * A query.
   *
   * @param text what it says
   * @param positives the passages whose scores are asked for
   */
  record Question(String text, List<Positive> positives) {}

  /**
   * What was found for a query.
   *
   * @param hits the best passages
   * @param positives the scores of the positives, in their order; empty for one that has none
   */
  record Answer(Hits hits, List<OptionalDouble> positives) {}

  /**
   * Answers queries, in their order.
   *
   * @param top how many passages are wanted; fewer come if the collection or the search has fewer
   */
  List<Answer> answer(List<Question> questions, int top);

  /**
   * Returns the share of what an exact search finds that this one finds, measured on queries that
   * it answered; empty if the search is exact.
   */
  default OptionalDouble recall() {
    return OptionalDouble.empty();
  }

  @Override
  void close();
}
