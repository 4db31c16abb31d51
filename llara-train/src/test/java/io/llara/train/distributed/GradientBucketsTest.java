package io.llara.train.distributed;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class GradientBucketsTest {

  @Test
  void bucketsGoFromTheLastParameterToTheFirstWhateverIsReadyFirst() throws Exception {
    TwinCommunicator twin = new TwinCommunicator();
    // From the last: [2, 3], [10], [4, 1]; bytes: 20, 40, 20.
    long[] elements = {1, 4, 10, 3, 2};
    try (TensorScope scope = new TensorScope();
        GradientBuckets buckets = new GradientBuckets(twin, elements, 24)) {
      assertThat(buckets.count()).isEqualTo(3);
      for (int parameter : new int[] {0, 2, 1, 3}) {
        buckets.ready(parameter, zeros(elements[parameter]));
      }
      assertThat(twin.started.poll(100, TimeUnit.MILLISECONDS)).isNull();
      buckets.ready(4, zeros(2));
      buckets.finish();
      assertThat(twin.started).containsExactly(5L, 10L, 5L);
    }
  }

  @Test
  void sumsRunWhileOtherGradientsAreStillMade() throws Exception {
    TwinCommunicator twin = new TwinCommunicator();
    twin.gate = new CountDownLatch(1);
    try (TensorScope scope = new TensorScope();
        GradientBuckets buckets = new GradientBuckets(twin, new long[] {7, 8, 9}, 4)) {
      Tensor last = Tensors.ofFloats(filled(9, 1), 9);
      buckets.ready(2, last);
      assertThat(twin.started.poll(10, TimeUnit.SECONDS)).isEqualTo(9);
      // The second sets out although the first has not come back.
      buckets.ready(1, zeros(8));
      twin.gate.countDown();
      assertThat(twin.started.poll(10, TimeUnit.SECONDS)).isEqualTo(8);
      buckets.ready(0, zeros(7));
      buckets.finish();
      assertThat(Tensors.toFloats(last)).isEqualTo(filled(9, 2));
    }
  }

  @Test
  void ranksThatAreReadyInDifferentOrdersAgree() throws Exception {
    long[] elements = {1000, 3, 64, 64, 500, 1, 2000};
    List<List<float[]>> sums =
        Group.run(
            3,
            communicator -> {
              List<Integer> order =
                  new ArrayList<>(IntStream.range(0, elements.length).boxed().toList());
              Collections.shuffle(order, new Random(communicator.rank()));
              try (TensorScope scope = new TensorScope();
                  GradientBuckets buckets = new GradientBuckets(communicator, elements, 1024)) {
                List<float[]> result = new ArrayList<>();
                for (int round = 0; round < 5; round++) {
                  List<Tensor> gradients = new ArrayList<>();
                  for (int i = 0; i < elements.length; i++) {
                    int length = (int) elements[i];
                    gradients.add(
                        Tensors.ofFloats(filled(length, i + communicator.rank()), length));
                  }
                  order.parallelStream().forEach(i -> buckets.ready(i, gradients.get(i)));
                  buckets.finish();
                  // Between rounds the communicator is free for others.
                  assertThat(communicator.any(round == 3)).isEqualTo(round == 3);
                  gradients.forEach(gradient -> result.add(Tensors.toFloats(gradient)));
                }
                return result;
              }
            });
    for (List<float[]> rank : sums) {
      for (int i = 0; i < rank.size(); i++) {
        int parameter = i % elements.length;
        assertThat(rank.get(i)).isEqualTo(filled((int) elements[parameter], 3 * parameter + 3));
      }
    }
  }

  @Test
  void aDeadRankIsReportedByWhateverIsCalledNext() throws Throwable {
    Leaks.assertNone(
        () -> {
          TwinCommunicator twin = new TwinCommunicator();
          twin.dead = true;
          try (TensorScope scope = new TensorScope();
              GradientBuckets buckets = new GradientBuckets(twin, new long[] {1, 2, 3, 4}, 4)) {
            buckets.ready(3, zeros(4));
            assertThatExceptionOfType(DistributedException.class)
                .isThrownBy(
                    () -> {
                      buckets.ready(2, zeros(3));
                      buckets.ready(1, zeros(2));
                      buckets.ready(0, zeros(1));
                      buckets.finish();
                    })
                .withMessage("the other one is dead");
            assertThatExceptionOfType(DistributedException.class)
                .isThrownBy(() -> buckets.ready(2, zeros(3)))
                .withMessage("the other one is dead");
          }
        });
  }

  @Test
  void aRankThatLeavesInTheMiddleOfARoundEndsTheOther() throws Exception {
    List<String> messages =
        Group.run(
            2,
            communicator -> {
              try (TensorScope scope = new TensorScope();
                  GradientBuckets buckets =
                      new GradientBuckets(communicator, new long[] {5, 6}, 4)) {
                buckets.ready(1, zeros(6));
                if (communicator.rank() == 1) {
                  Thread.sleep(200);
                  return "";
                }
                buckets.ready(0, zeros(5));
                buckets.finish();
                return "finished";
              } catch (DistributedException e) {
                return e.getMessage();
              }
            });
    assertThat(messages.get(0)).startsWith("rank 0 of 2, an all-reduce: another rank has ended");
  }

  @Test
  void holdsNothing() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (TensorScope scope = new TensorScope();
              GradientBuckets buckets =
                  new GradientBuckets(new TwinCommunicator(), new long[] {5, 6, 7}, 48)) {
            for (int round = 0; round < 50; round++) {
              try (TensorScope one = new TensorScope()) {
                buckets.ready(2, zeros(7));
                buckets.ready(0, zeros(5));
                buckets.ready(1, zeros(6));
                buckets.finish();
              }
            }
            buckets.ready(1, zeros(6)); // A round that is never finished.
          }
        });
  }

  @Test
  void closingDoesNotWaitForASum() {
    TwinCommunicator twin = new TwinCommunicator();
    twin.gate = new CountDownLatch(1);
    try (TensorScope scope = new TensorScope()) {
      GradientBuckets buckets = new GradientBuckets(twin, new long[] {4}, 4);
      buckets.ready(0, zeros(4));
      long start = System.nanoTime();
      buckets.close();
      buckets.close();
      assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(2));
      assertThatIllegalStateException().isThrownBy(() -> buckets.ready(0, zeros(4)));
    } finally {
      twin.gate.countDown();
    }
  }

  @Test
  void misuseIsNamed() {
    try (TensorScope scope = new TensorScope();
        GradientBuckets buckets =
            new GradientBuckets(new TwinCommunicator(), new long[] {4, 6}, 100)) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> buckets.ready(1, zeros(4)))
          .withMessage("parameter 1: a gradient of 4 elements, expected 6");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> buckets.ready(1, Tensors.ofInts(new int[6])))
          .withMessageContaining("Long");
      assertThatExceptionOfType(IndexOutOfBoundsException.class)
          .isThrownBy(() -> buckets.ready(2, zeros(4)));
      buckets.ready(0, zeros(4));
      assertThatIllegalStateException()
          .isThrownBy(() -> buckets.ready(0, zeros(4)))
          .withMessage("parameter 0 is ready already");
      assertThatIllegalStateException()
          .isThrownBy(buckets::finish)
          .withMessageContaining("no gradient of parameters 1 is ready");
    }
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new GradientBuckets(new TwinCommunicator(), new long[] {4}, 0));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new GradientBuckets(new TwinCommunicator(), new long[] {0}, 4));
  }

  @Test
  void aloneNothingHappens() {
    try (TensorScope scope = new TensorScope();
        GradientBuckets buckets = new GradientBuckets(Communicator.alone(), new long[] {2, 2}, 8)) {
      Tensor gradient = Tensors.ofFloats(filled(2, 1), 2);
      for (int round = 0; round < 2; round++) {
        buckets.ready(0, gradient);
        buckets.ready(1, gradient);
        buckets.finish();
      }
      assertThat(Tensors.toFloats(gradient)).isEqualTo(filled(2, 1));
      buckets.ready(0, gradient);
      assertThatIllegalStateException().isThrownBy(buckets::finish);
    }
  }

  private static Tensor zeros(long length) {
    return Tensors.ofFloats(new float[(int) length], length);
  }

  /** Whole numbers: their sums are exact in any order. */
  private static float[] filled(int length, int value) {
    float[] values = new float[length];
    Arrays.fill(values, value);
    return values;
  }
}
