package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.within;

import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.train.model.HeadGradient;
import io.llara.train.pretrain.VocabularyProjection.Loss;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("slow")
class VocabularyProjectionTest {
  private static final int VOCABULARY = 37;
  private static final int WIDTH = 8;
  private static final double SCALE = 0.3;

  private final Random random = new Random(20240521);
  private TensorScope scope;

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  @BeforeEach
  void open() {
    scope = new TensorScope();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  private double[][] normal(int rows, int columns) {
    double[][] values = new double[rows][columns];
    for (double[] row : values) {
      for (int i = 0; i < columns; i++) {
        // A float, so that both sides begin with the same numbers.
        row[i] = (float) random.nextGaussian();
      }
    }
    return values;
  }

  private static Tensor tensor(double[][] values) {
    float[] flat = new float[values.length * values[0].length];
    int next = 0;
    for (double[] row : values) {
      for (double value : row) {
        flat[next++] = (float) value;
      }
    }
    return Tensors.ofFloats(flat, values.length, values[0].length);
  }

  private int[] ids(int count) {
    return random.ints(count, 0, VOCABULARY).toArray();
  }

  private static List<Bag> tokens(int[] ids) {
    return Arrays.stream(ids).mapToObj(Bag::of).toList();
  }

  private List<Bag> drawBags(int count) {
    List<Bag> bags = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      int[] ids = random.ints(1 + random.nextInt(9), 3, VOCABULARY).toArray();
      bags.add(i % 2 == 0 ? Bag.ofSet(ids) : Bag.ofTokens(ids));
    }
    return bags;
  }

  private static Tensor zeros(int rows, int columns) {
    return Tensors.ofFloats(new float[rows * columns], rows, columns);
  }

  private static void assertClose(Tensor actual, double[][] expected, double scale) {
    float[] values = Tensors.toFloats(actual);
    int next = 0;
    for (double[] row : expected) {
      for (double value : row) {
        assertThat((double) values[next++]).isEqualTo(scale * value, within(3e-6));
      }
    }
    assertThat(next).isEqualTo(values.length);
  }

  private static void assertClose(Tensor actual, Tensor expected, double tolerance) {
    float[] values = Tensors.toFloats(actual);
    float[] wanted = Tensors.toFloats(expected);
    assertThat(values).hasSameSizeAs(wanted);
    double largest = 0;
    for (int i = 0; i < values.length; i++) {
      largest = Math.max(largest, Math.abs(values[i] - wanted[i]));
    }
    assertThat(largest).isLessThanOrEqualTo(tolerance);
  }

  /** Chunks of this many rows. */
  private static VocabularyProjection projection(Tensor weight, int rows) {
    return new VocabularyProjection(weight, 4L * rows * weight.size(0));
  }

  // ---- the definition, and finite differences of it

