package io.llara.train.lora;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import java.util.Set;

/**
 * What a LoRA update looks like: {@code W + (alpha / rank) · B A}, with {@code A ∈ R^{rank × in}}
 * drawn at random and {@code B ∈ R^{out × rank}} zero at first (arXiv 2106.09685, section 4.1).
 *
 * @param rank the rank of the update, at least 1
 * @param alpha what the update is scaled with, over the rank; more than 0
 * @param dropout the share of the inputs of {@code A} that is dropped while training, in [0, 1)
 * @param targets which of the seven projections are adapted, by {@link #ALL_TARGETS their names}
 */
public record LoraOptions(int rank, double alpha, double dropout, Set<String> targets) {
  /** The seven projections of a LLaMA layer. */
  public static final Set<String> ALL_TARGETS =
      ImmutableSet.of("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj");

  /**
   * Rank 64, alpha 16 and all projections, the defaults of the released code, without dropout.
   *
   * <p>Of dropout this is known: the released code's default is 0.1, and the commands that it is
   * published with leave it there ({@code --preset llara} does, too); which one the published
   * models were tuned with is not said.
   */
  public static final LoraOptions DEFAULT = new LoraOptions(64, 16, 0, ALL_TARGETS);

  /** Checks the values. */
  public LoraOptions {
    if (rank < 1) {
      throw new IllegalArgumentException("the rank of LoRA must be at least 1, not " + rank);
    }
    if (!(alpha > 0) || Double.isInfinite(alpha)) {
      throw new IllegalArgumentException("alpha of LoRA must be more than 0, not " + alpha);
    }
    if (!(dropout >= 0 && dropout < 1)) {
      throw new IllegalArgumentException("dropout of LoRA must be in [0, 1), not " + dropout);
    }
    targets = ImmutableSet.copyOf(targets);
    Set<String> unknown = Sets.difference(targets, ALL_TARGETS);
    if (targets.isEmpty() || !unknown.isEmpty()) {
      throw new IllegalArgumentException(
          "targets of LoRA must be some of %s, not %s".formatted(ALL_TARGETS, targets));
    }
  }

  /** Returns these options with another rank. */
  public LoraOptions withRank(int newRank) {
    return new LoraOptions(newRank, alpha, dropout, targets);
  }

  /** Returns these options with another alpha. */
  public LoraOptions withAlpha(double newAlpha) {
    return new LoraOptions(rank, newAlpha, dropout, targets);
  }

  /** Returns these options with another dropout. */
  public LoraOptions withDropout(double newDropout) {
    return new LoraOptions(rank, alpha, newDropout, targets);
  }

  /** Returns these options with other targets. */
  public LoraOptions withTargets(Set<String> newTargets) {
    return new LoraOptions(rank, alpha, dropout, newTargets);
  }

  /** Returns what the product of the factors is multiplied with: {@code alpha / rank}. */
  public double scale() {
    return alpha / rank;
  }
}
