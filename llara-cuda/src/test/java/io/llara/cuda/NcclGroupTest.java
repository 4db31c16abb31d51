package io.llara.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.DeviceException;
import io.llara.kernels.Accelerator.Lane;
import io.llara.kernels.DeviceGroup;
import io.llara.kernels.DeviceGroup.Meeting;
import io.llara.kernels.DeviceGroup.Sum;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.net.URL;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/**
 * NCCL's functions with the arguments that nccl.h gives them, in a library of the tests whose ranks
 * are threads; on GPUs this has not run yet.
 */
@Timeout(60)
class NcclGroupTest {
  private final AtomicInteger lanes = new AtomicInteger();
  private final Marks marks = new Marks();
  private final ExecutorService threads = Executors.newFixedThreadPool(2);
  private NativeLibrary nccl;
  private Meeting meeting;

  /** A stream that is always done. */
  private static final class Marks implements NcclGroup.Events {
    final AtomicLong made = new AtomicLong();
    final AtomicInteger open = new AtomicInteger();

    @Override
    public long record() {
      open.incrementAndGet();
      return made.incrementAndGet();
    }

    @Override
    public boolean isDone(long event) {
      return event > 0;
    }

    @Override
    public void destroy(long event) {
      open.decrementAndGet();
    }
  }

  @BeforeEach
  void open() throws Exception {
    URL library = NcclGroupTest.class.getResource("libnccl-of-threads.so");
    assumeTrue(library != null, "this build has no clang to compile the library with");
    Libtorch.load();
    nccl = NativeLibrary.open(List.of(Path.of(library.toURI()).toString()));
    meeting = NcclGroup.meeting(nccl, marks, this::lane);
  }

  @AfterEach
  void close() {
    threads.shutdownNow();
    assertThat(lanes).hasValue(0);
    assertThat(marks.open).hasValue(0);
  }

  private Lane lane() {
    lanes.incrementAndGet();
    return lanes::decrementAndGet;
  }

  private interface Rank<T> {
    T run(int rank, DeviceGroup group) throws Exception;
  }

  private <T> List<T> both(byte[] invitation, Rank<T> work) throws Exception {
    List<Future<T>> results = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      int rank = i;
      results.add(
          threads.submit(
              () -> {
                try (DeviceGroup group = meeting.join(invitation, rank, 2)) {
                  return work.run(rank, group);
                }
              }));
    }
    return List.of(
        results.get(0).get(30, TimeUnit.SECONDS), results.get(1).get(30, TimeUnit.SECONDS));
  }

  @Test
  void sumsTensorsOfAllRanks() throws Exception {
    List<List<float[]>> sums =
        both(
            meeting.invite(),
            (rank, group) -> {
              try (TensorScope scope = new TensorScope()) {
                Tensor matrix = Tensors.ofFloats(new float[] {1, 2, 3, 4}, 2, 2);
                Tensor row = Tensors.ofFloats(new float[] {rank, 0.5f, -rank}, 3);
                for (int i = 0; i < 3; i++) {
                  try (Sum sum = group.sum(i == 0 ? List.of(matrix, row) : List.of(row))) {
                    assertThat(sum.isDone()).isTrue();
                  }
                }
                return List.of(Tensors.toFloats(matrix), Tensors.toFloats(row));
              }
            });
    assertThat(sums)
        .allSatisfy(
            sum -> {
              assertThat(sum.get(0)).containsExactly(2, 4, 6, 8);
              assertThat(sum.get(1)).containsExactly(4, 4, -4);
            });
  }

  /** The whole id arrives: the library looks at each of its bytes. */
  @Test
  void anInvitationOfAnotherIsRefused() {
    byte[] invitation = meeting.invite();
    invitation[127] ^= 1;
    assertThatThrownBy(() -> meeting.join(invitation, 0, 1))
        .isInstanceOf(DeviceException.class)
        .hasMessage("NCCL: ncclCommInitRank: error 4, invalid argument");
  }

  @Test
  void thatAnotherRankHasEndedIsSeenByAll() throws Exception {
    List<Boolean> seen =
        both(
            meeting.invite(),
            (rank, group) -> {
              try (TensorScope scope = new TensorScope();
                  Sum sum = group.sum(List.of(Tensors.ofFloats(new float[] {1}, 1)))) {
                nccl.call("loseTheOthers");
                assertThatThrownBy(sum::isDone)
                    .isInstanceOf(DeviceException.class)
                    .hasMessage(
                        "NCCL: a sum: error 6, remote process exited or there was a network error");
                group.close();
                group.close(); // Harmless.
                assertThatThrownBy(sum::isDone)
                    .isInstanceOf(DeviceException.class)
                    .hasMessage("NCCL: this process has left the group");
                return true;
              }
            });
    assertThat(seen).containsExactly(true, true);
  }

  @Test
  void aSumThatCannotBeginLeavesNothingBehind() throws Exception {
    try (DeviceGroup alone = meeting.join(meeting.invite(), 0, 1);
        TensorScope scope = new TensorScope()) {
      Tensor tooLarge = Tensors.ofFloats(new float[5000], 5000);
      assertThatThrownBy(() -> alone.sum(List.of(tooLarge)))
          .isInstanceOf(DeviceException.class)
          .hasMessage("NCCL: ncclAllReduce: error 4, invalid argument");
      Tensor one = Tensors.ofFloats(new float[] {3}, 1);
      try (Sum sum = alone.sum(List.of(one))) {
        assertThat(sum.isDone()).isTrue();
      }
      assertThat(Tensors.toFloats(one)).containsExactly(3);
    }
  }

  /** NVIDIA's own, which {@code llara.test.nccl} names: on a machine without a GPU it says so. */
  @Test
  @EnabledIfSystemProperty(named = "llara.test.nccl", matches = ".+")
  void nvidiasOwnTakesTheseCalls() {
    Meeting real =
        NcclGroup.meeting(
            NativeLibrary.open(List.of(System.getProperty("llara.test.nccl"))), marks, this::lane);
    byte[] invitation = real.invite();
    assertThat(invitation).hasSize(Meeting.INVITATION_BYTES).isNotEqualTo(real.invite());
    assumeTrue(new CudaProvider().problem().isPresent(), "there is a GPU");
    assertThatThrownBy(() -> real.join(invitation, 0, 1))
        .isInstanceOf(DeviceException.class)
        .hasMessageStartingWith("NCCL: ncclCommInitRank: error ");
  }

  @Test
  void withoutNcclItSaysSo() {
    assertThatThrownBy(
            () ->
                NcclGroup.meeting(
                    NativeLibrary.open(List.of("libnowhere.so.2")), marks, this::lane))
        .isInstanceOf(DeviceException.class)
        .hasMessageContaining("libnowhere.so.2");
  }
}
