package io.llara.train.mining;

import com.google.common.hash.HashCode;
import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Which of the passages that remain become negatives. */
public enum Sampling {
  /** The best-ranked ones: the hardest, and the likeliest to be unknown positives. */
  TOP,
  /**
   * Each with the same chance, as in ANCE (arXiv 2007.00808, section 5). A draw depends on the
   * seed, the query and its positives only, not on what other pairs there are.
   */
  RANDOM;

  /** Returns {@code count} elements of a list in its order, or all if there are no more. */
  public <T> List<T> choose(List<T> ranked, int count, long seed) {
    if (ranked.size() <= count) {
      return ranked;
    }
    if (this == TOP) {
      return ranked.subList(0, count);
    }
    // Each is taken with the chance that what is still wanted has among what is still to come.
    Random random = new Random(seed);
    List<T> chosen = new ArrayList<>(count);
    for (int i = 0; chosen.size() < count; i++) {
      if (random.nextInt(ranked.size() - i) < count - chosen.size()) {
        chosen.add(ranked.get(i));
      }
    }
    return chosen;
  }

  /** Returns the seed of one pair's draw: it depends on a seed and on digests of some texts. */
  public static long seed(long seed, List<HashCode> texts) {
    Hasher hasher = Hashing.murmur3_128().newHasher().putLong(seed);
    for (HashCode text : texts) {
      ByteBuffer bytes = ByteBuffer.wrap(text.asBytes());
      hasher.putLong(bytes.getLong()).putLong(bytes.getLong());
    }
    return hasher.hash().asLong();
  }
}
