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
import org.bytedeco.pytorch.ProcessGroupGloo;
import org.bytedeco.pytorch.Store;

/** A group that talks through Gloo: TCP connections from each to each, on CPU tensors. */
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
      Store store = Rendezvous.meet(world, joining);
      ProcessGroupGloo.Options options = options(world, new Milliseconds(timeout.toMillis()));
      ProcessGroupGloo group =
          new ProcessGroupGloo(store, world.rank(), world.worldSize(), options);
      communicator = C10dCommunicator.take(scope, world, timeout, group, store);
    } catch (RuntimeException e) {
      String what = "joining the group at " + Rendezvous.place(world);
      throw C10dCommunicator.failure(world, joining, what, e);
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
      throw new DistributedException(
          "no way to " + Rendezvous.place(world) + ": " + e.getMessage(), e);
    }
  }
}
