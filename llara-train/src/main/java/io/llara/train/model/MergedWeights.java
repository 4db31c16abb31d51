package io.llara.train.model;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.model.CheckpointWeights;
import io.llara.model.WeightSource;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.Parameter;
import io.llara.train.checkpoint.ModelDirectory;
import io.llara.train.model.TrainedModel.TrainedParts;
import java.util.Optional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** The weights of a trained model as an ordinary checkpoint has them; made when asked for. */
public final class MergedWeights implements ModelDirectory.Weights, AutoCloseable {
  private final TrainedModel trained;
  private final CheckpointDirectory checkpoint;
  private final CheckpointWeights stored;

  MergedWeights(TrainedModel trained, CheckpointDirectory checkpoint) {
    this.trained = trained;
    this.checkpoint = checkpoint;
    this.stored = new CheckpointWeights(checkpoint, null, true);
  }

  /** Returns a weight in float32, in the innermost scope. */
  @Override
  public Tensor weight(String name) {
    Optional<Parameter> whole = trained.parameter(name);
    if (whole.isPresent()) {
      return whole.get().master().detach().cpu();
    }
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Optional<Parameter> rows = trained.parameter(TrainedParts.ROWS);
      if (name.equals(LlamaTensors.EMBEDDING) && rows.isPresent()) {
        Tensor matrix = base(name);
        matrix.index_copy_(
            0, Tensors.ofInts(trained.trainedRows()), rows.get().master().detach().cpu());
        return scope.keep(matrix);
      }
      String module = name.replaceFirst("\\.weight$", "");
      Optional<Double> scale = trained.scale(module);
      if (scale.isPresent()) {
        Tensor inner = factor(module + TrainedParts.INNER);
        Tensor outer = factor(module + TrainedParts.OUTER);
        return scope.keep(
            base(name).addmm_(outer, inner, new Scalar(1.0), new Scalar(scale.get())));
      }
    }
    return base(name);
  }

  private Tensor factor(String name) {
    return trained.parameter(name).orElseThrow().master().detach().cpu();
  }

  /** The checkpoint's own value, in float32, in the innermost scope. */
  private Tensor base(String name) {
    return TensorScope.adopt(stored.load(name, ScalarType.Float, WeightSource.Use.PASSING));
  }

  @Override
  public void close() {
    stored.close();
  }
}
