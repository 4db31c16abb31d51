package io.llara.train.distributed;

import java.io.IOException;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * A group whose ranks are threads of this process: real sockets, without the time to start JVMs.
 */
public final class Group {
  /** Long enough for a name server that does not answer: c10d asks it on every connection. */
  static final Duration TIMEOUT = Duration.ofSeconds(60);

  private Group() {}

  /** What one rank does. */
  public interface Rank<T> {
    T run(Communicator communicator) throws Exception;
  }

  /** Runs all ranks to their end and returns their results, by rank. */
  public static <T> List<T> run(int size, Rank<T> rank) throws Exception {
    return run(size, TIMEOUT, rank);
  }

  static <T> List<T> run(int size, Duration timeout, Rank<T> rank) throws Exception {
    int port = freePort();
    ExecutorService threads = Executors.newFixedThreadPool(size);
    try {
      List<Future<T>> futures = new ArrayList<>();
      for (int i = 0; i < size; i++) {
        WorldSettings world = new WorldSettings(i, size, i, "127.0.0.1", port);
        futures.add(
            threads.submit(
                () -> {
                  try (Communicator communicator = GlooGroup.join(world, TIMEOUT, timeout)) {
                    return rank.run(communicator);
                  }
                }));
      }
      List<T> results = new ArrayList<>();
      for (Future<T> future : futures) {
        results.add(get(future));
      }
      return results;
    } finally {
      threads.shutdown();
    }
  }

  static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }

  private static <T> T get(Future<T> future) throws Exception {
    try {
      return future.get(120, TimeUnit.SECONDS);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof Exception cause) {
        throw cause;
      }
      throw e;
    }
  }
}
