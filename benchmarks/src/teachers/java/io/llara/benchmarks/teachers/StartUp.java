package io.llara.benchmarks.teachers;

import com.google.common.base.Splitter;
import io.llara.io.TemporaryPath;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Measures the time from the start of a process to its first vector ({@link FirstVector}), of the
 * default encoder and of LangChain4j's all-MiniLM-L6-v2: a fresh JVM each time, in turn.
 *
 * <pre>{@code
 * StartUp ROUNDS llara|minilm[,cold][,JVM_OPTION]… …
 * }</pre>
 *
 * <p>{@code cold} unpacks native libraries into empty folders; otherwise they are where an earlier
 * run put them, which is what the first round is for: it does not count.
 */
public final class StartUp {
  private static final String COLD = "cold";

  private StartUp() {}

  /** Prints a table of medians, in milliseconds. */
  public static void main(String[] args) throws IOException, InterruptedException {
    if (args.length < 2) {
      System.err.println("usage: StartUp ROUNDS llara|minilm[,cold][,JVM_OPTION]… …");
      System.exit(2);
    }
    int rounds = Integer.parseInt(args[0]);
    Map<String, List<List<Double>>> times = new LinkedHashMap<>();
    for (int round = 0; round <= rounds; round++) {
      for (String side : List.of(args).subList(1, args.length)) {
        List<Double> run = run(Splitter.on(',').splitToList(side));
        if (round > 0) {
          times.computeIfAbsent(side, key -> new ArrayList<>()).add(run);
        }
      }
    }
    System.out.println("| | main | model there | first vector | least–most |");
    System.out.println("|---|---:|---:|---:|---|");
    times.forEach(
        (side, runs) ->
            System.out.printf(
                Locale.ROOT,
                "| %s | %.0f | %.0f | %.0f | %.0f–%.0f |%n",
                side.replace(",", ", "),
                at(runs, 0, 0.5),
                at(runs, 1, 0.5),
                at(runs, 2, 0.5),
                at(runs, 2, 0),
                at(runs, 2, 1)));
  }

  /** Returns a value of a column by its place among all, from 0 to 1; the median is at a half. */
  private static double at(List<List<Double>> runs, int column, double place) {
    List<Double> sorted = runs.stream().map(run -> run.get(column)).sorted().toList();
    return sorted.get((int) Math.round(place * (sorted.size() - 1)));
  }

  private static List<Double> run(List<String> side) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(side.subList(1, side.size()));
    try (TemporaryPath empty = TemporaryPath.folder("llara-cold")) {
      if (command.remove(COLD)) {
        command.add("-Dorg.bytedeco.javacpp.cachedir=" + empty.path().resolve("javacpp"));
        command.add("-DDJL_CACHE_DIR=" + empty.path().resolve("djl"));
      }
      command.add("-cp");
      command.add(System.getProperty("java.class.path"));
      command.add(FirstVector.class.getName());
      command.add(side.get(0));
      command.add(String.valueOf(System.currentTimeMillis()));
      Process process =
          new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
      String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (process.waitFor() != 0) {
        throw new IllegalStateException(side + " ended with " + process.exitValue());
      }
      String last = out.lines().reduce((a, b) -> b).orElseThrow();
      return Splitter.on(' ').splitToStream(last).map(Double::valueOf).toList();
    }
  }
}
