package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.engine.WorkQueue.Batch;
import io.llara.engine.WorkQueue.Work;
import io.llara.prompt.Prompt;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

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
        .containsExactly(List.of(5), List.of(10, 9), List.of(8, 7), List.of(6), List.of(4));
  }

  @Test
  void onlyASinglePromptWithNothingElseAboutIsAlone() {
    WorkQueue queue = new WorkQueue(2, 100);
    queue.addSingle(single(10));
    assertThat(queue.take().alone()).isTrue();

    queue.addSingle(single(10));
    assertThat(queue.take().alone()).as("the other still runs").isFalse();

    queue.done();
    queue.done();
    queue.add(work(10));
    assertThat(queue.take().alone()).as("a call that must not depend on others").isFalse();

    queue.done();
    queue.addSingle(single(10));
    assertThat(queue.take().alone()).isTrue();
  }

  @Test
  void workThatNobodyWaitsForIsDropped() {
    WorkQueue queue = new WorkQueue(1, 100);
    Call<float[]> gone = new Call<>(1);
    gone.abandon();
    queue.add(List.of(new Work(Prompt.plain(new int[5]), true, sink(gone))));
    queue.add(work(7));

    assertThat(rows(queue.take())).containsExactly(7);
  }

  @Test
  void closingHandsBackWhatWaitedAndRefusesMore() {
    WorkQueue queue = queue(1, 10, 10, 8, 6);
    queue.take();

    assertThat(queue.close()).extracting(Work::rows).containsExactly(8, 6);
    assertThat(queue.isClosed()).isTrue();
    assertThat(queue.add(work(3))).isFalse();
    assertThat(queue.take().work()).isEmpty();
    assertThat(queue.close()).isEmpty();
  }

  @Test
  void closingWakesALaneThatWaits() throws Exception {
    WorkQueue queue = new WorkQueue(1, 10);
    CompletableFuture<Batch> lane = CompletableFuture.supplyAsync(queue::take);
    Thread.sleep(20); // so that it waits as a rule; the outcome is the same if it does not yet

    queue.close();

    assertThat(lane.get(10, TimeUnit.SECONDS).work()).isEmpty();
  }

  private static WorkQueue queue(int lanes, int budget, int... lengths) {
    WorkQueue queue = new WorkQueue(lanes, budget);
    queue.add(work(lengths));
    return queue;
  }

  private static Work single(int length) {
    return work(length).get(0);
  }

  private static List<Work> work(int... lengths) {
    Call<float[]> call = new Call<>(lengths.length);
    return Prompts.plain(lengths).stream()
        .map(prompt -> new Work(prompt, true, sink(call)))
        .toList();
  }

  private static WorkQueue.Sink sink(Call<float[]> call) {
    return new WorkQueue.Sink() {
      @Override
      public void accept(float[] rows) {
        call.fill(0, rows);
      }

      @Override
      public void fail(RuntimeException error) {
        call.fail(error);
      }

      @Override
      public boolean abandoned() {
        return call.ended();
      }
    };
  }

  private static List<Integer> rows(Batch batch) {
    return batch.work().stream().map(Work::rows).toList();
  }
}
