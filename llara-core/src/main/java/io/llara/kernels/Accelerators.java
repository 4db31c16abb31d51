package io.llara.kernels;

import com.google.common.base.Splitter;
import io.llara.DeviceException;
import io.llara.io.Messages;
import io.llara.io.Services;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.ServiceConfigurationError;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
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

  private static final String ALL = "all";

  private static final Pattern NAME =
      Pattern.compile("([a-z]+)(?::(" + ALL + "|\\d{1,4}(?:,\\d{1,4})*))?");

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

  /**
   * Returns whether a name is of the form of devices': {@code cuda}, {@code cuda:1}, {@code
   * cuda:0,2}, {@code cuda:all}.
   */
  public static boolean isName(String name) {
    return NAME.matcher(name).matches();
  }

  /**
   * Opens a device.
   *
   * @param name as in {@link #openAll}, but of one device
   * @return empty for the processor
   * @throws DeviceException as {@link #openAll}, and if the name is of several devices
   */
  public static Optional<Accelerator> open(String name) {
    List<Accelerator> opened = openAll(name);
    if (opened.size() > 1) {
      throw new DeviceException("%s is %d devices; expected one".formatted(name, opened.size()));
    }
    return opened.stream().findFirst();
  }

  /**
   * Opens devices.
   *
   * @param name {@link #CPU}; {@link #AUTO}; a kind such as {@code cuda} for the first one of it;
   *     one of them such as {@code cuda:1}; several such as {@code cuda:0,2}; or {@code cuda:all}
   * @return in the order of their names, none twice; empty for the processor
   * @throws DeviceException if there is no such device, no kernels for it, or it cannot be used
   */
  public static List<Accelerator> openAll(String name) {
    Matcher matcher = NAME.matcher(name);
    if (!matcher.matches()) {
      throw new DeviceException(
          "there is no device %s; expected %s, %s, cuda, cuda:0, cuda:0,1 or cuda:all"
              .formatted(Messages.quote(name), CPU, AUTO));
    }
    if (name.equals(CPU)) {
      return List.of();
    }
    if (name.equals(AUTO)) {
      return providers().values().stream()
          .flatMap(provider -> first(provider).stream())
          .limit(1)
          .toList();
    }
    AcceleratorProvider provider = provider(name, matcher.group(1));
    return indices(name, matcher.group(2), provider).stream().map(provider::open).toList();
  }

  /**
   * Opens the device of one of several processes, each of which has one of its own.
   *
   * @param name as in {@link #openAll}; a kind stands for all of its devices
   * @param place which of the processes on this machine it is, from 0
   * @return empty for the processor
   * @throws DeviceException as {@link #openAll}, and if there are fewer devices than processes
   */
  public static Optional<Accelerator> openOne(String name, int place) {
    Matcher matcher = NAME.matcher(name);
    if (name.equals(CPU) || !matcher.matches()) {
      return open(name);
    }
    AcceleratorProvider provider;
    if (name.equals(AUTO)) {
      Optional<AcceleratorProvider> usable =
          providers().values().stream().filter(each -> each.count() > 0).findFirst();
      if (usable.isEmpty()) {
        return Optional.empty();
      }
      provider = usable.get();
    } else {
      provider = provider(name, matcher.group(1));
    }
    String which = matcher.group(2);
    List<Integer> indices = indices(name, which == null ? ALL : which, provider);
    if (place >= indices.size()) {
      throw new DeviceException(
          "there is no device for process %d of this machine: %s is %d; start fewer processes, or name more devices"
              .formatted(place, name, indices.size()));
    }
    // The others are left alone: to open one takes some of its memory.
    return Optional.of(provider.open(indices.get(place)));
  }

  private static AcceleratorProvider provider(String name, String kind) {
    Map<String, AcceleratorProvider> providers = providers();
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
    return provider;
  }

  /** Returns which devices of a kind a name is of. */
  private static List<Integer> indices(
      String name, @Nullable String which, AcceleratorProvider provider) {
    int count = provider.count();
    if (ALL.equals(which)) {
      return IntStream.range(0, count).boxed().toList();
    }
    Set<Integer> indices = new LinkedHashSet<>();
    for (String number : Splitter.on(',').split(which == null ? "0" : which)) {
      int index = Integer.parseInt(number);
      String single = provider.kind() + ":" + index;
      if (index >= count) {
        throw new DeviceException(
            "there is no device %s; this machine has %s"
                .formatted(single, range(provider.kind(), count)));
      }
      if (!indices.add(index)) {
        throw new DeviceException("device %s names %s twice".formatted(name, single));
      }
    }
    return List.copyOf(indices);
  }

  /** Returns the name of devices of a kind, as {@link #openAll} takes it; {@link #CPU} of none. */
  public static String name(List<Accelerator> devices) {
    return devices.isEmpty()
        ? CPU
        : devices.get(0).name()
            + devices.stream()
                .skip(1)
                .map(device -> "," + device.name().substring(device.name().indexOf(':') + 1))
                .collect(Collectors.joining());
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
