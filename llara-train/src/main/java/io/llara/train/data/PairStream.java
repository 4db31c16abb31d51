package io.llara.train.data;

/** One pass over a {@link PairSource}. Not thread-safe. */
public final class PairStream extends JsonlStream<TrainingPair> {
  private final PairSource source;

  PairStream(PairSource source) {
    super(source);
    this.source = source;
  }

  @Override
  void read(byte[] line, String origin) throws BadLineException {
    TrainingPair pair = PairLine.parse(line, origin);
    if (ofOther(JsonLine.fallsInto(source.fraction(), pair.query()))) {
      return;
    }
    int negatives = pair.negatives().size();
    if (negatives < source.leastNegatives()) {
      throw new BadLineException(
          "has %d negative passages in \"neg\"; at least %d are needed"
              .formatted(negatives, source.leastNegatives()));
    }
    add(pair);
  }
}
