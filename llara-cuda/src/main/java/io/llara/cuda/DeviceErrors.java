package io.llara.cuda;

import io.llara.DeviceException;
import io.llara.OutOfDeviceMemoryException;
import java.util.List;
import java.util.Optional;

/**
 * What the messages of libtorch's failures say about a GPU: exceptions of one type are all there
 * is.
 */
final class DeviceErrors {
  /** libtorch's allocator, and the libraries that allocate on their own. */
  private static final List<String> MEMORY =
      List.of("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED");

  private static final List<String> DEVICE =
      List.of(
          "CUDA error",
          "CUDA driver error",
          "CUBLAS_STATUS_",
          "CUDNN_STATUS_",
          "NVML",
          "device-side assert");

  private DeviceErrors() {}

  /**
   * Returns what a failure says about a device; empty if nothing.
   *
   * @param device its name
   */
  static Optional<DeviceException> explain(String device, RuntimeException failure) {
    String message = firstLine(failure);
    if (MEMORY.stream().anyMatch(message::contains)) {
      return Optional.of(new OutOfDeviceMemoryException(device + ": " + message, failure));
    }
    if (DEVICE.stream().anyMatch(message::contains)) {
      return Optional.of(
          new DeviceException(
              "%s failed: %s; what was opened on it is to be closed, and may not work again in this process"
                  .formatted(device, message),
              failure));
    }
    return Optional.empty();
  }

  /** Returns a message without the native stack that follows it. */
  static String firstLine(Throwable failure) {
    return String.valueOf(failure.getMessage()).lines().findFirst().orElse(failure.toString());
  }
}
