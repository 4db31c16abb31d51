package io.llara.cuda;

import io.llara.LlaraException;
import io.llara.kernels.Accelerator;
import io.llara.kernels.AcceleratorProvider;
import io.llara.tensor.Libtorch;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.bytedeco.pytorch.global.torch;

/** NVIDIA GPUs, as libtorch counts them. */
public final class CudaProvider implements AcceleratorProvider {
  /** Of the process: a device's kernels are compiled and loaded once. */
  private static final Map<Integer, Accelerator> OPENED = new ConcurrentHashMap<>();

  @Override
  public String kind() {
    return "cuda";
  }

  @Override
  public Optional<String> problem() {
    try {
      return Libtorch.cudaProblem();
    } catch (LlaraException e) {
      return Optional.of(String.valueOf(e.getMessage()));
    }
  }

  @Override
  public int count() {
    return problem().isPresent() ? 0 : torch.cuda_device_count();
  }

  @Override
  public Accelerator open(int index) {
    return OPENED.computeIfAbsent(index, CudaDevice::new);
  }
}
