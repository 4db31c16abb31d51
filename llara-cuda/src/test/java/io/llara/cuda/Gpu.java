package io.llara.cuda;

import static org.junit.jupiter.api.Assumptions.abort;

import io.llara.kernels.AcceleratorProvider;

/** The first GPU, for tests tagged {@code gpu}. */
final class Gpu {
  private Gpu() {}

  /** Returns it, or skips the test and says why. */
  static CudaDevice require() {
    AcceleratorProvider provider = new CudaProvider();
    provider.problem().ifPresent(problem -> abort("no GPU: " + problem));
    return (CudaDevice) provider.open(0);
  }
}
