package io.llara.train.distributed;

import io.llara.tensor.Libtorch;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketException;
import java.net.UnknownHostException;
import java.time.Duration;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.PrefixStore;
import org.bytedeco.pytorch.ProcessGroupGloo;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.TCPStore;
import org.bytedeco.pytorch.TCPStoreOptions;

/**
 * How processes find each other for Gloo, as libtorch's c10d does it: a small key-value store on
 * the master's port, and a connection from each to each whose addresses are exchanged there.
 */
final class GlooGroup {
  /** Names the network interface to use, as everywhere with Gloo. */
  private static final String INTERFACE = "GLOO_SOCKET_IFNAME";

  private GlooGroup() {}

  static Communicator join(WorldSettings world, Duration timeout) {
    Libtorch.load();
    C10dCommunicator communicator;
    try (PointerScope scope = new PointerScope()) {
      Milliseconds millis = new Milliseconds(timeout.toMillis());
      Store store = store(world, millis);
      ProcessGroupGloo.Options options = options(world, millis);
      ProcessGroupGloo group =
          new ProcessGroupGloo(store, world.rank(), world.worldSize(), options);
      communicator = C10dCommunicator.take(scope, world, timeout, group, store);
    } catch (RuntimeException e) {
      throw C10dCommunicator.failure(world, timeout, "joining the group at " + place(world), e);
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

  private static Store store(WorldSettings world, Milliseconds timeout) {
    boolean agent = world.agentAttempt().isPresent();
    TCPStoreOptions options =
        new TCPStoreOptions()
            .port((short) world.masterPort()) // Unsigned on the native side.
            .isServer(world.rank() == 0 && !agent)
            .waitWorkers(false)
            .timeout(timeout);
    Store store = new TCPStore(world.masterAddress(), options);
    if (agent) {
      // The agent's store outlives a restart, and with it the addresses of those who have ended.
      return new PrefixStore("/worker/attempt_" + world.agentAttempt().getAsInt(), store);
    }
    return store;
  }

  private static ProcessGroupGloo.Options options(WorldSettings world, Milliseconds timeout) {
    if (System.getenv(INTERFACE) != null) {
      return ProcessGroupGloo.Options.create_default(timeout).threads(1);
    }
    ProcessGroupGloo.Options options = ProcessGroupGloo.Options.create(timeout);
    options.devices().push_back(ProcessGroupGloo.createDeviceForHostname(ownAddress(world)));
    // One thread: sums run in the order they were asked for, and take one processor at most.
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
      throw new DistributedException("no way to " + place(world) + ": " + e.getMessage(), e);
    }
  }

  private static String place(WorldSettings world) {
    return world.masterAddress() + ":" + world.masterPort();
  }
}
