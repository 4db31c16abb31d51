package io.llara.train.contrastive;

import com.google.common.collect.ImmutableList;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Prefixes of the embedding that are to be usable by themselves (Kusupati et al., arXiv
 * 2205.13147): the losses of similarities are computed for each, scaled to length 1 by itself, and
 * averaged by weight. The whole embedding is always one of them, with weight 1 unless it is named.
 *
 * @param prefixes those shorter than the whole, or the whole with a weight of its own; none twice
 */
public record Matryoshka(List<Prefix> prefixes) {
  /** The whole embedding alone. */
  public static final Matryoshka NONE = new Matryoshka(List.of());

  /**
   * The first dimensions of the embedding.
   *
   * @param dimension how many, at least 1
   * @param weight relative to the others, above 0
   */
  public record Prefix(int dimension, double weight) {
    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if one is too small, or the weight is not finite
     */
    public Prefix {
      if (dimension < 1 || !(weight > 0) || Double.isInfinite(weight)) {
        throw new IllegalArgumentException(
            "a prefix of %d dimensions with weight %s; expected at least 1 and more than 0"
                .formatted(dimension, weight));
      }
    }
  }

  /**
   * Copies the list.
   *
   * @throws IllegalArgumentException if a dimension stands there twice
   */
  public Matryoshka {
    prefixes = ImmutableList.copyOf(prefixes);
    if (prefixes.stream().map(Prefix::dimension).distinct().count() < prefixes.size()) {
      throw new IllegalArgumentException("a dimension stands twice in " + prefixes);
    }
  }

  /** Returns prefixes of weight 1. */
  public static Matryoshka of(int... dimensions) {
    return new Matryoshka(Arrays.stream(dimensions).mapToObj(d -> new Prefix(d, 1)).toList());
  }

  /**
   * Returns the whole embedding and then the other prefixes, with weights that sum to 1.
   *
   * @throws IllegalArgumentException if a prefix is longer than the whole
   */
  List<Prefix> within(int hidden) {
    List<Prefix> all = new ArrayList<>(prefixes);
    for (Prefix prefix : all) {
      if (prefix.dimension() > hidden) {
        throw new IllegalArgumentException(
            "a Matryoshka prefix of %d dimensions; the model's vectors have %d"
                .formatted(prefix.dimension(), hidden));
      }
    }
    if (all.stream().noneMatch(prefix -> prefix.dimension() == hidden)) {
      all.add(new Prefix(hidden, 1));
    }
    double sum = all.stream().mapToDouble(Prefix::weight).sum();
    return all.stream()
        .sorted((a, b) -> Integer.compare(b.dimension(), a.dimension()))
        .map(prefix -> new Prefix(prefix.dimension(), prefix.weight() / sum))
        .toList();
  }

  /** Returns the prefixes as the settings of a run say them. */
  String spelled() {
    return prefixes.isEmpty()
        ? "none"
        : prefixes.stream()
            .map(prefix -> prefix.dimension() + ":" + prefix.weight())
            .collect(Collectors.joining(","));
  }
}
