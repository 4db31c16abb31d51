package io.llara.cuda;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Launches kernels on a GPU, in order with libtorch's operators. */
final class DriverLauncher implements Launcher {
  private final CudaDriver driver;
  private final long module;
  private final Map<String, Long> kernels = new ConcurrentHashMap<>();

  /**
   * Loads code into the calling thread's context.
   *
   * @param code of the device's architecture
   * @throws io.llara.DeviceException if the driver refuses it
   */
  DriverLauncher(CudaDriver driver, byte[] code) {
    this.driver = driver;
    this.module = driver.load(code);
  }

  @Override
  public void launch(String kernel, long blocks, int threads, long[] arguments) {
    long found = kernels.computeIfAbsent(kernel, name -> driver.kernel(module, "llara_" + name));
    driver.launch(found, blocks, threads, arguments);
  }
}
