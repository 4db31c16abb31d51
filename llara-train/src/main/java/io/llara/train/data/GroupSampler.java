package io.llara.train.data;

import io.llara.LlaraException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * Draws one positive and some negatives of a pair.
 *
 * <p>What is drawn is a function of the seed, of the pair and of its position in the run, which
 * grows from pass to pass: a run that goes on draws what it would have drawn, and the next pass
 * draws others. It draws as the released code does (FlagEmbedding, {@code
 * research/LLARA/finetune/data.py}): a positive at random; negatives at random, none twice, unless
 * there are too few and {@link FewNegatives#REPEAT} is set.
 *
 * @param negatives how many negatives go into a group, at least 0
 * @param few what happens to a pair that has fewer
 * @param seed decides what is drawn
 */
public record GroupSampler(int negatives, FewNegatives few, long seed) {

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if {@code negatives} is below 0
   */
  public GroupSampler {
    if (negatives < 0) {
      throw new IllegalArgumentException(
          "a group of %d negatives; expected at least 0".formatted(negatives));
    }
  }

  /** Returns how many passages a group has. */
  public int size() {
    return 1 + negatives;
  }

  /** Returns how many negatives a pair must have; for {@link Dataset#ofPairs(List, int)}. */
  public int minNegatives() {
    return few == FewNegatives.REPEAT ? Math.min(1, negatives) : negatives;
  }

  /**
   * Returns the pair with one of its positives and as many negatives as a group has.
   *
   * @param position how many pairs were drawn before it since the run began
   * @throws LlaraException if the pair has too few negatives; names where it was read
   */
  public TrainingPair sample(TrainingPair pair, long position) {
    List<String> available = pair.negatives();
    if (available.size() < minNegatives()) {
      throw new LlaraException(
          "%s: %d negatives for a group of %d; at least %d are needed"
              .formatted(pair.origin(), available.size(), negatives, minNegatives()));
    }
    Random random = ShuffleBuffer.random(seed, position);
    List<Integer> drawn = new ArrayList<>();
    drawn.add(random.nextInt(pair.positives().size()));
    List<Integer> pool = new ArrayList<>();
    do {
      IntStream.range(0, available.size()).forEach(pool::add);
    } while (pool.size() < negatives);
    for (int i = 0; i < negatives; i++) {
      int last = pool.size() - 1;
      drawn.add(pair.positives().size() + pool.set(random.nextInt(pool.size()), pool.get(last)));
      pool.remove(last);
    }
    List<String> passages = drawn.stream().map(pair.passages()::get).toList();
    return new TrainingPair(
        pair.query(),
        passages.subList(0, 1),
        passages.subList(1, passages.size()),
        pair.scores().isEmpty() ? List.of() : drawn.stream().map(pair.scores()::get).toList(),
        pair.origin());
  }
}
