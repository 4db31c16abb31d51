package io.llara.train.distributed;

import com.google.common.util.concurrent.Uninterruptibles;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;

/** The processes of one run. */
final class RankProcesses {
  private static final String HOST = "127.0.0.1";

  /**
   * c10d asks for the name of each address it meets, for its log. A name server that does not
   * answer would hold every start up for five seconds or more; here nobody else is asked for.
   */
  private static final String RESOLVER_OPTIONS = "RES_OPTIONS";

  private static final String PATIENT_FOR_A_SECOND = "timeout:1 attempts:1";

  /** What a shell adds to the number of a signal, and so does {@link Process#exitValue}. */
  private static final int SIGNALS = 128;

  private static final Map<Integer, String> SIGNAL_NAMES =
      Map.of(2, "SIGINT", 6, "SIGABRT", 7, "SIGBUS", 9, "SIGKILL", 11, "SIGSEGV", 15, "SIGTERM");

  /** For what is over in a moment, or never: a killed process, the last lines of one. */
  private static final Duration PATIENCE = Duration.ofSeconds(2);

  /**
   * How long ranks have to notice by themselves that one is gone. Most do at once, and then say so
   * and end in order.
   */
  private static final Duration NOTICE = Duration.ofSeconds(1);

  private final int count;
  private final Duration grace;
  private final Consumer<String> lines;
  private final BlockingQueue<Integer> ended = new LinkedBlockingQueue<>();

  /** By rank. Guarded by this. */
  private final List<Process> processes = new ArrayList<>();

  /** Guarded by this. */
  private final List<Thread> readers = new ArrayList<>();

  /** Whether the ranks are told to end: how they do is no news then. Guarded by this. */
  private boolean ending;

  RankProcesses(int count, Duration grace, Consumer<String> lines) {
    this.count = count;
    this.grace = grace;
    this.lines = lines;
  }

  void start(List<String> command, int port) {
    for (int rank = 0; rank < count; rank++) {
      start(command, rank, port);
    }
  }

  private synchronized void start(List<String> command, int rank, int port) {
    if (ending) {
      return;
    }
    ProcessBuilder builder = new ProcessBuilder(command);
    Map<String, String> environment = builder.environment();
    environment.put(WorldSettings.RANK, Integer.toString(rank));
    environment.put(WorldSettings.LOCAL_RANK, Integer.toString(rank));
    environment.put(WorldSettings.WORLD_SIZE, Integer.toString(count));
    environment.put(WorldSettings.LOCAL_WORLD_SIZE, Integer.toString(count));
    environment.put(WorldSettings.MASTER_ADDR, HOST);
    environment.put(WorldSettings.MASTER_PORT, Integer.toString(port));
    environment.put(WorldSettings.LAUNCHER, Long.toString(ProcessHandle.current().pid()));
    environment.remove(WorldSettings.USE_AGENT_STORE);
    environment.putIfAbsent(RESOLVER_OPTIONS, PATIENT_FOR_A_SECOND);
    if (rank == 0) {
      builder.redirectOutput(ProcessBuilder.Redirect.INHERIT);
      builder.redirectError(ProcessBuilder.Redirect.INHERIT);
    } else {
      builder.redirectErrorStream(true);
    }
    try {
      Process process = builder.start();
      process.getOutputStream().close(); // There is no input to share.
      processes.add(process);
      if (rank > 0) {
        readers.add(read(rank, process.getInputStream()));
      }
      process.onExit().thenRun(() -> ended.add(rank));
    } catch (IOException e) {
      throw new DistributedException("rank " + rank + " cannot be started: " + e.getMessage(), e);
    }
  }

  /** Waits until all have ended and returns the code for the whole. */
  int await() throws InterruptedException {
    int code = 0;
    for (int left = started(); left > 0; left--) {
      int rank = ended.take();
      int exit = process(rank).exitValue();
      if (exit != 0 && code == 0) {
        code = exit;
        if (!isEnding()) {
          say(describe(rank, exit) + (left > 1 ? "; the other ranks are told to end" : ""));
          awaitAll(NOTICE);
          endAll();
        }
      }
    }
    awaitReaders();
    return code;
  }

  /** Tells those that run to end and waits until they have; kills them after the grace. */
  void endAll() {
    synchronized (this) {
      ending = true;
    }
    for (int rank = 0; rank < started(); rank++) {
      process(rank).destroy(); // Does nothing to one that has ended.
    }
    awaitAll(grace);
    for (int rank = 0; rank < started(); rank++) {
      Process process = process(rank);
      if (process.isAlive()) {
        say(
            "rank %d (process %d) did not end within %s s and is killed"
                .formatted(rank, process.pid(), grace.toMillis() / 1000.0));
        process.destroyForcibly();
        awaitEnd(process, PATIENCE);
      }
    }
    awaitReaders();
  }

  private void awaitAll(Duration patience) {
    long deadline = System.nanoTime() + patience.toNanos();
    for (int rank = 0; rank < started(); rank++) {
      awaitEnd(process(rank), Duration.ofNanos(Math.max(0, deadline - System.nanoTime())));
    }
  }

  /** An interrupt does not cut this short, so that no process is left behind; it is kept. */
  private static void awaitEnd(Process process, Duration patience) {
    try {
      Uninterruptibles.getUninterruptibly(process.onExit(), patience);
    } catch (ExecutionException | TimeoutException e) {
      // Whether it is alive is asked next.
    }
  }

  private void awaitReaders() {
    List<Thread> threads;
    synchronized (this) {
      threads = List.copyOf(readers);
    }
    for (Thread thread : threads) {
      Uninterruptibles.joinUninterruptibly(thread, PATIENCE);
    }
  }

  private Thread read(int rank, InputStream output) {
    Thread thread = new Thread(() -> passOn(rank, output), "llara-output-of-rank-" + rank);
    thread.setDaemon(true);
    thread.start();
    return thread;
  }

  private void passOn(int rank, InputStream output) {
    try (BufferedReader reader =
        new BufferedReader(new InputStreamReader(output, ThisCommand.encoding()))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        say("[rank " + rank + "] " + line);
      }
    } catch (IOException e) {
      say("[rank " + rank + "] its output cannot be read any more: " + e.getMessage());
    }
  }

  private void say(String line) {
    synchronized (lines) {
      lines.accept(line);
    }
  }

  private String describe(int rank, int exit) {
    String signal = exit > SIGNALS ? " (" + signal(exit - SIGNALS) + ")" : "";
    return "rank %d (process %d) ended with exit code %d%s"
        .formatted(rank, process(rank).pid(), exit, signal);
  }

  private static String signal(int number) {
    return SIGNAL_NAMES.getOrDefault(number, "signal " + number);
  }

  private synchronized int started() {
    return processes.size();
  }

  private synchronized Process process(int rank) {
    return processes.get(rank);
  }

  private synchronized boolean isEnding() {
    return ending;
  }
}
