package io.llara.benchmarks;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The resident set of this process as Linux counts it; mapped files are part of it. */
final class ProcessMemory {
  private static final Path STATUS = Path.of("/proc/self/status");
  private static final Path CLEAR = Path.of("/proc/self/clear_refs");

  private ProcessMemory() {}

  /** Returns the resident set in bytes, -1 where the system does not tell. */
  static long resident() {
    return read("VmRSS:");
  }

  /** Returns the largest resident set so far in bytes, -1 where the system does not tell. */
  static long peak() {
    return read("VmHWM:");
  }

  /**
   * Lets {@link #peak} begin again at the present size; returns false where that is not possible.
   */
  static boolean resetPeak() {
    try {
      Files.writeString(CLEAR, "5");
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  private static long read(String key) {
    if (!Files.isReadable(STATUS)) {
      return -1;
    }
    try {
      List<String> lines = Files.readAllLines(STATUS);
      for (String line : lines) {
        if (line.startsWith(key)) {
          return Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024;
        }
      }
      return -1;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
