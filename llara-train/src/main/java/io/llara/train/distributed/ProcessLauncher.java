package io.llara.train.distributed;

import com.google.common.base.Preconditions;
import java.io.IOException;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;

/**
 * Starts the ranks of a group on this machine, as {@code torchrun} would, and watches over them.
 *
 * <p>Every rank finds its place in {@code RANK}, {@code LOCAL_RANK}, {@code WORLD_SIZE}, {@code
 * LOCAL_WORLD_SIZE}, {@code MASTER_ADDR} (127.0.0.1) and {@code MASTER_PORT} (a free one), which
 * {@link WorldSettings#from} reads:
 *
 * <pre>{@code
 * Optional<WorldSettings> world = WorldSettings.from(System.getenv());
 * if (world.isEmpty() && processes > 1) {
 *   int code = ProcessLauncher.run(
 *       ProcessLauncher.thisCommand(), processes, Duration.ofSeconds(60), System.err::println);
 *   ... end with that code
 * }
 * }</pre>
 *
 * <p>Rank 0 has this process's standard output and error. What the others print on either arrives
 * line by line at a consumer, with the rank before it.
 */
public final class ProcessLauncher {
  private static final int FIRST_PORT = 20_000;

  /** Systems hand out ports from here on (Linux) or later to outgoing connections. */
  private static final int END_PORT = 32_768;

  private static final int PORT_ATTEMPTS = 100;

  private ProcessLauncher() {}

  /**
   * Starts the processes and waits until all have ended.
   *
   * <p>When one ends with another code than 0, the others have a second to notice, then get
   * SIGTERM, and SIGKILL if they are still there after the grace. A line says which rank ended how.
   * When this process is told to end (SIGTERM, SIGINT), so are the ranks in the same way, and it
   * stays until they are gone; when it is killed, the ranks notice at their next exchange with each
   * other.
   *
   * @param command program and arguments, the same for all ranks; usually {@link #thisCommand}
   * @param grace how long a rank may take to end once it was told to: as long as saving its state
   *     takes
   * @param lines gets what the other ranks print and what happens to the ranks, one line at a time
   * @return 0 if every rank ended with 0; otherwise the code of the first that did not, 128 + n for
   *     one that signal n ended
   * @throws DistributedException if a process cannot be started
   * @throws InterruptedException if this thread is interrupted, after the ranks have been ended
   */
  public static int run(List<String> command, int processes, Duration grace, Consumer<String> lines)
      throws InterruptedException {
    Preconditions.checkArgument(!command.isEmpty(), "the command is empty");
    Preconditions.checkArgument(processes > 0, "processes %s, expected at least 1", processes);
    Preconditions.checkArgument(!grace.isNegative(), "grace %s is negative", grace);
    RankProcesses ranks = new RankProcesses(processes, grace, lines);
    Thread hook = new Thread(ranks::endAll, "llara-end-ranks");
    Runtime.getRuntime().addShutdownHook(hook);
    try {
      ranks.start(command, freePort());
      return ranks.await();
    } finally {
      ranks.endAll(); // None is left unless something went wrong here.
      removeHook(hook);
    }
  }

  /**
   * Returns the command that started this process: its Java, the JVM's options, and the program
   * with its arguments.
   *
   * @throws DistributedException if this system does not tell a process its own arguments
   */
  public static List<String> thisCommand() {
    return ThisCommand.get();
  }

  private static void removeHook(Thread hook) {
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // It is running.
    }
  }

  /**
   * Returns a port that is free now and that no outgoing connection takes until rank 0 listens
   * there.
   */
  private static int freePort() {
    for (int i = 0; i < PORT_ATTEMPTS; i++) {
      int port = ThreadLocalRandom.current().nextInt(FIRST_PORT, END_PORT);
      try (ServerSocket socket = new ServerSocket(port)) {
        return socket.getLocalPort();
      } catch (IOException e) {
        // Taken: the next one.
      }
    }
    throw new DistributedException(
        "%d ports from %d to %d were tried and none is free"
            .formatted(PORT_ATTEMPTS, FIRST_PORT, END_PORT - 1));
  }
}
