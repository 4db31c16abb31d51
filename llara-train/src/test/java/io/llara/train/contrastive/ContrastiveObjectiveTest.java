package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.common.collect.Lists;
import io.llara.ComputeType;
import io.llara.Similarity;
import io.llara.TextModes;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.MarkedStories;
import io.llara.tokenize.Tokenizer;
import io.llara.train.TrainingListener;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.autograd.Parameter;
import io.llara.train.data.BadLines;
import io.llara.train.data.Dataset;
import io.llara.train.data.FewNegatives;
import io.llara.train.data.GroupSampler;
import io.llara.train.data.ShuffleBuffer;
import io.llara.train.data.TrainingPair;
import io.llara.train.distributed.Communicator;
import io.llara.train.distributed.GradientBuckets;
import io.llara.train.distributed.Group;
import io.llara.train.distributed.Lanes;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.lora.Dropout;
import io.llara.train.lora.LoraOptions;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.LearningRateSchedule.Decay;
import io.llara.train.optim.LearningRateSchedule.Warmup;
import io.llara.train.run.Examples;
import io.llara.train.run.RunOptions;
import io.llara.train.run.Workers;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Random;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Tag("slow")
class ContrastiveObjectiveTest {
  private static final RunOptions.Warmup NO_WARMUP =
      new RunOptions.Warmup(OptionalLong.of(0), OptionalDouble.empty(), Warmup.LINEAR);

  private static final int MAX_TOKENS = 96;
  private static final GroupSampler SAMPLER = new GroupSampler(2, FewNegatives.REPEAT, 3);

  private static final List<String> WORDS =
      List.of("time", "girl", "Lily", "park", "ball", "saw", "a", "dog", "happy", "big", "tree");

  @TempDir static Path dir;
  private static Path model;
  private static Path data;
  private static Tokenizer tokenizer;

  @BeforeAll
  static void prepare() throws IOException {
    NativeThreads.one();
    model = MarkedStories.write(dir.resolve("model"));
    tokenizer = Tokenizer.load(model);
    List<String> lines =
        IntStream.range(0, 20)
            .mapToObj(
                i ->
                    "{\"query\":\"%s?\",\"pos\":[\"%s.\",\"%s %s.\"],\"neg\":[\"%s.\",\"%s, %s\"]}"
                        .formatted(
                            IntStream.range(0, 7).mapToObj(j -> words(i + 20 * j)).toArray()))
            .toList();
    data = Files.write(dir.resolve("pairs.jsonl"), lines);
  }

  private static String words(int seed) {
    Random random = new Random(seed);
    return IntStream.range(0, 1 + random.nextInt(6))
        .mapToObj(i -> WORDS.get(random.nextInt(WORDS.size())))
        .collect(Collectors.joining(" "));
  }

  @AfterAll
  static void close() {
    tokenizer.close();
  }

  private static PairCollator collator() {
    PromptBuilder prompts = PromptBuilder.create(PromptTemplate.LLAMA2VEC, tokenizer);
    return new PairCollator(prompts, TextModes.N2S, MAX_TOKENS, MAX_TOKENS);
  }

  private static final int HELD_OUT = 11;

  private static final int TEACHER = 12;

  private static final ContrastiveLoss ALONE = ContrastiveLoss.of(new InfoNce(0.1, true));

  /** All terms there are. */
  private static final ContrastiveLoss TAUGHT =
      new ContrastiveLoss(
          new InfoNce(0.1, true),
          0.5,
          Distillation.of(List.of(Path.of("unread")))
              .withWeights(3, 0.25)
              .withTemperature(0.3)
              .withScores(0.75),
          new Matryoshka(List.of(new Matryoshka.Prefix(8, 2), new Matryoshka.Prefix(32, 0.5))));

  /** Any numbers, the same for the same text. */
  private static SoftTargets teacher(TrainingPair pair) {
    List<float[]> vectors = new ArrayList<>();
    vectors.add(vector("query " + pair.query()));
    pair.passages().forEach(text -> vectors.add(vector(text)));
    return new SoftTargets(
        vectors, pair.passages().stream().map(text -> text.hashCode() % 1000 / 500.0).toList());
  }

