package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.common.primitives.Ints;
import io.llara.Mode;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.TensorEntry;
import io.llara.prompt.Prompt;
import io.llara.prompt.TokenRange;
import io.llara.testing.ReferenceLlama;
import io.llara.testing.Stories;
import io.llara.tokenize.Tokenizer;
import io.llara.train.data.Collator;
import io.llara.train.data.Example;
import io.llara.train.data.TrainingText;
import io.llara.train.optim.AdamW;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TinyLlama;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The gradient of each recipe's whole loss against central differences: of a forward pass and
 * losses in float64, written by their definitions, as a function of the numbers in the checkpoint.
 */
class GradientCheckTest {
  private static final int LAYERS = 2;
  private static final int BOS = 1;
  private static final double STEP = 1e-3;

  /** Float32 against float64, relative to the largest gradient of a tensor. */
  private static final double TOLERANCE = 2e-4;

  private static final int SAMPLES = 6;

  @TempDir Path dir;

  /** The loss by its definition, and what each term adds to it. */
  private record Reference(double loss, double[] terms) {}

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  @ParameterizedTest
  @CsvSource({
    "RELEASED, false",
    "RELEASED, true",
    "PAPER, false",
    "PAPER, true",
    "LM, false",
    "LM, true"
  })
  void gradientsAreThoseOfTheLoss(Recipe recipe, boolean tied) throws IOException {
    int vocabulary = recipe == Recipe.LM ? 512 : TinyLlama.VOCABULARY;
    Path model = TinyLlama.write(dir, TinyLlama.config(LAYERS, tied, false, vocabulary), 12);
    List<Example> examples = recipe == Recipe.LM ? plainExamples() : examples(recipe);
    Reference reference = reference(recipe, examples);
    Map<String, float[]> gradients;
    try (AdaptationSteps steps =
        new AdaptationSteps(TinyLlama.trained(model, true), recipe, AdamW.Settings.DEFAULT, tied)) {
      Map<String, Double> losses = steps.run(examples, BOS);
      assertThat(losses.get("loss")).isCloseTo(reference.loss(), within(1e-5 * reference.loss()));
      gradients = steps.gradients();
    }
    double[] mostOfTerm = new double[reference.terms().length];
    for (TensorEntry entry : CheckpointDirectory.open(model).tensors().values()) {
      check(recipe, examples, entry, gradients.get(entry.name()), mostOfTerm);
    }
    assertThat(gradients).hasSize(CheckpointDirectory.open(model).tensors().size());
    for (int term = 0; term < mostOfTerm.length; term++) {
      // A gradient without this term would have been found out, by a factor of 50 and more.
      assertThat(mostOfTerm[term]).as("term %s", term).isGreaterThan(50 * TOLERANCE);
    }
  }

  private void check(
      Recipe recipe,
      List<Example> examples,
      TensorEntry entry,
      float[] gradient,
      double[] mostOfTerm)
      throws IOException {
    double largest = Numbers.largest(gradient);
    assertThat(largest).as(entry.name()).isPositive();
    float[] values = entry.readFloats();
    for (int element : elements(gradient, entry.name())) {
      float above = (float) (values[element] + STEP);
      float below = (float) (values[element] - STEP);
      write(entry, element, above);
      Reference plus = reference(recipe, examples);
      write(entry, element, below);
      Reference minus = reference(recipe, examples);
      write(entry, element, values[element]);
      double width = (double) above - below;
      assertThat((double) gradient[element])
          .as("%s[%s]", entry.name(), element)
          .isCloseTo((plus.loss() - minus.loss()) / width, within(TOLERANCE * largest));
      for (int term = 0; term < mostOfTerm.length; term++) {
        double part = Math.abs(plus.terms()[term] - minus.terms()[term]) / width;
        mostOfTerm[term] = Math.max(mostOfTerm[term], part / largest);
      }
    }
  }

  /** The element with the largest gradient, and some at random. */
  private static int[] elements(float[] gradient, String name) {
    int best = 0;
    for (int i = 0; i < gradient.length; i++) {
      best = Math.abs(gradient[i]) > Math.abs(gradient[best]) ? i : best;
    }
    return IntStream.concat(
            IntStream.of(best), new Random(name.hashCode()).ints(SAMPLES, 0, gradient.length))
        .toArray();
  }

