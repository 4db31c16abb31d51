package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.train.StepReport;
import io.llara.train.TrainingListener;
import io.llara.train.testing.NativeThreads;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A process that is killed at any moment goes on with the same bits as one that was not. */
class KilledRunTest {
  private static final int STEPS = 40;

  @TempDir static Path shared;
  private static Path model;
  private static Path data;
  private static Path unbroken;
  @TempDir Path dir;

  @BeforeAll
  static void runUnbroken() {
    NativeThreads.one();
    model = Runs.model(shared, true);
    data = Runs.data(shared, 60);
    unbroken = shared.resolve("unbroken");
    Runs.complete(builder(model, data, unbroken));
  }

  private static Pretrainer.Builder builder(Path model, Path data, Path out) {
    return Runs.lora(model, data, out).steps(STEPS).saveEvery(5).evaluateEvery(10);
  }

  /** Runs in a process of its own, slowly, and not to the end: it is there to be killed. */
  public static final class Child {
    private Child() {}

    /** Takes model, data, output directory, and the step at which it waits to be killed. */
    public static void main(String[] arguments) {
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
    Runs.complete(builder(model, data, out));
    assertThat(Runs.metrics(out)).isEqualTo(Runs.metrics(unbroken)).hasSize(STEPS);
    assertThat(Runs.evaluations(out)).isEqualTo(Runs.evaluations(unbroken)).hasSize(5);
    Map<String, float[]> expected = Runs.weights(unbroken);
    Map<String, float[]> actual = Runs.weights(out);
    assertThat(actual).containsOnlyKeys(expected.keySet());
    expected.forEach((name, values) -> assertThat(actual.get(name)).as(name).isEqualTo(values));
    try (var left = Files.list(out.resolve("checkpoints"))) {
      assertThat(left)
          .extracting(path -> path.getFileName().toString())
          .containsExactlyInAnyOrder("step-00000035", "step-00000040");
    }
  }

  private void killAt(int step, int delayMicros, Path out) throws Exception {
    Path output = dir.resolve("output.txt");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx256m",
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                Child.class.getName(),
                model.toString(),
                data.toString(),
                out.toString(),
                // A late kill is still one in the middle.
                String.valueOf(step + 3))
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    try {
      long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(120);
      while (lines(out.resolve("metrics.jsonl")) < step) {
        assertThat(process.isAlive()).as("runs; printed: %s", Files.readString(output)).isTrue();
        assertThat(System.nanoTime()).isLessThan(deadline);
        Thread.sleep(1);
      }
      TimeUnit.MICROSECONDS.sleep(delayMicros);
    } finally {
      // SIGKILL: no hook runs, nothing is closed.
      process.destroyForcibly().waitFor();
    }
    assertThat(process.exitValue()).isNotZero();
  }

  private static long lines(Path file) throws IOException {
    if (!Files.exists(file)) {
      return 0;
    }
    List<String> lines = Files.readAllLines(file);
    return lines.size();
  }
}