  private static float[] vector(String text) {
    float[] vector = Numbers.random(TEACHER, text.hashCode());
    double length = Math.sqrt(Similarity.dot(vector, vector));
    for (int i = 0; i < TEACHER; i++) {
      vector[i] = (float) (vector[i] / length);
    }
    return vector;
  }

  private static PairExample example(TrainingPair pair, long position) {
    TrainingPair drawn = SAMPLER.sample(pair, position);
    return collator().example(drawn, teacher(drawn));
  }

  private static ContrastiveObjective objective(
      ContrastiveLoss loss, TrainedModel trained, Workers workers, int subBatch) {
    return new ContrastiveObjective(
        loss,
        new GradCache(trained, workers.lanes(), false, subBatch),
        workers,
        loss.distillation().vectors().isEmpty() ? OptionalInt.empty() : OptionalInt.of(TEACHER));
  }

  private static Examples<TrainingPair, PairExample> examples(
      Communicator communicator, int batch) {
    WorldSettings world =
        new WorldSettings(communicator.rank(), communicator.size(), 0, "localhost", 1);
    RunOptions options =
        new RunOptions(
            new RunOptions.Model(
                model, Optional.empty(), false, Optional.empty(), Optional.empty()),
            new RunOptions.Data(
                List.of(data), BadLines.REFUSE, batch, 8, 0, 1, RunOptions.Mixture.EVEN),
            new RunOptions.Optimization(OptionalLong.of(9), 1, 1, NO_WARMUP, Decay.CONSTANT, 0, 0),
            new RunOptions.Output(
                dir, 1, 1, 1, new RunOptions.Retrieval(List.of(), "test"), TrainingListener.NONE),
            new RunOptions.Compute(
                OptionalInt.of(1), ComputeType.FLOAT32, false, "cpu", Optional.of(world)),
            3);
    return new Examples<>(
        Dataset.ofPairs(List.of(data)), options, batch, ContrastiveObjectiveTest::example);
  }

  /** An objective and what it needs, in one process of a group. */
  private static final class Process implements AutoCloseable {
    final Communicator communicator;
    final Workers workers;
    final TrainedModel trained;
    final Examples<TrainingPair, PairExample> examples;
    final List<List<PairExample>> heldOut;
    final GradientBuckets buckets;
    final GradientAccumulator gradients;
    final ContrastiveObjective objective;
    final List<Parameter> parameters = new ArrayList<>();
    List<PairExample> batch = List.of();

    Process(Communicator communicator, int batch, int laneCount, int subBatch, double dropout) {
      this(communicator, batch, laneCount, subBatch, dropout, ALONE);
    }

    Process(
        Communicator communicator,
        int batch,
        int laneCount,
        int subBatch,
        double dropout,
        ContrastiveLoss loss) {
      this.communicator = communicator;
      workers = new Workers(new Lanes(laneCount), communicator);
      trained = load(dropout);
      examples = examples(communicator, batch);
      heldOut = heldOut(communicator, batch);
      objective = ContrastiveObjectiveTest.objective(loss, trained, workers, subBatch);
      parameters.addAll(objective.parameters());
      parameters.addAll(trained.parameters());
      buckets =
          new GradientBuckets(
              communicator, parameters.stream().mapToLong(Parameter::elements).toArray(), 1 << 16);
      gradients =
          new GradientAccumulator(parameters, (gradient, index) -> buckets.ready(index, gradient));
    }

    private static TrainedModel load(double dropout) {
      CheckpointDirectory checkpoint = CheckpointDirectory.open(model);
      if (dropout == 0) {
        return TrainedModel.full(
            checkpoint, new TrainedModel.Settings(ScalarType.Float, MAX_TOKENS, false));
      }
      return TrainedModel.lora(
          checkpoint,
          new TrainedModel.Settings(ScalarType.Float, MAX_TOKENS, false),
          LoraOptions.DEFAULT.withRank(2).withDropout(dropout),
          new int[0],
          4);
    }

