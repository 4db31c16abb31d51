package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.train.TrainingResult.Outcome;
import io.llara.train.contrastive.Matryoshka.Prefix;
import io.llara.train.data.BadLines;
import io.llara.train.run.CheckpointStore;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.TrainingRuns;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalDouble;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs with a teacher. */
class DistillationTest {
  @TempDir static Path shared;
  private static Path model;
  private static Path data;
  @TempDir Path dir;
  private Path out;
  private Path teacher;

  @BeforeAll
  static void prepare() {
    NativeThreads.one();
    model = TrainingRuns.model(shared, true);
    data = Finetunings.data(shared, 20);
  }

  @BeforeEach
  void teach() {
    out = dir.resolve("out");
    teacher = dir.resolve("teacher.safetensors");
    Finetunings.teach(data, teacher);
  }

  private ContrastiveTrainer.Builder taught() {
    return taught(data);
  }

  private ContrastiveTrainer.Builder taught(Path pairs) {
    return Finetunings.full(model, pairs, out).distillation(Distillation.of(List.of(teacher)));
  }

  private static void assertRefused(ContrastiveTrainer.Builder builder, String... parts) {
    assertThatThrownBy(() -> TrainingRuns.complete(builder))
        .isInstanceOf(LlaraException.class)
        .hasMessageContainingAll(parts);
  }

  @Test
  void aTeacherAloneIsFollowed() {
    TrainingRuns.complete(taught().infoNceWeight(0).steps(60).warmup(2).learningRate(1e-2));
    List<JsonObject> metrics = TrainingRuns.metrics(out);
    for (String term : List.of("loss", "cosine_loss", "similarity_loss")) {
      List<Double> values = TrainingRuns.values(metrics, term);
      assertThat(mean(values.subList(50, 60)))
          .as(term)
          .isLessThan(0.85 * mean(values.subList(0, 10)));
    }
    assertThat(metrics.get(0).keySet())
        .containsExactly(
            "step",
            "loss",
            "infonce_loss",
            "similarity_loss",
            "cosine_loss",
            "accuracy",
            "learning_rate",
            "gradient_norm",
            "tokens");
  }

  private static double mean(List<Double> values) {
    return values.stream().mapToDouble(value -> value).average().orElseThrow();
  }

  @Test
  void theProjectionIsInCheckpointsAndNotInTheModel() {
    TrainingRuns.complete(taught());
    String projection = "parameter/" + ProjectedCosine.PROJECTION;
    assertThat(new CheckpointStore(out, 2).newest().orElseThrow().names()).contains(projection);
    assertThat(CheckpointDirectory.open(out).tensors().keySet())
        .isEqualTo(CheckpointDirectory.open(model).tensors().keySet());
    // Without the cosine there is none.
    out = dir.resolve("other");
    TrainingRuns.complete(
        taught().distillation(Distillation.of(List.of(teacher)).withWeights(0, 1)));
    assertThat(new CheckpointStore(out, 2).newest().orElseThrow().names())
        .doesNotContain(projection);
  }

  @Test
  void prefixesAreReportedWhereThereAreSome() {
    TrainingRuns.complete(
        Finetunings.full(model, data, out)
            .matryoshka(new Matryoshka(List.of(new Prefix(4, 0.5), new Prefix(8, 1)))));
    assertThat(TrainingRuns.metrics(out).get(0).keySet())
        .contains("loss", "accuracy", "accuracy_8", "accuracy_4")
        .doesNotContain("infonce_loss");
  }

  @Test
  void scoresAreReadFromTheData() throws IOException {
    List<String> lines = new ArrayList<>();
    for (String line : Files.readAllLines(data)) {
      JsonObject pair = JsonParser.parseString(line).getAsJsonObject();
      for (String key : List.of("pos", "neg")) {
        var scores = new JsonArray();
        pair.getAsJsonArray(key).forEach(text -> scores.add(text.hashCode() % 100 / 20.0));
        pair.add(key + "_scores", scores);
      }
      lines.add(pair.toString());
    }
    Path scored = TrainingRuns.write(dir.resolve("scored.jsonl"), lines);
    Distillation scores = Distillation.NONE.withScores(1);
    TrainingRuns.complete(
        Finetunings.full(model, scored, out)
            .distillation(scores)
            .infoNceWeight(0)
            .steps(40)
            .learningRate(1e-2));
    List<Double> values = TrainingRuns.values(TrainingRuns.metrics(out), "score_loss");
    assertThat(mean(values.subList(30, 40))).isLessThan(0.7 * mean(values.subList(0, 10)));

    out = dir.resolve("other");
    assertRefused(
        Finetunings.full(model, data, out).distillation(scores),
        data + ":1",
        "key 'pos_scores' is missing; expected a teacher's score of each");
    lines.set(1, lines.get(1).replaceFirst("\"neg_scores\":\\[", "\"neg_scores\":[0.5,"));
    TrainingRuns.write(scored, lines);
    assertRefused(
        Finetunings.full(model, scored, out).shuffleBuffer(1).distillation(scores),
        scored + ":2",
        "key 'neg_scores' is a list of");
  }

