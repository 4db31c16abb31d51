package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.common.primitives.Floats;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.train.contrastive.InfoNce.Scale;
import io.llara.train.contrastive.InfoNce.Sums;
import io.llara.train.contrastive.InfoNce.Targets;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import java.util.Optional;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The losses of a teacher, against numbers of numpy ({@code
 * benchmarks/scripts/distillation-losses.py}) and, with their gradients, against autograd in
 * float64.
 */
class DistillationLossTest {
  private static final int QUERIES = 3;
  private static final int GROUP = 2;
  private static final int PASSAGES = QUERIES * GROUP;
  private static final int HIDDEN = 4;
  private static final int TEACHER = 3;

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  /** The script's numbers. */
  private static Tensor sines(int rows, int columns, double phase) {
    float[] values =
        Floats.toArray(
            IntStream.range(0, rows * columns).mapToObj(i -> Math.sin(phase + 0.7 * i)).toList());
    return Tensors.ofFloats(values, rows, columns);
  }

  private static Tensor unit(Tensor vectors) {
    return vectors.div(
        torch.linalg_vector_norm(
            vectors, new Scalar(2.0), new long[] {1}, true, new ScalarTypeOptional()));
  }

  private static Targets targets(double teacherTemperature) {
    return new Targets(
        0,
        GROUP,
        Optional.of(
            SoftLabels.ofVectors(
                unit(sines(QUERIES, TEACHER, 3)),
                unit(sines(PASSAGES, TEACHER, 4)),
                teacherTemperature)),
        Optional.of(SoftLabels.ofScores(sines(QUERIES, GROUP, 5).mul(new Scalar(3.0)))));
  }

  private static Tensor taught() {
    return torch.cat(
        new TensorVector(unit(sines(QUERIES, TEACHER, 3)), unit(sines(PASSAGES, TEACHER, 4))), 0);
  }

  private static Tensor texts() {
    return torch.cat(new TensorVector(sines(QUERIES, HIDDEN, 1), sines(PASSAGES, HIDDEN, 2)), 0);
  }

