package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

class SearchLanesTest {
  @Test
  void everyPieceIsDoneOnceAndNoLaneDoesTwoAtATime() {
    AtomicIntegerArray done = new AtomicIntegerArray(500);
    AtomicIntegerArray busy = new AtomicIntegerArray(3);
    try (SearchLanes lanes = new SearchLanes(3)) {
      lanes.run(
          500,
          (lane, piece) -> {
            assertThat(busy.getAndIncrement(lane)).isZero();
            done.incrementAndGet(piece);
            busy.decrementAndGet(lane);
          });
      lanes.run(0, (lane, piece) -> done.incrementAndGet(0));
    }
    for (int i = 0; i < 500; i++) {
      assertThat(done.get(i)).isEqualTo(1);
    }
  }

  @Test
  void lanesWorkAtTheSameTimeWithOneNativeThreadEach() {
    CountDownLatch both = new CountDownLatch(2);
    Set<Integer> numbers = ConcurrentHashMap.newKeySet();
    try (SearchLanes lanes = new SearchLanes(2)) {
      lanes.run(
          2,
          (lane, piece) -> {
            both.countDown();
            try {
              assertThat(both.await(20, TimeUnit.SECONDS)).isTrue();
            } catch (InterruptedException e) {
              throw new IllegalStateException(e);
            }
            assertThat(torch.get_num_threads()).isEqualTo(1);
            numbers.add(lane);
          });
    }
    assertThat(numbers).containsExactlyInAnyOrder(0, 1);
  }

  @Test
  void theFirstPieceThatFailsIsThrown() {
    AtomicInteger begun = new AtomicInteger();
    try (SearchLanes lanes = new SearchLanes(2)) {
      for (int round = 0; round < 20; round++) {
        begun.set(0);
        assertThatThrownBy(
                () ->
                    lanes.run(
                        10_000,
                        (lane, piece) -> {
                          begun.incrementAndGet();
                          if (piece >= 7) {
                            throw new IllegalStateException("piece " + piece);
                          }
                        }))
            .isInstanceOf(IllegalStateException.class)
            .hasMessage("piece 7");
        assertThat(begun).matches(count -> count.get() >= 8 && count.get() <= 9);
      }
    }
  }

  @Test
  void anInterruptIsKeptUntilAllIsDone() {
    AtomicInteger done = new AtomicInteger();
    try (SearchLanes lanes = new SearchLanes(2)) {
      Thread.currentThread().interrupt();
      lanes.run(50, (lane, piece) -> done.incrementAndGet());
      assertThat(Thread.interrupted()).isTrue();
    }
    assertThat(done).hasValue(50);
  }

  @Test
  void closedOrNoLanesAreRefused() {
    SearchLanes lanes = new SearchLanes(1);
    lanes.close();
    assertThatIllegalStateException()
        .isThrownBy(() -> lanes.run(1, (lane, piece) -> {}))
        .withMessageContaining("closed");
    assertThatIllegalArgumentException().isThrownBy(() -> new SearchLanes(0));
  }
}
