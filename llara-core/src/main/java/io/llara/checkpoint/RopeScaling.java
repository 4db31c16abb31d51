package io.llara.checkpoint;

/**
 * How the frequencies of the rotary embedding are changed for contexts longer than the ones first
 * trained on: the {@code rope_scaling} of a {@code config.json}.
 */
public sealed interface RopeScaling {
  /** Returns the frequencies unchanged: rope type {@code default}. */
  static RopeScaling none() {
    return new None();
  }

  /**
   * Returns what becomes of the angle per position of one pair of components.
   *
   * @see <a
   *     href="https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_rope_utils.py">the
   *     scalings as checkpoints mean them</a>
   */
  double scale(double frequency);

  /** Unscaled frequencies. */
  record None() implements RopeScaling {
    @Override
    public double scale(double frequency) {
      return frequency;
    }
  }

  /**
   * Position interpolation (arXiv 2306.15595): every frequency divided by a factor.
   *
   * @param factor the divisor, above 0
   */
  record Linear(double factor) implements RopeScaling {
    /** Checks the factor. */
    public Linear {
      LlamaConfig.requirePositive("factor", factor);
    }

    @Override
    public double scale(double frequency) {
      return frequency / factor;
    }
  }

  /**
   * The scaling of LLaMA 3.1: long wavelengths divided by the factor, short ones kept, those
   * between blended.
   *
   * @param factor the divisor of low frequencies, above 0
   * @param lowFrequencyFactor wavelengths above {@code originalMaxPositions} / this are divided
   * @param highFrequencyFactor wavelengths below {@code originalMaxPositions} / this are kept
   * @param originalMaxPositions the context length before scaling, in tokens
   */
  record Llama3(
      double factor,
      double lowFrequencyFactor,
      double highFrequencyFactor,
      int originalMaxPositions)
      implements RopeScaling {
    /** Checks the factors. */
    public Llama3 {
      LlamaConfig.requirePositive("factor", factor);
      LlamaConfig.requirePositive("low_freq_factor", lowFrequencyFactor);
      LlamaConfig.requirePositive("high_freq_factor", highFrequencyFactor);
      if (lowFrequencyFactor >= highFrequencyFactor) {
        throw new IllegalArgumentException(
            "low_freq_factor is %s and high_freq_factor %s; expected the first to be smaller"
                .formatted(lowFrequencyFactor, highFrequencyFactor));
      }
      if (originalMaxPositions < 1) {
        throw new IllegalArgumentException(
            "original_max_position_embeddings is %d; expected 1 or more"
                .formatted(originalMaxPositions));
      }
    }

    @Override
    public double scale(double frequency) {
      // How many full turns the pair makes within the original context decides: few turns are
      // slowed down, many are kept.
      double turns = originalMaxPositions * frequency / (2 * Math.PI);
      double kept = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
      double share = Math.max(0, Math.min(1, kept));
      return share * frequency + (1 - share) * frequency / factor;
    }
  }
}
