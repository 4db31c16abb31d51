package io.llara.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A program in a Java process of its own, with this process's class path. */
public final class ChildJvm {
  private static final int PATIENCE_SECONDS = 400;

  private ChildJvm() {}

  /** Runs a main class with JVM options; fails unless it exits with 0. Returns what it printed. */
  public static String run(List<String> options, Class<?> main, String... arguments)
      throws IOException, InterruptedException {
    Path output = Files.createTempFile("llara-child", ".txt");
    try {
      Process process = start(output, options, main, arguments);
      try {
        assertThat(process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS))
            .as("ended in time")
            .isTrue();
        String printed = Files.readString(output, StandardCharsets.UTF_8);
        assertThat(process.exitValue()).as("exit code; printed: %s", printed).isZero();
        return printed;
      } finally {
        process.destroyForcibly().waitFor();
      }
    } finally {
      Files.delete(output);
    }
  }

  /** Starts a main class with JVM options; what it prints goes to a file. */
  public static Process start(Path output, List<String> options, Class<?> main, String... arguments)
      throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(options);
    command.addAll(List.of("-cp", classPath(), main.getName()));
    command.addAll(List.of(arguments));
    return new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(output.toFile())
        .start();
  }

  /**
   * Surefire may start tests from a jar that only lists the class path; then it says where the list
   * is.
   */
  private static String classPath() {
    return System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
  }
}
