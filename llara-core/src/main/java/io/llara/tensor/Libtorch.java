package io.llara.tensor;

import io.llara.LlaraException;
import io.llara.io.Ahead;
import io.llara.io.NativeLoading;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.openblas.global.openblas;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Loads libtorch once, with the process-wide settings this library relies on. */
public final class Libtorch {
  private static final Logger LOG = LoggerFactory.getLogger(Libtorch.class);

  /** Of the presets' natives for GPUs. */
  private static final String BUNDLED_CUDA = "13.1";

  private static final String EXTENSION = "org.bytedeco.javacpp.platform.extension";

  private static volatile boolean loaded;
  private static @Nullable Throwable failure;
  private static @Nullable LibtorchHome home;

  private Libtorch() {}

  /**
   * Loads the native libraries if they are not loaded yet: those of the PyTorch that the system
   * property {@value LibtorchHome#PROPERTY} names, else those on the class path. Cheap after the
   * first call.
   *
   * @throws LlaraException if there are no native libraries for this platform, or the PyTorch that
   *     is named does not fit; the latter can be put right in the same process
   */
  public static void load() {
    if (!loaded) {
      loadOnce();
    }
    if (failure != null) {
      throw new LlaraException(
          "libtorch could not be loaded on %s: %s; is io.llara:llara-natives-cpu or -gpu (type pom) among the dependencies?"
              .formatted(
                  Loader.getPlatform(),
                  failure instanceof UnsatisfiedLinkError e
                      ? LibtorchHome.reason(e)
                      : failure.getMessage()),
          failure);
    }
  }

  /** Begins to {@link #load} on a thread of its own; whoever needs the libraries waits for it. */
  public static void loadAhead() {
    if (!loaded) {
      Ahead.begin(
          "llara-libtorch",
          () -> {
            load(); // What goes wrong is heard of by whoever needs the libraries.
            return true;
          });
    }
  }

  /** Returns libtorch's version and where it is from. */
  public static String version() {
    load();
    return home == null ? presets() + " (presets)" : home.describe();
  }

  /**
   * Returns why libtorch cannot compute with CUDA here; empty if it can. Whether there are kernels
   * for it is another question.
   */
  public static Optional<String> cudaProblem() {
    load();
    if (torch.hasCUDA()) {
      return Optional.empty();
    }
    if (Loader.getLoadedLibraries().containsKey(LibtorchHome.CUDA)) {
      String cuda = home == null ? BUNDLED_CUDA : home.cuda();
      return Optional.of(NvidiaDriver.problem(NvidiaDriver.version(), cuda));
    }
    if (home != null && home.cudaFailure() != null) {
      return Optional.of(home.cudaFailure());
    }
    String bundled = home == null ? bundledCudaFailure() : null;
    if (bundled != null) {
      return Optional.of(
          "libtorch for CUDA %s cannot be loaded: %s".formatted(BUNDLED_CUDA, bundled));
    }
    return Optional.of(
        "libtorch %s has no CUDA; io.llara:llara-natives-gpu (type pom) has, or a PyTorch with CUDA that -D%s names"
            .formatted(version(), LibtorchHome.PROPERTY));
  }

  /** Returns why the natives for GPUs computed without CUDA; null if these are others. */
  private static @Nullable String bundledCudaFailure() {
    String processor = Loader.getLoadedLibraries().get(LibtorchHome.PROCESSOR);
    if (processor == null) {
      return null;
    }
    Path cuda = Path.of(processor).resolveSibling(System.mapLibraryName(LibtorchHome.CUDA));
    if (Files.notExists(cuda)) {
      return null;
    }
    try {
      System.load(cuda.toString()); // JavaCPP tried, and did not say what was wrong.
      return null;
    } catch (UnsatisfiedLinkError e) {
      return LibtorchHome.reason(e);
    }
  }

  private static String presets() {
    try {
      return Loader.getVersion("org.bytedeco", "pytorch");
    } catch (IOException e) {
      return "of unknown version";
    }
  }

