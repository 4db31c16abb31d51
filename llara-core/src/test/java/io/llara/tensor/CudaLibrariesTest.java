package io.llara.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.testing.ChildJvm;
import java.io.File;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Argument;
import org.bytedeco.pytorch.Dispatcher;
import org.bytedeco.pytorch.FunctionSchema;
import org.bytedeco.pytorch.OperatorHandle;
import org.bytedeco.pytorch.global.torch.DispatchKey;
import org.junit.jupiter.api.Test;

/**
 * libtorch's side for CUDA loads, driver or not, and has a kernel for each operator that llara-cuda
 * calls, with the arguments that it passes. Needs a PyTorch with CUDA and NVIDIA's packages.
 */
class CudaLibrariesTest {
  private static final Map<String, List<String>> OPERATORS = new LinkedHashMap<>();

  static {
    OPERATORS.put(
        "aten::_flash_attention_forward",
        List.of(
            "query",
            "key",
            "value",
            "cum_seq_q",
            "cum_seq_k",
            "max_q",
            "max_k",
            "dropout_p",
            "is_causal",
            "return_debug_mask",
            "scale",
            "window_size_left",
            "window_size_right",
            "seqused_k",
            "alibi_slopes"));
    OPERATORS.put(
        "aten::_efficient_attention_forward",
        List.of(
            "query",
            "key",
            "value",
            "bias",
            "cu_seqlens_q",
            "cu_seqlens_k",
            "max_seqlen_q",
            "max_seqlen_k",
            "dropout_p",
            "custom_mask_type",
            "compute_log_sumexp",
            "scale",
            "seqlen_k",
            "window_size"));
    OPERATORS.put(
        "aten::_scaled_mm",
        List.of(
            "self",
            "mat2",
            "scale_a",
            "scale_b",
            "bias",
            "scale_result",
            "out_dtype",
            "use_fast_accum"));
  }

  @Test
  void theLibrariesLoadAndHaveTheOperators() throws Exception {
    String folders = System.getProperty("llara.test.libtorch", "");
    assumeTrue(!folders.isEmpty(), "needs -Dllara.test.libtorch=DIR, a folder with PyTorch");
    for (String folder : folders.split(File.pathSeparator)) {
      String printed = ChildJvm.run(List.of("-Dllara.libtorch.home=" + folder), Inspect.class);

      OPERATORS.forEach(
          (name, arguments) ->
              assertThat(printed).contains("%s true %s".formatted(name, arguments)));
      assertThat(printed)
          .containsPattern(
              "problem: Optional(\\.empty|\\[(there is no NVIDIA driver|the NVIDIA driver).*\\])");
    }
  }

  /** Prints each operator, whether it has a kernel for CUDA, and its arguments. */
  static final class Inspect {
    private Inspect() {}

    public static void main(String[] args) {
      Libtorch.load();
      System.out.println("problem: " + Libtorch.cudaProblem());
      for (String name : OPERATORS.keySet()) {
        try (PointerScope scope = new PointerScope()) {
          OperatorHandle operator = Dispatcher.singleton().findSchemaOrThrow(name, "");
          System.out.printf(
              "%s %s %s%n",
              name,
              operator.hasKernelForDispatchKey(DispatchKey.CUDA),
              arguments(operator.schema()));
        }
      }
    }

    private static List<String> arguments(FunctionSchema schema) {
      Argument all = schema.arguments();
      List<String> names = new ArrayList<>();
      for (long i = 0; i < all.capacity(); i++) {
        names.add(all.getPointer(i).name().getString());
      }
      return names;
    }
  }
}
