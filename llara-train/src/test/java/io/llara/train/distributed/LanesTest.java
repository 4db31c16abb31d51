package io.llara.train.distributed;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

class LanesTest {
  @Test
  void aTasksNumberDecidesItsLane() {
    try (Lanes lanes = new Lanes(3)) {
      assertThat(lanes.count()).isEqualTo(3);
      for (int round = 0; round < 5; round++) {
        List<Callable<String>> tasks = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
          long pause = 3L * (3 - i);
          tasks.add(
              () -> {
                Thread.sleep(pause);
                return Thread.currentThread().getName();
              });
        }
        assertThat(lanes.run(tasks))
            .containsExactly("llara-train-0", "llara-train-1", "llara-train-2");
      }
    }
  }

  @Test
  void itemsAreDealtOutTheHeaviestFirst() {
    assertThat(Lanes.deal(List.of(3, 9, 4, 4, 5, 1), item -> item, 2))
        .containsExactly(List.of(9, 4), List.of(5, 4, 3, 1));
    assertThat(Lanes.deal(List.of(7), item -> item, 3))
        .containsExactly(List.of(7), List.of(), List.of());
  }

  @Test
  void tasksRunAtTheSameTime() {
    CountDownLatch both = new CountDownLatch(2);
    Callable<Boolean> task =
        () -> {
          both.countDown();
          return both.await(20, TimeUnit.SECONDS);
        };
    try (Lanes lanes = new Lanes(2)) {
      assertThat(lanes.run(List.of(task, task))).containsExactly(true, true);
    }
  }

  @Test
  void lanesRecordNothingAndUseOneNativeThread() {
    try (Lanes lanes = new Lanes(1)) {
      assertThat(lanes.run(List.of(GradMode::is_enabled))).containsExactly(false);
      assertThat(lanes.run(List.of(torch::get_num_threads))).containsExactly(1);
    }
  }

  @Test
  void noTasksGiveNoResults() {
    try (Lanes lanes = new Lanes(2)) {
      assertThat(lanes.run(List.<Callable<Integer>>of())).isEmpty();
    }
  }

  @Test
  void theFirstFailureIsThrownAfterAllHaveEnded() {
    AtomicBoolean ended = new AtomicBoolean();
    Callable<Integer> slow =
        () -> {
          Thread.sleep(50);
          ended.set(true);
          throw new IllegalStateException("second");
        };
    try (Lanes lanes = new Lanes(2)) {
      assertThatThrownBy(() -> lanes.run(List.of(failing("first"), slow)))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("first")
          .satisfies(
              error ->
                  assertThat(error.getSuppressed()).singleElement().asString().contains("second"));
      assertThat(ended).isTrue();
      assertThat(lanes.run(List.of(() -> 5))).as("goes on after a failure").containsExactly(5);
    }
  }

  private static Callable<Integer> failing(String message) {
    return () -> {
      throw new IllegalArgumentException(message);
    };
  }

  @Test
  void aTaskThatWaitedForOneThatFailedSaysWhyThatOneDid() {
    CompletableFuture<Void> first = new CompletableFuture<>();
    Callable<Boolean> waits =
        () -> {
          first.thenRun(() -> {}).join();
          return true;
        };
    IllegalStateException reason = new IllegalStateException("no memory");
    Callable<Boolean> fails =
        () -> {
          Thread.sleep(20);
          first.completeExceptionally(reason);
          throw reason;
        };
    try (Lanes lanes = new Lanes(2)) {
      assertThatThrownBy(() -> lanes.run(List.of(waits, fails)))
          .isSameAs(reason)
          .hasNoSuppressedExceptions();
    }
  }

  @Test
  void errorsAndCheckedExceptionsComeThrough() {
    try (Lanes lanes = new Lanes(1)) {
      Callable<Integer> error =
          () -> {
            throw new AssertionError("error");
          };
      assertThatThrownBy(() -> lanes.run(List.of(error)))
          .isInstanceOf(AssertionError.class)
          .hasMessage("error");
      Callable<Integer> checked =
          () -> {
            throw new IOException("checked");
          };
      assertThatThrownBy(() -> lanes.run(List.of(checked)))
          .isInstanceOf(IllegalStateException.class)
          .hasRootCauseMessage("checked");
    }
  }

  @Test
  void anInterruptWaitsForTheTasksAndIsKept() {
    AtomicInteger done = new AtomicInteger();
    Callable<Integer> task =
        () -> {
          Thread.sleep(50);
          return done.incrementAndGet();
        };
    try (Lanes lanes = new Lanes(2)) {
      Thread.currentThread().interrupt();
      assertThat(lanes.run(List.of(task, task))).containsExactlyInAnyOrder(1, 2);
      assertThat(Thread.interrupted()).isTrue();
      assertThat(done).hasValue(2);
    }
  }

  @Test
  void tooManyTasksAndTooFewLanesAreRefused() {
    try (Lanes lanes = new Lanes(1)) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> lanes.run(List.of(() -> 1, () -> 2)))
          .withMessage("2 tasks are too many for 1 lanes");
    }
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Lanes(0))
        .withMessageContaining("at least 1");
  }
}
