package io.llara.train.distributed;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import com.google.common.base.Stopwatch;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** With shell scripts for ranks. Rank 0 has this process's output, so it prints nothing. */
@Timeout(60)
class ProcessLauncherTest {
  private static final Duration GRACE = Duration.ofSeconds(10);

  private final List<String> lines = Collections.synchronizedList(new ArrayList<>());

  @Test
  void everyRankLearnsItsPlace() throws Exception {
    String script =
        "[ $RANK = 0 ] || echo $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR"
            + " $LLARA_LAUNCHER $LLARA_STORE";
    assertThat(run(3, script)).isZero();
    assertThat(lines).hasSize(2);
    String store = lines.get(0).split(" ")[8];
    long self = ProcessHandle.current().pid();
    assertThat(Path.of(store).getParent()).doesNotExist(); // Not any more.
    assertThat(lines)
        .containsExactlyInAnyOrder(
            "[rank 1] 1 1 3 3 127.0.0.1 " + self + " " + store,
            "[rank 2] 2 2 3 3 127.0.0.1 " + self + " " + store);
  }

  @Test
  void passesOnBothOutputsOfTheOthers() throws Exception {
    // Spelled as bytes: in a locale without these letters an argument cannot hold them.
    String letters = "printf '\\303\\274\\303\\237'";
    assertThat(run(2, "[ $RANK = 0 ] || { echo out; echo err >&2; " + letters + "; }")).isZero();
    String read = new String("üß".getBytes(StandardCharsets.UTF_8), ThisCommand.encoding());
    assertThat(lines).containsExactly("[rank 1] out", "[rank 1] err", "[rank 1] " + read);
  }

  @Test
  void thereIsNoInput() throws Exception {
    assertThat(run(2, "cat")).isZero();
  }

  @ParameterizedTest
  @CsvSource({
    "exit 5, 5, ended with exit code 5; ending the other ranks",
    "kill -9 $$, 137, ended with exit code 137 (SIGKILL); ending the other ranks",
    "kill -40 $$, 168, ended with exit code 168 (signal 40); ending the other ranks"
  })
  void oneThatFailsEndsTheOthers(String how, int code, String message) throws Exception {
    Stopwatch watch = Stopwatch.createStarted();
    assertThat(run(3, "[ $RANK = 1 ] && " + how + "; exec sleep 50")).isEqualTo(code);
    assertThat(watch.elapsed()).isLessThan(Duration.ofSeconds(8));
    assertThat(lines).hasSize(1);
    assertThat(lines.get(0)).matches("rank 1 \\(process \\d+\\) .*").endsWith(message);
  }

  @Test
  void oneThatWillNotEndIsKilled() throws Exception {
    String script =
        "if [ $RANK = 0 ]; then trap '' TERM; while :; do sleep 0.1; done; fi; sleep 0.5; exit 4";
    int code =
        ProcessLauncher.run(List.of("sh", "-c", script), 2, Duration.ofMillis(700), lines::add);
    assertThat(code).isEqualTo(4);
    assertThat(lines).hasSize(2);
    assertThat(lines.get(0)).startsWith("rank 1 ").contains("exit code 4");
    assertThat(lines.get(1))
        .startsWith("rank 0 ")
        .endsWith(" did not end within 0.7 s and is killed");
  }

  @Test
  void oneThatIsDoneEndsNobody() throws Exception {
    assertThat(run(2, "[ $RANK = 0 ] || sleep 0.5; exit 0")).isZero();
    assertThat(lines).isEmpty();
  }

  @Test
  void anInterruptEndsTheRanks() throws Exception {
    CountDownLatch started = new CountDownLatch(1);
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                ProcessLauncher.run(
                    List.of("sh", "-c", "[ $RANK = 0 ] || echo $$; exec sleep 50"),
                    2,
                    GRACE,
                    line -> {
                      lines.add(line);
                      started.countDown();
                    });
              } catch (InterruptedException e) {
                thrown.set(e);
              }
            });
    thread.start();
    assertThat(started.await(20, TimeUnit.SECONDS)).isTrue();
    thread.interrupt();
    thread.join(Duration.ofSeconds(20).toMillis());
    assertThat(thrown.get()).isInstanceOf(InterruptedException.class);
    long process = Long.parseLong(lines.get(0).replace("[rank 1] ", ""));
    assertThat(ProcessHandle.of(process).map(ProcessHandle::onExit).map(CompletableFuture::isDone))
        .isIn(Optional.empty(), Optional.of(true));
  }

  @Test
  void aProgramThatIsNotThere() {
    assertThatExceptionOfType(DistributedException.class)
        .isThrownBy(() -> ProcessLauncher.run(List.of("/no/such/program"), 2, GRACE, lines::add))
        .withMessageContaining("rank 0 cannot be started")
        .withMessageContaining("/no/such/program");
  }

  @Test
  void argumentsAreChecked() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ProcessLauncher.run(List.of(), 2, GRACE, lines::add));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ProcessLauncher.run(List.of("true"), 0, GRACE, lines::add));
    assertThatIllegalArgumentException()
        .isThrownBy(
            () -> ProcessLauncher.run(List.of("true"), 1, Duration.ofMillis(-1), lines::add));
  }

  @Test
  void thisCommandStartsWithTheJavaThatRuns() {
    List<String> command = ProcessLauncher.thisCommand();
    assertThat(Path.of(command.get(0))).isExecutable();
    assertThat(command).hasSizeGreaterThan(1).noneMatch(part -> part.contains("\0"));
  }

  private int run(int processes, String script) throws InterruptedException {
    return ProcessLauncher.run(List.of("sh", "-c", script), processes, GRACE, lines::add);
  }
}
