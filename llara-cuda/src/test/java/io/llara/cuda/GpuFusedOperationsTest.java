package io.llara.cuda;

import io.llara.kernels.Accelerator;
import java.nio.file.Path;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;

/** The same on a GPU, compiled by NVRTC. */
@Tag("gpu")
class GpuFusedOperationsTest extends FusedOperationsTest {
  @TempDir private Path cache;
  private Accelerator.Lane lane;

  @Override
  Launcher launcher() {
    CudaDevice gpu = Gpu.require();
    lane = gpu.openLane();
    return gpu.launcher(new KernelCompiler(cache));
  }

  @AfterEach
  void closeLane() {
    if (lane != null) {
      lane.close();
    }
  }

  @Override
  Tensor placed(Tensor host) {
    return host.to(new Device("cuda:0"), host.scalar_type().intern());
  }
}
