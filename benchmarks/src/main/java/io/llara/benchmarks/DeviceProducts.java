package io.llara.benchmarks;

import io.llara.ComputeType;
import io.llara.kernels.Accelerator;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** How fast a device multiplies large square matrices. */
final class DeviceProducts implements AutoCloseable {
  private static final int DEVICE_SIZE = 8192;
  private static final int PROCESSOR_SIZE = 1024;
  private static final int PRODUCTS = 20;
  private static final int ROUNDS = 5;

  private final Optional<Accelerator> device;
  private final int size;
  private final Tensor a;
  private final Tensor b;

  DeviceProducts(Optional<Accelerator> device, ComputeType type) {
    this.device = device;
    this.size = device.isPresent() ? DEVICE_SIZE : PROCESSOR_SIZE;
    this.a = random(Tensors.scalarType(type));
    this.b = random(Tensors.scalarType(type));
  }

  private Tensor random(ScalarType type) {
    try (TensorScope scope = new TensorScope()) {
      Tensor host = torch.randn(new long[] {size, size}, new TensorOptions(ScalarType.Float));
      return device
          .map(accelerator -> accelerator.upload(host, type))
          .orElseGet(() -> scope.own(host.to(type)));
    }
  }

  /** Returns the best of several rounds, in floating-point operations a second. */
  double rate() {
    List<Double> rates = new ArrayList<>();
    Runnable measure =
        () -> {
          multiply(2);
          for (int round = 0; round < ROUNDS; round++) {
            double seconds = Stopwatch.seconds(() -> multiply(PRODUCTS));
            rates.add(2.0 * PRODUCTS * size * size * size / seconds);
          }
        };
    device.ifPresentOrElse(
        accelerator -> {
          try (Accelerator.Lane lane = accelerator.openLane()) {
            measure.run();
          }
        },
        measure);
    return rates.stream().max(Double::compare).orElseThrow();
  }

  private void multiply(int count) {
    try (TensorScope scope = new TensorScope()) {
      Tensor product = torch.empty_like(a);
      for (int i = 0; i < count; i++) {
        torch.mm_out(product, a, b);
      }
      Tensors.toFloats(product.narrow(0, 0, 1).narrow(1, 0, 1)); // It waits for the device.
    }
  }

  @Override
  public void close() {
    a.close();
    b.close();
  }
}
