package io.llara.train.mining;

import com.google.common.primitives.ImmutableDoubleArray;
import com.google.common.primitives.ImmutableIntArray;
import java.util.BitSet;
import java.util.List;

/** The negatives chosen for all pairs, by the pair's place: twelve bytes each. */
final class Choices {
  private final ImmutableIntArray ends;
  private final ImmutableIntArray places;
  private final ImmutableDoubleArray scores;

  private Choices(Builder builder) {
    this.ends = builder.ends.build();
    this.places = builder.places.build();
    this.scores = builder.scores.build();
  }

  /** Returns the first negative of a pair, as an index of {@link #place} and {@link #score}. */
  int begin(int pair) {
    return pair == 0 ? 0 : ends.get(pair - 1);
  }

  /** Returns what follows the last negative of a pair. */
  int end(int pair) {
    return ends.get(pair);
  }

  int place(int index) {
    return places.get(index);
  }

  double score(int index) {
    return scores.get(index);
  }

  /** Returns all places that were chosen. */
  BitSet places() {
    BitSet set = new BitSet();
    places.forEach(set::set);
    return set;
  }

  /** Takes the negatives pair by pair. */
  static final class Builder {
    private final ImmutableIntArray.Builder ends = ImmutableIntArray.builder();
    private final ImmutableIntArray.Builder places = ImmutableIntArray.builder();
    private final ImmutableDoubleArray.Builder scores = ImmutableDoubleArray.builder();
    private int count;

    void add(List<Candidate> negatives) {
      for (Candidate negative : negatives) {
        places.add(negative.place());
        scores.add(negative.score());
      }
      count = Math.addExact(count, negatives.size());
      ends.add(count);
    }

    Choices build() {
      return new Choices(this);
    }
  }
}
