package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import io.llara.tensor.Libtorch;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

class SearchThreadsTest {
  @Test
  void everyTaskIsDoneOnceAndNoThreadDoesTwoAtATime() {
    AtomicIntegerArray done = new AtomicIntegerArray(500);
    AtomicIntegerArray busy = new AtomicIntegerArray(3);
    try (SearchThreads threads = new SearchThreads(3, () -> {})) {
      threads.run(
          500,
          (thread, task) -> {
            assertThat(busy.getAndIncrement(thread)).isZero();
            done.incrementAndGet(task);
            busy.decrementAndGet(thread);
          });
      threads.run(0, (thread, task) -> done.incrementAndGet(0));
    }
    for (int i = 0; i < 500; i++) {
      assertThat(done.get(i)).isEqualTo(1);
    }
  }

  @Test
  void threadsWorkAtTheSameTimeAndWhatEachBeginsWithHolds() {
    CountDownLatch both = new CountDownLatch(2);
    Set<Integer> numbers = ConcurrentHashMap.newKeySet();
    try (SearchThreads threads = new SearchThreads(2, () -> Libtorch.useThreads(1))) {
      threads.run(
          2,
          (thread, task) -> {
            both.countDown();
            try {
              assertThat(both.await(20, TimeUnit.SECONDS)).isTrue();
            } catch (InterruptedException e) {
              throw new IllegalStateException(e);
            }
            assertThat(torch.get_num_threads()).isEqualTo(1);
            numbers.add(thread);
          });
    }
    assertThat(numbers).containsExactlyInAnyOrder(0, 1);
  }

  @Test
  void theFirstTaskThatFailsIsThrown() {
    AtomicInteger begun = new AtomicInteger();
    try (SearchThreads threads = new SearchThreads(2, () -> {})) {
      for (int round = 0; round < 20; round++) {
        begun.set(0);
        assertThatThrownBy(
                () ->
                    threads.run(
                        10_000,
                        (thread, task) -> {
                          begun.incrementAndGet();
                          if (task >= 7) {
                            throw new IllegalStateException("task " + task);
                          }
                        }))
            .isInstanceOf(IllegalStateException.class)
            .hasMessage("task 7");
        assertThat(begun).matches(count -> count.get() >= 8 && count.get() <= 9);
      }
    }
  }

  @Test
  void anInterruptIsKeptUntilAllIsDone() {
    AtomicInteger done = new AtomicInteger();
    try (SearchThreads threads = new SearchThreads(2, () -> {})) {
      Thread.currentThread().interrupt();
      threads.run(50, (thread, task) -> done.incrementAndGet());
      assertThat(Thread.interrupted()).isTrue();
    }
    assertThat(done).hasValue(50);
  }

  @Test
  void closedOrNoThreadsAreRefused() {
    SearchThreads threads = new SearchThreads(1, () -> {});
    threads.close();
    assertThatIllegalStateException()
        .isThrownBy(() -> threads.run(1, (thread, task) -> {}))
        .withMessageContaining("closed");
    assertThatIllegalArgumentException().isThrownBy(() -> new SearchThreads(0, () -> {}));
  }

  @Test
  void mapsInOrderAndHearsOfAnInterrupt() {
    List<Integer> numbers = IntStream.range(0, 1_000).boxed().toList();
    try (SearchThreads threads = new SearchThreads(3, () -> {})) {
      assertThat(threads.map(numbers, number -> "n" + number))
          .isEqualTo(numbers.stream().map(number -> "n" + number).toList());
      assertThat(threads.map(List.of(), number -> number)).isEmpty();
      Thread.currentThread().interrupt();
      try {
        assertThatThrownBy(() -> threads.map(numbers, number -> number))
            .isInstanceOf(LlaraException.class)
            .hasMessageContaining("interrupted");
      } finally {
        assertThat(Thread.interrupted()).isTrue();
      }
    }
  }
}