  @Test
  void nextTokenLossAndGradientsAreThoseOfTheDefinition() {
    double[][] weight = normal(VOCABULARY, WIDTH);
    double[][] hidden = normal(11, WIDTH);
    int[] targets = ids(11);
    Tensor weightGradient = zeros(VOCABULARY, WIDTH);

    Loss loss =
        projection(tensor(weight), 4)
            .loss(tensor(hidden), 1, tokens(targets), SCALE, HeadGradient.full(weightGradient));

    ReferenceLosses.Function expected = () -> ReferenceLosses.nextToken(weight, hidden, targets);
    assertThat(loss.sum()).isEqualTo(expected.value(), within(1e-5));
    assertClose(loss.hiddenGradient(), ReferenceLosses.gradient(hidden, expected), SCALE);
    assertClose(weightGradient, ReferenceLosses.gradient(weight, expected), SCALE);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 8})
  void bagLossAndGradientsAreThoseOfTheDefinition(int k) {
    double[][] weight = normal(VOCABULARY, WIDTH);
    double[][] markers = normal(5 * k, WIDTH);
    List<Bag> bags = drawBags(5);
    Tensor weightGradient = zeros(VOCABULARY, WIDTH);

    Loss loss =
        projection(tensor(weight), 2 * k)
            .loss(tensor(markers), k, bags, SCALE, HeadGradient.full(weightGradient));

    ReferenceLosses.Function expected = () -> ReferenceLosses.bags(weight, markers, k, bags);
    assertThat(loss.sum()).isEqualTo(expected.value(), within(1e-5));
    assertClose(loss.hiddenGradient(), ReferenceLosses.gradient(markers, expected), SCALE);
    assertClose(weightGradient, ReferenceLosses.gradient(weight, expected), SCALE);
  }

  // ---- autograd over all logits at once

  /** Gradients of what autograd records, by the weight and by the hidden states. */
  private record Recorded(double sum, Tensor weightGradient, Tensor hiddenGradient) {}

  private interface Formula {
    Tensor sum(Tensor logits);
  }

  private static Recorded record(Tensor weight, Tensor hidden, Formula formula) {
    try (AutoGradMode grad = new AutoGradMode(true)) {
      Tensor w = weight.detach().clone().requires_grad_(true);
      Tensor h = hidden.detach().clone().requires_grad_(true);
      Tensor sum = formula.sum(torch.linear(h, w).to(ScalarType.Float));
      TensorVector inputs = new TensorVector();
      inputs.push_back(w);
      inputs.push_back(h);
      TensorVector gradients = torch.grad(new TensorVector(sum.mul(new Scalar(SCALE))), inputs);
      return new Recorded(sum.item_float(), gradients.get(0), gradients.get(1));
    }
  }

  private static Recorded recordNextToken(Tensor weight, Tensor hidden, int[] targets) {
    Tensor index = Tensors.ofInts(targets).unsqueeze(1);
    return record(
        weight, hidden, logits -> torch.log_softmax(logits, 1).gather(1, index).sum().neg());
  }

  private static Recorded recordBags(Tensor weight, Tensor markers, int k, List<Bag> bags) {
    int vocabulary = (int) weight.size(0);
    float[] wanted = new float[bags.size() * vocabulary];
    for (int b = 0; b < bags.size(); b++) {
      for (int i = 0; i < bags.get(b).size(); i++) {
        wanted[b * vocabulary + bags.get(b).id(i)] = (float) bags.get(b).weight(i);
      }
    }
    Tensor target = Tensors.ofFloats(wanted, bags.size(), vocabulary);
    return record(
        weight,
        markers,
        logits ->
            torch
                .log_softmax(logits.view(bags.size(), k, vocabulary).max(1).get0(), 1)
                .mul(target)
                .sum()
                .neg());
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5, 10, 19, 20, 21, 1000})
  void nextTokenEqualsAutogradInChunksThatDoAndDoNotDivide(int rows) {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    Tensor hidden = tensor(normal(20, WIDTH));
    int[] targets = ids(20);
    Tensor weightGradient = zeros(VOCABULARY, WIDTH);
    Recorded recorded = recordNextToken(weight, hidden, targets);

    Loss loss =
        projection(weight, rows)
            .loss(hidden, 1, tokens(targets), SCALE, HeadGradient.full(weightGradient));

    assertThat(loss.sum()).isEqualTo(recorded.sum(), within(2e-5));
    assertClose(loss.hiddenGradient(), recorded.hiddenGradient(), 2e-6);
    assertClose(weightGradient, recorded.weightGradient(), 5e-6);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 8, 23, 24, 56, 1000})
  void bagsEqualAutogradInChunksThatDoAndDoNotDivide(int rows) {
    for (int k : new int[] {1, 8}) {
      Tensor weight = tensor(normal(VOCABULARY, WIDTH));
      Tensor markers = tensor(normal(7 * k, WIDTH));
      List<Bag> bags = drawBags(7);
      Tensor weightGradient = zeros(VOCABULARY, WIDTH);
      Recorded recorded = recordBags(weight, markers, k, bags);

      Loss loss =
          projection(weight, rows).loss(markers, k, bags, SCALE, HeadGradient.full(weightGradient));

      assertThat(loss.sum()).isEqualTo(recorded.sum(), within(2e-5));
      assertClose(loss.hiddenGradient(), recorded.hiddenGradient(), 2e-6);
      assertClose(weightGradient, recorded.weightGradient(), 5e-6);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 8})
  void bfloat16ComesCloseToFloat32(int k) {
    // Large enough that the weight's gradient is summed in several blocks of the vocabulary.
    int vocabulary = 70_000;
    int width = 64;
    double[][] wide = normal(vocabulary, width);
    Tensor weight = tensor(wide).mul_(new Scalar(0.2)).to(ScalarType.BFloat16);
    Tensor hidden = tensor(normal(2 * k, width)).to(ScalarType.BFloat16);
    int[] targets = random.ints(2L * k, 0, vocabulary).toArray();
    List<Bag> bags = List.of(Bag.ofSet(new int[] {5, 69_999}), Bag.ofTokens(new int[] {7, 7, 9}));
    VocabularyProjection projection = projection(weight, k);
    Tensor weightGradient = zeros(vocabulary, width);
    HeadGradient head = HeadGradient.full(weightGradient);
    // The same numbers, rounded to bfloat16, in float32.
    Tensor weightFloats = weight.to(ScalarType.Float);
    Tensor hiddenFloats = hidden.to(ScalarType.Float);

    Recorded tokens = recordNextToken(weightFloats, hiddenFloats, targets);
    Loss loss = projection.loss(hidden, 1, tokens(targets), SCALE, head);
    assertThat(loss.hiddenGradient().scalar_type().intern()).isEqualTo(ScalarType.BFloat16);
    assertThat(loss.sum()).isEqualTo(tokens.sum(), within(0.01 * Math.abs(tokens.sum())));
    assertThat(relative(loss.hiddenGradient(), tokens.hiddenGradient())).isLessThan(0.01);
    assertThat(relative(weightGradient, tokens.weightGradient())).isLessThan(0.01);

    weightGradient.zero_();
    Recorded ofBags = recordBags(weightFloats, hiddenFloats, k, bags);
    Loss bagLoss = projection.loss(hidden, k, bags, SCALE, head);
    assertThat(bagLoss.sum()).isEqualTo(ofBags.sum(), within(0.01 * Math.abs(ofBags.sum())));
    // Rounded logits tie, and another marker is the first of the largest.
    assertThat(relative(bagLoss.hiddenGradient(), ofBags.hiddenGradient())).isLessThan(0.03);
    assertThat(relative(weightGradient, ofBags.weightGradient())).isLessThan(0.03);
  }

  private static double relative(Tensor actual, Tensor expected) {
    Tensor floats = actual.to(ScalarType.Float);
    return floats.sub(expected).norm().item_float() / expected.norm().item_float();
  }

  // ---- ties

  @Test
  void theGradientOfAMaximumGoesToTheFirstMarkerThatAttainsIt() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    double[] low = new double[WIDTH];
    double[] high = normal(1, WIDTH)[0];
    double[][] markers = {high, low, high, high, low, low, low, low};
    List<Bag> bags = List.of(Bag.ofSet(new int[] {4, 30}), Bag.ofSet(new int[] {8}));
    VocabularyProjection projection = projection(weight, 1000);

    float[] gradient =
        Tensors.toFloats(
            projection.loss(tensor(markers), 4, bags, 1, HeadGradient.none()).hiddenGradient());

    assertThat(norm(gradient, 0)).isPositive();
    assertThat(norm(gradient, 1)).isPositive(); // Where the logit of high is negative.
    assertThat(norm(gradient, 2)).isZero();
    assertThat(norm(gradient, 3)).isZero();
    assertThat(norm(gradient, 4)).isPositive();
    for (int tied = 5; tied < 8; tied++) {
      assertThat(norm(gradient, tied)).isZero();
    }
    assertThat(projection.loss(tensor(markers), 4, bags))
        .isCloseTo(ReferenceLosses.bags(doubles(weight), markers, 4, bags), within(1e-5));
  }

  private static double norm(float[] values, int row) {
    double sum = 0;
    for (int i = row * WIDTH; i < (row + 1) * WIDTH; i++) {
      sum += values[i] * values[i];
    }
    return Math.sqrt(sum);
  }

  private static double[][] doubles(Tensor matrix) {
    float[] flat = Tensors.toFloats(matrix);
    int columns = (int) matrix.size(1);
    double[][] values = new double[flat.length / columns][columns];
    for (int i = 0; i < flat.length; i++) {
      values[i / columns][i % columns] = flat[i];
    }
    return values;
  }

  // ---- what the numbers can be

  @Test
  void theLossAloneIsTheSameNumber() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    Tensor hidden = tensor(normal(24, WIDTH));
    int[] targets = ids(24);
    List<Bag> bags = drawBags(3);
    VocabularyProjection projection = projection(weight, 10);

    assertThat(projection.loss(hidden, 1, tokens(targets)))
        .isEqualTo(projection.loss(hidden, 1, tokens(targets), 1, HeadGradient.none()).sum());
    assertThat(projection.loss(hidden, 8, bags))
        .isEqualTo(projection.loss(hidden, 8, bags, 1, HeadGradient.none()).sum());
  }

  @Test
  void aTargetOfNoProbabilityInFloat32HasAFiniteLoss() {
    Tensor weight = Tensors.ofFloats(new float[] {0, 1, 2, 3}, 4, 1);
    Tensor hidden = Tensors.ofFloats(new float[] {200, -200}, 2, 1);
    VocabularyProjection projection = projection(weight, 1000);

    Loss loss = projection.loss(hidden, 1, tokens(new int[] {0, 3}), 1, HeadGradient.none());

    assertThat(loss.sum()).isEqualTo(1200, within(1e-3));
    assertThat(Tensors.toFloats(loss.hiddenGradient())).containsExactly(3, -3);
    assertThat(projection.loss(hidden, 1, List.of(Bag.of(0), Bag.of(3))))
        .isEqualTo(1200, within(1e-3));
  }

  @Test
  void hiddenStatesThatAreNotNumbersMakeALossThatIsNotOne() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    double[][] hidden = normal(8, WIDTH);
    hidden[5][2] = Double.NaN;
    VocabularyProjection projection = projection(weight, 3);

    assertThat(projection.loss(tensor(hidden), 1, tokens(ids(8)))).isNaN();
    assertThat(projection.loss(tensor(hidden), 8, drawBags(1))).isNaN();
  }

  @Test
  void nothingIsNoLoss() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    VocabularyProjection projection = new VocabularyProjection(weight);
    HeadGradient untouched =
        (logitsGradient, hidden) -> {
          throw new AssertionError();
        };

    Loss tokens = projection.loss(zeros(0, WIDTH), 1, tokens(new int[0]), SCALE, untouched);
    Loss bags = projection.loss(zeros(0, WIDTH), 8, List.of(), SCALE, untouched);

    for (Loss loss : List.of(tokens, bags)) {
      assertThat(loss.sum()).isZero();
      assertThat(loss.hiddenGradient().size(0)).isZero();
      assertThat(loss.hiddenGradient().size(1)).isEqualTo(WIDTH);
    }
  }

  @Test
  void aScaleOfZeroMakesGradientsOfZero() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    Tensor hidden = tensor(normal(3, WIDTH));
    Tensor weightGradient = zeros(VOCABULARY, WIDTH);

    Loss loss =
        projection(weight, 2).loss(hidden, 1, tokens(ids(3)), 0, HeadGradient.full(weightGradient));

    assertThat(loss.sum()).isPositive();
    assertClose(loss.hiddenGradient(), zeros(3, WIDTH), 0);
    assertClose(weightGradient, zeros(VOCABULARY, WIDTH), 0);
  }

  @Test
  void aWeightChangedInPlaceIsSeen() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    Tensor hidden = tensor(normal(3, WIDTH));
    int[] targets = ids(3);
    VocabularyProjection projection = projection(weight, 2);
    double before = projection.loss(hidden, 1, tokens(targets));

    weight.zero_();

    assertThat(projection.loss(hidden, 1, tokens(targets)))
        .isNotEqualTo(before)
        .isEqualTo(3 * Math.log(VOCABULARY), within(1e-5));
  }

  @Test
  void rowsOutOfALargerMatrixAreTakenAsTheyAre() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    Tensor wide = tensor(normal(6, 3 * WIDTH));
    Tensor view = wide.narrow(1, WIDTH, WIDTH);
    int[] targets = ids(6);
    VocabularyProjection projection = projection(weight, 4);

    Loss ofView = projection.loss(view, 1, tokens(targets), SCALE, HeadGradient.none());
    Loss ofCopy =
        projection.loss(view.contiguous(), 1, tokens(targets), SCALE, HeadGradient.none());

    assertThat(ofView.sum()).isEqualTo(ofCopy.sum(), within(1e-5));
    assertClose(ofView.hiddenGradient(), ofCopy.hiddenGradient(), 1e-6);
  }

  // ---- the weight's gradient

  @Test
  void gradientsOfTheWeightAddUp() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    Tensor hidden = tensor(normal(8, WIDTH));
    int[] targets = ids(8);
    List<Bag> bags = drawBags(1);
    VocabularyProjection projection = projection(weight, 3);
    Tensor tokensOnly = zeros(VOCABULARY, WIDTH);
    Tensor bagsOnly = zeros(VOCABULARY, WIDTH);
    Tensor both = zeros(VOCABULARY, WIDTH);

    projection.loss(hidden, 1, tokens(targets), 1, HeadGradient.full(tokensOnly));
    projection.loss(hidden, 8, bags, 0.5, HeadGradient.full(bagsOnly));
    HeadGradient head = HeadGradient.full(both);
    projection.loss(hidden, 1, tokens(targets), 1, head);
    projection.loss(hidden, 8, bags, 0.5, head);

    assertClose(both, tokensOnly.add(bagsOnly), 2e-6);
  }

  @Test
  void theGradientOfALargeWeightIsSummedBlockByBlock() {
    int vocabulary = 100_001;
    Tensor logitsGradient = tensor(normal(2, vocabulary));
    Tensor hidden = tensor(normal(2, 64));
    Tensor sum = zeros(vocabulary, 64).fill_(new Scalar(1.0));

    HeadGradient.full(sum).add(logitsGradient, hidden);

    assertClose(sum, logitsGradient.t().mm(hidden).add(new Scalar(1.0)), 2e-6);
  }

  @Test
  void rowsAreThoseOfTheWholeGradient() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    Tensor hidden = tensor(normal(8, WIDTH));
    int[] targets = ids(8);
    int[] rows = {36, 0, 5};
    VocabularyProjection projection = projection(weight, 3);
    Tensor whole = zeros(VOCABULARY, WIDTH);
    Tensor some = zeros(3, WIDTH);

    projection.loss(hidden, 1, tokens(targets), SCALE, HeadGradient.full(whole));
    projection.loss(hidden, 1, tokens(targets), SCALE, HeadGradient.rows(rows, some));

    assertClose(some, whole.index_select(0, Tensors.ofInts(rows)), 1e-6);
  }

  @Test
  void rowsOfABfloat16WeightAreSummedInFloat32() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH)).to(ScalarType.BFloat16);
    Tensor hidden = tensor(normal(8, WIDTH)).to(ScalarType.BFloat16);
    int[] targets = ids(8);
    int[] rows = {targets[0], 1};
    VocabularyProjection projection = projection(weight, 3);
    Tensor whole = zeros(VOCABULARY, WIDTH);
    Tensor some = zeros(2, WIDTH);

    projection.loss(hidden, 1, tokens(targets), SCALE, HeadGradient.full(whole));
    projection.loss(hidden, 1, tokens(targets), SCALE, HeadGradient.rows(rows, some));

    assertThat(relative(some, whole.index_select(0, Tensors.ofInts(rows)))).isLessThan(0.01);
  }

  @Test
  void aBufferThatDoesNotFitIsRefused() {
    Tensor buffer = zeros(2, WIDTH);

    assertThatIllegalArgumentException()
        .isThrownBy(() -> HeadGradient.rows(new int[] {1, 2, 3}, buffer))
        .withMessageContaining("2 rows for 3 ids");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> HeadGradient.full(buffer.to(ScalarType.BFloat16)));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> HeadGradient.rows(new int[2], buffer.to(ScalarType.BFloat16)));
    assertThatIllegalArgumentException().isThrownBy(() -> HeadGradient.full(buffer.view(-1)));
  }

  // ---- bad arguments

  @Test
  void idsOutsideTheVocabularyAreRefusedBeforeAnythingIsAdded() {
    VocabularyProjection projection = projection(tensor(normal(VOCABULARY, WIDTH)), 1);
    Tensor hidden = tensor(normal(2, WIDTH));
    HeadGradient untouched =
        (logitsGradient, rows) -> {
          throw new AssertionError();
        };

    for (int id : new int[] {-1, -100, VOCABULARY, Integer.MAX_VALUE}) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> projection.loss(hidden, 1, tokens(new int[] {0, id}), 1, untouched))
          .withMessageContaining("id " + id)
          .withMessageContaining("37");
      assertThatIllegalArgumentException()
          .isThrownBy(
              () -> projection.loss(hidden, 1, List.of(Bag.of(0), Bag.of(id)), 1, untouched))
          .withMessageContaining("id " + id);
    }
  }

  @Test
  void sizesThatDoNotMatchAreRefused() {
    VocabularyProjection projection = projection(tensor(normal(VOCABULARY, WIDTH)), 1);
    Tensor hidden = tensor(normal(8, WIDTH));
    Tensor narrow = tensor(normal(8, WIDTH - 1));

    assertThatIllegalArgumentException()
        .isThrownBy(() -> projection.loss(hidden, 1, tokens(new int[7])))
        .withMessageContaining("[8, 8]")
        .withMessageContaining("[7, 8]");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> projection.loss(narrow, 1, tokens(new int[8])));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> projection.loss(hidden.view(-1), 1, tokens(new int[64])));
    assertThatIllegalArgumentException().isThrownBy(() -> projection.loss(hidden, 8, drawBags(2)));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> projection.loss(hidden, 0, drawBags(2)))
        .withMessageContaining("k is 0");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> projection.loss(hidden.to(ScalarType.BFloat16), 1, tokens(new int[8])))
        .withMessageContaining("BFloat16");
  }

  @Test
  void otherBadArgumentsAreRefused() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    VocabularyProjection projection = projection(weight, 1);
    Tensor hidden = tensor(normal(1, WIDTH));

    assertThatIllegalArgumentException()
        .isThrownBy(() -> projection.loss(hidden, 1, List.of(Bag.ofSet(new int[] {1, 2}))))
        .withMessageContaining("empty");
    for (double scale : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
      assertThatIllegalArgumentException()
          .isThrownBy(
              () -> projection.loss(hidden, 1, tokens(new int[1]), scale, HeadGradient.none()))
          .withMessageContaining("scale is " + scale);
    }
    assertThatIllegalArgumentException().isThrownBy(() -> new VocabularyProjection(weight, 0));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new VocabularyProjection(weight.view(-1)))
        .withMessageContaining("[296]");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new VocabularyProjection(weight.to(ScalarType.Double)))
        .withMessageContaining("Double");
  }

  // ---- threads, gradient mode, native memory

  @Test
  void gradientsHaveNoGraphAndTheGradientModeStays() {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH)).requires_grad_(true);
    Tensor hidden = tensor(normal(8, WIDTH)).requires_grad_(true);
    VocabularyProjection projection = projection(weight, 3);

    try (AutoGradMode grad = new AutoGradMode(true)) {
      Loss tokens = projection.loss(hidden, 1, tokens(ids(8)), 1, HeadGradient.none());
      Loss bags = projection.loss(hidden, 8, drawBags(1), 1, HeadGradient.none());

      assertThat(tokens.hiddenGradient().requires_grad()).isFalse();
      assertThat(bags.hiddenGradient().requires_grad()).isFalse();
      assertThat(GradMode.is_enabled()).isTrue();
    }
  }

  @Test
  void twoThreadsMayComputeAtOnce() throws Exception {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    Tensor hidden = tensor(normal(40, WIDTH));
    int[] targets = ids(40);
    List<Bag> bags = drawBags(5);
    VocabularyProjection projection = projection(weight, 8);
    double tokens = projection.loss(hidden, 1, tokens(targets));
    double ofBags = projection.loss(hidden, 8, bags);

    ExecutorService threads = Executors.newFixedThreadPool(2);
    try {
      List<Future<?>> running = new ArrayList<>();
      for (int thread = 0; thread < 2; thread++) {
        running.add(
            threads.submit(
                () -> {
                  for (int i = 0; i < 50; i++) {
                    assertThat(projection.loss(hidden, 1, tokens(targets))).isEqualTo(tokens);
                    assertThat(projection.loss(hidden, 8, bags)).isEqualTo(ofBags);
                  }
                }));
      }
      for (Future<?> future : running) {
        future.get();
      }
    } finally {
      threads.shutdown();
    }
  }

  @Test
  void noNativeObjectOutlivesItsScope() throws Throwable {
    Tensor weight = tensor(normal(VOCABULARY, WIDTH));
    Tensor half = weight.to(ScalarType.BFloat16);
    Tensor hidden = tensor(normal(8, WIDTH));
    Tensor halfHidden = hidden.to(ScalarType.BFloat16);
    Tensor buffer = zeros(VOCABULARY, WIDTH);
    Tensor rowBuffer = zeros(1, WIDTH);
    List<Bag> bags = drawBags(1);
    HeadGradient failing =
        (logitsGradient, rows) -> {
          throw new IllegalStateException("full");
        };

    Leaks.assertNone(
        () -> {
          for (int i = 0; i < 3; i++) {
            try (TensorScope inner = new TensorScope()) {
              VocabularyProjection projection = projection(weight, 3);
              projection.loss(hidden, 1, tokens(new int[8]), 1, HeadGradient.full(buffer));
              projection.loss(hidden, 8, bags, 1, HeadGradient.rows(new int[1], rowBuffer));
              projection(half, 3)
                  .loss(halfHidden, 1, tokens(new int[8]), 1, HeadGradient.full(buffer));
              projection(half, 3).loss(halfHidden, 8, bags, 1, HeadGradient.full(buffer));
            }
            projection(weight, 3).loss(hidden, 1, tokens(new int[8]));
            projection(weight, 3).loss(hidden, 8, bags);
            assertThatIllegalArgumentException()
                .isThrownBy(() -> projection(weight, 3).loss(hidden, 1, tokens(new int[9])));
            assertThatIllegalStateException()
                .isThrownBy(
                    () -> projection(weight, 3).loss(hidden, 1, tokens(new int[8]), 1, failing));
          }
        });
  }
}
