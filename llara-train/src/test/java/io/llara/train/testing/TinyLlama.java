package io.llara.train.testing;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.StorageType;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.testing.RandomCheckpoint;
import io.llara.train.model.TrainedModel;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** LLaMAs so small that every number can be looked at, and prompts for them. */
public final class TinyLlama {
  /** The number of tokens. */
  public static final int VOCABULARY = 40;

  /** How many positions a prompt may have. */
  public static final int POSITIONS = 64;

  private TinyLlama() {}

  /** Returns a configuration with grouped queries. */
  public static LlamaConfig config(int layers, boolean tied, boolean bias) {
    return config(layers, tied, bias, VOCABULARY);
  }

  /** Returns a configuration with grouped queries and a number of tokens. */
  public static LlamaConfig config(int layers, boolean tied, boolean bias, int vocabulary) {
    return LlamaConfig.builder()
        .hiddenSize(8)
        .intermediateSize(12)
        .layers(layers)
        .heads(4)
        .kvHeads(2)
        .headDim(4)
        .vocabularySize(vocabulary)
        .maxPositionEmbeddings(POSITIONS)
        .tieWordEmbeddings(tied)
        .attentionBias(bias)
        .build();
  }

  /** Writes a checkpoint with random weights into a directory, which is made. */
  public static Path write(Path dir, LlamaConfig config, long seed) {
    try {
      Files.createDirectories(dir);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return RandomCheckpoint.write(dir, config, StorageType.F32, seed);
  }

  /**
   * Returns what puts prefix and suffixes around a text: two different suffixes with {@code
   * markers} markers each, and the prefix twice as long as one token.
   */
  public static PromptBuilder prompts(int markers) {
    int[] self = new int[markers + 1];
    int[] next = new int[markers + 2];
    for (int i = 0; i < self.length; i++) {
      self[i] = 30 + i;
    }
    for (int i = 0; i < next.length; i++) {
      next[i] = 38 - i;
    }
    return PromptBuilder.ofIds(new int[] {1, 5}, self, next, markers);
  }

  /** Loads a checkpoint to train all of its weights in float32. */
  public static TrainedModel trained(Path checkpoint, boolean head) {
    return TrainedModel.full(
        CheckpointDirectory.open(checkpoint),
        new TrainedModel.Settings(ScalarType.Float, POSITIONS, head));
  }

  /** Returns joint prompts of texts of different lengths. */
  public static List<Prompt> joint(int count, long seed) {
    Random random = new Random(seed);
    List<Prompt> prompts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      prompts.add(prompts(2).jointFromIds(ids(random, 2 + random.nextInt(8))));
    }
    return prompts;
  }

  /** Returns ids of words, none of them a control token. */
  public static int[] ids(Random random, int count) {
    return random.ints(count, 3, VOCABULARY).toArray();
  }
}
