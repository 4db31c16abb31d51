package io.llara.benchmarks;

import io.llara.ComputeType;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.StorageType;
import io.llara.engine.EncodingEngine;
import io.llara.tensor.Cpu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Measures the peak resident set (VmHWM, mapped weights counted) of loading the large shape and
 * encoding 16 prompts of 128 tokens, against the weights in the compute type plus 1 GiB.
 *
 * <pre>{@code
 * PeakMemory DIR [STORED:COMPUTED …]
 * }</pre>
 *
 * <p>Checkpoints of random weights are written to DIR once (2 GiB in bfloat16, 4 GiB in float32)
 * and stay there. Each case runs in a JVM of its own with {@code -Xmx1g}. Exit code 1 if one needs
 * more.
 */
public final class PeakMemory {
  private static final String CHILD = "--child";
  private static final long ALLOWANCE = 1L << 30;
  private static final int PASSES = 3;

  private PeakMemory() {}

  /** Runs the cases that are named, or those of this processor's types. */
  public static void main(String[] args) throws IOException {
    if (args.length == 3 && args[0].equals(CHILD)) {
      System.exit(measure(Path.of(args[1]), Types.parse(args[2])) ? 0 : 1);
    }
    if (args.length == 0) {
      System.err.println("usage: PeakMemory DIR [STORED:COMPUTED …], such as bfloat16:float32");
      System.exit(2);
    }
    Path root = Path.of(args[0]);
    boolean fits = true;
    for (String[] pair : cases(args)) {
      StorageType stored =
          Types.parse(pair[0]) == ComputeType.FLOAT32 ? StorageType.F32 : StorageType.BF16;
      Path dir = root.resolve("large-" + pair[0]);
      if (!Files.exists(dir.resolve("model.safetensors"))) {
        System.err.println("writing " + dir);
        RandomCheckpoint.write(dir, Shape.LARGE.config(), stored);
      }
      List<String> jvm = List.of("-Xmx1g");
      fits &= ChildJvm.run(PeakMemory.class, jvm, List.of(CHILD, dir.toString(), pair[1])) == 0;
    }
    System.exit(fits ? 0 : 1);
  }

  private static List<String[]> cases(String[] args) {
    List<String[]> cases = new ArrayList<>();
    for (String arg : List.of(args).subList(1, args.length)) {
      String[] pair = arg.split(":", -1);
      if (pair.length != 2) {
        throw new IllegalArgumentException(
            "case is \"" + arg + "\"; expected STORED:COMPUTED, such as bfloat16:float32");
      }
      cases.add(pair);
    }
    if (cases.isEmpty()) {
      cases.add(new String[] {"float32", "float32"});
      cases.add(new String[] {"bfloat16", "float32"});
      if (Cpu.multipliesBfloat16()) {
        cases.add(new String[] {"bfloat16", "bfloat16"});
        cases.add(new String[] {"float32", "bfloat16"});
      }
    }
    return cases;
  }

  private static boolean measure(Path dir, ComputeType type) {
    long weights = Shape.LARGE.weights() * (type == ComputeType.BFLOAT16 ? 2 : 4);
    double loading;
    long loaded;
    long begin = System.nanoTime();
    try (EncodingEngine engine =
        EncodingEngine.builder()
            .computeType(type)
            .maxTokens(Workload.MAX_TOKENS)
            .open(CheckpointDirectory.open(dir))) {
      loading = (System.nanoTime() - begin) / 1e9;
      loaded = ProcessMemory.peak();
      Workload workload = Workload.of(16, 128, engine.config().vocabularySize());
      for (int i = 0; i < PASSES; i++) {
        workload.check(engine);
      }
    }
    long peak = ProcessMemory.peak();
    boolean fits = peak <= weights + ALLOWANCE;
    System.out.printf(
        Locale.ROOT,
        "%s computed in %s: loaded in %.1f s, peak %d MiB after loading, %d MiB after encoding;"
            + " weights %d MiB, above them %d of %d MiB: %s%n",
        dir.getFileName(),
        Types.name(type),
        loading,
        loaded >> 20,
        peak >> 20,
        weights >> 20,
        (peak - weights) >> 20,
        ALLOWANCE >> 20,
        fits ? "ok" : "TOO MUCH");
    return fits;
  }
}
