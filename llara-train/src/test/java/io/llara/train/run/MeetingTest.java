package io.llara.train.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class MeetingTest {
  @Test
  void theActionComesAfterAllHaveComeAndBeforeAnyGoesOn() {
    try (Lanes lanes = new Lanes(3)) {
      for (int round = 0; round < 20; round++) {
        AtomicInteger before = new AtomicInteger();
        AtomicInteger actions = new AtomicInteger();
        Meeting meeting =
            new Meeting(
                3,
                () -> {
                  assertThat(before.get()).isEqualTo(3);
                  actions.incrementAndGet();
                });
        List<Callable<Integer>> tasks = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
          tasks.add(
              () -> {
                before.incrementAndGet();
                meeting.await();
                return actions.get();
              });
        }
        assertThat(lanes.run(tasks)).containsExactly(1, 1, 1);
      }
    }
  }

  @Test
  void whatTheActionThrowsAllThrow() {
    Error reason = new AssertionError("why");
    Meeting meeting =
        new Meeting(
            2,
            () -> {
              throw reason;
            });
    Callable<Boolean> task =
        () -> {
          meeting.await();
          return true;
        };
    try (Lanes lanes = new Lanes(2)) {
      assertThatThrownBy(() -> lanes.run(List.of(task, task)))
          .isSameAs(reason)
          .hasNoSuppressedExceptions();
    }
  }

  @Test
  void whoGivesUpLetsTheOthersGo() {
    Meeting meeting =
        new Meeting(
            2,
            () -> {
              throw new AssertionError("nobody is to come here");
            });
    IllegalStateException reason = new IllegalStateException("no memory");
    Callable<Boolean> waits =
        () -> {
          meeting.await();
          return true;
        };
    Callable<Boolean> givesUp =
        () -> {
          Thread.sleep(20);
          meeting.giveUp(reason);
          return true;
        };
    try (Lanes lanes = new Lanes(2)) {
      assertThatThrownBy(() -> lanes.run(List.of(waits, givesUp))).isSameAs(reason);
    }
    // Also those who come later.
    assertThatThrownBy(meeting::await).isSameAs(reason);
  }

  @Test
  void afterwardsGivingUpChangesNothing() {
    Meeting meeting = new Meeting(1, () -> {});
    meeting.await();
    meeting.giveUp(new IllegalStateException());
    meeting.await();
  }

  @Test
  void anInterruptDoesNotEndTheWaitAndIsKept() throws InterruptedException {
    Meeting meeting = new Meeting(2, () -> {});
    boolean[] interrupted = new boolean[1];
    Thread thread =
        new Thread(
            () -> {
              meeting.await();
              interrupted[0] = Thread.interrupted();
            });
    thread.start();
    thread.interrupt();
    thread.join(100);
    assertThat(thread.isAlive()).isTrue();
    meeting.await();
    thread.join();
    assertThat(interrupted[0]).isTrue();
  }
}
