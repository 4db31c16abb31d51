package io.llara.train.data;

import io.llara.io.JsonSection;

/** One pass over a {@link PairSource}. Not thread-safe. */
public final class PairStream extends JsonlStream<TrainingPair> {
  private final PairSource source;

  PairStream(PairSource source) {
    super(source);
    this.source = source;
  }

  @Override
  void read(JsonSection line) {
    TrainingPair pair = PairLine.of(line);
    if (ofOther(fallsInto(source.fraction(), pair.query()))) {
      return;
    }
    int negatives = pair.negatives().size();
    if (negatives < source.leastNegatives()) {
      throw line.invalid(
          "neg",
          "a list of %d passages".formatted(negatives),
          "at least %d".formatted(source.leastNegatives()));
    }
    add(pair);
  }
}
