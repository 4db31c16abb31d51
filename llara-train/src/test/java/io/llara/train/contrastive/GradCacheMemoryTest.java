package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.Mode;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.StorageType;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.testing.RandomCheckpoint;
import io.llara.train.optim.AdamW;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.TinyLlama;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A batch far larger than a sub-batch takes the memory of a sub-batch. */
class GradCacheMemoryTest {
  private static final int TEXT = 60;
  private static final int TEXTS = 64;

  @TempDir Path dir;

  private static List<Prompt> prompts(Mode mode, int count) {
    PromptBuilder builder = PromptBuilder.ofIds(new int[] {1}, new int[] {2}, new int[] {3}, 1);
    Random random = new Random(4);
    return Stream.generate(() -> builder.fromIds(random.ints(TEXT, 4, 64).toArray(), mode))
        .limit(count)
        .toList();
  }

  /** Returns how far the process grew while a batch ran. */
  private static long growth(ContrastiveSteps steps) throws InterruptedException {
    List<Prompt> queries = prompts(Mode.NEXT, TEXTS / 2);
    List<Prompt> passages = prompts(Mode.SELF, TEXTS / 2);
    steps.run(queries.subList(0, 1), passages.subList(0, 1));
    long before = Pointer.physicalBytes();
    long[] most = {before};
    AtomicBoolean over = new AtomicBoolean();
    Thread watch =
        new Thread(
            () -> {
              while (!over.get()) {
                most[0] = Math.max(most[0], Pointer.physicalBytes());
                LockSupport.parkNanos(500_000);
              }
            });
    watch.start();
    try {
      steps.run(queries, passages);
    } finally {
      over.set(true);
      watch.join();
    }
    return most[0] - before;
  }

  @Test
  void activationsOfOtherSubBatchesAreNotKept() throws InterruptedException {
    NativeThreads.one();
    LlamaConfig config =
        LlamaConfig.builder()
            .hiddenSize(64)
            .intermediateSize(512)
            .layers(4)
            .heads(4)
            .kvHeads(4)
            .headDim(16)
            .vocabularySize(64)
            .maxPositionEmbeddings(64)
            .build();
    Path model = RandomCheckpoint.write(dir, config, StorageType.F32, 3);
    // Layers are recorded, not run again. What the allocator keeps helps the second.
    long cut;
    try (ContrastiveSteps steps =
        new ContrastiveSteps(
            TinyLlama.trained(model, false), new InfoNce(0.05, true), AdamW.Settings.DEFAULT, 4)) {
      cut = growth(steps);
    }
    long whole;
    try (ContrastiveSteps steps =
        new ContrastiveSteps(
            TinyLlama.trained(model, false), new InfoNce(0.05, true), AdamW.Settings.DEFAULT, 0)) {
      whole = growth(steps);
    }
    // 4,000 tokens, each some 4,000 numbers a layer.
    assertThat(whole).isGreaterThan(100L << 20);
    assertThat(cut).isLessThan(whole / 3);
  }
}
