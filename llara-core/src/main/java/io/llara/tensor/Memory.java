package io.llara.tensor;

import io.llara.LlaraException;
import java.lang.management.ManagementFactory;

/** How much memory there is. */
public final class Memory {
  private Memory() {}

  /**
   * Returns the physical memory of the machine or of the container around this process, in bytes.
   *
   * @throws LlaraException if the run-time image was made without the module that knows
   */
  public static long physicalBytes() {
    if (ModuleLayer.boot().findModule("jdk.management").isEmpty()) {
      throw new LlaraException(
          "this Java run-time image lacks the module jdk.management: name it in jlink's --add-modules");
    }
    return ManagementFactory.getOperatingSystemMXBean()
            instanceof com.sun.management.OperatingSystemMXBean system
        ? system.getTotalMemorySize()
        : Runtime.getRuntime().maxMemory();
  }
}
