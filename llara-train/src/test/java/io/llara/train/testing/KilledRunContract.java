package io.llara.train.testing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import io.llara.train.StepReport;
import io.llara.train.TrainingListener;
import io.llara.train.run.RunBuilder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/** A process that is killed at any moment goes on with the same bits as one that was not. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
public abstract class KilledRunContract {
  /** The steps of a run. */
  protected static final int STEPS = 40;

  @TempDir static Path shared;
  @TempDir Path dir;
  private Path model;
  private Path data;
  private Path unbroken;

  /** Writes the data and returns it. */
  protected abstract Path data(Path folder);

  /**
   * Returns a run of {@link #STEPS} steps, with a checkpoint every 5 and an evaluation every 10.
   */
  protected abstract RunBuilder<?> builder(Path model, Path data, Path out);

  /** Returns a class whose main method hands its arguments to {@link #runSlowly}. */
  protected abstract Class<?> child();

  @BeforeAll
  void runUnbroken() {
    NativeThreads.one();
    model = TrainingRuns.model(shared, true);
    data = data(shared);
    unbroken = shared.resolve("unbroken");
    TrainingRuns.complete(builder(model, data, unbroken));
  }

  /**
   * Runs in a process of its own, slowly, and not to the end: it is there to be killed.
   *
   * @param arguments model, data, output directory, and the step at which it waits to be killed
   */
  protected void runSlowly(String[] arguments) {
    NativeThreads.one();
    long last = Long.parseLong(arguments[3]);
    TrainingListener slow =
        new TrainingListener() {
          @Override
          public void step(StepReport report) {
            try {
              Thread.sleep(report.step() < last ? 10 : 600_000);
            } catch (InterruptedException e) {
              throw new IllegalStateException(e);
            }
          }
        };
    builder(Path.of(arguments[0]), Path.of(arguments[1]), Path.of(arguments[2]))
        .listener(slow)
        .build()
        .run();
  }

  @Test
  void goesOnAfterItWasKilled() throws Exception {
    killAndComplete(1, 2);
  }

  @Test
  @Tag("nightly")
  void goesOnAfterItWasKilledManyTimes() throws Exception {
    for (int seed = 2; seed < 12; seed++) {
      killAndComplete(seed, 3);
    }
  }

  private void killAndComplete(long seed, int kills) throws Exception {
    Random random = new Random(seed);
    Path out = dir.resolve("out-" + seed);
    int from = 0;
    for (int i = 0; i < kills; i++) {
      int step = from + 1 + random.nextInt(STEPS / (kills + 1));
      from = step;
      killAt(step, random.nextInt(20_000), out);
      assertThat(out.resolve("config.json")).doesNotExist();
    }
    TrainingRuns.complete(builder(model, data, out));
    assertThat(TrainingRuns.metrics(out)).isEqualTo(TrainingRuns.metrics(unbroken)).hasSize(STEPS);
    assertThat(TrainingRuns.evaluations(out))
        .isEqualTo(TrainingRuns.evaluations(unbroken))
        .hasSize(5);
    TrainingRuns.assertSameWeights(out, unbroken);
    try (var left = Files.list(out.resolve("checkpoints"))) {
      assertThat(left)
          .extracting(path -> path.getFileName().toString())
          .containsExactlyInAnyOrder("step-00000035", "step-00000040");
    }
  }

  @Test
  void aSecondProcessIsRefusedWhileOneTrains() throws Exception {
    Path out = dir.resolve("out");
    Process process = start(1, out);
    try {
      awaitStep(1, out, process);
      assertThatThrownBy(() -> TrainingRuns.complete(builder(model, data, out)))
          .isInstanceOf(LlaraException.class)
          .hasMessageStartingWith(out + ": another process is training there");
      assertThat(process.isAlive()).isTrue();
    } finally {
      process.destroyForcibly().waitFor();
    }
    TrainingRuns.complete(builder(model, data, out));
    assertThat(TrainingRuns.metrics(out)).isEqualTo(TrainingRuns.metrics(unbroken));
  }

  private void killAt(int step, int delayMicros, Path out) throws Exception {
    Process process = start(step + 3, out); // A late kill is still one in the middle.
    try {
      awaitStep(step, out, process);
      TimeUnit.MICROSECONDS.sleep(delayMicros);
    } finally {
      // SIGKILL: no hook runs, nothing is closed.
      process.destroyForcibly().waitFor();
    }
    assertThat(process.exitValue()).isNotZero();
  }

  private void awaitStep(int step, Path out, Process process) throws Exception {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(120);
    while (lines(out.resolve("metrics.jsonl")) < step) {
      assertThat(process.isAlive())
          .as("runs; printed: %s", Files.readString(dir.resolve("output.txt")))
          .isTrue();
      assertThat(System.nanoTime()).isLessThan(deadline);
      Thread.sleep(1);
    }
  }

  /** Starts a process that trains up to a step and then waits to be killed. */
  private Process start(int last, Path out) throws IOException {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx256m",
            "-cp",
            System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
            child().getName(),
            model.toString(),
            data.toString(),
            out.toString(),
            String.valueOf(last))
        .redirectErrorStream(true)
        .redirectOutput(dir.resolve("output.txt").toFile())
        .start();
  }

  private static long lines(Path file) throws IOException {
    if (!Files.exists(file)) {
      return 0;
    }
    List<String> lines = Files.readAllLines(file);
    return lines.size();
  }
}