  @Test
  void aTextThatTheTeacherDoesNotKnowIsNamedBeforeTheFirstStep() {
    List<String> lines = new ArrayList<>();
    lines.add(Finetunings.pair("a dog", List.of("the dog"), List.of("a tree")));
    lines.add(Finetunings.pair("a cat", List.of("the cat"), List.of("a bush")));
    Path some = TrainingRuns.write(dir.resolve("some.jsonl"), lines);
    Finetunings.teach(some, teacher);
    lines.add(Finetunings.pair("a dog", List.of("the dog", "another"), List.of("a tree")));
    lines.add(Finetunings.pair("another", List.of("the dog"), List.of("a tree")));
    TrainingRuns.write(some, lines);
    assertRefused(
        taught(some),
        some + ":3: the teacher has no vector of the passage 'another'",
        "llara teach");
    assertThat(out).doesNotExist();
    // Skipped on request, and so are those whose query is unknown.
    assertThat(TrainingRuns.complete(taught(some).badLines(BadLines.SKIP)).outcome())
        .isEqualTo(Outcome.COMPLETED);
    lines.remove(2);
    TrainingRuns.write(some, lines);
    out = dir.resolve("other");
    assertRefused(taught(some), some + ":3: the teacher has no vector of the query 'another'");
  }

  @Test
  void aTeacherThatCannotBeUsedIsNamedAndNothingIsClaimed() throws IOException {
    byte[] bytes = Files.readAllBytes(teacher);
    Files.write(teacher, Arrays.copyOf(bytes, bytes.length - 7));
    assertRefused(taught(), teacher.toString(), "truncated");
    Files.delete(teacher);
    assertRefused(taught(), teacher.toString(), "no such file");
    assertThat(out).doesNotExist();
  }

  @Test
  void aRunGoesOnWithItsTeacherAlone() throws IOException {
    TrainingRuns.stopAfter(2, taught());
    assertRefused(
        taught().distillation(Distillation.of(List.of(teacher)).withTemperature(0.5)),
        "teacher temperature: was 0.1, now 0.5");
    assertRefused(taught().matryoshka(Matryoshka.of(8)), "matryoshka: was not set, now 8:1.0");
    assertRefused(taught().infoNceWeight(2), "weights: was InfoNCE 1.0");
    byte[] bytes = Files.readAllBytes(teacher);
    // The last bit of a number.
    bytes[(int) SafetensorsFile.open(teacher).entry("vectors").offset()] ^= 1;
    Files.write(teacher, bytes);
    assertRefused(taught(), out.toString(), "teacher 1: was " + teacher);
  }

  @Test
  void whatDoesNotGoTogetherIsRefused() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TrainingRuns.complete(taught().matryoshka(Matryoshka.of(17))))
        .withMessageContaining("prefix of 17 dimensions; the model's vectors have 16");
    assertThat(out).doesNotExist();
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Finetunings.full(model, data, out).infoNceWeight(0).build())
        .withMessageContaining("weight of InfoNCE is 0, and there is no teacher");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> taught().infoNceWeight(Double.NaN).build())
        .withMessageContaining("weight of InfoNCE is NaN");
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                taught()
                    .distillation(Distillation.NONE.withScores(1))
                    .refresh(Refresh.every(2, Finetunings.byTheLines()))
                    .build())
        .withMessageContaining("refreshed");
    assertThatIllegalArgumentException().isThrownBy(() -> new Prefix(0, 1));
    assertThatIllegalArgumentException().isThrownBy(() -> new Prefix(1, 0));
    assertThatIllegalArgumentException().isThrownBy(() -> Matryoshka.of(8, 8));
    assertThatIllegalArgumentException().isThrownBy(() -> Distillation.of(List.of()));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Distillation.of(List.of(teacher)).withWeights(0, 0));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Distillation.of(List.of(teacher)).withWeights(-1, 1));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Distillation(List.of(), 0, 0, OptionalDouble.of(0), 1));
  }

  @Test
  void weightsOfPrefixesSumToOneWithTheWholeAmongThem() {
    assertThat(Matryoshka.of(4, 8).within(16))
        .containsExactly(new Prefix(16, 1.0 / 3), new Prefix(8, 1.0 / 3), new Prefix(4, 1.0 / 3));
    assertThat(new Matryoshka(List.of(new Prefix(16, 3), new Prefix(4, 1))).within(16))
        .containsExactly(new Prefix(16, 0.75), new Prefix(4, 0.25));
    assertThat(Matryoshka.NONE.within(16)).containsExactly(new Prefix(16, 1));
  }
}
