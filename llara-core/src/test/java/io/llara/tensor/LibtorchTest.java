package io.llara.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LibtorchTest {

  @Test
  void theThreadsOfAThreadStayWhenAnotherSetsItsOwn() throws Exception {
    ExecutorService one = Executors.newSingleThreadExecutor();
    ExecutorService other = Executors.newSingleThreadExecutor();
    try {
      Libtorch.load();
      one.submit(() -> Libtorch.useThreads(1)).get();
      other.submit(() -> Libtorch.useThreads(2)).get();

      assertThat(one.submit(torch::get_num_threads).get()).isEqualTo(1);
      assertThat(other.submit(torch::get_num_threads).get()).isEqualTo(2);
    } finally {
      other.submit(() -> Libtorch.useThreads(1)).get();
      one.shutdown();
      other.shutdown();
    }
  }

  @Test
  void refusesAClassPathWithTheNativesOfTheProcessorAndOfTheGpu(@TempDir Path dir)
      throws Exception {
    Path presets = dir.resolve("org/bytedeco/pytorch");
    Files.createDirectories(presets.resolve("linux-x86_64"));
    Files.createFile(presets.resolve("linux-x86_64/libjnitorch.so"));
    try (URLClassLoader loader = new URLClassLoader(new URL[] {dir.toUri().toURL()}, null)) {
      Libtorch.requireOne(loader, "linux-x86_64");

      Files.createDirectories(presets.resolve("linux-x86_64-gpu"));
      Files.createFile(presets.resolve("linux-x86_64-gpu/libjnitorch.so"));

      assertThatThrownBy(() -> Libtorch.requireOne(loader, "linux-x86_64"))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining("libtorch for linux-x86_64 twice")
          .hasMessageContaining("leave out llara-natives-cpu");
    }
  }
}
