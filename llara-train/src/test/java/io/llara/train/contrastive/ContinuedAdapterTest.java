package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.LlaraException;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.testing.Directories;
import io.llara.train.TrainingResult.Outcome;
import io.llara.train.checkpoint.ModelConverter;
import io.llara.train.lora.LoraOptions;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TrainingRuns;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Adapters that are trained further, or merged into their model. */
class ContinuedAdapterTest {
  private static final LoraOptions LORA =
      LoraOptions.DEFAULT.withRank(3).withAlpha(5).withTargets(Set.of("q_proj", "down_proj"));

  @TempDir static Path shared;
  private static Path model;
  private static Path data;
  private static Path first;
  @TempDir Path dir;

  @BeforeAll
  static void trainTheFirst() {
    NativeThreads.one();
    model = TrainingRuns.model(shared, false);
    data = Finetunings.data(shared, 20);
    first = shared.resolve("first");
    TrainingRuns.complete(builder(model, first).lora(LORA).steps(4).learningRate(1e-2));
  }

  private static ContrastiveTrainer.Builder builder(Path base, Path out) {
    return Finetunings.full(base, data, out).lora(LoraOptions.DEFAULT).steps(3);
  }

  private static float[] encode(EncoderBuilder builder) {
    try (Encoder encoder = builder.computeType(ComputeType.FLOAT32).threads(1).build()) {
      return encoder.encodePassage("a little red bird");
    }
  }

  @Test
  void trainingGoesOnFromTheAdapter() throws IOException {
    Path out = dir.resolve("out");
    Path adapter = first.resolve("adapter");
    TrainingRuns.complete(builder(model, out).adapter(adapter).learningRate(1e-2));

    // New updates of the merged model change nothing yet: the first loss is the same.
    Path merged = dir.resolve("merged");
    TrainingRuns.complete(builder(first, merged));
    assertThat(TrainingRuns.values(TrainingRuns.metrics(out), "loss").get(0))
        .isCloseTo(TrainingRuns.values(TrainingRuns.metrics(merged), "loss").get(0), within(1e-5));

    // Ranks, scales and modules stay, and with its base the adapter is the trained model.
    JsonObject before = config(adapter);
    JsonObject after = config(out.resolve("adapter"));
    for (String key : Set.of("r", "lora_alpha", "target_modules", "peft_type")) {
      assertThat(after.get(key)).isEqualTo(before.get(key));
    }
    float[] trained = encode(Encoder.builder(out));
    Numbers.assertClose(
        "embedding", encode(Encoder.builder(model).adapter(out.resolve("adapter"))), trained, 1e-5);
    assertThat(encode(Encoder.builder(first))).isNotEqualTo(trained);
    assertThat(Files.readString(out.resolve("run.json"))).contains("adapter " + adapter);
  }

  private static JsonObject config(Path adapter) throws IOException {
    return JsonParser.parseString(Files.readString(adapter.resolve("adapter_config.json")))
        .getAsJsonObject();
  }

  @Test
  void aRunThatWasStoppedGoesOnWithTheAdapterItBeganWith() throws IOException {
    Path adapter = Directories.copy(first.resolve("adapter"), dir.resolve("adapter"));
    Path out = dir.resolve("out");
    Path unbroken = dir.resolve("unbroken");
    TrainingRuns.complete(builder(model, unbroken).adapter(adapter));
    TrainingRuns.stopAfter(1, builder(model, out).adapter(adapter));
    Path settings = adapter.resolve("adapter_config.json");
    String before = Files.readString(settings);
    Files.writeString(settings, before.replace("\"lora_alpha\": 5.0", "\"lora_alpha\": 6.0"));
    assertThat(settings).content().isNotEqualTo(before);
    assertThatThrownBy(() -> TrainingRuns.complete(builder(model, out).adapter(adapter)))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("or its adapter " + adapter + " are not those");
    Files.writeString(settings, before);
    assertThat(TrainingRuns.complete(builder(model, out).adapter(adapter)).outcome())
        .isEqualTo(Outcome.COMPLETED);
    assertThat(TrainingRuns.metrics(out)).isEqualTo(TrainingRuns.metrics(unbroken));
    TrainingRuns.assertSameWeights(out, unbroken);
  }

  @Test
  void whatCannotBeTrainedFurtherIsRefused() throws IOException {
    Path out = dir.resolve("out");
    Path embedding = dir.resolve("embedding");
    TrainingRuns.complete(builder(model, embedding).lora(LORA).trainMarkers(true).steps(2));
    assertRefused(embedding.resolve("adapter"), "replaces embed_tokens.weight as a whole");
    assertRefused(dir.resolve("none"), "none");

    Path head = Directories.copy(first.resolve("adapter"), dir.resolve("head"));
    Path file = head.resolve("adapter_model.safetensors");
    Path config = head.resolve("adapter_config.json");
    Files.delete(file);
    SafetensorsWriter writer = new SafetensorsWriter();
    long vocabulary =
        SafetensorsFile.open(model.resolve("model.safetensors"))
            .entries()
            .get("lm_head.weight")
            .shape()[0];
    zeros(writer, "base_model.model.lm_head.lora_A.weight", 3, 16);
    zeros(writer, "base_model.model.lm_head.lora_B.weight", vocabulary, 3);
    writer.write(file);
    Files.writeString(
        config,
        Files.readString(config)
            .replaceFirst("(?s)\"target_modules\": \\[.*?]", "\"target_modules\": [\"lm_head\"]"));
    assertRefused(head, "adapts lm_head.weight; supported are the projections of layers, q_proj,");

    assertThat(out).doesNotExist();
    assertThatIllegalArgumentException()
        .isThrownBy(
            () -> builder(model, out).fullParameters().adapter(first.resolve("adapter")).build())
        .withMessageContaining("an adapter is trained with LoRA, not with all parameters");
  }

  private static void zeros(SafetensorsWriter writer, String name, long rows, long columns) {
    ByteBuffer bytes = ByteBuffer.allocate((int) (rows * columns * Float.BYTES));
    writer.add(
        name, StorageType.F32, new long[] {rows, columns}, out -> out.write(bytes.duplicate()));
  }

  private void assertRefused(Path adapter, String message) {
    assertThatThrownBy(
            () -> TrainingRuns.complete(builder(model, dir.resolve("out")).adapter(adapter)))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(message);
  }

  @Test
  void aMergedAdapterIsTheTrainedModel() throws IOException {
    Path out = dir.resolve("merged");
    ModelConverter.merge(model, first.resolve("adapter"), out);
    Numbers.assertClose(
        "embedding", encode(Encoder.builder(out)), encode(Encoder.builder(first)), 1e-6);
    assertThat(encode(Encoder.builder(model))).isNotEqualTo(encode(Encoder.builder(out)));
    assertThat(Files.readAllBytes(out.resolve("tokenizer.json")))
        .isEqualTo(Files.readAllBytes(model.resolve("tokenizer.json")));
    assertThatThrownBy(() -> ModelConverter.merge(model, first.resolve("adapter"), out))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(out.toString());
    Path none = dir.resolve("none");
    assertThatThrownBy(() -> ModelConverter.merge(model, none, dir.resolve("other")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(none.toString());
    assertThat(dir.resolve("other")).doesNotExist();
  }
}
