package io.llara.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Timeout(60)
class HelpersTest {

  @ParameterizedTest
  @CsvSource({"1,1", "1,2", "2,2", "7,2", "8,2", "9,3", "1000,2", "1000,64", "0,2"})
  void eachUnitIsDoneOnce(int units, int threads) {
    AtomicIntegerArray done = new AtomicIntegerArray(units);
    for (int repetition = 0; repetition < 300; repetition++) {
      Helpers.share(
          units,
          threads,
          (worker, begin, end) -> {
            for (long i = begin; i < end; i++) {
              done.incrementAndGet((int) i);
            }
          });
    }
    assertThat(IntStream.range(0, units).map(done::get)).allMatch(count -> count == 300);
  }

  @Test
  void noTwoThreadsHaveTheSameNumber() {
    AtomicIntegerArray within = new AtomicIntegerArray(2);
    AtomicInteger clashes = new AtomicInteger();
    for (int repetition = 0; repetition < 300; repetition++) {
      Helpers.share(
          8,
          2,
          (worker, begin, end) -> {
            if (within.incrementAndGet(worker) > 1) {
              clashes.incrementAndGet();
            }
            Thread.onSpinWait();
            within.decrementAndGet(worker);
          });
    }
    assertThat(clashes).hasValue(0);
  }

  @Test
  void aSleepingHelperIsWoken() {
    AtomicInteger helped = new AtomicInteger();
    Helpers.Part part =
        (worker, begin, end) -> {
          helped.addAndGet(worker);
          LockSupport.parkNanos(1_000_000);
        };
    for (int repetition = 0; repetition < 20; repetition++) {
      Helpers.share(8, 2, part);
      LockSupport.parkNanos(3_000_000); // Longer than a helper looks for work.
    }
    if (Runtime.getRuntime().availableProcessors() > 1) {
      assertThat(helped.get()).isPositive();
    }
  }

  @Test
  void whatAPartThrowsIsThrownOnceAllIsDone() {
    AtomicInteger done = new AtomicInteger();
    assertThatThrownBy(
            () ->
                Helpers.share(
                    8,
                    2,
                    (worker, begin, end) -> {
                      done.addAndGet((int) (end - begin));
                      if (begin == 3) {
                        throw new IllegalStateException("three");
                      }
                    }))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("three");
    assertThat(done).hasValue(8);
    eachUnitIsDoneOnce(8, 2);
  }

  @Test
  void severalThreadsShareAtOnce() throws Exception {
    ExecutorService callers = Executors.newFixedThreadPool(4);
    try {
      Callable<long[]> call =
          () -> {
            long[] sums = new long[100];
            for (int i = 0; i < 1_000; i++) {
              Helpers.share(
                  100,
                  2,
                  (worker, begin, end) -> {
                    for (long unit = begin; unit < end; unit++) {
                      sums[(int) unit] += unit;
                    }
                  });
            }
            return sums;
          };
      for (Future<long[]> result : callers.invokeAll(List.of(call, call, call, call))) {
        long[] sums = result.get();
        assertThat(Arrays.stream(sums).sum()).isEqualTo(1_000L * 99 * 100 / 2);
      }
    } finally {
      callers.shutdownNow();
    }
  }
}
