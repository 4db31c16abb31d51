package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.tensor.TensorScope;
import io.llara.testing.Leaks;
import io.llara.train.StepReport;
import io.llara.train.TrainingListener;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.TrainingRuns;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Neither steps nor runs leave native objects behind. */
class TrainingMemoryTest {
  @TempDir static Path shared;
  private static Path model;
  private static Path data;
  @TempDir Path dir;
  private int runs;

  @BeforeAll
  static void prepare() {
    NativeThreads.one();
    model = TrainingRuns.model(shared, false);
    data = Runs.data(shared, 25);
  }

  private Pretrainer.Builder builder(boolean lora) {
    Path out = dir.resolve("out" + runs++);
    return lora ? Runs.lora(model, data, out) : Runs.full(model, data, out);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void twoHundredStepsLeaveAsManyObjectsAsTen(boolean lora) {
    List<Long> objects = new ArrayList<>();
    TrainingRuns.complete(
        builder(lora)
            .steps(200)
            .batch(2)
            .saveEvery(80)
            .evaluateEvery(80)
            .listener(
                new TrainingListener() {
                  @Override
                  public void step(StepReport report) {
                    if (report.step() >= 10) {
                      objects.add(TensorScope.liveObjects());
                    }
                  }
                }));
    assertThat(objects).hasSize(191).containsOnly(objects.get(0));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aRunLeavesNothing(boolean lora) throws Throwable {
    Leaks.assertNone(() -> TrainingRuns.complete(builder(lora).steps(3)));
  }

  @Test
  void aRunThatStoppedAndWentOnLeavesNothing() throws Throwable {
    Leaks.assertNone(
        () -> {
          TrainingRuns.stopAfter(2, builder(true));
          runs--;
          TrainingRuns.complete(builder(true));
        });
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aRunThatFailsLeavesNothing(boolean lora) throws Throwable {
    Leaks.assertNone(
        () -> {
          Pretrainer.Builder broken =
              builder(lora)
                  .listener(
                      new TrainingListener() {
                        @Override
                        public void step(StepReport report) {
                          throw new IllegalStateException("the listener");
                        }
                      });
          assertThatThrownBy(() -> TrainingRuns.complete(broken)).hasMessage("the listener");
        });
    Leaks.assertNone(
        () ->
            assertThatThrownBy(
                    () ->
                        TrainingRuns.complete(builder(lora).learningRate(1e30).warmup(0).steps(40)))
                .hasMessageContaining("is not finite"));
  }
}