  /**
   * Sets how many threads libtorch uses for the operators that the calling thread runs, itself
   * included.
   */
  public static void useThreads(int count) {
    load();
    // On its first query a thread adopts the count that any thread set last. If that came after its
    // own setting, a lane would begin to use the threads of another.
    torch.get_num_threads();
    torch.set_num_threads(count);
  }

  private static synchronized void loadOnce() {
    if (loaded) {
      return;
    }
    // JavaCPP refuses to allocate once the process is larger than four times -Xmx. Memory-mapped
    // weights count, so a large model on a small heap would be refused although the memory is
    // there. Read once, when the first Bytedeco class initialises.
    setUnlessSet("org.bytedeco.javacpp.maxBytes", "0");
    setUnlessSet("org.bytedeco.javacpp.maxPhysicalBytes", "0");
    ClassLoader loader = Libtorch.class.getClassLoader();
    if (loader.getResource("org/bytedeco/cuda/global/cudart.class") == null
        && !hasBridge(loader, Loader.getPlatform() + "-gpu")) {
      // Or JavaCPP looks for two dozen libraries of CUDA, in every jar, before those that are
      // there: half of the time that libtorch takes to load.
      setUnlessSet(EXTENSION, "-cpu");
    }
    LibtorchHome given = LibtorchHome.given().orElse(null);
    if (given != null) {
      given.load();
      home = given;
    } else if (!"-cpu".equals(System.getProperty(EXTENSION))) {
      requireOne(loader, Loader.getPlatform());
    }
    failure = init();
    loaded = true;
  }

  private static @Nullable Throwable init() {
    try {
      Loader.load(org.bytedeco.openblas.global.openblas.class);
      Loader.load(org.bytedeco.pytorch.global.torch.class);
      // Two thread pools fight (libgomp's and OpenBLAS's); lanes give each core one thread of
      // each instead.
      try (PointerScope scope = new PointerScope()) { // It makes a function pointer each time.
        NativeLoading.alone(
            () -> {
              openblas.blas_set_num_threads(1);
              return null;
            });
      }
      torch.set_num_threads(1);
      keepFreedMemory();
      return null;
    } catch (LinkageError | RuntimeException e) {
      LOG.debug("loading libtorch failed", e);
      return e;
    }
  }

  /**
   * glibc returns large blocks to the system as soon as they are freed and faults every page in
   * again at the next allocation, which costs a forward pass up to a tenth of its time. Freeing one
   * large mapped block raises its dynamic threshold (mallopt(3), M_MMAP_THRESHOLD) to that size,
   * below which freed blocks are kept for reuse. Other allocators do not mind. {@code
   * NativeKernels}, where it is loaded, sets thresholds that do not move.
   */
  private static void keepFreedMemory() {
    try (PointerScope scope = new PointerScope()) {
      torch.empty(
          new long[] {(32L << 20) - (64L << 10)}, new TensorOptions(torch.ScalarType.Byte), null);
    }
  }

  /**
   * Checks that the class path does not bring libtorch twice: JavaCPP would load both, and the
   * second one ends the process.
   *
   * @throws LlaraException if it does
   */
  static void requireOne(ClassLoader loader, String platform) {
    if (hasBridge(loader, platform) && hasBridge(loader, platform + "-gpu")) {
      throw new LlaraException(
          "the class path has libtorch for %s twice, with CUDA and without, and a process can load one; leave out llara-natives-cpu (or pytorch's %1$s jar): the one with CUDA computes on the processor too"
              .formatted(platform));
    }
  }

  private static boolean hasBridge(ClassLoader loader, String platform) {
    String library = platform.startsWith("windows") ? "jnitorch.dll" : "libjnitorch.so";
    return loader.getResource("org/bytedeco/pytorch/" + platform + "/" + library) != null;
  }

  private static void setUnlessSet(String key, String value) {
    if (System.getProperty(key) == null) {
      System.setProperty(key, value);
    }
  }
}
