package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;

class NvidiaSmiTest {

  @Test
  void describesEachGpu() {
    String printed = "0, NVIDIA H200, 9.0, 142000 MiB, 143771 MiB\n1, NVIDIA L4, 8.9, 1 MiB, 2 MiB";

    assertThat(NvidiaSmi.gpus(List.of("printf", "%s\n", printed)))
        .hasValue(
            List.of(
                "cuda:0 NVIDIA H200, compute capability 9.0, 142000 MiB of 143771 MiB free",
                "cuda:1 NVIDIA L4, compute capability 8.9, 1 MiB of 2 MiB free"));
  }

  @Test
  void aProgramThatIsNotThereOrFailsTellsNothing() {
    assertThat(NvidiaSmi.gpus(List.of("no-such-program-of-nvidia"))).isEmpty();
    assertThat(NvidiaSmi.gpus(List.of("false"))).isEmpty();
  }
}
