package io.llara.engine;

import io.llara.ComputeType;
import io.llara.checkpoint.LlamaConfig;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * How an engine computes.
 *
 * @param config replaces the checkpoint's configuration, or null
 * @param computeType the type to compute in
 * @param lanes how many threads run forward passes
 * @param batchTokens the largest number of rows of one forward pass, unless a single prompt is
 *     longer; null takes as many as suit the compute type
 * @param maxTokens the longest prompt
 * @param copyWeights whether weights are copied out of their files instead of mapped
 * @param packWeights whether projections are packed for this processor; null decides by the size of
 *     the model and of the memory
 * @param adapter a LoRA adapter's directory to merge, or null
 */
public record EngineOptions(
    @Nullable LlamaConfig config,
    ComputeType computeType,
    int lanes,
    @Nullable Integer batchTokens,
    int maxTokens,
    boolean copyWeights,
    @Nullable Boolean packWeights,
    @Nullable Path adapter) {

  /** More threads than any machine has cores: beyond it a number is a mistake. */
  public static final int MOST_LANES = 1024;

  /** Far beyond the context of any model, and small enough for the table of rotary angles. */
  public static final int MOST_TOKENS = 1 << 20;

  /** Checks the numbers. */
  public EngineOptions {
    requireWithin("lanes", lanes, MOST_LANES);
    if (batchTokens != null) {
      requireWithin("batchTokens", batchTokens, MOST_TOKENS);
    }
    requireWithin("maxTokens", maxTokens, MOST_TOKENS);
  }

  private static void requireWithin(String name, int value, int most) {
    if (value < 1 || value > most) {
      throw new IllegalArgumentException(
          name + " is " + value + "; expected a number from 1 to " + most);
    }
  }

  /**
   * Returns a builder: one lane per processor, mapped or packed weights, prompts up to 512 tokens.
   */
  public static Builder builder() {
    return new Builder();
  }

  /** Builds options. */
  public static final class Builder {
    private @Nullable LlamaConfig config;
    private ComputeType computeType = ComputeType.AUTO;
    private int lanes = Runtime.getRuntime().availableProcessors();
    private @Nullable Integer batchTokens;
    private int maxTokens = 512;
    private boolean copyWeights;
    private @Nullable Boolean packWeights;
    private @Nullable Path adapter;

    private Builder() {}

    /** Replaces the checkpoint's configuration. */
    public Builder config(LlamaConfig config) {
      this.config = config;
      return this;
    }

    /** Sets the type to compute in; {@code AUTO} by default. */
    public Builder computeType(ComputeType type) {
      this.computeType = type;
      return this;
    }

    /** Sets the number of threads; one per processor by default. */
    public Builder lanes(int count) {
      this.lanes = count;
      return this;
    }

    /** Sets the largest number of rows of one forward pass; null decides by the compute type. */
    public Builder batchTokens(@Nullable Integer tokens) {
      this.batchTokens = tokens;
      return this;
    }

    /** Sets the longest prompt. */
    public Builder maxTokens(int tokens) {
      this.maxTokens = tokens;
      return this;
    }

    /** Sets whether weights are copied out of their files instead of mapped. */
    public Builder copyWeights(boolean copy) {
      this.copyWeights = copy;
      return this;
    }

    /** Sets whether projections are packed for this processor; null decides by size. */
    public Builder packWeights(@Nullable Boolean pack) {
      this.packWeights = pack;
      return this;
    }

    /** Merges a LoRA adapter. */
    public Builder adapter(@Nullable Path directory) {
      this.adapter = directory;
      return this;
    }

    /** Builds the options. */
    public EngineOptions build() {
      return new EngineOptions(
          config, computeType, lanes, batchTokens, maxTokens, copyWeights, packWeights, adapter);
    }
  }
}
