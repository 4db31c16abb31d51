package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.common.collect.Lists;
import io.llara.ComputeType;
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
import java.util.OptionalLong;
import java.util.Random;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

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

  private static ContrastiveObjective objective(
      TrainedModel trained, Workers workers, int subBatch) {
    return new ContrastiveObjective(
        new InfoNce(0.1, true), new GradCache(trained, workers.lanes(), false, subBatch), workers);
  }

  private static Examples<TrainingPair, PairExample> examples(
      Communicator communicator, int batch) {
    WorldSettings world =
        new WorldSettings(communicator.rank(), communicator.size(), 0, "localhost", 1);
    RunOptions options =
        new RunOptions(
            new RunOptions.Model(
                model, Optional.empty(), false, Optional.empty(), Optional.empty()),
            new RunOptions.Data(List.of(data), BadLines.REFUSE, batch, 8, 0, 1),
            new RunOptions.Optimization(OptionalLong.of(9), 1, 1, NO_WARMUP, Decay.CONSTANT, 0, 0),
            new RunOptions.Output(dir, 1, 1, 1, TrainingListener.NONE),
            new RunOptions.Compute(1, ComputeType.FLOAT32, false, Optional.of(world)),
            3);
    return new Examples<>(
        Dataset.ofPairs(List.of(data)),
        options,
        batch,
        (pair, position) -> collator().example(SAMPLER.sample(pair, position)));
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
    List<PairExample> batch = List.of();

    Process(Communicator communicator, int batch, int laneCount, int subBatch, double dropout) {
      this.communicator = communicator;
      workers = new Workers(new Lanes(laneCount), communicator);
      trained = load(dropout);
      examples = examples(communicator, batch);
      heldOut = heldOut(communicator, batch);
      List<Parameter> parameters = trained.parameters();
      buckets =
          new GradientBuckets(
              communicator, parameters.stream().mapToLong(Parameter::elements).toArray(), 1 << 16);
      gradients =
          new GradientAccumulator(parameters, (gradient, index) -> buckets.ready(index, gradient));
      objective = ContrastiveObjectiveTest.objective(trained, workers, subBatch);
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
          heldOut.add(collator().example(SAMPLER.sample(some.next(), i)));
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
          byName.put(trained.parameters().get(i).name(), Tensors.toFloats(totals.get(i)));
        }
        return new Step(terms, byName);
      }
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
      trained.close();
      workers.lanes().close();
    }
  }

  private record Step(Map<String, Double> terms, Map<String, float[]> gradients) {}

  private static Process alone(int batch, int lanes, int subBatch, double dropout) {
    return new Process(Communicator.alone(), batch, lanes, subBatch, dropout);
  }

  @ParameterizedTest
  @CsvSource({"2, 1, 0, 6", "2, 2, 2, 6", "3, 1, 3, 6"})
  void processesShareNegativesAndMakeTheGradientOfOneBatch(
      int ranks, int lanes, int subBatch, int batch) throws Exception {
    List<Step> expected;
    Map<String, Double> evaluation;
    try (Process whole = alone(batch, 1, 0, 0)) {
      expected = List.of(whole.step(1), whole.step(2));
      evaluation = whole.evaluate();
    }
    List<List<Step>> parts =
        Group.run(
            ranks,
            communicator -> {
              try (Process part = new Process(communicator, batch, lanes, subBatch, 0)) {
                List<Step> steps = List.of(part.step(1), part.step(2));
                Map<String, Double> terms = part.evaluate();
                assertThat(terms.get("loss")).isCloseTo(evaluation.get("loss"), within(1e-5));
                assertThat(terms.get("accuracy")).isEqualTo(evaluation.get("accuracy"));
                return steps;
              }
            });
    for (List<Step> part : parts) {
      for (int i = 0; i < expected.size(); i++) {
        assertThat(part.get(i).terms().get("loss"))
            .isCloseTo(expected.get(i).terms().get("loss"), within(1e-5));
        assertThat(part.get(i).terms().get("accuracy"))
            .isEqualTo(expected.get(i).terms().get("accuracy"));
        Numbers.assertGradientClose(part.get(i).gradients(), expected.get(i).gradients(), 1e-5);
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
      assertThat(resumed.batch).isEqualTo(first.batch).isNotEmpty();
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
