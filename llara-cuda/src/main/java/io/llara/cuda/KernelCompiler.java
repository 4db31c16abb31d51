package io.llara.cuda;

import com.google.common.hash.Hashing;
import com.google.common.io.Resources;
import io.llara.DeviceException;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Compiles {@code kernels.cu} with NVRTC, which needs no device: that of the PyTorch which {@code
 * llara.libtorch.home} names, or one that the system's loader finds.
 */
final class KernelCompiler {
  private static final Logger LOG = LoggerFactory.getLogger(KernelCompiler.class);

  private static final String SOURCE = "kernels.cu";
  private static final List<String> NAMES = List.of("libnvrtc.so.13", "libnvrtc.so.12");

  /** Where Python packages of CUDA lie beside that of PyTorch. */
  private static final List<String> PACKAGES =
      List.of("nvidia/cuda_nvrtc/lib", "nvidia/cu13/lib", "lib", "");

  private final NativeLibrary nvrtc;
  private final Path cache;

  /**
   * Loads NVRTC.
   *
   * @param cache the folder for what was compiled
   * @throws DeviceException if there is no NVRTC
   */
  KernelCompiler(Path cache) {
    this.cache = cache;
    List<String> files = new ArrayList<>();
    String home = System.getProperty("llara.libtorch.home", "");
    if (!home.isBlank()) {
      Path folder = Path.of(home).toAbsolutePath().normalize();
      for (Path dir = folder;
          dir != null && folder.getNameCount() - dir.getNameCount() < 3;
          dir = dir.getParent()) {
        Path base = dir;
        PACKAGES.forEach(
            inner -> NAMES.forEach(name -> add(base.resolve(inner).resolve(name), files)));
      }
    }
    files.addAll(NAMES); // Wherever the system finds them, if none was found there.
    try {
      nvrtc = NativeLibrary.open(files);
    } catch (DeviceException e) {
      throw new DeviceException("NVRTC " + e.getMessage(), e);
    }
  }

  private static void add(Path file, List<String> files) {
    if (Files.exists(file)) {
      files.add(file.toString());
    }
  }

  /**
   * Returns the code of all kernels for an architecture: out of the cache, if the same source was
   * compiled for it before by the same version of NVRTC.
   *
   * @param architecture such as {@code sm_90}
   * @throws DeviceException if NVRTC does not know the architecture or refuses the source
   */
  byte[] code(String architecture) {
    try {
      String source =
          Resources.toString(
              Resources.getResource(KernelCompiler.class, SOURCE), StandardCharsets.UTF_8);
      String key =
          Hashing.sha256().hashString(version() + "\n" + source, StandardCharsets.UTF_8).toString();
      Path file = cache.resolve("llara-%s-%s.cubin".formatted(key, architecture));
      if (Files.exists(file)) {
        return Files.readAllBytes(file);
      }
      byte[] code = compile(source, architecture);
      keep(file, code);
      return code;
    } catch (IOException e) {
      throw new DeviceException("kernels cannot be read: " + e, e);
    }
  }

  private static void keep(Path file, byte[] code) {
    try {
      AtomicFiles.write(file, code);
    } catch (LlaraException e) {
      LOG.warn("kernels will be compiled again next time: {}", e.getMessage());
    }
  }

  /** Returns the version of NVRTC, such as {@code 12.8}. */
  String version() {
    try (IntPointer parts = new IntPointer(2L)) {
      run("nvrtcVersion", parts.address(), parts.address() + Integer.BYTES);
      return parts.get(0) + "." + parts.get(1);
    }
  }

  private byte[] compile(String source, String architecture) {
    try (BytePointer text = new BytePointer(source, StandardCharsets.UTF_8);
        BytePointer name = new BytePointer(SOURCE);
        BytePointer target = new BytePointer("--gpu-architecture=" + architecture);
        BytePointer standard = new BytePointer("--std=c++17");
        LongPointer options = new LongPointer(new long[] {target.address(), standard.address()});
        LongPointer program = new LongPointer(new long[] {0})) {
      run("nvrtcCreateProgram", program.address(), text.address(), name.address(), 0, 0, 0);
      try {
        if ((int) nvrtc.call("nvrtcCompileProgram", program.get(), 2, options.address()) != 0) {
          byte[] log = bytes(program.get(), "nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
          throw new DeviceException(
              "NVRTC %s does not compile %s for %s: %s"
                  .formatted(
                      version(),
                      SOURCE,
                      architecture,
                      new String(log, StandardCharsets.UTF_8).replace("\0", "").strip()));
        }
        return bytes(program.get(), "nvrtcGetCUBINSize", "nvrtcGetCUBIN");
      } finally {
        nvrtc.call("nvrtcDestroyProgram", program.address());
      }
    }
  }

  /** Returns what two functions say: how many bytes, and which. */
  private byte[] bytes(long program, String sizeOf, String contentOf) {
    try (LongPointer size = new LongPointer(new long[] {0})) {
      run(sizeOf, program, size.address());
      try (BytePointer content = new BytePointer(size.get())) {
        run(contentOf, program, content.address());
        byte[] bytes = new byte[Math.toIntExact(size.get())];
        content.get(bytes);
        return bytes;
      }
    }
  }

  private void run(String function, long... arguments) {
    int result = (int) nvrtc.call(function, arguments);
    if (result != 0) {
      throw new DeviceException(
          "%s failed: %s"
              .formatted(function, NativeLibrary.text(nvrtc.call("nvrtcGetErrorString", result))));
    }
  }
}
