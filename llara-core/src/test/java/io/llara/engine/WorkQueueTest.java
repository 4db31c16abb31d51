package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.llara.engine.WorkQueue.Batch;
import io.llara.prompt.Prompt;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class WorkQueueTest {

  @Test
  void aBatchFillsTheBudgetAndNotMore() {
    WorkQueue queue = queue(1, 25, 10, 10, 10);

    assertThat(rows(queue.take())).containsExactly(10, 10);
    assertThat(rows(queue.take())).containsExactly(10);
  }

  @Test
  void aPromptLongerThanTheBudgetRunsByItself() {
    WorkQueue queue = queue(1, 25, 40, 5);

    assertThat(rows(queue.take())).containsExactly(40);
    assertThat(rows(queue.take())).containsExactly(5);
  }

  @Test
  void eachLaneGetsItsShare() {
    WorkQueue queue = queue(2, 1000, 10, 10, 10, 10);

    assertThat(rows(queue.take())).containsExactly(10, 10);
    assertThat(rows(queue.take())).isNotEmpty();
  }

  @Test
  void workLeavesInTheOrderItCame() {
    WorkQueue queue = queue(2, 10, 3, 9, 4, 1, 2, 8, 5);

    List<Integer> rows = new ArrayList<>();
    while (rows.size() < 7) {
      rows.addAll(rows(queue.take()));
    }
    assertThat(rows).containsExactly(3, 9, 4, 1, 2, 8, 5);
  }

  @Test
  void singlePromptsMeetInABatch() {
    WorkQueue queue = new WorkQueue(1, 100);
    queue.addSingle(single(10));
    queue.addSingle(single(7));

    assertThat(rows(queue.take())).containsExactly(10, 7);
  }

  @Test
  void singlePromptsThatWaitAreSharedAmongTheLanes() {
    WorkQueue queue = new WorkQueue(2, 100);
    for (int i = 0; i < 4; i++) {
      queue.addSingle(single(10));
    }

    assertThat(rows(queue.take())).containsExactly(10, 10);
    assertThat(rows(queue.take())).containsExactly(10, 10);
  }

  @Test
  void theBatchesOfACallAreItsOwn() {
    WorkQueue queue = new WorkQueue(2, 100);
    queue.addSingle(single(5));
    queue.add(work(10, 9, 8, 7));
    queue.add(work(6));
    queue.addSingle(single(4));

    List<List<Integer>> batches = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      batches.add(rows(queue.take()));
    }
    assertThat(batches)
        .containsExactly(List.of(5), List.of(10, 9), List.of(4), List.of(8, 7), List.of(6));
  }

  @Test
  void singlePromptsAndBatchesTakeTurns() {
    WorkQueue queue = new WorkQueue(1, 10);
    queue.add(work(10, 9, 8));
    for (int rows : new int[] {7, 6, 5}) {
      queue.addSingle(single(rows));
    }

    List<List<Integer>> batches = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      batches.add(rows(queue.take()));
    }
    assertThat(batches)
        .containsExactly(List.of(7), List.of(10), List.of(6), List.of(9), List.of(5), List.of(8));
  }

  @Test
  void singlePromptsCanBeTakenInTheMidstOfABatch() {
    WorkQueue queue = new WorkQueue(1, 100);
    queue.add(work(10));
    Batch corpus = queue.take();
    assertThat(corpus.single()).isFalse();
    assertThat(queue.takeSingles().isEmpty()).isTrue();

    queue.add(work(9));
    queue.addSingle(single(8));
    Batch singles = queue.takeSingles();

    assertThat(rows(singles)).containsExactly(8);
    assertThat(singles.single()).isTrue();
    assertThat(singles.alone()).as("a batch runs").isFalse();
    assertThat(queue.takeSingles().isEmpty()).isTrue();
    assertThat(rows(queue.take())).containsExactly(9);
  }

  @Test
  void onlyASinglePromptWithNothingElseAboutIsAlone() {
    WorkQueue queue = new WorkQueue(2, 100);
    queue.addSingle(single(10));
    assertThat(queue.take().alone()).isTrue();

    queue.addSingle(single(10));
    assertThat(queue.take().alone()).as("the other still runs").isFalse();

    queue.done(false);
    queue.done(false);
    queue.add(work(10));
    assertThat(queue.take().alone()).as("a call that must not depend on others").isFalse();

    queue.done(false);
    queue.addSingle(single(10));
    assertThat(queue.take().alone()).isTrue();
  }

  @Test
  void workThatNobodyWaitsForIsDropped() {
    WorkQueue queue = new WorkQueue(1, 100);
    Work<?> gone = single(5);
    queue.add(List.of(gone));
    queue.add(work(7));
    Work<?> goneToo = single(3);
    queue.addSingle(goneToo);
    queue.addSingle(single(4));
    gone.cancel(false);
    goneToo.cancel(false);

    assertThat(rows(queue.take())).containsExactly(4);
    assertThat(rows(queue.take())).containsExactly(7);
  }

  @Test
  void closingEndsWhatWaitedAndRefusesMore() {
    List<Work<?>> work = work(10, 8, 6);
    WorkQueue queue = new WorkQueue(1, 10);
    queue.add(work);
    queue.take();

    queue.close();

    assertThat(work).extracting(Work::isCompletedExceptionally).containsExactly(false, true, true);
    assertThatIllegalStateException().isThrownBy(() -> work.get(1).await());
    assertThat(queue.isClosed()).isTrue();
    assertThatIllegalStateException().isThrownBy(() -> queue.add(work(3)));
    assertThatIllegalStateException().isThrownBy(() -> queue.addSingle(single(3)));
    assertThatIllegalStateException().isThrownBy(queue::requireOpen);
    assertThat(queue.take().work()).isEmpty();
    queue.close();
  }

  @Test
  void closingWakesALaneThatWaits() throws Exception {
    WorkQueue queue = new WorkQueue(1, 10);
    CompletableFuture<Batch> lane = CompletableFuture.supplyAsync(queue::take);
    Thread.sleep(20); // so that it waits as a rule; the outcome is the same if it does not yet

    queue.close();

    assertThat(lane.get(10, TimeUnit.SECONDS).work()).isEmpty();
  }

  @Test
  void theLaneThatCameLastWorksNext() throws Exception {
    WorkQueue queue = new WorkQueue(2, 10);
    CompletableFuture<Batch> first = waiting(queue);
    CompletableFuture<Batch> second = waiting(queue);

    queue.addSingle(single(5));
    assertThat(rows(second.get(10, TimeUnit.SECONDS))).containsExactly(5);
    assertThat(first).isNotDone();

    queue.addSingle(single(6));
    assertThat(rows(first.get(10, TimeUnit.SECONDS))).containsExactly(6);
  }

  @Test
  void noLaneIsWokenForAPromptThatAComingOneWillTake() throws Exception {
    WorkQueue queue = new WorkQueue(2, 10);
    queue.addSingle(single(5));
    queue.take();
    CompletableFuture<Batch> other = waiting(queue);

    queue.done(true);
    queue.addSingle(single(6));
    Thread.sleep(50);
    assertThat(other).isNotDone();
    Batch next = queue.take();
    assertThat(rows(next)).containsExactly(6);
    assertThat(next.alone()).isTrue();

    queue.addSingle(single(7));
    assertThat(rows(other.get(10, TimeUnit.SECONDS))).containsExactly(7);
  }

  /** Starts a lane and returns when it waits. */
  private static CompletableFuture<Batch> waiting(WorkQueue queue) throws InterruptedException {
    CompletableFuture<Batch> batch = new CompletableFuture<>();
    Thread lane = new Thread(() -> batch.complete(queue.take()));
    lane.setDaemon(true);
    lane.start();
    while (lane.getState() != Thread.State.WAITING) {
      Thread.sleep(1);
    }
    return batch;
  }

  /** Counts how often a queue looks at it. */
  private static final class Counted extends Work<float[]> {
    private final AtomicLong looks;

    Counted(AtomicLong looks) {
      super(Prompt.plain(new int[10]), Pooler.NONE);
      this.looks = looks;
    }

    @Override
    int rows() {
      looks.incrementAndGet();
      return super.rows();
    }

    @Override
    public boolean isDone() {
      looks.incrementAndGet();
      return super.isDone();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {200, 2_000, 20_000})
  void whatACallerCostsDoesNotGrowWithThoseThatWait(int callers) {
    AtomicLong looks = new AtomicLong();
    WorkQueue queue = new WorkQueue(2, 100);
    for (int i = 0; i < callers; i++) {
      Work<?> work = new Counted(looks);
      queue.addSingle(work);
      if (i % 3 == 0) {
        work.cancel(false);
      }
      if (i % 10 == 0) {
        queue.add(List.of(new Counted(looks)));
      }
    }
    assertThat(looks.get()).as("while they came").isLessThanOrEqualTo(4L * callers);
    looks.set(0);

    int taken = 0;
    int singles = callers - (callers + 2) / 3;
    while (taken < singles + callers / 10) {
      taken += queue.take().work().size();
      queue.done(false);
    }

    assertThat(looks.get()).as("while they left").isLessThanOrEqualTo(5L * callers);
  }

  private static WorkQueue queue(int lanes, int budget, int... lengths) {
    WorkQueue queue = new WorkQueue(lanes, budget);
    queue.add(work(lengths));
    return queue;
  }

  private static Work<?> single(int length) {
    return work(length).get(0);
  }

  private static List<Work<?>> work(int... lengths) {
    List<Work<?>> work = new ArrayList<>();
    Prompts.plain(lengths).forEach(prompt -> work.add(new Work<>(prompt, Pooler.NONE)));
    return work;
  }

  private static List<Integer> rows(Batch batch) {
    return batch.work().stream().map(Work::rows).toList();
  }
}
