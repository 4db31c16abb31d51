package io.llara.kernels;

import io.llara.DeviceException;
import java.util.Optional;

/**
 * What a module that brings kernels for a kind of device provides; found with {@link
 * java.util.ServiceLoader}. Has a public constructor without parameters that loads nothing native.
 * Thread-safe.
 */
public interface AcceleratorProvider {

  /** Returns the kind of device, such as {@code cuda}: its devices are {@code cuda:0} and so on. */
  String kind();

  /**
   * Returns why no device of this kind can be used here, such as a missing library or driver; empty
   * if there is one. Never throws.
   */
  Optional<String> problem();

  /** Returns how many devices there are, 0 if there is a {@linkplain #problem problem}. */
  int count();

  /**
   * Opens a device; the same one each time.
   *
   * @param index less than {@link #count}
   * @throws DeviceException if it cannot be used after all
   */
  Accelerator open(int index);
}
