package io.llara.train.model;

import io.llara.checkpoint.LlamaTensors;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.GradientSink;
import io.llara.train.autograd.Parameter;
import io.llara.train.model.TrainedModel.TrainedParts;
import java.util.Arrays;
import java.util.Optional;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * The gradients of the matrices that have a row for each token, gathered over one pass: those of
 * the projection on the vocabulary come from the losses, those of the embedding from the bottom of
 * the model; where both are one matrix they go into one sum.
 *
 * <p>For one thread and one pass.
 */
public final class EmbeddingGradient implements AutoCloseable {
  private final TrainedModel model;
  private final int[] rows;
  private final @Nullable Parameter embedding;
  private final @Nullable Parameter head;
  private @Nullable Tensor embeddingSum;
  private @Nullable Tensor headSum;

  /** Begins with nothing. */
  public EmbeddingGradient(TrainedModel model) {
    this.model = model;
    this.rows = model.trainedRows();
    Optional<Parameter> whole = model.parameter(LlamaTensors.EMBEDDING);
    this.embedding = whole.or(() -> model.parameter(TrainedParts.ROWS)).orElse(null);
    this.head = model.parameter(LlamaTensors.HEAD).orElse(null);
  }

  /**
   * Returns what the losses add the head's gradient to, {@code [vocabulary, hidden]} or, if only
   * rows train, {@code [rows, hidden]}, in float32; empty if the head is frozen. It stays this
   * object's.
   */
  public Optional<Tensor> headSum() {
    if (tied()) {
      return Optional.ofNullable(embedding == null ? null : embeddingSum(embedding));
    }
    if (head == null) {
      return Optional.empty();
    }
    if (headSum == null) {
      headSum = zeros(head);
    }
    return Optional.of(headSum);
  }

  /** Returns the token ids of the rows of {@link #headSum}, or nothing if it has all rows. */
  public Optional<int[]> headRows() {
    return tied() && rows.length > 0 ? Optional.of(rows.clone()) : Optional.empty();
  }

  private boolean tied() {
    return model.headIsEmbedding();
  }

  /** Gives the head's gradient to a sink, if it has a matrix of its own: it is final now. */
  public void deliverHead(GradientSink sink) {
    if (head != null && headSum != null) {
      sink.add(head, headSum);
      headSum.close();
      headSum = null;
    }
  }

  /**
   * Adds what came out at the bottom of the model and gives the embedding's gradient to a sink.
   *
   * @param ids the token of each row
   * @param gradient {@code ∂L/∂} the embedded rows, {@code [ids.length, hidden]}
   */
  public void deliverEmbedding(int[] ids, Tensor gradient, GradientSink sink) {
    if (embedding == null) {
      return;
    }
    Tensor sum = embeddingSum(embedding);
    try (TensorScope scope = new TensorScope()) {
      Tensor floats = gradient.to(ScalarType.Float);
      if (rows.length == 0) {
        sum.index_add_(0, Tensors.ofInts(ids), floats);
      } else {
        int[] places = Arrays.stream(ids).map(id -> Arrays.binarySearch(rows, id)).toArray();
        int[] from = IntStream.range(0, places.length).filter(i -> places[i] >= 0).toArray();
        int[] to = Arrays.stream(from).map(i -> places[i]).toArray();
        sum.index_add_(0, Tensors.ofInts(to), floats.index_select(0, Tensors.ofInts(from)));
      }
      sink.add(embedding, sum);
    }
  }

  private Tensor embeddingSum(Parameter parameter) {
    if (embeddingSum == null) {
      embeddingSum = zeros(parameter);
    }
    return embeddingSum;
  }

  private static Tensor zeros(Parameter parameter) {
    try (TensorScope scope = new TensorScope()) {
      return scope.own(torch.zeros_like(parameter.master().detach()).detach());
    }
  }

  @Override
  public void close() {
    if (embeddingSum != null) {
      embeddingSum.close();
    }
    if (headSum != null) {
      headSum.close();
    }
  }
}
