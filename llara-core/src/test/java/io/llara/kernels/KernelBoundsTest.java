package io.llara.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.kernels.NativeKernels.Level;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;

/**
 * Runs {@code src/test/cpp/bounds.cpp}, which the build links with the kernels of each level: no
 * kernel touches a byte beside its operands.
 */
class KernelBoundsTest {

  @ParameterizedTest
  // AMX is called in the program of AVX512_BF16; that of NEON runs in an emulator (CompileKernels).
  @EnumSource(
      names = {"AMX", "NEON"},
      mode = Mode.EXCLUDE)
  void nothingBesideOperandsIsTouched(Level level) throws Exception {
    run(level, 40);
  }

  @Tag("nightly")
  @ParameterizedTest
  @EnumSource(
      names = {"AMX", "NEON"},
      mode = Mode.EXCLUDE)
  void nothingBesideOperandsOfAnyLengthIsTouched(Level level) throws Exception {
    run(level, 300);
  }

  private static void run(Level level, int longest) throws IOException, InterruptedException {
    Path program = Path.of("target/kernel-tests/bounds-" + level).toAbsolutePath();
    assumeTrue(Files.exists(program), "no kernels are compiled for this machine");
    assumeTrue(level.runsHere(), "this processor does not have " + level);
    Process process =
        new ProcessBuilder(program.toString(), Integer.toString(longest))
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(output).isZero();
    assertThat(output).contains("length " + longest).endsWith("passed\n");
  }
}
