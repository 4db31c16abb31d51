package io.llara.train.mining;

import com.google.common.primitives.ImmutableDoubleArray;
import com.google.common.primitives.ImmutableLongArray;
import io.llara.retrieval.Hits;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.stream.IntStream;

/**
 * Finds the collection in its order, whatever the query; scores fall from the collection's size.
 */
class FakeSearch implements MiningSettings.Search {
  int searched;
  boolean closed;
  private OptionalDouble recall = OptionalDouble.empty();

  FakeSearch withRecall(double share) {
    recall = OptionalDouble.of(share);
    return this;
  }

  /** Returns the score of a place. */
  double score(int place, int count) {
    return count - place;
  }

  /** Returns the score of a positive. */
  OptionalDouble score(Retriever.Positive positive, int count) {
    return positive.place() < 0
        ? OptionalDouble.empty()
        : OptionalDouble.of(score(positive.place(), count));
  }

  @Override
  public Map<String, String> described() {
    return Map.of("search", "fake");
  }

  @Override
  public Retriever open(Passages passages, MiningListener listener) {
    int count = passages.count();
    return new Retriever() {
      @Override
      public List<Answer> answer(List<Question> questions, int top) {
        searched += questions.size();
        int found = Math.min(top, count);
        return questions.stream()
            .map(
                question ->
                    new Answer(
                        new Hits(
                            ImmutableLongArray.copyOf(
                                IntStream.range(0, found).mapToLong(i -> i).toArray()),
                            ImmutableDoubleArray.copyOf(
                                IntStream.range(0, found)
                                    .mapToDouble(i -> score(i, count))
                                    .toArray())),
                        question.positives().stream()
                            .map(positive -> score(positive, count))
                            .toList()))
            .toList();
      }

      @Override
      public OptionalDouble recall() {
        return recall;
      }

      @Override
      public void close() {
        closed = true;
      }
    };
  }
}
