package io.llara.kernels;

import io.llara.DeviceException;
import io.llara.io.Messages;
import io.llara.io.Services;
import java.util.Map;
import java.util.Optional;
import java.util.ServiceConfigurationError;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Devices by name. */
public final class Accelerators {
  private static final Logger LOG = LoggerFactory.getLogger(Accelerators.class);

  /** The processor. */
  public static final String CPU = "cpu";

  /** The first device of another kind that can be used, else the processor. */
  public static final String AUTO = "auto";

  /** Modules of this project, by the kind of device they are for. */
  private static final Map<String, String> MODULES = Map.of("cuda", "llara-cuda");

  private static final Pattern NAME = Pattern.compile("([a-z]+)(?::(\\d{1,4}))?");

  private Accelerators() {}

  /**
   * Returns the kinds of device for which there are kernels on the class path, beside the
   * processor.
   *
   * @throws DeviceException if a module of them cannot be loaded
   */
  public static Map<String, AcceleratorProvider> providers() {
    try {
      Map<String, AcceleratorProvider> byKind = new TreeMap<>();
      Services.find(AcceleratorProvider.class)
          .forEach(provider -> byKind.put(provider.kind(), provider));
      return byKind;
    } catch (ServiceConfigurationError | LinkageError e) {
      throw new DeviceException("a device's kernels cannot be loaded: " + e.getMessage(), e);
    }
  }

  /** Returns whether a name is of the form of devices': {@code cuda}, {@code cuda:1}. */
  public static boolean isName(String name) {
    return NAME.matcher(name).matches();
  }

  /**
   * Opens a device.
   *
   * @param name {@link #CPU}, {@link #AUTO}, a kind such as {@code cuda} for the first one of it,
   *     or one of them such as {@code cuda:1}
   * @return empty for the processor
   * @throws DeviceException if there is no such device, no kernels for it, or it cannot be used
   */
  public static Optional<Accelerator> open(String name) {
    Matcher matcher = NAME.matcher(name);
    if (!matcher.matches()) {
      throw new DeviceException(
          "there is no device %s; expected %s, %s, cuda or cuda:0"
              .formatted(Messages.quote(name), CPU, AUTO));
    }
    if (name.equals(CPU)) {
      return Optional.empty();
    }
    Map<String, AcceleratorProvider> providers = providers();
    if (name.equals(AUTO)) {
      return providers.values().stream().flatMap(provider -> first(provider).stream()).findFirst();
    }
    String kind = matcher.group(1);
    AcceleratorProvider provider = providers.get(kind);
    if (provider == null) {
      throw new DeviceException(missing(name, kind));
    }
    provider
        .problem()
        .ifPresent(
            problem -> {
              throw new DeviceException("device %s cannot be used: %s".formatted(name, problem));
            });
    int index = matcher.group(2) == null ? 0 : Integer.parseInt(matcher.group(2));
    if (index >= provider.count()) {
      throw new DeviceException(
          "there is no device %s; this machine has %s"
              .formatted(name, range(kind, provider.count())));
    }
    return Optional.of(provider.open(index));
  }

  /** Opens the first device of a kind, if there is one that can be used. */
  private static Optional<Accelerator> first(AcceleratorProvider provider) {
    try {
      return provider.count() > 0 ? Optional.of(provider.open(0)) : Optional.empty();
    } catch (DeviceException e) {
      LOG.warn("{} is passed over: {}", provider.kind(), e.getMessage());
      return Optional.empty();
    }
  }

  private static String range(String kind, int count) {
    return count == 1 ? kind + ":0 only" : "%s:0 to %s:%d".formatted(kind, kind, count - 1);
  }

  private static String missing(String name, String kind) {
    String module = MODULES.get(kind);
    return module == null
        ? "there is no device %s; expected %s, %s or one of %s"
            .formatted(name, CPU, AUTO, MODULES.keySet())
        : "device %s: no kernels for it are on the class path; add the dependencies io.llara:%s and io.llara:llara-natives-gpu (type pom), or choose device cpu"
            .formatted(name, module);
  }
}
