package io.llara.train.distributed;

import io.llara.tensor.Libtorch;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketException;
import java.net.UnknownHostException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.FileStore;
import org.bytedeco.pytorch.PrefixStore;
import org.bytedeco.pytorch.ProcessGroupGloo;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.StringVector;
import org.bytedeco.pytorch.TCPStore;
import org.bytedeco.pytorch.TCPStoreOptions;

/**
 * Forms a process group over Gloo: the ranks find each other through c10d's key-value store on the
 * master's port, or in a file if they were started on one machine, then talk over TCP connections
 * from each to each. A store on a port listens on every interface of the machine, connections on
 * the one that the master's network is on: with a file and a master of 127.0.0.1 no other machine
 * can connect.
 */
final class GlooGroup {
  /** Names the network interface to use, as everywhere with Gloo. */
  private static final String INTERFACE = "GLOO_SOCKET_IFNAME";

  private GlooGroup() {}

  /**
   * Joins the group.
   *
   * @param joining how long to wait until it is complete
   * @param timeout how long to wait in every later call
   */
  static Communicator join(WorldSettings world, Duration joining, Duration timeout) {
    Libtorch.load();
    C10dCommunicator communicator;
    try (PointerScope scope = new PointerScope()) {
      Store store = rendezvous(world, joining);
      ProcessGroupGloo group =
          new ProcessGroupGloo(store, world.rank(), world.worldSize(), options(world, timeout));
      communicator = new C10dCommunicator(world, timeout, group, store);
    } catch (RuntimeException e) {
      throw C10dCommunicator.failure(world, joining, "joining the group at " + master(world), e);
    }
    // The store lives in rank 0, which must not leave before the last rank has read it.
    try {
      communicator.barrier();
    } catch (RuntimeException e) {
      communicator.close();
      throw e;
    }
    return communicator;
  }

  private static String master(WorldSettings world) {
    return world.masterAddress() + ":" + world.masterPort();
  }

  /** Opens the store and waits until every rank has done so. */
  private static Store rendezvous(WorldSettings world, Duration timeout) {
    Store store = store(world, timeout);
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
                  master(world),
                  timeout.toMillis() / 1000.0,
                  missing),
          e);
    }
    return store;
  }

  private static Store store(WorldSettings world, Duration timeout) {
    Optional<Path> file = world.launcher().flatMap(WorldSettings.Launcher::store);
    if (file.isPresent()) {
      return new FileStore(file.get().toString(), world.worldSize());
    }
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

  private static ProcessGroupGloo.Options options(WorldSettings world, Duration timeout) {
    Milliseconds patience = new Milliseconds(timeout.toMillis());
    ProcessGroupGloo.Options options;
    if (System.getenv(INTERFACE) != null) {
      options = ProcessGroupGloo.Options.create_default(patience);
    } else {
      options = ProcessGroupGloo.Options.create(patience);
      options.devices().push_back(ProcessGroupGloo.createDeviceForHostname(ownAddress(world)));
    }
    // One thread: operations run in the order they were started, and take one processor at most.
    return options.threads(1);
  }

  /**
   * Returns the address by which the master's network knows this machine. Gloo's own choice is what
   * the host name stands for, which is often a loopback address that others cannot reach, or
   * nothing at all.
   */
  private static String ownAddress(WorldSettings world) {
    try (DatagramSocket socket = new DatagramSocket()) {
      InetAddress master = InetAddress.getByName(world.masterAddress());
      socket.connect(new InetSocketAddress(master, world.masterPort())); // Sends nothing.
      return socket.getLocalAddress().getHostAddress();
    } catch (UnknownHostException | SocketException e) {
      throw new DistributedException("no way to " + master(world) + ": " + e.getMessage(), e);
    }
  }
}
