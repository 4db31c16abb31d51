package io.llara.train.run;

import io.llara.Internal;
import io.llara.kernels.Accelerator;
import io.llara.train.distributed.Communicator;
import io.llara.train.distributed.Lanes;
import java.time.Duration;
import java.util.Optional;

/**
 * Who computes: the lanes of this process, and the other processes.
 *
 * @param lanes the threads of this process
 * @param communicator the group of processes
 */
@Internal
public record Workers(Lanes lanes, Communicator communicator) implements AutoCloseable {
  /** How long a process waits for another before it gives up. */
  private static final Duration TIMEOUT = Duration.ofMinutes(10);

  /** Starts this process's lanes, and waits for the other processes. */
  public static Workers start(RunOptions.Compute options) {
    Communicator communicator =
        options
            .world()
            .map(world -> Communicator.gloo(world, TIMEOUT))
            .orElseGet(Communicator::alone);
    try {
      communicator.barrier();
      options.accelerator().ifPresent(communicator::joinDevices);
      return new Workers(new Lanes(options.threads(), options.accelerator()), communicator);
    } catch (RuntimeException | Error e) {
      communicator.close();
      throw e;
    }
  }

  /**
   * Starts one lane, in the only process.
   *
   * @param device empty for the processor
   */
  public static Workers single(Optional<Accelerator> device) {
    return new Workers(new Lanes(1, device), Communicator.alone());
  }

  /** Returns whether this is the first process: the one that writes. */
  boolean isFirst() {
    return communicator.rank() == 0;
  }

  @Override
  public void close() {
    lanes.close();
    communicator.close();
  }
}
