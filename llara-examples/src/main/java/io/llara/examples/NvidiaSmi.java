package io.llara.examples;

import com.google.common.base.Splitter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** What the driver's own program tells of the GPUs: it needs nothing of CUDA or libtorch. */
final class NvidiaSmi {
  private static final Splitter COLUMNS = Splitter.on(',').trimResults();
  private static final List<String> COMMAND =
      List.of(
          "nvidia-smi",
          "--query-gpu=index,name,compute_cap,memory.free,memory.total",
          "--format=csv,noheader");
  private static final int PATIENCE_SECONDS = 20;

  private NvidiaSmi() {}

  /** Returns a line for each GPU; empty if the program is not there or does not answer. */
  static Optional<List<String>> gpus() {
    return gpus(COMMAND);
  }

  static Optional<List<String>> gpus(List<String> command) {
    try {
      Process process =
          new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
      try {
        process.getOutputStream().close();
        if (!process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS) || process.exitValue() != 0) {
          return Optional.empty();
        }
        String printed =
            new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return Optional.of(printed.lines().map(NvidiaSmi::describe).toList());
      } finally {
        process.destroyForcibly();
      }
    } catch (IOException e) {
      return Optional.empty();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return Optional.empty();
    }
  }

  private static String describe(String line) {
    List<String> columns = COLUMNS.splitToList(line);
    return columns.size() == 5
        ? "cuda:%s %s, compute capability %s, %s of %s free".formatted(columns.toArray())
        : line;
  }
}
