package io.llara.kernels;

import com.google.common.hash.Hashing;
import com.google.common.io.Resources;
import io.llara.Internal;
import io.llara.io.AtomicFiles;
import io.llara.io.NativeLoading;
import java.io.IOException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import org.bytedeco.javacpp.Loader;

/** Loads a shared library of a jar of ours. */
@Internal
public final class LibraryResource {
  private LibraryResource() {}

  /**
   * Loads a library for the rest of the process, from a copy in JavaCPP's cache.
   *
   * @throws IOException if it cannot be read
   * @throws io.llara.LlaraException if the cache cannot be written
   * @throws UnsatisfiedLinkError if it is not a library for this machine
   */
  public static void load(URL resource) throws IOException {
    byte[] library = Resources.toByteArray(resource);
    // Named by its content: jars of two builds may have the same name, size and timestamps.
    String hash = Hashing.sha256().hashBytes(library).toString();
    Path cached =
        Loader.getCacheDir()
            .toPath()
            .toAbsolutePath()
            .resolve(System.mapLibraryName("llara-" + hash));
    if (!Files.exists(cached)) {
      AtomicFiles.write(cached, library);
    }
    NativeLoading.alone(
        () -> {
          System.load(cached.toString());
          return cached;
        });
  }
}
