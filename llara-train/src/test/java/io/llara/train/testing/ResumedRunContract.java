package io.llara.train.testing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.LlaraException;
import io.llara.io.TemporaryPath;
import io.llara.testing.Directories;
import io.llara.train.RunInfo;
import io.llara.train.StepReport;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.TrainingResult.Outcome;
import io.llara.train.run.Manifest;
import io.llara.train.run.RunBuilder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import org.assertj.core.api.InstanceOfAssertFactories;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A run that ended early goes on with the same bits as one that did not. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
public abstract class ResumedRunContract {
  private final Map<Boolean, Path> unbroken = new LinkedHashMap<>();

  @TempDir static Path shared;
  @TempDir Path dir;
  private Path model;
  private Path data;

  /** Writes the data, some 25 examples, and returns it. */
  protected abstract Path data(Path folder);

  /**
   * Returns a run of 9 steps of 4 examples, with a checkpoint every 4: of all parameters with
   * nothing held out, or with LoRA and an evaluation every 3 steps.
   */
  protected abstract RunBuilder<?> builder(boolean lora, Path model, Path data, Path out);

  @BeforeAll
  void runUnbroken() {
    NativeThreads.one();
    model = TrainingRuns.model(shared, true);
    data = data(shared);
    for (boolean lora : new boolean[] {false, true}) {
      Path out = shared.resolve("unbroken-" + lora);
      assertThat(TrainingRuns.complete(builder(lora, out)).outcome()).isEqualTo(Outcome.COMPLETED);
      unbroken.put(lora, out);
    }
  }

  private RunBuilder<?> builder(boolean lora, Path out) {
    return builder(lora, model, data, out);
  }

  private void assertLikeUnbroken(boolean lora, Path out) {
    Path right = unbroken.get(lora);
    assertThat(TrainingRuns.metrics(out)).isEqualTo(TrainingRuns.metrics(right)).hasSize(9);
    assertThat(TrainingRuns.evaluations(out)).isEqualTo(TrainingRuns.evaluations(right));
    TrainingRuns.assertSameWeights(out, right);
  }

  @Test
  void theRunsAreAboutSomething() {
    // 36 examples out of 25, or of the 20 or so that are not held out: more than one pass.
    assertThat(TrainingRuns.evaluations(unbroken.get(false))).isEmpty();
    assertThat(TrainingRuns.values(TrainingRuns.evaluations(unbroken.get(true)), "step"))
        .containsExactly(0.0, 3.0, 6.0, 9.0);
    assertThat(TrainingRuns.weights(unbroken.get(false)))
        .isNotEqualTo(TrainingRuns.weights(unbroken.get(true)));
  }

  /** 4 and 8 are steps with a checkpoint of their own, 3 and 6 with an evaluation. */
  @ParameterizedTest
  @CsvSource({
    "false, 0",
    "false, 1",
    "false, 4",
    "false, 8",
    "true, 0",
    "true, 3",
    "true, 5",
    "true, 8"
  })
  void aStoppedRunGoesOn(boolean lora, long step) {
    Path out = dir.resolve("out");
    TrainingResult stopped = TrainingRuns.stopAfter(step, builder(lora, out));
    assertThat(stopped).isEqualTo(new TrainingResult(Outcome.STOPPED, step, out));
    assertThat(out.resolve("config.json")).doesNotExist();
    assertThat(TrainingRuns.metrics(out)).hasSize((int) step);

    assertThat(TrainingRuns.complete(builder(lora, out)))
        .isEqualTo(new TrainingResult(Outcome.COMPLETED, 9, out));
    assertLikeUnbroken(lora, out);
  }

  @Test
  void aRunMayStopAfterEveryStep() {
    Path out = dir.resolve("out");
    for (int step = 1; step < 9; step++) {
      assertThat(TrainingRuns.stopAfter(step, builder(true, out)).step()).isEqualTo(step);
    }
    TrainingRuns.complete(builder(true, out));
    assertLikeUnbroken(true, out);
  }

