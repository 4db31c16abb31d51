package io.llara.train.distributed;

import java.time.Duration;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.PrefixStore;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.StringVector;
import org.bytedeco.pytorch.TCPStore;
import org.bytedeco.pytorch.TCPStoreOptions;

/**
 * Where processes find each other, whatever they talk through later: c10d's key-value store on the
 * master's port.
 */
final class Rendezvous {
  private Rendezvous() {}

  /**
   * Opens the store and waits until every rank has done so.
   *
   * @throws DistributedException naming the ranks that did not come in time
   * @throws RuntimeException if the store cannot be reached
   */
  static Store meet(WorldSettings world, Duration timeout) {
    Store store = open(world, timeout);
    StringVector keys = new StringVector();
    for (int rank = 0; rank < world.worldSize(); rank++) {
      keys.push_back(key(rank));
    }
    store.set(key(world.rank()), "here");
    try {
      store._wait(keys, new Milliseconds(timeout.toMillis()));
    } catch (RuntimeException e) {
      String missing =
          IntStream.range(0, world.worldSize())
              .filter(rank -> !store.check(new StringVector(key(rank))))
              .mapToObj(Integer::toString)
              .collect(Collectors.joining(", "));
      if (missing.isEmpty()) {
        throw e;
      }
      throw new DistributedException(
          "rank %d of %d: these ranks did not come to %s within %s s: %s"
              .formatted(
                  world.rank(),
                  world.worldSize(),
                  place(world),
                  timeout.toMillis() / 1000.0,
                  missing),
          e);
    }
    return store;
  }

  static String place(WorldSettings world) {
    return world.masterAddress() + ":" + world.masterPort();
  }

  private static Store open(WorldSettings world, Duration timeout) {
    boolean agent = world.agentAttempt().isPresent();
    TCPStoreOptions options =
        new TCPStoreOptions()
            .port((short) world.masterPort()) // Unsigned on the native side.
            .isServer(world.rank() == 0 && !agent)
            .waitWorkers(false)
            .timeout(new Milliseconds(timeout.toMillis()));
    Store store = new TCPStore(world.masterAddress(), options);
    if (agent) {
      // The agent's store outlives a restart, and with it the addresses of those who have ended.
      return new PrefixStore("/worker/attempt_" + world.agentAttempt().getAsInt(), store);
    }
    return store;
  }

  private static String key(int rank) {
    return "llara/rank-" + rank;
  }
}
