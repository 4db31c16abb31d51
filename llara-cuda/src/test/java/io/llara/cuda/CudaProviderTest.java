package io.llara.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.Mode;
import io.llara.tensor.Libtorch;
import io.llara.testing.ChildJvm;
import io.llara.testing.Stories;
import io.llara.testing.Vectors;
import java.io.File;
import java.util.List;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

class CudaProviderTest {

  @Test
  void aLibtorchWithoutCudaIsRefusedInWordsAndTheProcessorGoesOn() {
    Libtorch.load();
    assumeFalse(torch.hasCUDA(), "needs a machine without a GPU");

    assertThatThrownBy(() -> encoder().device("cuda:0").build())
        .isInstanceOf(DeviceException.class)
        .hasMessageContaining("device cuda:0 cannot be used: libtorch 2.1")
        .hasMessageContaining("has no CUDA; io.llara:llara-natives-gpu");
    assertThat(new CudaProvider().count()).isZero();
    encodes();
  }

  @Test
  void withoutADriverTheDeviceIsRefusedInWordsAndTheProcessorGoesOn() throws Exception {
    String folders = System.getProperty("llara.test.libtorch", "");
    assumeTrue(!folders.isEmpty(), "needs -Dllara.test.libtorch=DIR, a folder with PyTorch");
    for (String folder : folders.split(File.pathSeparator)) {
      String printed =
          ChildJvm.run(List.of("-Dllara.libtorch.home=" + folder), WithoutDriver.class);

      assertThat(printed)
          .contains("refused: device cuda cannot be used: there is no NVIDIA driver");
    }
  }

  /** Asks for a GPU, and then for the processor. */
  static final class WithoutDriver {
    private WithoutDriver() {}

    public static void main(String[] args) {
      try {
        encoder().device("cuda").build().close();
        System.out.println("there is a GPU");
      } catch (DeviceException e) {
        System.out.println("refused: " + e.getMessage());
      }
      encodes();
    }
  }

  private static EncoderBuilder encoder() {
    return Encoder.builder(Stories.dir()).template("llara-paper").computeType(ComputeType.FLOAT32);
  }

  private static void encodes() {
    try (Encoder encoder = encoder().build()) {
      Vectors.assertUnit(encoder.encode("Once upon a time", Mode.SELF));
    }
  }
}
