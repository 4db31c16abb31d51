package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.gson.JsonObject;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.TextModes;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptTemplate;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.lora.LoraOptions;
import io.llara.train.run.Manifest;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TrainingRuns;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A whole run of fine-tuning: what is learnt, what is left behind, and how it may be cut. */
class ContrastiveTrainerTest {
  private static final double TOLERANCE = 1e-5;

  private static final String[] TOPICS = {
    "dog", "ball", "tree", "park", "girl", "bird", "water", "house"
  };

  @TempDir static Path shared;
  private static Path model;
  private static Path data;
  @TempDir Path dir;

  @BeforeAll
  static void prepare() {
    NativeThreads.one();
    model = TrainingRuns.model(shared, true);
    data = Finetunings.data(shared, 20);
  }

  /** Queries, and passages that name the same two things, the other way round. */
  private static Path topics(Path dir) {
    Random random = new Random(3);
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      String a = TOPICS[random.nextInt(8)];
      String b = TOPICS[random.nextInt(8)];
      String other = TOPICS[random.nextInt(8)];
      lines.add(
          Finetunings.pair(
              "%s %s %d".formatted(a, b, i),
              List.of("the %s and a %s".formatted(b, a)),
              other.equals(a) || other.equals(b)
                  ? List.of("the time and a friend")
                  : List.of("the %s and a %s".formatted(other, other))));
    }
    return TrainingRuns.write(dir.resolve("topics.jsonl"), lines);
  }

  private static double last(List<JsonObject> lines, String key) {
    List<Double> values = TrainingRuns.values(lines, key);
    return values.get(values.size() - 1);
  }

  @Test
  void learnsToFindPassagesItHasNotSeen() {
    Path out = dir.resolve("out");
    TrainingRuns.complete(
        Finetunings.full(model, topics(dir), out)
            .steps(80)
            .batch(8)
            .negatives(1)
            .learningRate(1e-2)
            .heldOut(0.2)
            .shuffleBuffer(200)
            .evaluateEvery(80));
    List<JsonObject> metrics = TrainingRuns.metrics(out);
    List<JsonObject> evaluations = TrainingRuns.evaluations(out);
    assertThat(last(metrics, "loss")).isLessThan(TrainingRuns.values(metrics, "loss").get(0) / 2);
    double before = TrainingRuns.values(evaluations, "accuracy").get(0);
    // One of sixteen passages by chance.
    assertThat(before).isLessThan(0.4);
    assertThat(last(evaluations, "accuracy")).isGreaterThan(before + 0.2);
    assertThat(last(evaluations, "loss"))
        .isLessThan(TrainingRuns.values(evaluations, "loss").get(0));
  }

  @Test
  void theDirectoryIsAnEncoderAndSaysWhatItWasTrainedWith() {
    Path out =
        TrainingRuns.complete(Finetunings.full(model, data, dir.resolve("out")).steps(2)).model();
    LlaraJson json = CheckpointDirectory.open(out).llaraJson().orElseThrow();
    assertThat(json)
        .isEqualTo(
            new LlaraJson(PromptTemplate.LLAMA2VEC, true, OptionalInt.of(72), OptionalInt.of(80)));
    try (Encoder encoder = Encoder.load(out)) {
      assertThat(Similarity.cosine(encoder.encodeQuery("a dog"), encoder.encodeQuery("a dog")))
          .isCloseTo(1, within(1e-6));
      assertThat(encoder.encodePassage("a dog")).hasSize(16);
    }
    assertThat(out.resolve("adapter")).doesNotExist();
    Manifest manifest = Manifest.read(out).orElseThrow();
    assertThat(manifest.finished()).isPresent();
    assertThat(manifest.settings())
        .containsEntry("template", "llama2vec")
        .containsEntry("temperature", "0.1")
        .containsEntry("modes", "n2s");
    for (JsonObject line : TrainingRuns.metrics(out)) {
      assertThat(line.keySet())
          .containsExactly("step", "loss", "accuracy", "learning_rate", "gradient_norm", "tokens");
    }
  }

  @Test
  void theModelIsUsedInTheModesAndLengthsOfItsTraining() {
    Path out =
        TrainingRuns.complete(
                Finetunings.full(model, data, dir.resolve("out")).steps(2).modes(TextModes.S2S))
            .model();
    try (Encoder encoder = Encoder.load(out)) {
      assertThat(encoder.modes()).isEqualTo(TextModes.S2S);
      assertThat(encoder.forQueries().maxTokens()).isEqualTo(72);
      assertThat(encoder.forPassages().maxTokens()).isEqualTo(80);
      assertThat(encoder.encodeQuery("a dog")).isEqualTo(encoder.encode("a dog", Mode.SELF));
    }
  }

  @Test
  void unnormalisedEmbeddingsStayThatInTheModel() {
    Path out =
        TrainingRuns.complete(
                Finetunings.full(model, data, dir.resolve("out")).steps(2).normalize(false))
            .model();
    assertThat(CheckpointDirectory.open(out).llaraJson().orElseThrow().normalize()).isFalse();
  }

  @Test
  void theHeadOfAnUntiedModelStaysAsItIs() {
    Path untied = TrainingRuns.model(dir, false);
    Path out =
        TrainingRuns.complete(
                Finetunings.full(untied, data, dir.resolve("out")).steps(2).weightDecay(0.1))
            .model();
    assertThat(TrainingRuns.weights(out).get("lm_head.weight"))
        .isEqualTo(TrainingRuns.weights(untied).get("lm_head.weight"));
    assertThat(TrainingRuns.weights(out).get("embed_tokens.weight"))
        .isNotEqualTo(TrainingRuns.weights(untied).get("embed_tokens.weight"));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void theAdapterWithItsBaseIsTheMergedModel(boolean markers) throws Exception {
    Path out =
        TrainingRuns.complete(
                Finetunings.full(model, data, dir.resolve("out"))
                    .lora(LoraOptions.DEFAULT.withRank(3))
                    .trainMarkers(markers)
                    .learningRate(1e-2))
            .model();
    Path adapter = out.resolve(ContrastiveTrainer.ADAPTER_FOLDER);
    for (Mode mode : Mode.values()) {
      Numbers.assertClose(
          mode.name(),
          encode(Encoder.builder(model).adapter(adapter), mode),
          encode(Encoder.builder(out), mode),
          1e-5);
      assertThat(encode(Encoder.builder(model), mode))
          .isNotEqualTo(encode(Encoder.builder(out), mode));
    }
    assertThat(Files.readString(adapter.resolve("adapter_config.json")))
        .contains("\"r\": 3", markers ? "\"embed_tokens\"" : "\"modules_to_save\": null");
    boolean same =
        Arrays.equals(
            TrainingRuns.weights(out).get("embed_tokens.weight"),
            TrainingRuns.weights(model).get("embed_tokens.weight"));
    assertThat(same).isEqualTo(!markers);
  }

  private static float[] encode(EncoderBuilder builder, Mode mode) {
    try (Encoder encoder =
        builder.computeType(ComputeType.FLOAT32).maxTokens(80).threads(1).build()) {
      return encoder.encode("a little red bird", mode);
    }
  }

  // How a run may be cut.

  private Path run(String name, UnaryOperator<ContrastiveTrainer.Builder> change) {
    Path out = dir.resolve(name);
    TrainingRuns.complete(change.apply(cut(out)));
    return out;
  }

  private static ContrastiveTrainer.Builder cut(Path out) {
    return Finetunings.full(model, data, out)
        .steps(6)
        .learningRate(5e-3)
        .heldOut(0.3)
        .evaluateEvery(2)
        .refresh(Refresh.every(3, Finetunings.byTheLines()));
  }

  private static void assertSame(Path actual, Path expected) {
    for (String term : List.of("loss", "gradient_norm", "accuracy", "tokens")) {
      assertSame(term, TrainingRuns.metrics(actual), TrainingRuns.metrics(expected));
    }
    for (String term : List.of("loss", "accuracy")) {
      assertSame(term, TrainingRuns.evaluations(actual), TrainingRuns.evaluations(expected));
    }
    Numbers.assertClose(TrainingRuns.weights(actual), TrainingRuns.weights(expected), TOLERANCE);
  }

  private static void assertSame(String term, List<JsonObject> actual, List<JsonObject> expected) {
    List<Double> right = TrainingRuns.values(expected, term);
    List<Double> values = TrainingRuns.values(actual, term);
    assertThat(values).hasSameSizeAs(right);
    for (int i = 0; i < right.size(); i++) {
      assertThat(values.get(i))
          .as("%s of line %s", term, i + 1)
          .isCloseTo(right.get(i), within(TOLERANCE * Math.max(1, right.get(i))));
    }
  }

  @Test
  void partsLanesAndLayersRunAgainChangeNothing() {
    Path whole = run("whole", builder -> builder);
    assertSame(run("parts", builder -> builder.subBatch(2)), whole);
    assertSame(run("lanes", builder -> builder.threads(3).subBatch(1)), whole);
    assertSame(run("again", builder -> builder.recompute(true)), whole);
  }

  @Test
  @Timeout(120)
  void twoProcessesWithHalfABatchEachAreOneWithAWhole() throws Exception {
    Path whole = run("whole", builder -> builder);
    Path together = dir.resolve("together");
    int port;
    try (ServerSocket socket = new ServerSocket(0)) {
      port = socket.getLocalPort();
    }
    ExecutorService ranks = Executors.newFixedThreadPool(2);
    try {
      List<Callable<Object>> tasks = new ArrayList<>();
      for (int i = 0; i < 2; i++) {
        WorldSettings world = new WorldSettings(i, 2, i, "127.0.0.1", port);
        tasks.add(() -> TrainingRuns.complete(cut(together).world(world)));
      }
      for (Future<Object> rank : ranks.invokeAll(tasks)) {
        rank.get(100, TimeUnit.SECONDS);
      }
    } finally {
      ranks.shutdownNow();
    }
    assertSame(together, whole);
  }
}
