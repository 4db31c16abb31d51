package io.llara.server;

import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.eclipse.jetty.io.Connection;

/**
 * Closes connections that take too long. Idle time-outs, which any byte restarts, would let a
 * client hold one for ever: what counts here is when a request, or an answer, is complete.
 */
final class Connections implements Connection.Listener {
  /** A client that was told nothing yet may be sending its next request. */
  private static final long LAST_CHANCE = TimeUnit.MILLISECONDS.toNanos(500);

  private final Map<Connection, Phase> phases = new ConcurrentHashMap<>();
  private final long patience;

  /** What goes on between a client and the server. */
  private enum Turn {
    /** No request has come, or not all of its head. */
    NONE,
    /** The client sends a body or takes an answer. */
    CLIENT,
    /** The client waits. */
    SERVER
  }

  private record Phase(Turn turn, long since) {
    Phase(Turn turn) {
      this(turn, System.nanoTime());
    }

    boolean isOlder(long nanoseconds) {
      return System.nanoTime() - since > nanoseconds;
    }
  }

  Connections(Duration patience) {
    this.patience = patience.toNanos();
  }

  @Override
  public void onOpened(Connection connection) {
    phases.put(connection, new Phase(Turn.NONE));
  }

  @Override
  public void onClosed(Connection connection) {
    phases.remove(connection);
  }

  /** From now on there is no request. */
  void rest(Connection connection) {
    phases.replace(connection, new Phase(Turn.NONE));
  }

  /** From now on the client has to send or to take something. */
  void expect(Connection connection) {
    phases.replace(connection, new Phase(Turn.CLIENT));
  }

  /** From now on the client waits for the server. */
  void busy(Connection connection) {
    phases.replace(connection, new Phase(Turn.SERVER));
  }

  int count() {
    return phases.size();
  }

  void closeLate() {
    phases.forEach(
        (connection, phase) -> {
          if (phase.turn() != Turn.SERVER && phase.isOlder(patience)) {
            connection.getEndPoint().close();
          }
        });
  }

  /** Closes connections without a request, and waits until there are none, or for the patience. */
  void drain() throws InterruptedException {
    long begin = System.nanoTime();
    while (!phases.isEmpty() && System.nanoTime() - begin < patience) {
      phases.forEach(
          (connection, phase) -> {
            if (phase.turn() == Turn.NONE && phase.isOlder(LAST_CHANCE)) {
              connection.getEndPoint().close();
            }
          });
      Thread.sleep(10);
    }
  }
}