    /** As a run deals them out. */
    private static List<List<PairExample>> heldOut(Communicator communicator, int batch) {
      List<PairExample> heldOut = new ArrayList<>();
      try (ShuffleBuffer<TrainingPair> some =
          new ShuffleBuffer<>(Dataset.ofPairs(List.of(data)), 1, 0, 1)) {
        for (int i = 0; i < HELD_OUT; i++) {
          heldOut.add(example(some.next(), i));
        }
      }
      List<List<PairExample>> all = Lists.partition(heldOut, batch);
      return IntStream.range(0, all.size())
          .filter(i -> i % communicator.size() == communicator.rank())
          .mapToObj(all::get)
          .toList();
    }

    /** Draws a batch and differentiates, as a run does. */
    Step step(long number) {
      try (NoGradGuard noGrad = new NoGradGuard();
          TensorScope scope = new TensorScope()) {
        batch = examples.nextBatch();
        double[] counts = communicator.allReduce(objective.counts(batch));
        gradients.begin(objective.contributors(batch));
        double[] mine = objective.train(batch, counts, Dropout.mix(7 + number), gradients);
        buckets.finish();
        Map<String, Double> terms = objective.terms(communicator.allReduce(mine), counts);
        Map<String, float[]> byName = new LinkedHashMap<>();
        List<Tensor> totals = gradients.totals();
        for (int i = 0; i < totals.size(); i++) {
          byName.put(parameters.get(i).name(), Tensors.toFloats(totals.get(i)));
        }
        return new Step(terms, byName);
      }
    }

    /** The loss of the last batch with one number of a parameter changed. */
    double lossWith(Parameter parameter, int element, double change) {
      float[] values = Tensors.toFloats(parameter.master());
      float before = values[element];
      double[] sums;
      try (TensorScope scope = new TensorScope()) {
        values[element] = (float) (before + change);
        parameter.set(Tensors.ofFloats(values, parameter.master().shape()));
        sums = objective.evaluate(List.of(batch));
        values[element] = before;
        parameter.set(Tensors.ofFloats(values, parameter.master().shape()));
      }
      return objective.terms(sums, objective.counts(batch)).get("loss");
    }

    Map<String, Double> evaluate() {
      try (NoGradGuard noGrad = new NoGradGuard()) {
        double[] counts =
            communicator.allReduce(
                objective.counts(heldOut.stream().flatMap(List::stream).toList()));
        return objective.terms(communicator.allReduce(objective.evaluate(heldOut)), counts);
      }
    }

    @Override
    public void close() {
      buckets.close();
      gradients.close();
      examples.close();
      objective.close();
      trained.close();
      workers.lanes().close();
    }
  }

  private record Step(Map<String, Double> terms, Map<String, float[]> gradients) {}

  private static Process alone(int batch, int lanes, int subBatch, double dropout) {
    return new Process(Communicator.alone(), batch, lanes, subBatch, dropout);
  }

  @ParameterizedTest
  @CsvSource({
    "2, 1, 0, 6, false",
    "2, 2, 2, 6, false",
    "3, 1, 3, 6, false",
    "1, 3, 1, 6, true",
    "2, 2, 2, 6, true",
    "3, 1, 0, 6, true"
  })
  void processesShareNegativesAndMakeTheGradientOfOneBatch(
      int ranks, int lanes, int subBatch, int batch, boolean taught) throws Exception {
    ContrastiveLoss loss = taught ? TAUGHT : ALONE;
    List<Step> expected;
    Map<String, Double> evaluation;
    try (Process whole = new Process(Communicator.alone(), batch, 1, 0, 0, loss)) {
      expected = List.of(whole.step(1), whole.step(2));
      evaluation = whole.evaluate();
    }
    List<List<Step>> parts =
        Group.run(
            ranks,
            communicator -> {
              try (Process part = new Process(communicator, batch, lanes, subBatch, 0, loss)) {
                List<Step> steps = List.of(part.step(1), part.step(2));
                Map<String, Double> terms = part.evaluate();
                assertTermsClose(terms, evaluation);
                return steps;
              }
            });
    for (List<Step> part : parts) {
      for (int i = 0; i < expected.size(); i++) {
        assertTermsClose(part.get(i).terms(), expected.get(i).terms());
        Numbers.assertGradientClose(part.get(i).gradients(), expected.get(i).gradients(), 1e-5);
      }
    }
  }

