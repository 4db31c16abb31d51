package io.llara.train.checkpoint;

import io.llara.ComputeType;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlaraJson;
import io.llara.kernels.FusedKernels;
import io.llara.kernels.Projection;
import io.llara.model.CheckpointWeights;
import io.llara.model.LlamaFactory;
import io.llara.model.LlamaModel;
import io.llara.model.Parts;
import io.llara.model.StoredParts;
import io.llara.model.TokenEmbedding;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.tensor.Cpu;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.tokenize.Tokenizer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * How the inputs of a model's linear maps vary together, over texts in both modes: {@code H = Xᵀ X}
 * of each, {@code [in, in]}, in float32. For one thread; holds native memory until it is closed.
 */
final class InputStatistics implements AutoCloseable {
  private static final int BATCH_TOKENS = 1024;
  private static final int DEFAULT_MAX_TOKENS = 512;

  /** Added to the diagonal, as a part of its mean: the inverse exists, and stays moderate. */
  private static final double DAMPING = 0.01;

  private final Map<String, Tensor> products = new HashMap<>();

  private InputStatistics() {}

  /**
   * Runs texts through a model.
   *
   * @param texts at least one that is not blank; each becomes a passage and a query
   * @throws LlaraException if the model does not say what its prompts are
   */
  static InputStatistics of(
      CheckpointDirectory checkpoint, CheckpointWeights weights, List<String> texts) {
    InputStatistics statistics = new InputStatistics();
    try {
      ScalarType type = Cpu.scalarType(Cpu.resolve(ComputeType.AUTO));
      Parts parts = statistics.watched(new StoredParts(weights, type, false, 1));
      List<Prompt> prompts = prompts(checkpoint, texts);
      int longest = prompts.stream().mapToInt(Prompt::length).max().orElseThrow();
      try (InferenceMode inference = new InferenceMode(true);
          LlamaModel model =
              LlamaFactory.build(
                  checkpoint.config(), parts, FusedKernels.orLibtorch(), type, longest)) {
        for (int begin = 0; begin < prompts.size(); ) {
          int end = begin;
          int tokens = 0;
          while (end < prompts.size()
              && (end == begin || tokens + prompts.get(end).length() <= BATCH_TOKENS)) {
            tokens += prompts.get(end++).length();
          }
          AttentionMask mask =
              AttentionMaskFactory.create(prompts.subList(begin, end), Layout.packed());
          try (TensorScope scope = new TensorScope()) {
            model.forward(mask, IntStream.range(0, tokens).toArray(), () -> {});
          }
          begin = end;
        }
      }
      return statistics;
    } catch (RuntimeException | Error e) {
      statistics.close();
      throw e;
    }
  }

  private static List<Prompt> prompts(CheckpointDirectory checkpoint, List<String> texts) {
    LlaraJson settings = ModelFiles.requireRecipe(checkpoint);
    int most = checkpoint.config().maxPositionEmbeddings();
    int passage = Math.min(most, settings.maxPassageTokens().orElse(DEFAULT_MAX_TOKENS));
    int query = Math.min(most, settings.maxQueryTokens().orElse(passage));
    List<Prompt> prompts = new ArrayList<>();
    try (Tokenizer tokenizer = Tokenizer.load(checkpoint.path())) {
      PromptBuilder builder = PromptBuilder.create(settings.template(), tokenizer);
      for (String text : texts) {
        if (!text.isBlank()) {
          prompts.add(builder.build(text, Mode.SELF, passage));
          prompts.add(builder.build(text, Mode.NEXT, query));
        }
      }
    }
    if (prompts.isEmpty()) {
      throw new LlaraException("there is no text to calibrate with");
    }
    return prompts;
  }

  private Parts watched(Parts parts) {
    return new Parts() {
      @Override
      public TokenEmbedding embedding() {
        return parts.embedding();
      }

      @Override
      public Tensor norm(String name) {
        return parts.norm(name);
      }

      @Override
      public Projection projection(String module) {
        Projection projection = parts.projection(module);
        return module.equals(source(module)) ? new Watched(module, projection) : projection;
      }

      /** Rows of padding are no inputs. */
      @Override
      public IntUnaryOperator rowPadding() {
        return rows -> rows;
      }
    };
  }

  /** Returns the first of the modules that have the same input as this one. */
  private static String source(String module) {
    return module
        .replaceFirst("self_attn\\.[kv]_proj$", "self_attn.q_proj")
        .replaceFirst("mlp\\.up_proj$", "mlp.gate_proj");
  }

  /** Adds up what it is applied to. */
  private final class Watched implements Projection {
    private final String module;
    private final Projection projection;

    Watched(String module, Projection projection) {
      this.module = module;
      this.projection = projection;
    }

    @Override
    public Tensor apply(Tensor x) {
      try (TensorScope scope = new TensorScope()) {
        Tensor inputs = x.to(ScalarType.Float);
        Tensor sum =
            products.computeIfAbsent(
                module, name -> scope.own(torch.zeros(inputs.size(1), inputs.size(1))));
        sum.addmm_(inputs.t(), inputs, new Scalar(1.0), new Scalar(1.0));
      }
      return projection.apply(x);
    }

    @Override
    public void close() {
      projection.close();
    }
  }

  /**
   * Returns {@code U}, upper triangular, with {@code Uᵀ U = H⁻¹}, row-major, of a module's inputs:
   * what GPTQ (arXiv 2210.17323, section 3) spreads errors by. Inputs that never occur have a
   * diagonal of 1 in {@code H}.
   */
  float[] inverseRoot(String module) {
    Tensor product = products.get(source(module));
    if (product == null) {
      throw new IllegalArgumentException("there are no statistics for " + module);
    }
    try (TensorScope scope = new TensorScope()) {
      Tensor h = product.to(ScalarType.Double);
      Tensor diagonal = h.diagonal();
      diagonal.add_(diagonal.eq(new Scalar(0.0)).to(ScalarType.Double), new Scalar(1.0));
      diagonal.add_(new Scalar(DAMPING * diagonal.mean().item_double()));
      Tensor inverse = torch.cholesky_inverse(torch.linalg_cholesky(h));
      return Tensors.toFloats(torch.linalg_cholesky(inverse, true));
    }
  }

  @Override
  public void close() {
    products.values().forEach(Tensor::close);
    products.clear();
  }
}
