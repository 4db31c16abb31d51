package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.llara.testing.Shared;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Files that the reference implementation and its libraries wrote. */
class SharedFilesTest {
  private Path shared;

  @BeforeEach
  void require() {
    shared = Shared.require();
  }

  @Test
  void readsABf16Checkpoint() {
    CheckpointDirectory checkpoint = CheckpointDirectory.open(shared.resolve("golden/llama-mha"));
    LlamaConfig config = checkpoint.config();
    assertThat(config.layers()).isEqualTo(3);
    assertThat(config.kvHeads()).isEqualTo(4);
    assertThat(config.vocabularySize()).isEqualTo(32016);
    assertThat(checkpoint.tensors()).hasSize(3 * 9 + 3);
    TensorEntry norm = checkpoint.tensor("norm.weight");
    assertThat(norm.type()).isEqualTo(StorageType.BF16);
    // Drawn as 1 + 0.1 N.
    for (float weight : norm.readFloats()) {
      assertThat(weight).isBetween(0.5f, 1.5f);
    }
    float[] embedding = checkpoint.tensor("embed_tokens.weight").readFloats();
    double sum = 0;
    for (float value : embedding) {
      sum += value * value;
    }
    assertThat(Math.sqrt(sum / embedding.length)).isBetween(0.299, 0.301);
  }

  @Test
  void readsAnF16CheckpointOfTwoShards() {
    CheckpointDirectory checkpoint = CheckpointDirectory.open(shared.resolve("golden/llama-gqa"));
    assertThat(checkpoint.config().ropeScaling()).isEqualTo(new RopeScaling.Llama3(8, 1, 4, 256));
    assertThat(checkpoint.config().tieWordEmbeddings()).isTrue();
    assertThat(checkpoint.weightFiles()).hasSize(2);
    assertThat(checkpoint.tensors())
        .hasSize(2 * 9 + 2)
        .allSatisfy((name, entry) -> assertThat(entry.type()).isEqualTo(StorageType.F16));
    for (float weight : checkpoint.tensor("norm.weight").readFloats()) {
      assertThat(weight).isBetween(0.5f, 1.5f);
    }
  }

  @Test
  void readsAnAdapter() {
    LlamaConfig config = LlamaConfig.read(shared.resolve("golden/llama-mha/config.json"));
    LoraAdapter adapter = LoraAdapter.open(shared.resolve("golden/lora"), config);
    assertThat(adapter.pairs())
        .hasSize(3 * 7)
        .allSatisfy(
            (name, pair) -> {
              assertThat(pair.rank()).isEqualTo(8);
              assertThat(pair.scale()).isEqualTo(2);
            });
  }

  @Test
  void readsAPretrainedModel() {
    CheckpointDirectory checkpoint =
        CheckpointDirectory.open(shared.resolve("data/models/stories260k"));
    assertThat(checkpoint.config().heads()).isEqualTo(8);
    assertThat(checkpoint.tensors()).hasSize(5 * 9 + 2);
    assertThat(checkpoint.llaraJson()).isEmpty();
  }

  @Test
  void theReferenceIsThereInBothPrecisions() {
    SafetensorsFile single = SafetensorsFile.open(shared.resolve("golden/encode.safetensors"));
    SafetensorsFile twice = SafetensorsFile.open(shared.resolve("golden/encode.f64.safetensors"));
    assertThat(single.entries().keySet()).isEqualTo(twice.entries().keySet());
    for (String name : single.entries().keySet()) {
      if (name.endsWith("self_embedding")) {
        float[] found = single.entry(name).readFloats();
        double[] expected = twice.entry(name).readDoubles();
        for (int i = 0; i < found.length; i++) {
          // The measured difference of the two runs is 1.4e-6.
          assertThat((double) found[i]).isEqualTo(expected[i], within(1e-5));
        }
      }
    }
  }
}
