package io.llara.cuda;

import io.llara.DeviceException;
import io.llara.kernels.Accelerator.Lane;
import io.llara.kernels.DeviceGroup;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.function.Supplier;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.pytorch.Tensor;

/**
 * A group of GPUs over NCCL 2, which is called directly: libtorch's own process group for it is in
 * the presets' natives for GPUs alone. Sums run on the default stream, on which libtorch's
 * operators run too, and so in order with them.
 */
final class NcclGroup implements DeviceGroup {
  private static final List<String> FILES = List.of("libnccl.so.2");

  /** ncclFloat32, ncclSum, and the results ncclSuccess and ncclInProgress, of nccl.h. */
  private static final int FLOAT32 = 7;

  private static final int SUM = 0;
  private static final int SUCCESS = 0;
  private static final int IN_PROGRESS = 7;

  /** Marks on the default stream of a device. */
  interface Events {
    /** Returns a mark behind all that is on the stream. */
    long record();

    /** Returns whether the device has come to a mark. */
    boolean isDone(long event);

    void destroy(long event);
  }

  private final NativeLibrary nccl;
  private final Events events;
  private final Supplier<Lane> lane;

  /** 0 when it has left. */
  private long communicator;

  private NcclGroup(NativeLibrary nccl, Events events, Supplier<Lane> lane, long communicator) {
    this.nccl = nccl;
    this.events = events;
    this.lane = lane;
    this.communicator = communicator;
  }

  /**
   * Loads NCCL for a device.
   *
   * @param lane makes the device that of the calling thread
   * @throws DeviceException if it is not there
   */
  static Meeting meeting(Events events, Supplier<Lane> lane) {
    try {
      return meeting(NativeLibrary.open(FILES), events, lane);
    } catch (DeviceException e) {
      throw new DeviceException("NCCL " + e.getMessage(), e);
    }
  }

  static Meeting meeting(NativeLibrary nccl, Events events, Supplier<Lane> lane) {
    return new Meeting() {
      @Override
      public byte[] invite() {
        try (Lane entered = lane.get();
            BytePointer id = new BytePointer(INVITATION_BYTES)) {
          run(nccl, "ncclGetUniqueId", id.address());
          byte[] bytes = new byte[INVITATION_BYTES];
          id.get(bytes);
          return bytes;
        }
      }

      @Override
      public DeviceGroup join(byte[] invitation, int rank, int size) {
        try (Lane entered = lane.get();
            LongPointer out = new LongPointer(1L)) {
          out.put(0, 0);
          run(nccl, "ncclCommInitRank", initArguments(out.address(), size, invitation, rank));
          return new NcclGroup(nccl, events, lane, out.get());
        }
      }
    };
  }

  /**
   * Lays out the arguments (communicator, size, id, rank). The id is a struct of 128 bytes by
   * value: that lies on the stack, behind the six registers, of which it takes none (System V ABI
   * for x86-64, section 3.2.3).
   */
  private static long[] initArguments(long out, int size, byte[] invitation, int rank) {
    int registers = 6;
    long[] arguments = new long[registers + Meeting.INVITATION_BYTES / Long.BYTES];
    arguments[0] = out;
    arguments[1] = size;
    arguments[2] = rank;
    ByteBuffer.wrap(invitation)
        .order(ByteOrder.nativeOrder())
        .asLongBuffer()
        .get(arguments, registers, arguments.length - registers);
    return arguments;
  }

  @Override
  public synchronized Sum sum(List<Tensor> tensors) {
    try (Lane entered = lane.get()) {
      run("ncclGroupStart");
      try {
        for (Tensor tensor : tensors) {
          long data = tensor.data_ptr().address();
          run("ncclAllReduce", data, data, tensor.numel(), FLOAT32, SUM, requireJoined(), 0);
        }
      } finally {
        run("ncclGroupEnd");
      }
      return new Mark(events.record());
    }
  }

  private long requireJoined() {
    if (communicator == 0) {
      throw new DeviceException("NCCL: this process has left the group");
    }
    return communicator;
  }

  /** A mark on the stream behind a sum. */
  private final class Mark implements Sum {
    private long event;

    Mark(long event) {
      this.event = event;
    }

    @Override
    public boolean isDone() {
      synchronized (NcclGroup.this) {
        try (Lane entered = lane.get();
            IntPointer state = new IntPointer(1L)) {
          run("ncclCommGetAsyncError", requireJoined(), state.address());
          check(nccl, "a sum", state.get());
          return event == 0 || events.isDone(event);
        }
      }
    }

    @Override
    public void close() {
      synchronized (NcclGroup.this) {
        if (event != 0) {
          try (Lane entered = lane.get()) {
            events.destroy(event);
          }
          event = 0;
        }
      }
    }
  }

  /** {@code ncclCommDestroy} would wait for sums, and so for processes that have ended. */
  @Override
  public synchronized void close() {
    long left = communicator;
    communicator = 0;
    if (left != 0) {
      try (Lane entered = lane.get()) {
        run("ncclCommAbort", left);
      }
    }
  }

  private void run(String function, long... arguments) {
    run(nccl, function, arguments);
  }

  private static void run(NativeLibrary nccl, String function, long... arguments) {
    check(nccl, function, (int) nccl.call(function, arguments));
  }

  private static void check(NativeLibrary nccl, String what, int result) {
    if (result != SUCCESS && result != IN_PROGRESS) {
      String reason = NativeLibrary.text(nccl.call("ncclGetErrorString", result));
      throw new DeviceException("NCCL: %s: error %d, %s".formatted(what, result, reason));
    }
  }
}