  @Test
  void stepsAfterTheLastCheckpointAreMadeAgain() {
    Path out = dir.resolve("out");
    // As a process that dies: the last checkpoint is that of step 4.
    crash(7, builder(false, out));
    assertThat(TrainingRuns.metrics(out)).hasSize(7);
    List<Long> steps = new ArrayList<>();
    List<RunInfo> started = new ArrayList<>();
    TrainingRuns.complete(builder(false, out).listener(recording(steps, started)));
    assertThat(steps).containsExactly(5L, 6L, 7L, 8L, 9L);
    assertThat(started).singleElement().extracting(RunInfo::firstStep).isEqualTo(5L);
    assertLikeUnbroken(false, out);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aRunThatDiedBeforeItsFirstCheckpointBeginsAnew(boolean lora) throws IOException {
    Path out = dir.resolve("out");
    crash(2, builder(lora, out));
    Path metrics = out.resolve("metrics.jsonl");
    Files.writeString(metrics, Files.readString(metrics) + "{\"step\": 3, \"lo");
    TrainingRuns.complete(builder(lora, out));
    assertLikeUnbroken(lora, out);
  }

  private static void crash(long step, RunBuilder<?> builder) {
    RuntimeException crash = new IllegalStateException("crash");
    TrainingListener listener =
        new TrainingListener() {
          @Override
          public void step(StepReport report) {
            if (report.step() == step) {
              throw crash;
            }
          }
        };
    try {
      builder.listener(listener).build().run();
    } catch (IllegalStateException e) {
      assertThat(e).isSameAs(crash);
      return;
    }
    throw new AssertionError("ended without a crash");
  }

  private static TrainingListener recording(List<Long> steps, List<RunInfo> started) {
    return new TrainingListener() {
      @Override
      public void started(RunInfo run) {
        started.add(run);
      }

      @Override
      public void step(StepReport report) {
        steps.add(report.step());
      }
    };
  }

  @Test
  void aDamagedCheckpointIsNamedAndThePreviousOneUsed() throws IOException {
    Path out = dir.resolve("out");
    crash(9, builder(true, out));
    Path newest = out.resolve("checkpoints/step-00000008/tensors.safetensors");
    byte[] bytes = Files.readAllBytes(newest);
    bytes[bytes.length / 2] ^= 1;
    Files.write(newest, bytes);
    List<RunInfo> started = new ArrayList<>();
    TrainingRuns.complete(builder(true, out).listener(recording(new ArrayList<>(), started)));
    assertThat(started.get(0).firstStep()).isEqualTo(5);
    assertThat(started.get(0).skippedCheckpoints())
        .singleElement()
        .asString()
        .contains("step-00000008");
    assertLikeUnbroken(true, out);
  }

  @Test
  void aRunThatDiedWhileItWroteTheModelWritesIt() throws IOException {
    Path out = dir.resolve("out");
    TrainingRuns.complete(builder(false, out));
    Manifest manifest = Manifest.read(out).orElseThrow();
    manifest.after(0, Optional.empty()).write(out);
    Files.delete(out.resolve("config.json"));
    List<Long> steps = new ArrayList<>();
    TrainingResult result =
        TrainingRuns.complete(builder(false, out).listener(recording(steps, new ArrayList<>())));
    assertThat(result.outcome()).isEqualTo(Outcome.COMPLETED);
    assertThat(steps).isEmpty();
    assertLikeUnbroken(false, out);
    assertThat(Manifest.read(out).orElseThrow().finished()).isPresent();
  }

  @Test
  void aFinishedRunDoesNothing() throws IOException {
    Path out = dir.resolve("out");
    TrainingRuns.complete(builder(false, out));
    Map<Path, Object> before = stamps(out);
    List<RunInfo> started = new ArrayList<>();
    TrainingResult again =
        TrainingRuns.complete(builder(false, out).listener(recording(new ArrayList<>(), started)));
    assertThat(again).isEqualTo(new TrainingResult(Outcome.ALREADY_COMPLETE, 9, out));
    assertThat(started).isEmpty();
    assertThat(stamps(out)).isEqualTo(before);
  }

  @Test
  void aCompleteRunWhoseModelIsDamagedWritesItAgain() throws IOException {
    Path out = dir.resolve("out");
    TrainingRuns.complete(builder(false, out));
    Path weights = out.resolve("model.safetensors");
    Files.write(weights, Arrays.copyOf(Files.readAllBytes(weights), 1000));
    assertThat(TrainingRuns.complete(builder(false, out)).outcome()).isEqualTo(Outcome.COMPLETED);
    assertLikeUnbroken(false, out);
    Files.delete(out.resolve("config.json"));
    TemporaryPath.delete(out.resolve("checkpoints"));
    assertThatThrownBy(() -> TrainingRuns.complete(builder(false, out)))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(
            out + ": the run was complete after 9 steps, but its model is damaged")
        .hasMessageContaining("config.json");
  }

  @Test
  void aRunDoesNotGoOnWithOtherWeights() throws IOException {
    Path own = Directories.copy(model, dir.resolve("model"));
    Path out = dir.resolve("out");
    TrainingRuns.stopAfter(3, builder(false, own, data, out));
    Path weights = own.resolve("model.safetensors");
    byte[] before = Files.readAllBytes(weights);
    byte[] bytes = before.clone();
    bytes[bytes.length - 100] ^= 1;
    Files.write(weights, bytes);
    assertThatThrownBy(() -> TrainingRuns.complete(builder(false, own, data, out)))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(out + ": the files of the model " + own + " are not those");
    Files.write(weights, before);
    TrainingRuns.complete(builder(false, own, data, out));
    assertLikeUnbroken(false, out);
  }

  /** As releases before wrote it. */
  @Test
  void aRunWithoutTheContentOfItsModelGoesOn() throws IOException {
    Path out = dir.resolve("out");
    TrainingRuns.stopAfter(3, builder(true, out));
    Path run = out.resolve("run.json");
    String without =
        Files.readString(run).replaceFirst(",\\s*\"model content\": \"[0-9a-f]{64}\"", "");
    assertThat(without).isNotEqualTo(Files.readString(run));
    Files.writeString(run, without);
    TrainingRuns.complete(builder(true, out));
    assertLikeUnbroken(true, out);
  }

  @Test
  void missingLossesAreNoticed() throws IOException {
    Path out = dir.resolve("out");
    TrainingRuns.stopAfter(5, builder(false, out));
    Path metrics = out.resolve("metrics.jsonl");
    List<String> lines = Files.readAllLines(metrics);
    Files.write(metrics, lines.subList(0, 3));
    assertThatThrownBy(() -> TrainingRuns.complete(builder(false, out)))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(
            metrics + ": lines are missing: ends with step 3; the run is at step 5");
    Files.delete(metrics);
    TrainingRuns.complete(builder(false, out));
    assertThat(TrainingRuns.values(TrainingRuns.metrics(out), "step"))
        .containsExactly(6.0, 7.0, 8.0, 9.0);
  }

  @Test
  void aDirectoryInUseIsRefused() {
    Path out = dir.resolve("out");
    List<Throwable> refused = new ArrayList<>();
    TrainingListener second =
        new TrainingListener() {
          @Override
          public void step(StepReport report) {
            if (report.step() == 2) {
              refused.add(catchThrowable(() -> TrainingRuns.complete(builder(false, out))));
            }
          }
        };
    TrainingRuns.complete(builder(false, out).listener(second));
    assertThat(refused)
        .singleElement()
        .asInstanceOf(InstanceOfAssertFactories.THROWABLE)
        .isInstanceOf(LlaraException.class)
        .hasMessage(
            out + ": another process is training there; wait for it, or use another directory");
    assertLikeUnbroken(false, out);
  }

  private static Map<Path, Object> stamps(Path dir) throws IOException {
    Map<Path, Object> stamps = new LinkedHashMap<>();
    try (var files = Files.walk(dir)) {
      for (Path file : files.sorted().toList()) {
        stamps.put(file, Files.getLastModifiedTime(file));
      }
    }
    return stamps;
  }

  @Test
  void anInterruptSavesAndStopsAndIsKept() {
    Path out = dir.resolve("out");
    TrainingListener interrupting =
        new TrainingListener() {
          @Override
          public void step(StepReport report) {
            if (report.step() == 3) {
              Thread.currentThread().interrupt();
            }
          }
        };
    TrainingResult result;
    try {
      result = TrainingRuns.complete(builder(true, out).listener(interrupting));
      assertThat(Thread.currentThread().isInterrupted()).isTrue();
    } finally {
      Thread.interrupted();
    }
    assertThat(result).isEqualTo(new TrainingResult(Outcome.STOPPED, 3, out));
    TrainingRuns.complete(builder(true, out));
    assertLikeUnbroken(true, out);
  }

  @Test
  void anInterruptFromElsewhereStopsAfterTheStep() {
    Path out = dir.resolve("out");
    Thread runner = Thread.currentThread();
    AtomicBoolean over = new AtomicBoolean();
    Thread interrupter =
        new Thread(
            () -> {
              // Somewhere in a step: while a batch is read, computed, logged or saved.
              while (!over.get() && !Files.exists(out.resolve("checkpoints/step-00000004"))) {
                Thread.onSpinWait();
              }
              runner.interrupt();
            });
    TrainingListener patient =
        new TrainingListener() {
          @Override
          public void step(StepReport report) {
            while (report.step() == 8 && !Thread.currentThread().isInterrupted()) {
              Thread.onSpinWait();
            }
          }
        };
    interrupter.start();
    TrainingResult result;
    try {
      result = TrainingRuns.complete(builder(true, out).listener(patient));
      assertThat(Thread.currentThread().isInterrupted()).isTrue();
    } finally {
      over.set(true);
      Uninterruptibles.joinUninterruptibly(interrupter);
      Thread.interrupted();
    }
    assertThat(result.outcome()).isEqualTo(Outcome.STOPPED);
    assertThat(result.step()).isBetween(4L, 8L);
    TrainingRuns.complete(builder(true, out));
    assertLikeUnbroken(true, out);
  }
}
