package io.llara.train.distributed;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.base.Stopwatch;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Real JVMs: a launcher, its ranks, and what happens when one of them dies. */
@Timeout(120)
class RankProgramTest {
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  /** What is noticed through a closed connection or a signal must not take a timeout. */
  private static final Duration AT_ONCE = Duration.ofSeconds(15);

  @TempDir Path folder;
  private Path notes;
  private Path output;
  private Process launcher;

  @BeforeEach
  void makeFolder() throws IOException {
    notes = Files.createDirectory(folder.resolve("notes of ranks"));
    output = folder.resolve("output.txt");
  }

  @AfterEach
  void endAll() throws Exception {
    if (launcher != null) {
      launcher.descendants().forEach(ProcessHandle::destroyForcibly);
      launcher.destroyForcibly().waitFor();
    }
  }

  @Test
  void ranksGetTheLaunchersArgumentsAndFindEachOther() throws Exception {
    start("sum", 2, "two words", "", "--x=*'\"");
    assertThat(exitCode(PATIENCE)).as(printed()).isZero();
    String arguments = "arguments [sum, 2, " + notes + ", two words, , --x=*'\"]";
    assertThat(printed().lines())
        .contains(arguments, "[rank 1] " + arguments, "sum 3.0", "[rank 1] sum 3.0");
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void noOtherMachineCanConnectToTheRanks() throws Exception {
    start("listen", 2);
    assertThat(exitCode(PATIENCE)).as(printed()).isZero();
    // 127.0.0.1, low byte first.
    assertThat(printed().lines().filter(line -> line.contains("listening")))
        .containsExactlyInAnyOrder("listening [0100007F]", "[rank 1] listening [0100007F]");
  }

  @Test
  void aKilledRankEndsTheRun() throws Exception {
    start("work", 2);
    process("working-0");
    ProcessHandle rank1 = process("working-1");
    Stopwatch watch = Stopwatch.createStarted();
    rank1.destroyForcibly();
    assertThat(exitCode(AT_ONCE)).as(printed()).isEqualTo(137);
    assertThat(watch.elapsed()).isLessThan(AT_ONCE);
    assertThat(printed())
        .contains("rank 1 (process " + rank1.pid() + ") ended with exit code 137 (SIGKILL)");
    assertThat(Files.readString(notes.resolve("lost-0")))
        .startsWith("rank 0 of 2, an all-reduce: another rank has ended (");
  }

  @Test
  void aRankThatJustLeavesEndsTheRun() throws Exception {
    start("leave", 2);
    assertThat(exitCode(PATIENCE)).as(printed()).isEqualTo(7);
    assertThat(printed()).contains("ended with exit code 7");
    assertThat(Files.readString(notes.resolve("lost-0"))).contains("another rank has ended");
  }

  @Test
  void aSignalToTheLauncherReachesTheRanks() throws Exception {
    start("work", 2);
    List<ProcessHandle> ranks = List.of(process("working-0"), process("working-1"));
    launcher.destroy();
    assertThat(exitCode(AT_ONCE)).as(printed()).isEqualTo(143);
    assertThat(notes.resolve("ending-0")).exists();
    assertThat(notes.resolve("ending-1")).exists();
    assertThat(ranks).noneMatch(ProcessHandle::isAlive);
    assertThat(printed()).doesNotContain("ending the other").doesNotContain("killed");
  }

  @Test
  void ranksDoNotOutliveAKilledLauncher() throws Exception {
    start("work", 2);
    List<ProcessHandle> ranks = List.of(process("working-0"), process("working-1"));
    launcher.destroyForcibly();
    await(
        () -> ranks.stream().anyMatch(ProcessHandle::isAlive) ? Optional.empty() : Optional.of(1));
    String messages =
        Files.readString(notes.resolve("lost-0")) + Files.readString(notes.resolve("lost-1"));
    assertThat(messages)
        .contains("process " + launcher.pid() + ", which started the ranks, has ended");
  }

  private void start(String what, int ranks, String... more) throws IOException {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx64m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                RankProgram.class.getName(),
                what,
                Integer.toString(ranks),
                notes.toString()));
    command.addAll(List.of(more));
    launcher =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
  }

  private int exitCode(Duration patience) throws Exception {
    assertThat(launcher.waitFor(patience.toMillis(), TimeUnit.MILLISECONDS))
        .as("ended in time; printed: %s", printed())
        .isTrue();
    return launcher.exitValue();
  }

  private String printed() throws IOException {
    return Files.readString(output, StandardCharsets.UTF_8);
  }

  /** Waits for a note with a process id. */
  private ProcessHandle process(String note) throws Exception {
    Path path = notes.resolve(note);
    await(() -> Files.exists(path) ? Optional.of(path) : Optional.empty());
    return ProcessHandle.of(Long.parseLong(Files.readString(path))).orElseThrow();
  }

  private interface Question {
    Optional<?> ask() throws Exception;
  }

  private void await(Question question) throws Exception {
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (question.ask().isEmpty()) {
      assertThat(System.nanoTime()).as(printed()).isLessThan(deadline);
      Thread.sleep(20);
    }
  }
}
