package io.llara.cuda;

import io.llara.DeviceException;
import io.llara.LlaraException;
import io.llara.io.NativeLoading;
import io.llara.kernels.LibraryResource;
import java.io.IOException;
import java.net.URL;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.jspecify.annotations.Nullable;

/**
 * A shared library of C functions with arguments that are integers and addresses, at most {@value
 * #MOST_ARGUMENTS} of them. Stays loaded as long as the process runs. Thread-safe.
 */
final class NativeLibrary {
  private static final int MOST_ARGUMENTS = 22;
  private static final long RTLD_NOW = 2;

  private final String file;
  private final long handle;
  private final Map<String, Long> functions = new ConcurrentHashMap<>();

  private NativeLibrary(String file, long handle) {
    this.file = file;
    this.handle = handle;
  }

  /**
   * Opens the first of libraries that can be opened.
   *
   * @param files paths, or names that the system's loader looks for
   * @throws DeviceException if none can; it says why for the last
   */
  static NativeLibrary open(List<String> files) {
    Bridge.require();
    return NativeLoading.alone(() -> openFirst(files));
  }

  private static NativeLibrary openFirst(List<String> files) {
    // Once before: what is used for the first time is looked up by the same loader, which forgets
    // its last error then.
    text(callAt(SystemLoader.ERROR));
    for (String file : files) {
      try (BytePointer name = new BytePointer(file)) {
        long handle = callAt(SystemLoader.OPEN, name.address(), RTLD_NOW);
        if (handle != 0) {
          return new NativeLibrary(file, handle);
        }
      }
    }
    throw new DeviceException("cannot be loaded: " + text(callAt(SystemLoader.ERROR)));
  }

  /** Returns the path or name that was opened. */
  String file() {
    return file;
  }

  /**
   * Calls a function.
   *
   * @return its result; of an int, the lower half is it
   * @throws DeviceException if the library does not have it
   */
  long call(String function, long... arguments) {
    return callAt(functions.computeIfAbsent(function, this::find), arguments);
  }

  private long find(String function) {
    try (BytePointer name = new BytePointer(function)) {
      long address = callAt(SystemLoader.FIND, handle, name.address());
      if (address == 0) {
        throw new DeviceException("%s has no function %s".formatted(file, function));
      }
      return address;
    }
  }

  /** Returns a C string; its memory is its owner's. */
  static String text(long address) {
    return address == 0 ? "" : new BytePointer(new At(address)).getString();
  }

  /** Functions of the system's loader, each looked for once. */
  private static final class SystemLoader {
    static final long OPEN = system("dlopen");
    static final long ERROR = system("dlerror");
    static final long FIND = system("dlsym");
  }

  private static long system(String function) {
    @Nullable Pointer address = NativeLoading.alone(() -> Loader.addressof(function));
    if (address == null) {
      throw new DeviceException("the system's loader has no function " + function);
    }
    return address.address();
  }

  private static long callAt(long function, long... arguments) {
    try (LongPointer all = new LongPointer(Arrays.copyOf(arguments, MOST_ARGUMENTS))) {
      return call(function, all.address());
    }
  }

  private static native long call(long function, long arguments);

  private static final class At extends Pointer {
    At(long address) {
      this.address = address;
    }
  }

  /** {@code bridge.cpp}, loaded on first use. */
  private static final class Bridge {
    static final @Nullable String PROBLEM = load();

    static void require() {
      if (PROBLEM != null) {
        throw new DeviceException(PROBLEM);
      }
    }

    private static @Nullable String load() {
      URL resource = NativeLibrary.class.getResource(Loader.getPlatform() + "/libllara-cuda.so");
      if (resource == null) {
        return "this build has no bridge to CUDA for " + Loader.getPlatform();
      }
      try {
        LibraryResource.load(resource);
        return null;
      } catch (IOException | LlaraException | UnsatisfiedLinkError e) {
        return "the bridge to CUDA cannot be loaded: " + e.getMessage();
      }
    }
  }
}
