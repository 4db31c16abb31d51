package io.llara.train.preset;

import io.llara.train.contrastive.ContrastiveTrainer;
import io.llara.train.lora.LoraOptions;
import io.llara.train.optim.LearningRateSchedule.Decay;
import io.llara.train.optim.LearningRateSchedule.Warmup;
import io.llara.train.pretrain.Pretrainer;
import io.llara.train.run.RunBuilder;
import java.nio.file.Path;
import java.util.List;

/**
 * The settings that a run begins with: builders that have them, on which any can be set anew.
 *
 * <pre>{@code
 * Pretrainer pretrainer =
 *     Preset.LLARA.pretrainer(model, data, out).steps(10_000).batch(256).build();
 * }</pre>
 */
public enum Preset {
  /** The defaults of this library's builders. */
  DEFAULT,

  /**
   * Those of the released code of LLaRA / Llama2Vec: the commands of its README (FlagEmbedding,
   * {@code research/LLARA}), with its arguments' defaults where the commands say nothing, on the
   * eight processes with one text each that the commands start. {@code docs/training.md} compares
   * them one by one.
   */
  LLARA;

  /** Begins to describe an adaptation; see {@link Pretrainer#builder}. */
  public Pretrainer.Builder pretrainer(Path model, List<Path> data, Path out) {
    Pretrainer.Builder builder = Pretrainer.builder(model, data, out);
    return this == DEFAULT
        ? builder
        : scheduled(builder).fullParameters().learningRate(1e-5).batch(8).maxTokens(128);
  }

  /** Begins to describe a fine-tuning; see {@link ContrastiveTrainer#builder}. */
  public ContrastiveTrainer.Builder contrastiveTrainer(Path model, List<Path> pairs, Path out) {
    ContrastiveTrainer.Builder builder = ContrastiveTrainer.builder(model, pairs, out);
    return this == DEFAULT
        ? builder
        : scheduled(builder)
            .lora(lora())
            .learningRate(3e-4)
            .batch(8)
            .negatives(15)
            .temperature(0.01)
            .queryMaxTokens(64)
            .passageMaxTokens(160);
  }

  private static <B extends RunBuilder<B>> B scheduled(B builder) {
    return builder
        .epochs(1)
        .warmupRatio(0.1)
        .warmupShape(Warmup.LOG)
        .decay(Decay.LINEAR)
        .weightDecay(0)
        .clip(1);
  }

  /** Returns what low-rank updates look like where they are trained. */
  public LoraOptions lora() {
    return this == DEFAULT
        ? LoraOptions.DEFAULT
        : new LoraOptions(64, 16, 0.1, LoraOptions.ALL_TARGETS);
  }
}
