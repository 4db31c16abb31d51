package io.llara.benchmarks;

import com.google.common.io.MoreFiles;
import com.google.common.io.RecursiveDeleteOption;
import io.llara.ComputeType;
import io.llara.tensor.TensorScope;
import io.llara.train.StepReport;
import io.llara.train.TrainingListener;
import io.llara.train.checkpoint.VocabularyGrowth;
import io.llara.train.pretrain.Pretrainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * Makes many steps of training and watches the resident set and the number of native objects alive.
 *
 * <pre>{@code
 * TrainingSoak MODEL_DIR TEXTS.jsonl.gz [STEPS [TYPE]]
 * }</pre>
 *
 * <p>The model gets the markers first. It runs in a JVM of its own, whose heap is resident from the
 * start: what grows is not the heap. Exit code 1 if the resident set grows by 2 % or more after the
 * first quarter, or objects are left over.
 */
public final class TrainingSoak {
  private static final String CHILD = "--child";
  private static final int DEFAULT_STEPS = 2_000;
  private static final double ALLOWED_GROWTH = 0.02;

  private TrainingSoak() {}

  /** Runs it. */
  public static void main(String[] args) throws IOException {
    if (args.length == 6 && args[0].equals(CHILD)) {
      Path folder = Path.of(args[5]);
      System.exit(
          run(
                  Path.of(args[1]),
                  Path.of(args[2]),
                  Integer.parseInt(args[3]),
                  Types.parse(args[4]),
                  folder)
              ? 0
              : 1);
    }
    if (args.length < 2 || args.length > 4) {
      System.err.println("usage: TrainingSoak MODEL_DIR TEXTS.jsonl.gz [STEPS [float32|bfloat16]]");
      System.exit(2);
    }
    String steps = args.length > 2 ? args[2] : Integer.toString(DEFAULT_STEPS);
    String type = args.length > 3 ? args[3] : Types.name(ComputeType.FLOAT32);
    Path folder = Files.createTempDirectory("training-soak");
    int code =
        ChildJvm.run(
            TrainingSoak.class,
            List.of("-Xms512m", "-Xmx512m", "-XX:+AlwaysPreTouch"),
            List.of(CHILD, args[0], args[1], steps, type, folder.toString()));
    MoreFiles.deleteRecursively(folder, RecursiveDeleteOption.ALLOW_INSECURE);
    System.exit(code);
  }

  private static boolean run(Path model, Path texts, int steps, ComputeType type, Path folder) {
    Path marked = folder.resolve("marked");
    VocabularyGrowth.addMarkers(model, marked, 1);
    Watch watch = new Watch(steps);
    Pretrainer.builder(marked, List.of(texts), folder.resolve("out"))
        .fullParameters()
        .steps(steps)
        .batch(16)
        .maxTokens(160)
        .learningRate(1e-3)
        .saveEvery(steps / 4)
        .shuffleBuffer(512)
        .computeType(type)
        .listener(watch)
        .build()
        .run();
    return watch.flat();
  }

  /** Notes the resident set at every eighth of the run. */
  private static final class Watch implements TrainingListener {
    private final int steps;
    private long residentAfterQuarter;
    private long residentAtEnd;
    private long objectsAfterQuarter;
    private long objectsAtEnd;

    Watch(int steps) {
      this.steps = steps;
    }

    @Override
    public void step(StepReport report) {
      if (report.step() % Math.max(1, steps / 8) != 0) {
        return;
      }
      long resident = ProcessMemory.resident();
      long objects = TensorScope.liveObjects();
      System.out.printf(
          Locale.ROOT,
          "step %d: resident %.1f MiB, %d native objects, loss %.3f%n",
          report.step(),
          resident / 1048576.0,
          objects,
          report.loss());
      if (residentAfterQuarter == 0 && report.step() >= steps / 4) {
        residentAfterQuarter = resident;
        objectsAfterQuarter = objects;
      }
      residentAtEnd = resident;
      objectsAtEnd = objects;
    }

    boolean flat() {
      double growth = residentAtEnd / (double) residentAfterQuarter - 1;
      System.out.printf(
          Locale.ROOT,
          "after the first quarter: %+.2f %% resident, %+d native objects%n",
          100 * growth,
          objectsAtEnd - objectsAfterQuarter);
      return growth < ALLOWED_GROWTH && objectsAtEnd <= objectsAfterQuarter;
    }
  }
}
