package io.llara.train.distributed;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.catchThrowableOfType;
import static org.assertj.core.api.Assertions.within;

import com.google.common.base.Stopwatch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CommunicatorTest {

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4})
  void sumsToTheSameBitsOnEveryRank(int size) throws Exception {
    int length = 1_237; // A prime: no share of it is even.
    List<float[]> parts = new ArrayList<>();
    for (int rank = 0; rank < size; rank++) {
      parts.add(random(length, rank));
    }
    List<float[]> sums =
        Group.run(
            size,
            communicator -> {
              try (TensorScope scope = new TensorScope()) {
                Tensor tensor = Tensors.ofFloats(parts.get(communicator.rank()), length);
                communicator.allReduce(tensor);
                return Tensors.toFloats(tensor);
              }
            });
    for (int i = 0; i < length; i++) {
      double plain = 0;
      for (float[] part : parts) {
        plain += part[i];
      }
      assertThat((double) sums.get(0)[i]).isCloseTo(plain, within(1e-6));
    }
    assertThat(sums).allSatisfy(sum -> assertThat(sum).isEqualTo(sums.get(0)));
  }

  @Test
  void sumsInDoublePrecision() throws Exception {
    List<double[]> sums =
        Group.run(
            2,
            communicator ->
                communicator.allReduce(1e15 + communicator.rank(), 0.1, communicator.rank()));
    assertThat(sums).allSatisfy(sum -> assertThat(sum).containsExactly(2e15 + 1, 0.2, 1));
  }

  /** Tensors that share a message are copied into one buffer and back. */
  @Test
  void sumsSeveralTensorsInOneMessage() throws Exception {
    List<List<float[]>> sums =
        Group.run(
            2,
            communicator -> {
              try (TensorScope scope = new TensorScope()) {
                Tensor matrix = Tensors.ofFloats(new float[] {1, 2, 3, 4}, 2, 2);
                Tensor row = Tensors.ofFloats(new float[] {communicator.rank(), 0.5f}, 2);
                communicator.allReduceAsync(List.of(matrix, row)).await();
                return List.of(Tensors.toFloats(matrix), Tensors.toFloats(row));
              }
            });
    assertThat(sums)
        .allSatisfy(
            sum -> {
              assertThat(sum.get(0)).containsExactly(2, 4, 6, 8);
              assertThat(sum.get(1)).containsExactly(1, 1);
            });
  }

  /** As tensors on another device do. */
  @Test
  void copiesGoThroughTheNetworkAndComeBack() throws Exception {
    List<float[]> sums =
        Group.run(
            2,
            communicator -> {
              try (TensorScope scope = new TensorScope()) {
                Tensor matrix = Tensors.ofFloats(new float[] {1, 2, 3, 4}, 2, 2);
                Tensor row = Tensors.ofFloats(new float[] {communicator.rank()}, 1);
                Communicator.Pending sum =
                    ((C10dCommunicator) communicator).throughHost(List.of(matrix, row));
                assertThat(Tensors.toFloats(matrix)).containsExactly(1, 2, 3, 4);
                sum.await();
                sum.await(); // Harmless.
                assertThat(Tensors.toFloats(row)).containsExactly(1);
                return Tensors.toFloats(matrix);
              }
            });
    assertThat(sums).allSatisfy(sum -> assertThat(sum).containsExactly(2, 4, 6, 8));
  }

  @Test
  void devicesThatMeetSumAmongThemselves() throws Exception {
    MeetingDevices devices = new MeetingDevices(2);
    List<float[]> sums =
        Group.run(
            2,
            communicator -> {
              communicator.joinDevices(devices.of(communicator.rank()));
              try (TensorScope scope = new TensorScope()) {
                Tensor matrix = Tensors.ofFloats(new float[] {1, 2, 3, communicator.rank()}, 2, 2);
                Communicator.Pending sum =
                    ((C10dCommunicator) communicator).sumOnDevices(List.of(matrix)).orElseThrow();
                sum.await();
                sum.await(); // Harmless.
                return Tensors.toFloats(matrix);
              }
            });
    assertThat(sums).allSatisfy(sum -> assertThat(sum).containsExactly(2, 4, 6, 1));
    assertThat(devices.whoLeaves()).containsExactlyInAnyOrder(0, 1);
  }

  @Test
  void aDeviceThatCannotMeetLeavesAllToTheNetwork() throws Exception {
    MeetingDevices devices = new MeetingDevices(1);
    List<Boolean> met =
        Group.run(
            2,
            communicator -> {
              communicator.joinDevices(devices.of(communicator.rank()));
              try (TensorScope scope = new TensorScope()) {
                Tensor one = Tensors.ofFloats(new float[] {1}, 1);
                return ((C10dCommunicator) communicator).sumOnDevices(List.of(one)).isPresent();
              }
            });
    assertThat(met).containsExactly(false, false);
  }

  /** A device says so, or never answers: either way the group is broken, and left. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aDeviceWithoutTheOthersBreaksTheGroup(boolean says) throws Exception {
    MeetingDevices devices = new MeetingDevices(2);
    devices.lost = says ? "remote process exited" : "";
    List<String> reasons =
        Group.run(
            2,
            Duration.ofSeconds(2),
            communicator -> {
              communicator.joinDevices(devices.of(communicator.rank()));
              C10dCommunicator group = (C10dCommunicator) communicator;
              try (TensorScope scope = new TensorScope()) {
                Tensor one = Tensors.ofFloats(new float[] {1}, 1);
                Communicator.Pending sum = group.sumOnDevices(List.of(one)).orElseThrow();
                DistributedException failure =
                    catchThrowableOfType(DistributedException.class, sum::await);
                assertThatExceptionOfType(DistributedException.class).isThrownBy(sum::await);
                assertThatExceptionOfType(DistributedException.class)
                    .isThrownBy(() -> communicator.allReduce(1));
                return failure.getMessage();
              }
            });
    String reason =
        says
            ? "failed (remote process exited)"
            : "not every other rank answered within 2.0 s (timed out)";
    assertThat(reasons)
        .containsExactly(
            "rank 0 of 2, a sum on the devices: " + reason,
            "rank 1 of 2, a sum on the devices: " + reason);
    assertThat(devices.whoLeaves()).containsExactlyInAnyOrder(0, 1);
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void gathersTheRowsOfAllRanksInTheirOrder(int size) throws Exception {
    List<List<Object>> gathered =
        Group.run(
            size,
            communicator -> {
              try (TensorScope scope = new TensorScope()) {
                int rank = communicator.rank();
                Tensor mine = Tensors.ofFloats(random(6, rank), 2, 3);
                // A part of a larger matrix, as long as its rows lie side by side.
                Tensor all = communicator.allGather(mine.narrow(0, 1, 1));
                Tensor row = communicator.allGather(Tensors.ofFloats(new float[] {rank}, 1));
                return List.of(
                    Arrays.toString(all.shape()), Tensors.toFloats(all), Tensors.toFloats(row));
              }
            });
    float[] expected = new float[3 * size];
    float[] ranks = new float[size];
    for (int rank = 0; rank < size; rank++) {
      System.arraycopy(random(6, rank), 3, expected, 3 * rank, 3);
      ranks[rank] = rank;
    }
    assertThat(gathered)
        .allSatisfy(
            of -> {
              assertThat(of.get(0)).isEqualTo("[" + size + ", 3]");
              assertThat((float[]) of.get(1)).isEqualTo(expected);
              assertThat((float[]) of.get(2)).isEqualTo(ranks);
            });
  }

  @Test
  void oneAloneGathersItself() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (TensorScope scope = new TensorScope();
              Communicator alone = Communicator.alone()) {
            Tensor mine = Tensors.ofFloats(random(6, 1), 3, 2);
            assertThat(Tensors.toFloats(alone.allGather(mine))).isEqualTo(random(6, 1));
            assertThatIllegalArgumentException()
                .isThrownBy(() -> alone.allGather(mine.t()))
                .withMessageContaining("strided");
          }
        });
  }

  @Test
  void oneYesIsEnough() throws Exception {
    List<List<Boolean>> answers =
        Group.run(
            3,
            communicator ->
                List.of(
                    communicator.any(false),
                    communicator.any(communicator.rank() == 2),
                    communicator.any(true)));
    assertThat(answers).containsOnly(List.of(false, true, true));
  }

  @Test
  void nobodyPassesABarrierBeforeTheLastHasCome() throws Exception {
    long start = System.nanoTime();
    List<Long> passed =
        Group.run(
            2,
            communicator -> {
              if (communicator.rank() == 1) {
                Thread.sleep(300);
              }
              communicator.barrier();
              return System.nanoTime() - start;
            });
    assertThat(passed).allMatch(nanos -> nanos >= Duration.ofMillis(300).toNanos());
  }

  @Test
  void severalSumsAreUnderWayAtOnce() throws Exception {
    List<Float> sums =
        Group.run(
            2,
            communicator -> {
              try (TensorScope scope = new TensorScope()) {
                List<Tensor> tensors = new ArrayList<>();
                List<Communicator.Pending> pending = new ArrayList<>();
                for (int i = 0; i < 10; i++) {
                  tensors.add(Tensors.ofFloats(new float[] {i}, 1));
                  pending.add(communicator.allReduceAsync(List.of(tensors.get(i))));
                }
                pending.forEach(Communicator.Pending::await);
                pending.forEach(Communicator.Pending::await); // Again is harmless.
                float total = 0;
                for (Tensor tensor : tensors) {
                  total += Tensors.toFloats(tensor)[0];
                }
                return total;
              }
            });
    assertThat(sums).containsOnly(90f);
  }

  /** Rank 0 holds the meeting place and may be the first to go. */
  @Test
  void ranksComeAndGoInAnyOrder() throws Exception {
    for (int i = 0; i < 20; i++) {
      List<double[]> sums = Group.run(2, communicator -> communicator.allReduce(1));
      assertThat(sums).allSatisfy(sum -> assertThat(sum).containsExactly(2));
    }
  }

  @Test
  void holdsNoNativeObjects() throws Throwable {
    Leaks.assertNone(
        () ->
            Group.run(
                2,
                communicator -> {
                  try (TensorScope scope = new TensorScope()) {
                    Tensor tensor = Tensors.ofFloats(new float[100], 100);
                    long before = TensorScope.liveObjects();
                    int rounds = 100;
                    for (int i = 0; i < rounds; i++) {
                      communicator.allReduce(tensor);
                      communicator.any(true);
                      try (TensorScope inner = new TensorScope()) {
                        communicator.allGather(tensor);
                      }
                    }
                    // Less than one a round; the other rank lives in this process, too.
                    assertThat(TensorScope.liveObjects() - before).isLessThan(rounds / 2);
                    return true;
                  }
                }));
  }

  @Test
  void aRankThatLeavesEndsTheOthers() throws Exception {
    List<String> messages =
        Group.run(
            3,
            communicator -> {
              communicator.barrier();
              if (communicator.rank() == 1) {
                return "left";
              }
              long start = System.nanoTime();
              DistributedException error =
                  catchThrowableOfType(DistributedException.class, () -> communicator.allReduce(1));
              assertThat(Duration.ofNanos(System.nanoTime() - start))
                  .isLessThan(Duration.ofSeconds(5));
              // Broken is broken, and said with the same words.
              assertThatExceptionOfType(DistributedException.class)
                  .isThrownBy(communicator::barrier)
                  .withMessage(error.getMessage());
              return error.getMessage();
            });
    assertThat(messages.get(0)).startsWith("rank 0 of 3, an all-reduce: another rank has ended (");
    assertThat(messages.get(2)).startsWith("rank 2 of 3, an all-reduce: another rank has ended (");
  }

  @Test
  void aRankThatHangsIsNotWaitedForForever() throws Exception {
    Duration timeout = Duration.ofMillis(1_500);
    List<String> messages =
        Group.run(
            2,
            timeout,
            communicator -> {
              if (communicator.rank() == 1) {
                Thread.sleep(3_000);
                return "";
              }
              return catchThrowableOfType(
                      DistributedException.class, () -> communicator.allReduce(1))
                  .getMessage();
            });
    assertThat(messages.get(0))
        .startsWith("rank 0 of 2, an all-reduce: not every other rank answered within 1.5 s (");
  }

  @Test
  void closingDoesNotWaitForTheOthers() throws Exception {
    List<Duration> took =
        Group.run(
            2,
            communicator -> {
              if (communicator.rank() == 0) {
                try (TensorScope scope = new TensorScope()) {
                  communicator.allReduceAsync(List.of(Tensors.ofFloats(new float[8], 8)));
                }
              }
              long start = System.nanoTime();
              communicator.close();
              communicator.close();
              return Duration.ofNanos(System.nanoTime() - start);
            });
    assertThat(took).allMatch(time -> time.compareTo(Duration.ofSeconds(2)) < 0);
  }

  @Test
  void whoDoesNotComeIsNamed() throws Exception {
    WorldSettings world = new WorldSettings(0, 3, 0, "127.0.0.1", Group.freePort());
    assertThatExceptionOfType(DistributedException.class)
        .isThrownBy(() -> Communicator.gloo(world, Duration.ofSeconds(1)))
        .withMessage(
            "rank 0 of 3: these ranks did not come to 127.0.0.1:%d within 1.0 s: 1, 2",
            world.masterPort());
  }

  @Test
  void theMasterDoesNotCome() throws Exception {
    WorldSettings world = new WorldSettings(1, 2, 1, "127.0.0.1", Group.freePort());
    Stopwatch watch = Stopwatch.createStarted();
    assertThatExceptionOfType(DistributedException.class)
        .isThrownBy(() -> Communicator.gloo(world, Duration.ofSeconds(1)))
        .withMessageStartingWith(
            "rank 1 of 2, joining the group at 127.0.0.1:%d: not every other rank answered"
                .formatted(world.masterPort()))
        .withMessageNotContaining("\n");
    assertThat(watch.elapsed()).isLessThan(Duration.ofSeconds(30));
  }

  @Test
  void theMasterIsUnknown() {
    WorldSettings world = new WorldSettings(0, 2, 0, "no-such-host.invalid", 29500);
    assertThatExceptionOfType(DistributedException.class)
        .isThrownBy(() -> Communicator.gloo(world, Duration.ofSeconds(1)))
        .withMessageContaining("no-such-host.invalid");
  }

  @Test
  void theLauncherIsGone() throws Exception {
    Process gone = new ProcessBuilder("true").start();
    gone.waitFor();
    int port = Group.freePort();
    WorldSettings world =
        new WorldSettings(
            0,
            2,
            0,
            "127.0.0.1",
            port,
            OptionalInt.empty(),
            Optional.of(new WorldSettings.Launcher(gone.pid(), Optional.empty())));
    Thread other =
        new Thread(
            () -> {
              try {
                Communicator.gloo(new WorldSettings(1, 2, 1, "127.0.0.1", port), Group.TIMEOUT)
                    .close();
              } catch (DistributedException e) {
                // As it should.
              }
            });
    other.start();
    assertThatExceptionOfType(DistributedException.class)
        .isThrownBy(() -> Communicator.gloo(world, Group.TIMEOUT))
        .withMessage("rank 0 of 2: process " + gone.pid() + ", which started the ranks, has ended");
    other.join();
  }

  @Test
  void wrongTensorsAreRefusedBeforeTheOthersAreAsked() throws Exception {
    Group.run(
        2,
        communicator -> {
          try (TensorScope scope = new TensorScope()) {
            Tensor longs = Tensors.ofInts(new int[] {1, 2});
            Tensor strided = Tensors.ofFloats(new float[4], 2, 2).t();
            assertThatIllegalArgumentException()
                .isThrownBy(() -> communicator.allReduce(longs))
                .withMessageContaining("Long");
            assertThatIllegalArgumentException()
                .isThrownBy(() -> communicator.allReduce(strided))
                .withMessageContaining("strided");
            assertThatIllegalArgumentException().isThrownBy(() -> communicator.allGather(strided));
            communicator.barrier();
            communicator.close();
            assertThatIllegalStateException()
                .isThrownBy(communicator::barrier)
                .withMessageContaining("closed");
            return true;
          }
        });
  }

  @Test
  void aloneEverythingIsThereAlready() {
    try (TensorScope scope = new TensorScope();
        Communicator alone = Communicator.alone()) {
      Tensor tensor = Tensors.ofFloats(new float[] {1, 2}, 2);
      alone.allReduce(tensor);
      alone.barrier();
      assertThat(Tensors.toFloats(tensor)).containsExactly(1, 2);
      assertThat(alone.allReduce(1.5, 2)).containsExactly(1.5, 2);
      assertThat(alone.any(false)).isFalse();
      assertThat(alone.any(true)).isTrue();
      assertThat(alone.size()).isEqualTo(1);
      alone.close();
      assertThatIllegalStateException().isThrownBy(alone::barrier);
    }
  }

  @Test
  void aWorldOfOneNeedsNoNetwork() {
    WorldSettings world = new WorldSettings(0, 1, 0, "no-such-host.invalid", 1);
    try (Communicator communicator = Communicator.gloo(world, Duration.ofSeconds(1))) {
      assertThat(communicator.allReduce(3)).containsExactly(3);
    }
  }

  private static float[] random(int length, long seed) {
    Random random = new Random(seed);
    float[] values = new float[length];
    for (int i = 0; i < length; i++) {
      values[i] = random.nextFloat() - 0.5f;
    }
    return values;
  }
}
