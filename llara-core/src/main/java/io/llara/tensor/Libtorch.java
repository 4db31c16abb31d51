package io.llara.tensor;

import io.llara.LlaraException;
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

  private Libtorch() {}

  /**
   * Loads the native libraries if they are not loaded yet. Cheap after the first call.
   *
   * @throws LlaraException if there are no native libraries for this platform on the class path
   */
  public static void load() {
    if (Loaded.FAILURE != null) {
      throw new LlaraException(
          "libtorch could not be loaded on "
              + Loader.getPlatform()
              + ": "
              + Loaded.FAILURE.getMessage()
              + "; is io.llara:llara-natives-cpu (type pom) among the dependencies?",
          Loaded.FAILURE);
    }
  }

  /** Begins to {@link #load} on a thread of its own; whoever needs the libraries waits for it. */
  public static void loadAhead() {
    Thread loader = new Thread(Loaded::ready, "llara-libtorch");
    loader.setDaemon(true);
    loader.start();
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

  /** Initialised on first use: the holder idiom makes loading lazy and thread-safe. */
  private static final class Loaded {
    static final @Nullable Throwable FAILURE = init();

    static void ready() {}

    private static @Nullable Throwable init() {
      // JavaCPP refuses to allocate once the process is larger than four times -Xmx. Memory-mapped
      // weights count, so a large model on a small heap would be refused although the memory is
      // there. Read once, when the first Bytedeco class initialises.
      setUnlessSet("org.bytedeco.javacpp.maxBytes", "0");
      setUnlessSet("org.bytedeco.javacpp.maxPhysicalBytes", "0");
      if (!onClassPath("org/bytedeco/cuda/global/cudart.class")
          && !onClassPath("org/bytedeco/pytorch/linux-x86_64-gpu/libjnitorch.so")
          && !onClassPath("org/bytedeco/pytorch/windows-x86_64-gpu/jnitorch.dll")) {
        // Or JavaCPP looks for two dozen libraries of CUDA, in every jar, before those that are
        // there: half of the time that libtorch takes to load.
        setUnlessSet("org.bytedeco.javacpp.platform.extension", "-cpu");
      }
      try {
        Loader.load(org.bytedeco.openblas.global.openblas.class);
        Loader.load(org.bytedeco.pytorch.global.torch.class);
        // Two thread pools fight (libgomp's and OpenBLAS's); lanes give each core one thread of
        // each instead.
        try (PointerScope scope = new PointerScope()) { // It makes a function pointer each time.
          openblas.blas_set_num_threads(1);
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
     * again at the next allocation, which costs a forward pass up to a tenth of its time. Freeing
     * one large mapped block raises its dynamic threshold (mallopt(3), M_MMAP_THRESHOLD) to that
     * size, below which freed blocks are kept for reuse. Other allocators do not mind.
     */
    private static void keepFreedMemory() {
      try (PointerScope scope = new PointerScope()) {
        torch.empty(
            new long[] {(32L << 20) - (64L << 10)}, new TensorOptions(torch.ScalarType.Byte), null);
      }
    }

    private static boolean onClassPath(String resource) {
      return Libtorch.class.getClassLoader().getResource(resource) != null;
    }

    private static void setUnlessSet(String key, String value) {
      if (System.getProperty(key) == null) {
        System.setProperty(key, value);
      }
    }
  }
}