  @ParameterizedTest
  @CsvSource({
    "4, 7.86883637, 8.0940752, 5.94795827, 6.4766248, 0.52866653",
    "2, 7.50543517, 8.70821472, 7.54646504, 8.07513157, 0.52866653"
  })
  void lossesAreThoseOfNumpy(
      int prefix, double infoNce, double similarity, double score, double kd, double entropy) {
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope();
        ProjectedCosine cosine = new ProjectedCosine(TEACHER, HIDDEN, host -> host)) {
      Sums sums =
          new InfoNce(0.1, true)
              .losses(
                  sines(QUERIES, HIDDEN, 1).narrow(1, 0, prefix),
                  sines(PASSAGES, HIDDEN, 2).narrow(1, 0, prefix),
                  targets(0.05));
      assertThat(sums.loss() / QUERIES).isCloseTo(infoNce, within(1e-5));
      assertThat(sums.kl() / QUERIES).isCloseTo(similarity, within(1e-5));
      assertThat(sums.scoreKl() / QUERIES).isCloseTo(score, within(1e-5));
      // FlagEmbedding's has the entropy of the teacher's distribution in it, a constant.
      assertThat(sums.scoreKl() / QUERIES + entropy).isCloseTo(kd, within(1e-5));
      assertThat(cosine.losses(texts(), taught()) / (QUERIES + PASSAGES))
          .isCloseTo(0.74076061, within(1e-6));
    }
  }

  @ParameterizedTest
  @CsvSource({"true, 0.1, 0.05", "true, 1, 1", "false, 1, 0.3", "false, 3, 0.02"})
  void gradientsAreThoseOfAutograd(
      boolean normalized, double temperature, double teacherTemperature) {
    InfoNce loss = new InfoNce(temperature, normalized);
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope();
        ProjectedCosine cosine = new ProjectedCosine(TEACHER, HIDDEN, host -> host)) {
      Tensor q = sines(QUERIES, HIDDEN, 1);
      Tensor p = sines(PASSAGES, HIDDEN, 2);
      Tensor both = texts();
      Targets targets = targets(teacherTemperature);
      InfoNce.Differentiated similarities =
          loss.differentiate(q, p, targets, new Scale(0.5, 0.25, 2));
      assertThat(loss.losses(q, p, targets)).isEqualTo(similarities.sums());
      Tensor gradient = torch.ones_like(both);
      float[][] byProjection = new float[1][];
      double cosines =
          cosine.differentiate(
              both,
              taught(),
              0.75,
              gradient,
              (parameter, value) -> {
                assertThat(parameter).isSameAs(cosine.projection());
                byProjection[0] = Tensors.toFloats(value);
              });
      assertThat(cosine.losses(both, taught())).isEqualTo(cosines);

      try (AutoGradMode grad = new AutoGradMode(true)) {
        Tensor q64 = leaf(q);
        Tensor p64 = leaf(p);
        Tensor both64 = leaf(both);
        Tensor projection = leaf(cosine.projection().master());
        Tensor scores =
            (normalized ? unit(q64).mm(unit(p64).t()) : q64.mm(p64.t()))
                .div(new Scalar(temperature));
        Tensor places = torch.arange(new Scalar(0), new Scalar(PASSAGES), new Scalar(GROUP));
        Tensor infoNce =
            torch.log_softmax(scores, 1).gather(1, places.to(ScalarType.Long).unsqueeze(1)).neg();
        Tensor own =
            torch.stack(
                new TensorVector(
                    scores.narrow(0, 0, 1).narrow(1, 0, 2).squeeze(),
                    scores.narrow(0, 1, 1).narrow(1, 2, 2).squeeze(),
                    scores.narrow(0, 2, 1).narrow(1, 4, 2).squeeze()),
                0);
        Tensor teacher =
            unit(sines(QUERIES, TEACHER, 3))
                .to(ScalarType.Double)
                .mm(unit(sines(PASSAGES, TEACHER, 4)).to(ScalarType.Double).t())
                .div(new Scalar(teacherTemperature));
        Tensor kl = divergence(teacher, scores);
        Tensor scoreKl =
            divergence(sines(QUERIES, GROUP, 5).to(ScalarType.Double).mul(new Scalar(3.0)), own);
        Tensor similarity =
            torch.cosine_similarity(both64.mm(projection.t()), taught64(), 1, 1e-12);
        assertThat(similarities.sums().loss()).isCloseTo(infoNce.sum().item_double(), within(1e-4));
        assertThat(similarities.sums().kl()).isCloseTo(kl.item_double(), within(1e-4));
        assertThat(similarities.sums().scoreKl()).isCloseTo(scoreKl.item_double(), within(1e-4));
        assertThat(cosines)
            .isCloseTo(QUERIES + PASSAGES - similarity.sum().item_double(), within(1e-5));

        Tensor whole =
            infoNce
                .sum()
                .mul(new Scalar(0.5))
                .add(kl.mul(new Scalar(0.25)))
                .add(scoreKl.mul(new Scalar(2.0)))
                .sub(similarity.sum().mul(new Scalar(0.75)));
        TensorVector expected =
            torch.grad(new TensorVector(whole), new TensorVector(q64, p64, both64, projection));
        assertClose("queries", similarities.queryGradient(), expected.get(0));
        assertClose("passages", similarities.passageGradient(), expected.get(1));
        // It is added to what is there.
        assertClose("texts", gradient.sub(new Scalar(1.0)), expected.get(2));
        Numbers.assertClose(
            "projection", byProjection[0], Tensors.toFloats(expected.get(3).detach()), 1e-5);
      }
    }
  }

  private static Tensor leaf(Tensor value) {
    return value.detach().to(ScalarType.Double).clone().requires_grad_(true);
  }

  private static Tensor taught64() {
    return taught().to(ScalarType.Double);
  }

  private static Tensor divergence(Tensor teacher, Tensor student) {
    return torch
        .softmax(teacher, 1)
        .mul(torch.log_softmax(teacher, 1).sub(torch.log_softmax(student, 1)))
        .sum();
  }

  private static void assertClose(String what, Tensor actual, Tensor expected) {
    Numbers.assertClose(what, Tensors.toFloats(actual), Tensors.toFloats(expected.detach()), 2e-5);
  }

  /** A distribution that is the student's own has no divergence, and no gradient. */
  @Test
  void whoAgreesWithTheTeacherLearnsNothing() {
    InfoNce loss = new InfoNce(0.2, true);
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Tensor q = unit(sines(QUERIES, HIDDEN, 1));
      Tensor p = unit(sines(PASSAGES, HIDDEN, 2));
      Targets targets =
          new Targets(0, GROUP, Optional.of(SoftLabels.ofVectors(q, p, 0.2)), Optional.empty());
      InfoNce.Differentiated result = loss.differentiate(q, p, targets, new Scale(0, 1, 0));
      assertThat(result.sums().kl()).isCloseTo(0, within(1e-6));
      assertThat(Numbers.largest(Tensors.toFloats(result.queryGradient()))).isLessThan(1e-6);
      assertThat(result.sums().loss()).isPositive();
    }
  }

  @Test
  void leavesNothing() throws Throwable {
    try (ProjectedCosine cosine = new ProjectedCosine(TEACHER, HIDDEN, host -> host)) {
      Leaks.assertNone(
          () -> {
            try (NoGradGuard noGrad = new NoGradGuard();
                TensorScope scope = new TensorScope()) {
              new InfoNce(0.1, true)
                  .differentiate(
                      sines(QUERIES, HIDDEN, 1),
                      sines(PASSAGES, HIDDEN, 2),
                      targets(0.1),
                      new Scale(1, 1, 1));
              cosine.differentiate(
                  texts(), taught(), 1, torch.zeros_like(texts()), (parameter, value) -> {});
            }
          });
    }
  }
}
