package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.testing.Stories;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

class ProgramsTest {

  @Test
  void quickStartScoresPassages() {
    List<String> lines = run(QuickStart::main, Stories.dir().toString());
    assertThat(lines).hasSize(3).allMatch(line -> line.matches("-?\\d\\.\\d{4}  .+"));
    assertThat(lines.get(0)).contains("llama");
  }

  @Test
  void searchCorpusPrintsFiveTitlesBestFirst() {
    List<String> lines = run(SearchCorpus::main, "rivers and lakes", Stories.dir().toString());
    assertThat(lines).hasSize(5).allMatch(line -> line.matches("-?\\d\\.\\d{4}  .+"));
    assertThat(lines.stream().map(line -> Double.valueOf(line.split(" ")[0])))
        .isSortedAccordingTo((a, b) -> Double.compare(b, a));
  }

  @Test
  void bothModesAgreeWithSeparatePasses() {
    List<String> lines = run(BothModes::main, Stories.dir().toString());
    assertThat(lines).hasSize(3);
    // Equal up to the rounding of the type that this processor computes in.
    assertThat(cosine(lines.get(0))).isGreaterThan(0.999);
    assertThat(cosine(lines.get(1))).isGreaterThan(0.999);
    assertThat(cosine(lines.get(2))).isBetween(-1.0, 0.99999);
  }

  private static double cosine(String line) {
    return Double.parseDouble(line.substring(line.lastIndexOf(' ') + 1));
  }

  /** Runs the main method of a program that was loaded. */
  static void invoke(Method main, String... args) {
    try {
      main.invoke(null, (Object) args);
    } catch (ReflectiveOperationException e) {
      throw new AssertionError(e);
    }
  }

  /** Returns the lines that a program prints. */
  static List<String> run(Consumer<String[]> program, String... args) {
    PrintStream out = System.out;
    ByteArrayOutputStream captured = new ByteArrayOutputStream();
    System.setOut(new PrintStream(captured, true, StandardCharsets.UTF_8));
    try {
      program.accept(args);
    } finally {
      System.setOut(out);
    }
    return captured.toString(StandardCharsets.UTF_8).lines().toList();
  }
}
