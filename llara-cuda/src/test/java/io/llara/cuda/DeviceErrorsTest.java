package io.llara.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.DeviceException;
import io.llara.OutOfDeviceMemoryException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Messages of libtorch's, as its sources spell them. */
class DeviceErrorsTest {

  private static DeviceException explained(String message) {
    return DeviceErrors.explain("cuda:1", new RuntimeException(message + "\nException raised from"))
        .orElseThrow();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
      })
  void memoryThatRunsOutIsToldFromOtherFailures(String message) {
    assertThat(explained(message))
        .isInstanceOf(OutOfDeviceMemoryException.class)
        .hasMessage("cuda:1: " + message);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: unspecified launch failure",
        "CUDA driver error: device not found",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"
      })
  void aDeviceThatFailedIsNamed(String message) {
    assertThat(explained(message))
        .isExactlyInstanceOf(DeviceException.class)
        .hasMessageStartingWith("cuda:1 failed: " + message + "; what was opened on it");
  }

  @Test
  void otherFailuresAreNotTheDevices() {
    assertThat(DeviceErrors.explain("cuda:0", new RuntimeException("mat1 and mat2 shapes")))
        .isEmpty();
    assertThat(DeviceErrors.explain("cuda:0", new IllegalStateException())).isEmpty();
  }
}
