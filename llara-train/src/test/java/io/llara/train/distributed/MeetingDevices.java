package io.llara.train.distributed;

import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.kernels.Accelerator;
import io.llara.kernels.DeviceGroup;
import io.llara.kernels.Kernels;
import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/** Two devices that are the processor in disguise, for ranks that are threads. */
final class MeetingDevices {
  private static final byte[] INVITATION = new byte[DeviceGroup.Meeting.INVITATION_BYTES];

  static {
    for (int i = 0; i < INVITATION.length; i++) {
      INVITATION[i] = (byte) (i * 3);
    }
  }

  private final int meeting;
  private final CyclicBarrier all = new CyclicBarrier(2);
  private final Tensor[] staged = new Tensor[2];

  /** The ranks that have left. */
  private final BlockingQueue<Integer> left = new LinkedBlockingQueue<>();

  /** What sums fail with; nothing is ever there if it is empty. */
  volatile @Nullable String lost;

  /** Makes devices of which so many can meet the other. */
  MeetingDevices(int meeting) {
    this.meeting = meeting;
  }

  /** Returns which ranks leave, both within a few seconds. */
  List<Integer> whoLeaves() throws InterruptedException {
    List<Integer> both = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      both.add(left.poll(10, TimeUnit.SECONDS));
    }
    return both;
  }

  Accelerator of(int rank) {
    return new Device(rank < meeting);
  }

  private final class Joined implements DeviceGroup {
    private final int rank;
    private boolean gone;

    Joined(int rank) {
      this.rank = rank;
    }

    @Override
    public Sum sum(List<Tensor> tensors) {
      if (lost == null) {
        for (Tensor tensor : tensors) {
          try (TensorScope scope = new TensorScope()) {
            staged[rank] = scope.own(tensor.clone());
            all.await();
            tensor.copy_(staged[0]).add_(staged[1]);
            all.await();
            staged[rank].close();
          } catch (Exception e) {
            throw new IllegalStateException(e);
          }
        }
      }
      return new Sum() {
        @Override
        public boolean isDone() {
          String reason = lost;
          if (reason != null && !reason.isEmpty()) {
            throw new DeviceException(reason);
          }
          return reason == null;
        }

        @Override
        public void close() {}
      };
    }

    @Override
    public void close() {
      if (!gone) {
        gone = true;
        left.add(rank);
      }
    }
  }

  private final class Device implements Accelerator {
    private final boolean meets;

    Device(boolean meets) {
      this.meets = meets;
    }

    @Override
    public Optional<DeviceGroup.Meeting> meeting() {
      if (!meets) {
        return Optional.empty();
      }
      return Optional.of(
          new DeviceGroup.Meeting() {
            @Override
            public byte[] invite() {
              return INVITATION.clone();
            }

            @Override
            public DeviceGroup join(byte[] invitation, int rank, int size) {
              if (!Arrays.equals(invitation, INVITATION) || size != 2) {
                throw new DeviceException("another invitation");
              }
              return new Joined(rank);
            }
          });
    }

    @Override
    public String name() {
      return "meeting";
    }

    @Override
    public List<String> description() {
      return List.of();
    }

    @Override
    public Kernels kernels() {
      throw new UnsupportedOperationException();
    }

    @Override
    public Kernels trainingKernels() {
      throw new UnsupportedOperationException();
    }

    @Override
    public ComputeType resolve(ComputeType wanted) {
      throw new UnsupportedOperationException();
    }

    @Override
    public long freeBytes() {
      return 0;
    }

    @Override
    public Lane openLane() {
      return () -> {};
    }

    @Override
    public Tensor upload(Tensor host, ScalarType type) {
      throw new UnsupportedOperationException();
    }

    @Override
    public Optional<DeviceException> explain(RuntimeException failure) {
      return Optional.empty();
    }
  }
}
