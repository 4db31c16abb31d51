package io.llara.kernels;

import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.OutOfDeviceMemoryException;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * A device beside the processor on which models run, and the kernels for it. Thread-safe; lives as
 * long as the process.
 */
public interface Accelerator {

  /** Returns its name, such as {@code cuda:0}. */
  String name();

  /**
   * Describes it for people: the device, and which kernels are in use and why not others; one line
   * each.
   */
  List<String> description();

  /** Returns the kernels for inference. */
  Kernels kernels();

  /** Returns the kernels for training, which autograd differentiates. */
  Kernels trainingKernels();

  /**
   * Returns the type to compute in, never {@code AUTO}.
   *
   * @throws DeviceException if the device does not compute in the type that is wanted
   */
  ComputeType resolve(ComputeType wanted);

  /** Returns how much of the device's memory is free, in bytes. */
  long freeBytes();

  /**
   * Returns what the driver says is free, in bytes: without what was freed but is kept for later.
   */
  default long driverFreeBytes() {
    return freeBytes();
  }

  /**
   * Prepares the calling thread, whose forward passes run on this device until it closes the
   * result.
   */
  Lane openLane();

  /**
   * Copies a tensor of the processor's memory to the device. The caller owns the result; the
   * argument may be freed at once.
   *
   * @param type the type of the copy
   */
  Tensor upload(Tensor host, ScalarType type);

  /**
   * Says what a failure of a native call means: {@link OutOfDeviceMemoryException} if the device's
   * memory did not suffice, after which smaller work may succeed; empty if it has nothing to do
   * with the device.
   */
  Optional<DeviceException> explain(RuntimeException failure);

  /**
   * Returns how it meets devices of its kind in other processes; empty if it cannot, and what they
   * have in common goes through the processor.
   */
  default Optional<DeviceGroup.Meeting> meeting() {
    return Optional.empty();
  }

  /** A thread that is prepared for a device. */
  interface Lane extends AutoCloseable {
    @Override
    void close();
  }
}
