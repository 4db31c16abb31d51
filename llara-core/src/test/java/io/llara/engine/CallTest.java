package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(10)
class CallTest {

  @Test
  void givesResultsInTheOrderOfTheirSlots() throws Exception {
    Call<String> call = new Call<>(3);
    call.fill(2, "c");
    call.fill(0, "a");
    CompletableFuture.runAsync(() -> call.fill(1, "b"));

    assertThat(call.await(count -> {})).containsExactly("a", "b", "c");
    assertThat(call.ended()).isTrue();
  }

  @Test
  void ofNothingIsReadyAtOnce() throws Exception {
    assertThat(new Call<String>(0).await(count -> {})).isEmpty();
  }

  @Test
  void reportsProgressThatOnlyRises() throws Exception {
    Call<Integer> call = new Call<>(50);
    CompletableFuture.runAsync(
        () -> {
          for (int i = 0; i < 50; i++) {
            call.fill(i, i);
          }
        });
    List<Integer> reported = new ArrayList<>();

    call.await(reported::add);

    assertThat(reported).isSorted().doesNotHaveDuplicates().last().isEqualTo(50);
  }

  @Test
  void theFirstErrorEndsIt() {
    Call<String> call = new Call<>(2);
    call.fill(0, "a");
    call.fail(new IllegalStateException("first"));
    call.fail(new IllegalStateException("second"));

    assertThatThrownBy(() -> call.await(count -> {})).hasMessage("first");
  }

  @Test
  void anErrorAfterTheEndIsIgnored() throws Exception {
    Call<String> call = new Call<>(1);
    call.fill(0, "a");
    call.fail(new IllegalStateException("late"));

    assertThat(call.await(count -> {})).containsExactly("a");
  }

  @Test
  void anInterruptAbandonsIt() {
    Call<String> call = new Call<>(1);
    Thread.currentThread().interrupt();

    assertThatThrownBy(() -> call.await(count -> {})).isInstanceOf(InterruptedException.class);
    assertThat(call.ended()).isTrue();
  }

  @Test
  void anErrorOfTheListenerAbandonsIt() {
    Call<String> call = new Call<>(2);
    call.fill(0, "a");

    assertThatThrownBy(
            () ->
                call.await(
                    count -> {
                      throw new UnsupportedOperationException("listener");
                    }))
        .hasMessage("listener");
    assertThat(call.ended()).isTrue();
  }

  @Test
  void nobodyWaitsForACallThatWasAbandoned() throws Exception {
    Call<String> call = new Call<>(2);
    call.fill(0, "a");
    CompletableFuture<Throwable> error =
        CompletableFuture.supplyAsync(() -> catchThrowable(() -> call.await(count -> {})));
    Thread.sleep(20); // so that it waits as a rule; the outcome is the same if it does not yet

    call.abandon();

    assertThat(error.get())
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("abandoned");
  }
}