  private static void assertTermsClose(Map<String, Double> found, Map<String, Double> expected) {
    assertThat(found.keySet()).containsExactlyElementsOf(expected.keySet());
    expected.forEach(
        (name, value) ->
            assertThat(found.get(name))
                .as(name)
                .isCloseTo(value, within(name.startsWith("accuracy") ? 0 : 1e-5)));
  }

  @Test
  void theLossIsTheWeightedSumOfItsTerms() {
    try (Process process = new Process(Communicator.alone(), 4, 1, 0, 0, TAUGHT)) {
      Map<String, Double> terms = process.step(1).terms();
      assertThat(terms.keySet())
          .containsExactly(
              "loss",
              "infonce_loss",
              "similarity_loss",
              "score_loss",
              "cosine_loss",
              "accuracy",
              "accuracy_32",
              "accuracy_8")
          .containsExactlyElementsOf(process.objective.termNames());
      assertThat(terms.get("loss"))
          .isCloseTo(
              0.5 * terms.get("infonce_loss")
                  + 0.25 * terms.get("similarity_loss")
                  + 0.75 * terms.get("score_loss")
                  + 3 * terms.get("cosine_loss"),
              within(1e-6));
      assertThat(terms.get("infonce_loss")).isPositive();
    }
  }

  /** The gradient of everything together, against central differences of the reported loss. */
  @Test
  void theGradientIsThatOfTheLoss() {
    try (Process process = new Process(Communicator.alone(), 4, 1, 0, 0, TAUGHT);
        NoGradGuard noGrad = new NoGradGuard()) {
      Step step = process.step(1);
      for (String name :
          List.of("teacher_projection.weight", "norm.weight", "layers.0.mlp.up_proj.weight")) {
        Parameter parameter =
            process.parameters.stream()
                .filter(one -> one.name().equals(name))
                .findFirst()
                .orElseThrow();
        float[] gradient = step.gradients().get(name);
        int largest = 0;
        for (int i = 0; i < gradient.length; i++) {
          largest = Math.abs(gradient[i]) > Math.abs(gradient[largest]) ? i : largest;
        }
        double change = 0.01;
        double difference =
            process.lossWith(parameter, largest, change)
                - process.lossWith(parameter, largest, -change);
        assertThat(difference / (2 * change))
            .as(name)
            .isCloseTo(gradient[largest], within(0.01 * Math.abs(gradient[largest])));
      }
    }
  }

  @Test
  void negativesOfOtherProcessesCount() {
    // A query against its own three passages alone has a far smaller loss.
    try (Process whole = alone(4, 1, 0, 0);
        Process one = alone(1, 1, 0, 0)) {
      double loss = whole.step(1).terms().get("loss");
      double sum = 0;
      for (int i = 0; i < 4; i++) {
        sum += one.step(i).terms().get("loss");
      }
      assertThat(sum / 4).isLessThan(loss - 0.1);
    }
  }

  @Test
  void aBatchIsAFunctionOfItsPositionAndItsStep() {
    try (Process first = alone(4, 2, 2, 0.3);
        Process resumed = alone(4, 2, 2, 0.3)) {
      first.step(1);
      first.step(2);
      Step third = first.step(3);
      resumed.examples.skip(8);
      Step again = resumed.step(3);
      assertThat(resumed.batch).isNotEmpty().usingRecursiveComparison().isEqualTo(first.batch);
      assertThat(resumed.examples.position()).isEqualTo(12);
      assertThat(again.terms()).isEqualTo(third.terms());
      again
          .gradients()
          .forEach((name, values) -> assertThat(values).isEqualTo(third.gradients().get(name)));
    }
  }

  @Test
  void evaluationHasNoDropoutAndChangesNothing() {
    try (Process process = alone(4, 2, 2, 0.5)) {
      Map<String, Double> before = process.evaluate();
      process.step(1);
      assertThat(process.evaluate()).isEqualTo(before);
      assertThat(before.keySet())
          .containsExactlyInAnyOrderElementsOf(process.objective.termNames());
      assertThat(process.objective.termNames()).startsWith("loss");
    }
  }
}