  private static void write(TensorEntry entry, int element, float value) throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(entry.file().toFile(), "rw")) {
      file.seek(entry.offset() + (long) Float.BYTES * element);
      file.write(
          ByteBuffer.allocate(Float.BYTES).order(ByteOrder.LITTLE_ENDIAN).putFloat(value).array());
    }
  }

  /** Examples of different lengths, with repeated words and empty targets. */
  private static List<Example> examples(Recipe recipe) {
    Random random = new Random(6);
    List<Example> examples = new ArrayList<>();
    int[][] self = {{7, 9, 7, 2, 30}, {}, {12, 13}, {1, 2}};
    int[][] next = {{8, 8, 8, 11}, {20, 21, 22}, {}, {39}};
    for (int i = 0; i < self.length; i++) {
      int[] text = TinyLlama.ids(random, 3 + 2 * i);
      examples.add(
          Collator.fromIds(
              TinyLlama.prompts(recipe == Recipe.PAPER ? 1 : 2),
              text,
              Ints.concat(new int[] {BOS}, self[i]),
              Ints.concat(new int[] {BOS}, next[i]),
              TinyLlama.POSITIONS));
    }
    return examples;
  }

  /** Sequences without a prefix: their first token is not predicted. */
  private static List<Example> plainExamples() {
    try (Tokenizer tokenizer = Tokenizer.load(Stories.dir())) {
      Collator collator = Collator.plain(tokenizer, TinyLlama.POSITIONS);
      return Stream.of("Once upon a time", "a", "the big red dog")
          .map(text -> collator.example(new TrainingText(text, "", "", "given")))
          .toList();
    }
  }

  private Reference reference(Recipe recipe, List<Example> examples) {
    CheckpointDirectory checkpoint = CheckpointDirectory.open(dir);
    ReferenceLlama llama = new ReferenceLlama(checkpoint);
    double[][] head = head(checkpoint);
    double tokenSum = 0;
    double selfSum = 0;
    double nextSum = 0;
    int tokens = 0;
    int selfBags = 0;
    int nextBags = 0;
    for (Example example : examples) {
      Prompt prompt = example.prompt();
      double[][] hidden = llama.hiddenStates(prompt);
      int[] text = prompt.textIds();
      int unseen = prompt.prefixLength() == 0 ? 1 : 0;
      int[] targets = Arrays.copyOfRange(text, unseen, text.length);
      int from = prompt.prefixLength() + unseen - 1;
      tokenSum +=
          ReferenceLosses.nextToken(
              head, Arrays.copyOfRange(hidden, from, from + targets.length), targets);
      tokens += targets.length;
      Bag self = bag(recipe, example.selfTargets().toArray());
      if (!self.isEmpty()) {
        selfSum += bagLoss(head, hidden, prompt.pooled(Mode.SELF), self);
        selfBags++;
      }
      Bag next = bag(recipe, example.nextTargets().toArray());
      if (!next.isEmpty()) {
        nextSum += bagLoss(head, hidden, prompt.pooled(Mode.NEXT), next);
        nextBags++;
      }
    }
    double ar = tokenSum / tokens;
    double self = selfSum / selfBags;
    double next = nextSum / nextBags;
    double[] terms =
        switch (recipe) {
          case RELEASED -> new double[] {ar, self / 10 / 2, next / 10 / 2};
          case PAPER -> new double[] {self, next};
          case LM -> new double[] {ar};
        };
    return new Reference(Arrays.stream(terms).sum(), terms);
  }

  private static Bag bag(Recipe recipe, int[] targets) {
    return recipe == Recipe.PAPER
        ? Bag.ofTokens(Arrays.copyOfRange(targets, BOS, targets.length))
        : Bag.ofSet(targets);
  }

  private static double bagLoss(double[][] head, double[][] hidden, TokenRange rows, Bag bag) {
    double[][] markers = Arrays.copyOfRange(hidden, rows.begin(), rows.end());
    return ReferenceLosses.bags(head, markers, markers.length, List.of(bag));
  }

  private static double[][] head(CheckpointDirectory checkpoint) {
    String name =
        checkpoint.config().tieWordEmbeddings() ? LlamaTensors.EMBEDDING : LlamaTensors.HEAD;
    float[] values = checkpoint.tensor(name).readFloats();
    int hidden = checkpoint.config().hiddenSize();
    double[][] rows = new double[values.length / hidden][hidden];
    for (int i = 0; i < values.length; i++) {
      rows[i / hidden][i % hidden] = values[i];
    }
    return rows;
  }
}
