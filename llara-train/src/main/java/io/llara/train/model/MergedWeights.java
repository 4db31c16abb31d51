package io.llara.train.model;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.model.CheckpointWeights;
import io.llara.model.WeightSource;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.Parameter;
import io.llara.train.autograd.Recording;
import io.llara.train.lora.LoraOptions;
import io.llara.train.model.TrainedModel.TrainedParts;
import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** The weights of a trained model as an ordinary checkpoint has them; made when asked for. */
public final class MergedWeights implements WeightSource, AutoCloseable {
  private final TrainedModel trained;
  private final CheckpointWeights stored;

  MergedWeights(TrainedModel trained, CheckpointDirectory checkpoint) {
    this.trained = trained;
    this.stored = new CheckpointWeights(checkpoint, null, true);
  }

  @Override
  public boolean has(String name) {
    return stored.has(name);
  }

  @Override
  public ScalarType storedType(String name, ScalarType preferred) {
    return stored.storedType(name, preferred);
  }

  @Override
  public Tensor load(String name, long[] shape, ScalarType type, Use use) {
    try (Recording off = Recording.off();
        TensorScope scope = new TensorScope()) {
      Optional<Parameter> whole = trained.parameter(name);
      if (whole.isPresent()) {
        return scope.own(whole.get().master().detach().to(type));
      }
      Optional<Parameter> rows = trained.parameter(TrainedParts.ROWS);
      if (name.equals(LlamaTensors.EMBEDDING) && rows.isPresent()) {
        Tensor matrix = base(name, shape);
        matrix.index_copy_(0, Tensors.ofInts(trained.trainedRows()), rows.get().master().detach());
        return scope.own(matrix.to(type));
      }
      String module = name.replaceFirst("\\.weight$", "");
      Optional<Parameter> inner = trained.parameter(module + TrainedParts.INNER);
      Optional<Parameter> outer = trained.parameter(module + TrainedParts.OUTER);
      LoraOptions lora = trained.loraOptions();
      if (lora != null && inner.isPresent() && outer.isPresent()) {
        Tensor merged =
            base(name, shape)
                .addmm_(
                    outer.get().master().detach(),
                    inner.get().master().detach(),
                    new Scalar(1.0),
                    new Scalar(lora.scale()));
        return scope.own(merged.to(type));
      }
    }
    return stored.load(name, shape, type, use);
  }

  /** The checkpoint's own value, in float32, in the innermost scope. */
  private Tensor base(String name, long[] shape) {
    return TensorScope.adopt(stored.load(name, shape, ScalarType.Float, Use.PASSING));
  }

  @Override
  public void close() {
    stored.close();
  }
}
