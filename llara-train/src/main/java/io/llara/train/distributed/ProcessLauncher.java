package io.llara.train.distributed;

import com.google.common.base.Preconditions;
import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.io.TemporaryPath;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;

/**
 * Starts the ranks of a group on this machine, as {@code torchrun} would, and watches over them.
 *
 * <p>Every rank finds its place in {@code RANK}, {@code LOCAL_RANK}, {@code WORLD_SIZE}, {@code
 * LOCAL_WORLD_SIZE}, {@code MASTER_ADDR} (127.0.0.1), {@code MASTER_PORT} and {@code LLARA_STORE},
 * a file that only this user can read, which {@link WorldSettings#from} reads; no other machine can
 * connect to them:
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
  private static final String HOST = "127.0.0.1";

  /** Nobody listens there: the ranks find each other through a file. */
  private static final int PORT = 29_500;

  /**
   * c10d looks up the name of each address it meets, for its log. A name server that does not
   * answer would hold up every start for five seconds or more; here nobody else is looked up.
   */
  private static final String RESOLVER_OPTIONS = "RES_OPTIONS";

  private static final String ONE_SECOND = "timeout:1 attempts:1";

  /** What a shell adds to the number of a signal, and so does {@link Process#exitValue}. */
  private static final int SIGNALS = 128;

  private static final Map<Integer, String> SIGNAL_NAMES =
      Map.of(2, "SIGINT", 6, "SIGABRT", 7, "SIGBUS", 9, "SIGKILL", 11, "SIGSEGV", 15, "SIGTERM");

  /** For what is over in a moment, or never: a killed process, the last lines of one. */
  private static final Duration MOMENT = Duration.ofSeconds(2);

  /**
   * How long ranks have to notice by themselves that one is gone. Most do at once, and then report
   * it and end in order.
   */
  private static final Duration NOTICE = Duration.ofSeconds(1);

  private final int count;
  private final Duration grace;
  private final Consumer<String> lines;
  private final BlockingQueue<Rank> ended = new LinkedBlockingQueue<>();

  /** Guarded by this, as is the flag. */
  private final List<Rank> ranks = new ArrayList<>();

  /** Whether the ranks are being ended: how they end is not reported then. */
  private boolean ending;

  /** A process and the thread that passes on its output, of which rank 0 has none. */
  private record Rank(int number, Process process, Thread reader) {
    @Override
    public String toString() {
      return "rank %d (process %d)".formatted(number, process.pid());
    }
  }

  private ProcessLauncher(int count, Duration grace, Consumer<String> lines) {
    this.count = count;
    this.grace = grace;
    this.lines = lines;
  }

  /**
   * Starts the processes and waits until all have ended.
   *
   * <p>When one ends with another code than 0, the others have a second to notice, then get
   * SIGTERM, and SIGKILL if they are still there after the grace. A line reports which rank ended
   * how. When this process gets a signal to end (SIGTERM, SIGINT), the ranks are ended in the same
   * way, and it stays until they are gone; when it is killed, the ranks notice at their next
   * exchange with each other.
   *
   * @param command program and arguments, the same for all ranks; usually {@link #thisCommand}
   * @param grace how long a rank may take to end after SIGTERM: as long as saving its state takes
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
    ProcessLauncher launcher = new ProcessLauncher(processes, grace, lines);
    Thread hook = new Thread(launcher::endAll, "llara-end-ranks");
    Runtime.getRuntime().addShutdownHook(hook);
    try (TemporaryPath meeting = TemporaryPath.folder("llara-ranks")) {
      for (int rank = 0; rank < processes; rank++) {
        launcher.start(command, rank, meeting.path().resolve("store"));
      }
      return launcher.await();
    } finally {
      launcher.endAll(); // None is left unless something went wrong here.
      removeHook(hook);
    }
  }

  /**
   * Returns the command that started this process: its Java, the JVM's options, and the program
   * with its arguments.
   *
   * @throws DistributedException if this system does not report the arguments of a process
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

  private synchronized void start(List<String> command, int number, Path store) {
    if (ending) {
      return;
    }
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(number > 0);
    if (number == 0) {
      builder.redirectOutput(ProcessBuilder.Redirect.INHERIT);
      builder.redirectError(ProcessBuilder.Redirect.INHERIT);
    }
    Map<String, String> environment = builder.environment();
    environment.put(WorldSettings.RANK, Integer.toString(number));
    environment.put(WorldSettings.LOCAL_RANK, Integer.toString(number));
    environment.put(WorldSettings.WORLD_SIZE, Integer.toString(count));
    environment.put(WorldSettings.LOCAL_WORLD_SIZE, Integer.toString(count));
    environment.put(WorldSettings.MASTER_ADDR, HOST);
    environment.put(WorldSettings.MASTER_PORT, Integer.toString(PORT));
    environment.put(WorldSettings.LAUNCHER, Long.toString(ProcessHandle.current().pid()));
    environment.put(WorldSettings.STORE, store.toString());
    environment.remove(WorldSettings.USE_AGENT_STORE);
    environment.putIfAbsent(RESOLVER_OPTIONS, ONE_SECOND);
    try {
      Process process = builder.start();
      process.getOutputStream().close(); // There is no input to share.
      Thread reader = new Thread(() -> passOn(number, process), "llara-output-of-rank-" + number);
      reader.setDaemon(true);
      reader.start();
      Rank rank = new Rank(number, process, reader);
      ranks.add(rank);
      process.onExit().thenRun(() -> ended.add(rank));
    } catch (IOException e) {
      throw new DistributedException("rank " + number + " cannot be started: " + e.getMessage(), e);
    }
  }

  /** Waits until all have ended and returns the code for the whole. */
  private int await() throws InterruptedException {
    int code = 0;
    for (int left = started().size(); left > 0; left--) {
      Rank rank = ended.take();
      int exit = rank.process().exitValue();
      if (exit != 0 && code == 0) {
        code = exit;
        if (!isEnding()) {
          report(describe(rank, exit) + (left > 1 ? "; ending the other ranks" : ""));
          awaitAll(NOTICE);
          endAll();
        }
      }
    }
    started().forEach(ProcessLauncher::awaitReader);
    return code;
  }

  /** Ends those that run and waits until they have; kills them after the grace. */
  private void endAll() {
    synchronized (this) {
      ending = true;
    }
    List<Rank> all = started();
    all.forEach(rank -> rank.process().destroy()); // Does nothing to one that has ended.
    awaitAll(grace);
    for (Rank rank : all) {
      if (rank.process().isAlive()) {
        report(
            "%s did not end within %s s and is killed".formatted(rank, grace.toMillis() / 1000.0));
        rank.process().destroyForcibly();
        awaitEnd(rank.process(), MOMENT);
      }
    }
    all.forEach(ProcessLauncher::awaitReader);
  }

  private void awaitAll(Duration patience) {
    long deadline = System.nanoTime() + patience.toNanos();
    for (Rank rank : started()) {
      awaitEnd(rank.process(), Duration.ofNanos(Math.max(0, deadline - System.nanoTime())));
    }
  }

  /** An interrupt does not cut this short, so that no process is left behind; it is kept. */
  private static void awaitEnd(Process process, Duration patience) {
    try {
      Uninterruptibles.getUninterruptibly(process.onExit(), patience);
    } catch (ExecutionException | TimeoutException e) {
      // The caller looks whether it is alive.
    }
  }

  private static void awaitReader(Rank rank) {
    Uninterruptibles.joinUninterruptibly(rank.reader(), MOMENT);
  }

  private void passOn(int rank, Process process) {
    try (BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), ThisCommand.encoding()))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        report("[rank " + rank + "] " + line);
      }
    } catch (IOException e) {
      report("[rank " + rank + "] its output cannot be read any more: " + e.getMessage());
    }
  }

  private void report(String line) {
    synchronized (lines) {
      lines.accept(line);
    }
  }

  private static String describe(Rank rank, int exit) {
    int signal = exit - SIGNALS;
    return "%s ended with exit code %d".formatted(rank, exit)
        + (signal > 0 ? " (" + SIGNAL_NAMES.getOrDefault(signal, "signal " + signal) + ")" : "");
  }

  private synchronized List<Rank> started() {
    return List.copyOf(ranks);
  }

  private synchronized boolean isEnding() {
    return ending;
  }
}
