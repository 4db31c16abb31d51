package io.llara.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.abort;

import io.llara.DeviceException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Needs NVRTC, of an installed CUDA or of a Python package, but no GPU. */
@Tag("gpu")
class KernelCompilerTest {
  @TempDir private Path cache;

  private KernelCompiler compiler;

  @BeforeEach
  void requireNvrtc() {
    try {
      compiler = new KernelCompiler(cache);
    } catch (DeviceException e) {
      abort(e.getMessage() + "; -Dllara.libtorch.home names a PyTorch that has it");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"sm_80", "sm_89", "sm_90", "sm_100"})
  void everyKernelCompiles(String architecture) {
    byte[] code = compiler.code(architecture);

    assertThat(code).startsWith(0x7f, 'E', 'L', 'F');
    String names = new String(code, StandardCharsets.ISO_8859_1);
    for (String operation : List.of("norm", "rotary", "gate", "float8")) {
      for (String type : List.of("f32", "bf16", "f16")) {
        assertThat(names).contains("llara_" + operation + "_" + type);
      }
    }
  }

  @Test
  void whatWasCompiledIsKept() throws IOException {
    byte[] code = compiler.code("sm_90");
    Path file;
    try (Stream<Path> files = Files.list(cache)) {
      file = files.findFirst().orElseThrow();
    }
    assertThat(file.getFileName().toString()).matches("llara-[0-9a-f]{64}-sm_90.cubin");
    assertThat(Files.readAllBytes(file)).isEqualTo(code);
    Files.write(file, new byte[] {1});
    assertThat(compiler.code("sm_90")).containsExactly(1);
  }

  @Test
  void anUnknownArchitectureIsRefused() {
    assertThatThrownBy(() -> compiler.code("sm_1"))
        .isInstanceOf(DeviceException.class)
        .hasMessageContainingAll("NVRTC", "kernels.cu", "sm_1");
  }
}
