package io.llara.train.lora;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.kernels.PlainProjection;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import java.util.HashSet;
import java.util.Set;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The low-rank update and its dropout. */
class LoraProjectionTest {
  private static final int IN = 5;
  private static final int OUT = 4;
  private static final int RANK = 2;
  private static final int ROWS = 3;
  private static final double SCALE = 1.5;

  private final float[] weight = Numbers.random(OUT * IN, 1);
  private final float[] a = Numbers.random(RANK * IN, 2);
  private final float[] b = Numbers.random(OUT * RANK, 3);
  private final float[] x = Numbers.random(ROWS * IN, 4);

  private TensorScope scope;

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  @BeforeEach
  void open() {
    scope = new TensorScope();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  private LoraProjection projection(Dropout dropout) {
    return new LoraProjection(
        new PlainProjection(scope.own(Tensors.ofFloats(weight, OUT, IN)), null),
        scope.own(Tensors.ofFloats(a, RANK, IN)),
        scope.own(Tensors.ofFloats(b, OUT, RANK)),
        SCALE,
        dropout,
        7);
  }

  /** {@code x Wᵀ + scale · (A x) Bᵀ}, by its definition. */
  private float[] expected() {
    float[] y = new float[ROWS * OUT];
    for (int row = 0; row < ROWS; row++) {
      for (int o = 0; o < OUT; o++) {
        double sum = 0;
        for (int i = 0; i < IN; i++) {
          double w = weight[o * IN + i];
          for (int r = 0; r < RANK; r++) {
            w += SCALE * b[o * RANK + r] * a[r * IN + i];
          }
          sum += w * x[row * IN + i];
        }
        y[row * OUT + o] = (float) sum;
      }
    }
    return y;
  }

  @Test
  void addsTheScaledProductOfItsFactors() {
    try (LoraProjection projection = projection(new Dropout(0))) {
      Tensor input = Tensors.ofFloats(x, ROWS, IN);
      Numbers.assertClose("y", Tensors.toFloats(projection.apply(input)), expected(), 1e-6);
      assertThat(Tensors.toFloats(input)).isEqualTo(x);
    }
  }

  @Test
  void dropsInputsOfTheUpdateOnly() {
    Dropout dropout = new Dropout(0.5);
    try (LoraProjection projection = projection(dropout)) {
      dropout.start(3);
      float[] dropped = Tensors.toFloats(dropout.apply(Tensors.ofFloats(x, ROWS, IN), 7));
      float[] y = Tensors.toFloats(projection.apply(Tensors.ofFloats(x, ROWS, IN)));
      dropout.stop();
      // W x by the projection without its update, the update by one without its base.
      try (TensorScope inner = new TensorScope()) {
        Tensor base = Tensors.ofFloats(x, ROWS, IN).matmul(Tensors.ofFloats(weight, OUT, IN).t());
        Tensor update =
            Tensors.ofFloats(dropped, ROWS, IN)
                .matmul(Tensors.ofFloats(a, RANK, IN).t())
                .matmul(Tensors.ofFloats(b, OUT, RANK).t());
        Numbers.assertClose(
            "y", y, Tensors.toFloats(base.add(update.mul(new Scalar(SCALE)))), 1e-6);
      }
      assertThat(y).isNotEqualTo(Tensors.toFloats(projection.apply(Tensors.ofFloats(x, ROWS, IN))));
    }
  }

  @Test
  void whatIsDroppedIsZeroAndTheRestIsScaledUp() {
    Dropout dropout = new Dropout(0.25);
    dropout.start(11);
    float[] values = Tensors.toFloats(dropout.apply(torch.ones(200, 50), 0));
    dropout.stop();
    int zeros = 0;
    for (float value : values) {
      if (value == 0) {
        zeros++;
      } else {
        assertThat(value).isEqualTo((float) (1 / 0.75));
      }
    }
    // Five standard deviations of a binomial of 10,000 draws are 217.
    assertThat(zeros).isBetween(2500 - 217, 2500 + 217);
  }

  @Test
  void whatIsDroppedIsAFunctionOfPassAndPlace() {
    Dropout dropout = new Dropout(0.5);
    Set<String> patterns = new HashSet<>();
    for (int pass = 0; pass < 4; pass++) {
      for (int place = 0; place < 4; place++) {
        dropout.start(pass);
        float[] first = Tensors.toFloats(dropout.apply(torch.ones(1, 64), place));
        dropout.apply(torch.ones(1, 64), place + 1);
        float[] again = Tensors.toFloats(dropout.apply(torch.ones(1, 64), place));
        assertThat(again).isEqualTo(first);
        patterns.add(java.util.Arrays.toString(first));
      }
    }
    assertThat(patterns).as("patterns of 16 passes and places").hasSize(16);
  }

  @Test
  void aThreadThatHasNotStartedDropsNothing() throws InterruptedException {
    Dropout dropout = new Dropout(0.5);
    dropout.start(1);
    float[][] elsewhere = new float[1][];
    Thread other =
        new Thread(
            () -> {
              try (TensorScope inner = new TensorScope()) {
                elsewhere[0] = Tensors.toFloats(dropout.apply(torch.ones(64), 0));
              }
            });
    other.start();
    other.join();
    assertThat(elsewhere[0]).containsOnly(1);
    assertThat(Tensors.toFloats(dropout.apply(torch.ones(64), 0))).contains(0f);
    dropout.stop();
    assertThat(Tensors.toFloats(dropout.apply(torch.ones(64), 0))).containsOnly(1);
  }

  @Test
  void neitherCallsNorClosingLeak() throws Throwable {
    Dropout dropout = new Dropout(0.5);
    dropout.start(1);
    Leaks.assertNone(
        () -> {
          try (TensorScope inner = new TensorScope();
              LoraProjection projection = projection(dropout)) {
            projection.apply(Tensors.ofFloats(x, ROWS, IN));
          }
        });
    dropout.stop();
  }
}
