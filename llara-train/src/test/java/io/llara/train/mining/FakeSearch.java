package io.llara.train.mining;

import com.google.common.primitives.ImmutableDoubleArray;
import com.google.common.primitives.ImmutableLongArray;
import io.llara.retrieval.Hits;
import io.llara.retrieval.Query;
import io.llara.retrieval.SearchListener;
import io.llara.retrieval.SearchMethod;
import io.llara.retrieval.Searcher;
import io.llara.retrieval.TextSet;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.stream.IntStream;

/**
 * Finds the collection in its order, whatever the query; scores fall from the collection's size.
 */
class FakeSearch implements SearchMethod {
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
  OptionalDouble score(Searcher.Candidate positive, int count) {
    return positive.index() < 0
        ? OptionalDouble.empty()
        : OptionalDouble.of(score((int) positive.index(), count));
  }

  @Override
  public Map<String, String> settings() {
    return Map.of("search", "fake");
  }

  @Override
  public Searcher open(TextSet passages, SearchListener listener) {
    int count = (int) passages.count();
    return new Searcher() {
      @Override
      public List<Hits> search(List<Query> queries, int k) {
        searched += queries.size();
        int found = Math.min(k, count);
        Hits hits =
            new Hits(
                ImmutableLongArray.copyOf(IntStream.range(0, found).mapToLong(i -> i).toArray()),
                ImmutableDoubleArray.copyOf(
                    IntStream.range(0, found)
                        .mapToDouble(i -> FakeSearch.this.score(i, count))
                        .toArray()));
        return Collections.nCopies(queries.size(), hits);
      }

      @Override
      public List<OptionalDouble> score(List<Candidate> candidates) {
        return candidates.stream()
            .map(candidate -> FakeSearch.this.score(candidate, count))
            .toList();
      }

      @Override
      public OptionalDouble recall(List<Query> queries, int k) {
        return recall;
      }

      @Override
      public void close() {
        closed = true;
      }
    };
  }
}
