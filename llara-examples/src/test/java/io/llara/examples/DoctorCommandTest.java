package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.kernels.FusedKernels;
import org.junit.jupiter.api.Test;

class DoctorCommandTest {

  @Test
  void tellsVersionsLimitsAndLibraries() {
    CommandRun run = CommandRun.of("doctor");
    assertThat(run.code()).isZero();
    assertThat(run.err()).isEmpty();
    assertThat(run.out())
        .contains("Java ", "JavaCPP ", "libtorch ", "OpenBLAS ", "oneDNN ", "tokenizers ")
        .contains("platform ", "CPU features ", "lanes ", "Java heap ", "memory ")
        .containsPattern("NVIDIA driver +(none|\\d)")
        .containsPattern("CUDA +(cannot be used: .+|\\d+ devices)")
        .containsPattern("fused kernels +" + FusedKernels.instructions().orElse("none"))
        .containsPattern("library +\\d+\\.\\d MiB  .*torch_cpu")
        .containsPattern("library +\\d+\\.\\d MiB  .*openblas")
        .containsPattern("library +\\d+\\.\\d MiB  .*tokenizers");
  }
}
