package io.llara.tensor;

import java.lang.management.ManagementFactory;

/** How much memory there is. */
public final class Memory {
  private Memory() {}

  /**
   * Returns the physical memory of the machine or of the container around this process, in bytes.
   */
  public static long physicalBytes() {
    return ManagementFactory.getOperatingSystemMXBean()
            instanceof com.sun.management.OperatingSystemMXBean system
        ? system.getTotalMemorySize()
        : Runtime.getRuntime().maxMemory();
  }
}
