package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.eval.BeirDataset;
import io.llara.retrieval.eval.BeirEvaluator;
import io.llara.retrieval.eval.Metric;
import io.llara.train.RetrievalReport;
import io.llara.train.StepReport;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.TrainingResult.Outcome;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.TrainingRuns;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A model that is evaluated on test collections as it trains. */
class RetrievalEvaluationsTest {
  @TempDir static Path shared;
  private static Path model;
  private static Path data;
  private static List<Path> collections;
  private static Path unbroken;
  private static TrainingResult result;
  private static final List<RetrievalReport> REPORTS = new ArrayList<>();

  @TempDir Path dir;

  @BeforeAll
  static void prepare() throws IOException {
    NativeThreads.one();
    model = TrainingRuns.model(shared, true);
    data = Finetunings.data(shared, 20);
    collections = List.of(collection("one", 19), collection("two", 27));
    unbroken = shared.resolve("unbroken");
    result =
        TrainingRuns.complete(
            builder(unbroken)
                .listener(
                    new TrainingListener() {
                      @Override
                      public void evaluatedRetrieval(RetrievalReport report) {
                        REPORTS.add(report);
                      }
                    }));
  }

  private static Path collection(String name, int seed) throws IOException {
    Random random = new Random(seed);
    List<String> corpus = new ArrayList<>();
    List<String> queries = new ArrayList<>();
    List<String> judgements = new ArrayList<>(List.of("query-id\tcorpus-id\tscore"));
    for (int i = 0; i < 30; i++) {
      corpus.add(
          "{\"_id\": \"d%d\", \"text\": \"%s\"}".formatted(i, TrainingRuns.words(random, 4)));
    }
    for (int i = 0; i < 8; i++) {
      queries.add(
          "{\"_id\": \"q%d\", \"text\": \"%s\"}".formatted(i, TrainingRuns.words(random, 2)));
      judgements.add("q%d\td%d\t1".formatted(i, random.nextInt(30)));
    }
    Path folder = Files.createDirectories(shared.resolve(name).resolve("qrels")).getParent();
    TrainingRuns.write(folder.resolve("corpus.jsonl"), corpus);
    TrainingRuns.write(folder.resolve("queries.jsonl"), queries);
    TrainingRuns.write(folder.resolve("qrels/dev.tsv"), judgements);
    return folder;
  }

  /** Evaluates after steps 4, 8 and 9. */
  private static ContrastiveTrainer.Builder builder(Path out) {
    return Finetunings.full(model, data, out)
        .learningRate(0.003)
        .evaluateRetrieval(collections, "dev")
        .evaluateEvery(4);
  }

  private static List<JsonObject> lines(Path out) throws IOException {
    return Files.readAllLines(out.resolve("retrieval.jsonl")).stream()
        .map(line -> JsonParser.parseString(line).getAsJsonObject())
        .toList();
  }

  private static double ndcg(Path trained, Path collection) {
    try (Encoder encoder =
        Encoder.builder(trained).computeType(ComputeType.FLOAT32).threads(1).build()) {
      return BeirEvaluator.of(BeirDataset.open(collection, "dev"))
          .evaluate("model", EmbeddingSearch.of(encoder))
          .mean(Metric.ndcg(10));
    }
  }

  @Test
  void theBestModelIsKeptAndTheLastIsTheRuns() throws IOException {
    List<JsonObject> lines = lines(unbroken);
    assertThat(TrainingRuns.values(lines, "step")).containsExactly(4.0, 8.0, 9.0);
    List<Double> measured = TrainingRuns.values(lines, "ndcg@10");
    assertThat(REPORTS.stream().map(RetrievalReport::step)).containsExactly(4L, 8L, 9L);
    assertThat(REPORTS.stream().map(RetrievalReport::ndcg)).isEqualTo(measured);
    double highest = measured.stream().mapToDouble(Double::doubleValue).max().orElseThrow();
    double before = 0;
    for (RetrievalReport report : REPORTS) {
      assertThat(report.best()).isEqualTo(report.ndcg() > before);
      before = Math.max(before, report.ndcg());
    }
    TrainingResult.Best best = result.best().orElseThrow();
    assertThat(best.ndcg()).isEqualTo(highest);
    // Otherwise this would show nothing.
    assertThat(best.step()).isLessThan(9);
    assertThat(best.step()).isEqualTo(List.of(4L, 8L, 9L).get(measured.indexOf(highest)));
    assertThat(best.model()).isEqualTo(unbroken.resolve("best"));
    // What they hold is what was measured.
    assertThat(
            (ndcg(best.model(), collections.get(0)) + ndcg(best.model(), collections.get(1))) / 2)
        .isEqualTo(highest, within(1e-12));
    JsonObject last = lines.get(2).getAsJsonObject("collections").getAsJsonObject("two");
    assertThat(last.keySet()).containsExactly("ndcg@10", "map", "recall@100", "mrr@10");
    assertThat(ndcg(unbroken, collections.get(1)))
        .isEqualTo(last.get("ndcg@10").getAsDouble(), within(1e-12));
    assertThat(unbroken.toFile().list((folder, name) -> name.contains("tmp"))).isEmpty();
  }

  @Test
  void itChangesNothingElse() {
    Path without = dir.resolve("without");
    TrainingRuns.complete(Finetunings.full(model, data, without).learningRate(0.003));
    assertThat(TrainingRuns.metrics(unbroken)).isEqualTo(TrainingRuns.metrics(without));
    TrainingRuns.assertSameWeights(unbroken, without);
  }

  @Test
  void aRunThatWasStoppedMakesUpForIt() throws IOException {
    for (long step : new long[] {4, 6, 9}) {
      Path out = dir.resolve("stopped" + step);
      assertThat(TrainingRuns.stopAfter(step, builder(out)).outcome()).isEqualTo(Outcome.STOPPED);
      TrainingResult resumed = TrainingRuns.complete(builder(out));
      assertThat(lines(out)).isEqualTo(lines(unbroken));
      assertThat(resumed.best().orElseThrow().step()).isEqualTo(result.best().orElseThrow().step());
      TrainingRuns.assertSameWeights(out.resolve("best"), unbroken.resolve("best"));
      TrainingResult again = TrainingRuns.complete(builder(out));
      assertThat(again.outcome()).isEqualTo(Outcome.ALREADY_COMPLETE);
      assertThat(again.best()).isEqualTo(resumed.best());
    }
  }

  @Test
  void aCollectionThatCannotBeUsedIsRefusedBeforeAnythingIsWritten() {
    Path out = dir.resolve("out");
    assertThatThrownBy(
            () -> TrainingRuns.complete(builder(out).evaluateRetrieval(collections, "test")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("has neither test.tsv");
    assertThat(out).doesNotExist();
  }

  @Test
  void withLoraTheBestAdapterIsThereToo() throws IOException {
    Path out = dir.resolve("lora");
    List<Long> steps = new ArrayList<>();
    TrainingRuns.complete(
        Finetunings.lora(model, data, out)
            .evaluateRetrieval(collections.subList(0, 1), "dev")
            .evaluateEvery(100)
            .listener(
                new TrainingListener() {
                  @Override
                  public void step(StepReport report) {
                    steps.add(report.step());
                  }

                  @Override
                  public void evaluatingRetrieval(long step) {
                    steps.add(-step);
                  }
                }));
    assertThat(steps).endsWith(9L, -9L);
    assertThat(out.resolve("best/adapter/adapter_config.json")).exists();
    TrainingRuns.assertSameWeights(out.resolve("best"), out);
  }
}
