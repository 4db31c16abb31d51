package io.llara.io;

import java.util.List;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;
import java.util.stream.StreamSupport;

/** Implementations that other artifacts bring. */
public final class Services {
  private Services() {}

  /**
   * Returns the implementations of a service on the class path.
   *
   * @throws ServiceConfigurationError if one cannot be loaded
   */
  public static <T> List<T> find(Class<T> service) {
    List<T> found = list(ServiceLoader.load(service));
    // The thread's class loader may see less than ours: in a container, or none at all.
    return found.isEmpty() ? list(ServiceLoader.load(service, service.getClassLoader())) : found;
  }

  private static <T> List<T> list(ServiceLoader<T> loader) {
    return StreamSupport.stream(loader.spliterator(), false).toList();
  }
}
