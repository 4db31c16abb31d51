package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.train.RunInfo;
import io.llara.train.StepReport;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.TrainingResult.Outcome;
import io.llara.train.run.Manifest;
import io.llara.train.testing.NativeThreads;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A run that ended early goes on with the same bits as one that did not. */
class ResumedRunTest {
  private static final Map<Boolean, Path> UNBROKEN = new LinkedHashMap<>();

  @TempDir static Path shared;
  private static Path model;
  private static Path data;
  @TempDir Path dir;

  @BeforeAll
  static void runUnbroken() {
    NativeThreads.one();
    model = Runs.model(shared, true);
    data = Runs.data(shared, 25);
    for (boolean lora : new boolean[] {false, true}) {
      Path out = shared.resolve("unbroken-" + lora);
      assertThat(Runs.complete(builder(lora, out)).outcome()).isEqualTo(Outcome.COMPLETED);
      UNBROKEN.put(lora, out);
    }
  }

  private static Pretrainer.Builder builder(boolean lora, Path out) {
    return lora ? Runs.lora(model, data, out) : Runs.full(model, data, out);
  }

  private static void assertLikeUnbroken(boolean lora, Path out) {
    Path unbroken = UNBROKEN.get(lora);
    assertThat(Runs.metrics(out)).isEqualTo(Runs.metrics(unbroken)).hasSize(9);
    assertThat(Runs.evaluations(out)).isEqualTo(Runs.evaluations(unbroken));
    Map<String, float[]> expected = Runs.weights(unbroken);
    Map<String, float[]> actual = Runs.weights(out);
    assertThat(actual).containsOnlyKeys(expected.keySet());
    expected.forEach((name, values) -> assertThat(actual.get(name)).as(name).isEqualTo(values));
  }

  @Test
  void theRunsAreAboutSomething() {
    // 36 texts out of 25, or of the 20 or so that are not held out: more than one pass.
    assertThat(Runs.evaluations(UNBROKEN.get(false))).isEmpty();
    assertThat(Runs.values(Runs.evaluations(UNBROKEN.get(true)), "step"))
        .containsExactly(0.0, 3.0, 6.0, 9.0);
    assertThat(Runs.weights(UNBROKEN.get(false))).isNotEqualTo(Runs.weights(UNBROKEN.get(true)));
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
    TrainingResult stopped = Runs.stopAfter(step, builder(lora, out));
    assertThat(stopped).isEqualTo(new TrainingResult(Outcome.STOPPED, step, out));
    assertThat(out.resolve("config.json")).doesNotExist();
    assertThat(Runs.metrics(out)).hasSize((int) step);

    assertThat(Runs.complete(builder(lora, out)))
        .isEqualTo(new TrainingResult(Outcome.COMPLETED, 9, out));
    assertLikeUnbroken(lora, out);
  }

  @Test
  void aRunMayStopAfterEveryStep() {
    Path out = dir.resolve("out");
    for (int step = 1; step < 9; step++) {
      assertThat(Runs.stopAfter(step, builder(true, out)).step()).isEqualTo(step);
    }
    Runs.complete(builder(true, out));
    assertLikeUnbroken(true, out);
  }

  @Test
  void stepsAfterTheLastCheckpointAreMadeAgain() {
    Path out = dir.resolve("out");
    // As a process that dies: the last checkpoint is that of step 4.
    crash(7, builder(false, out));
    assertThat(Runs.metrics(out)).hasSize(7);
    List<Long> steps = new ArrayList<>();
    List<RunInfo> started = new ArrayList<>();
    Runs.complete(builder(false, out).listener(recording(steps, started)));
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
    Runs.complete(builder(lora, out));
    assertLikeUnbroken(lora, out);
  }

  private static void crash(long step, Pretrainer.Builder builder) {
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
    Runs.complete(builder(true, out).listener(recording(new ArrayList<>(), started)));
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
    Runs.complete(builder(false, out));
    Manifest manifest = Manifest.read(out).orElseThrow();
    manifest.after(0, Optional.empty()).write(out);
    Files.delete(out.resolve("config.json"));
    List<Long> steps = new ArrayList<>();
    TrainingResult result =
        Runs.complete(builder(false, out).listener(recording(steps, new ArrayList<>())));
    assertThat(result.outcome()).isEqualTo(Outcome.COMPLETED);
    assertThat(steps).isEmpty();
    assertLikeUnbroken(false, out);
    assertThat(Manifest.read(out).orElseThrow().finished()).isPresent();
  }

  @Test
  void aFinishedRunDoesNothing() throws IOException {
    Path out = dir.resolve("out");
    Runs.complete(builder(false, out));
    Map<Path, Object> before = stamps(out);
    List<RunInfo> started = new ArrayList<>();
    TrainingResult again =
        Runs.complete(builder(false, out).listener(recording(new ArrayList<>(), started)));
    assertThat(again).isEqualTo(new TrainingResult(Outcome.ALREADY_COMPLETE, 9, out));
    assertThat(started).isEmpty();
    assertThat(stamps(out)).isEqualTo(before);
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
      result = Runs.complete(builder(true, out).listener(interrupting));
      assertThat(Thread.currentThread().isInterrupted()).isTrue();
    } finally {
      Thread.interrupted();
    }
    assertThat(result).isEqualTo(new TrainingResult(Outcome.STOPPED, 3, out));
    Runs.complete(builder(true, out));
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
      result = Runs.complete(builder(true, out).listener(patient));
      assertThat(Thread.currentThread().isInterrupted()).isTrue();
    } finally {
      over.set(true);
      Uninterruptibles.joinUninterruptibly(interrupter);
      Thread.interrupted();
    }
    assertThat(result.outcome()).isEqualTo(Outcome.STOPPED);
    assertThat(result.step()).isBetween(4L, 8L);
    Runs.complete(builder(true, out));
    assertLikeUnbroken(true, out);
  }
}
