package io.llara.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NvidiaDriverTest {
  @TempDir private Path dir;

  @ParameterizedTest
  @CsvSource({
    "535.104.12, 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.12  Wed Sep 20 2023'",
    "580.65.06, 'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build'",
  })
  void readsTheVersionThatTheKernelTells(String version, String line) throws IOException {
    Path file =
        Files.writeString(dir.resolve("version"), line + "\nGCC version:  gcc version 12.2.0\n");

    assertThat(NvidiaDriver.version(file)).hasValue(version);
  }

  @Test
  void withoutAFileOrAVersionInItThereIsNoDriver() throws IOException {
    Path empty = Files.writeString(dir.resolve("version"), "something else 1.2\n");

    assertThat(NvidiaDriver.version(empty)).isEmpty();
    assertThat(NvidiaDriver.version(dir.resolve("none"))).isEmpty();
  }

  @Test
  void saysThatThereIsNoDriver() {
    assertThat(NvidiaDriver.problem(Optional.empty(), "13.1")).contains("no NVIDIA driver");
  }

  @ParameterizedTest
  @CsvSource({"470.82.01, 12.8", "525.60.12, 12.8", "570.172.08, 13.1", "580.65.05, 13.0"})
  void saysThatADriverIsTooOld(String version, String cuda) {
    assertThat(NvidiaDriver.problem(Optional.of(version), cuda))
        .contains(version + " is too old for CUDA " + cuda);
  }

  @ParameterizedTest
  @CsvSource({"525.60.13, 12.8", "580.65.06, 13.1", "580.65.06, ''", "1000, 13.1", "470.82, 14.0"})
  void saysWhatElseHidesDevices(String version, String cuda) {
    assertThat(NvidiaDriver.problem(Optional.of(version), cuda))
        .contains(version + " shows no device", "CUDA_VISIBLE_DEVICES");
  }
}
