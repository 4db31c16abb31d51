package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(10)
class WorkTest {

  @Test
  void givesResultsInTheOrderOfTheWork() {
    List<Work<float[]>> works = works(1, 2, 3);
    finish(works.get(2));
    finish(works.get(0));
    CompletableFuture.runAsync(() -> finish(works.get(1)));

    assertThat(Work.await(works)).extracting(states -> states.length).containsExactly(1, 2, 3);
  }

  @Test
  void nothingIsReadyAtOnce() {
    assertThat(Work.<float[]>await(List.of())).isEmpty();
  }

  @Test
  void runsLongestFirstAndOtherwiseInOrder() {
    List<Work<float[]>> works = works(2, 5, 2, 9);

    assertThat(Work.inRunningOrder(works))
        .containsExactly(works.get(3), works.get(1), works.get(0), works.get(2));
  }

  @Test
  void theFirstErrorCountsAndEndsTheRest() {
    List<Work<float[]>> works = works(1, 1, 1);
    finish(works.get(0));
    works.get(1).completeExceptionally(new IllegalStateException("first"));
    works.get(1).completeExceptionally(new IllegalStateException("second"));

    assertThatThrownBy(() -> Work.await(works)).hasMessage("first");
    assertThat(works).allMatch(Work::isDone);
  }

  @Test
  void anErrorAfterTheEndIsIgnored() throws Exception {
    Work<float[]> work = works(1).get(0);
    finish(work);
    work.completeExceptionally(new IllegalStateException("late"));

    assertThat(work.await()).hasSize(1);
  }

  @Test
  void anInterruptEndsAllAndStaysSet() {
    List<Work<float[]>> works = works(1, 1);
    finish(works.get(0));
    Thread.currentThread().interrupt();

    assertThatThrownBy(() -> Work.await(works))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("interrupted");
    assertThat(Thread.interrupted()).isTrue();
    assertThat(works).allMatch(Work::isDone);
  }

  @Test
  void nobodyWaitsForWorkThatWasCancelled() throws Exception {
    List<Work<float[]>> works = works(1, 1);
    finish(works.get(0));
    CompletableFuture<Throwable> error =
        CompletableFuture.supplyAsync(() -> catchThrowable(() -> Work.await(works)));
    Thread.sleep(20); // so that it waits as a rule; the outcome is the same if it does not yet

    Work.cancel(works);

    assertThat(error.get()).isInstanceOf(CancellationException.class);
  }

  @Test
  void meansAreTakenOverThePooledTokensOfEachMode() throws Exception {
    PromptBuilder prompts =
        PromptBuilder.ofIds(new int[] {1}, new int[] {3, 4}, new int[] {6, 7}, 2);
    Work<PooledVectors> work = new Work<>(prompts.jointFromIds(new int[] {9}), Pooler.MEAN);

    // Two rows of SELF and two of NEXT, behind one row of another prompt.
    work.pool(new float[] {99, 99, 1, 10, 3, 30, 5, 50, 9, 90}, 2, 2);
    work.end(null);

    assertThat(work.await().get(Mode.SELF)).containsExactly(2, 20);
    assertThat(work.await().get(Mode.NEXT)).containsExactly(7, 70);
  }

  private static void finish(Work<float[]> work) {
    work.pool(new float[work.rows()], 0, 1);
    work.end(null);
  }

  private static List<Work<float[]>> works(int... lengths) {
    Stream<Prompt> prompts = Prompts.plain(lengths).stream();
    return prompts.map(prompt -> new Work<>(prompt, Pooler.NONE)).toList();
  }
}
