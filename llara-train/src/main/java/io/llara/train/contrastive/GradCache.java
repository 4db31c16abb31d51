package io.llara.train.contrastive;

import com.google.common.collect.Lists;
import com.google.common.primitives.Ints;
import io.llara.prompt.Prompt;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.distributed.Lanes;
import io.llara.train.lora.Dropout;
import io.llara.train.model.TrainedModel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Differentiates a loss of the embeddings of a whole batch, of which only a part fits into memory
 * (GradCache, arXiv 2101.06983): all parts run forward without being recorded; the loss is
 * differentiated by the embeddings; then each part runs again, recorded, and is given the gradient
 * of its own embeddings. The result is that of recording all at once, which happens where one part
 * is all there is.
 *
 * <p>A part is run by all lanes. Dropout draws the same both times.
 *
 * <p>For one thread.
 */
final class GradCache {
  private final TrainedModel model;
  private final boolean recompute;
  private final Lanes lanes;
  private final int textsAtOnce;

  /** A loss of embeddings. */
  interface Loss {
    /**
     * Differentiates. Called once, on a lane, in a scope of its own.
     *
     * @param embeddings {@code [texts, hidden]}, float32, not normalised
     * @param gradient takes the gradient, of the same shape
     */
    void differentiate(Tensor embeddings, Tensor gradient);
  }

  /**
   * Prepares.
   *
   * @param recompute whether layers are run again in the backward pass
   * @param subBatch about how many texts a lane runs at once; 0 for all of them
   */
  GradCache(TrainedModel model, Lanes lanes, boolean recompute, int subBatch) {
    if (subBatch < 0) {
      throw new IllegalArgumentException("a sub-batch of " + subBatch + " texts");
    }
    this.model = model;
    this.lanes = lanes;
    this.recompute = recompute;
    this.textsAtOnce =
        subBatch == 0 ? Integer.MAX_VALUE : Math.multiplyExact(subBatch, lanes.count());
  }

  /** Returns the length of the embeddings. */
  int hiddenSize() {
    return model.config().hiddenSize();
  }

  /** Returns a tensor of the processor's memory on the model's device, in the innermost scope. */
  Tensor placed(Tensor host) {
    return model.placed(host);
  }

  /** Returns how many contributors the gradients of so many texts have. */
  int contributors(int texts) {
    return Ints.max(1, (int) Math.ceil((double) texts / textsAtOnce)) * lanes.count();
  }

  /** What a lane runs at once: places in the batch. */
  private record Share(int[] places, List<Prompt> prompts) {
    boolean isEmpty() {
      return places.length == 0;
    }

    /** Copies rows of the batch's matrix into a new one, in the innermost scope. */
    Tensor of(Tensor all) {
      return Tensors.rows(all, Tensors.ofInts(places, all));
    }

    void put(Tensor rows, Tensor all) {
      all.index_copy_(0, Tensors.ofInts(places, all), rows);
    }
  }

  /** Cuts a batch into parts, and each into what lanes run: a function of the prompts alone. */
  private List<List<Share>> parts(List<Prompt> prompts) {
    List<List<Share>> parts = new ArrayList<>();
    List<Integer> all = IntStream.range(0, prompts.size()).boxed().toList();
    for (List<Integer> part : Lists.partition(all, Math.min(textsAtOnce, prompts.size()))) {
      parts.add(
          Lanes.deal(part, place -> prompts.get(place).length(), lanes.count()).stream()
              .map(
                  places ->
                      new Share(Ints.toArray(places), places.stream().map(prompts::get).toList()))
              .toList());
    }
    return parts;
  }

  private Tensor matrix(List<Prompt> prompts) {
    return placed(torch.zeros(prompts.size(), hiddenSize()));
  }

  /**
   * Runs a batch forward and backward.
   *
   * @param dropoutKey what dropout draws from in this batch
   * @param gradients takes the gradients; every contributor finishes, none gives anything before
   *     the loss is differentiated
   */
  void train(List<Prompt> prompts, long dropoutKey, Loss loss, GradientAccumulator gradients) {
    List<List<Share>> parts = parts(prompts);
    try (TensorScope scope = new TensorScope()) {
      Tensor embeddings = matrix(prompts);
      Tensor gradient = matrix(prompts);
      Training training = new Training(dropoutKey, embeddings, gradient, gradients);
      if (parts.size() == 1) {
        training.atOnce(parts.get(0), loss);
      } else {
        embed(parts, dropoutKey, true, embeddings);
        lanes.run(() -> training.differentiate(loss));
        for (int i = 0; i < parts.size(); i++) {
          training.again(parts.get(i), i);
        }
      }
    }
  }

  /** Returns the embeddings of prompts, without dropout, in the innermost scope. */
  Tensor embed(List<Prompt> prompts) {
    try (TensorScope scope = new TensorScope()) {
      Tensor embeddings = matrix(prompts);
      embed(parts(prompts), 0, false, embeddings);
      return scope.keep(embeddings);
    }
  }

  /** Runs native work on a lane. */
  <T> T onLane(Callable<T> work) {
    return lanes.call(work);
  }

  private void embed(
      List<List<Share>> parts, long dropoutKey, boolean training, Tensor embeddings) {
    for (int i = 0; i < parts.size(); i++) {
      int part = i;
      lanes.forEach(
          parts.get(part),
          (share, lane) -> {
            if (training) {
              dropping(key(dropoutKey, number(part, lane)), () -> embed(share, embeddings));
            } else {
              embed(share, embeddings);
            }
          });
    }
  }

  private void embed(Share share, Tensor embeddings) {
    if (!share.isEmpty()) {
      PooledRows pooled = new PooledRows(share.prompts());
      try (NoGradGuard noGrad = new NoGradGuard();
          TensorScope scope = new TensorScope()) {
        share.put(pooled.mean(model.forward(pooled.mask, pooled.rows())), embeddings);
      }
    }
  }

  private int number(int part, int lane) {
    return part * lanes.count() + lane;
  }

  private static long key(long batch, int number) {
    return Dropout.mix(batch + number);
  }

  private void dropping(long key, Runnable work) {
    model.dropout().start(key);
    try {
      work.run();
    } finally {
      model.dropout().stop();
    }
  }

  /** One batch in training. */
  private final class Training {
    private final long dropoutKey;
    private final Tensor embeddings;
    private final Tensor gradient;
    private final GradientAccumulator gradients;

    Training(long dropoutKey, Tensor embeddings, Tensor gradient, GradientAccumulator gradients) {
      this.dropoutKey = dropoutKey;
      this.embeddings = embeddings;
      this.gradient = gradient;
      this.gradients = gradients;
    }

    void differentiate(Loss loss) {
      try (TensorScope scope = new TensorScope()) {
        loss.differentiate(embeddings, gradient);
      }
    }

    /** Runs all texts at once; lanes wait for each other where the loss needs all embeddings. */
    void atOnce(List<Share> shares, Loss loss) {
      List<CompletableFuture<Void>> embedded =
          shares.stream().map(share -> new CompletableFuture<Void>()).toList();
      // On the lane that is last.
      CompletableFuture<Void> differentiated =
          CompletableFuture.allOf(embedded.toArray(CompletableFuture[]::new))
              .thenRun(() -> differentiate(loss));
      lanes.forEach(
          shares,
          (share, lane) -> {
            CompletableFuture<Void> mine = embedded.get(lane);
            try {
              contribute(
                  share,
                  lane,
                  rows -> {
                    share.put(rows, embeddings);
                    mine.complete(null);
                    differentiated.join();
                  });
              mine.complete(null); // If there were no texts.
            } catch (RuntimeException | Error e) {
              mine.completeExceptionally(e);
              throw e;
            }
          });
    }

    /** Runs a part again whose gradient by the embeddings is known. */
    void again(List<Share> shares, int part) {
      lanes.forEach(shares, (share, lane) -> contribute(share, number(part, lane), rows -> {}));
    }

    private void contribute(Share share, int number, Consumer<Tensor> embedded) {
      if (!share.isEmpty()) {
        PooledRows pooled = new PooledRows(share.prompts());
        dropping(
            key(dropoutKey, number),
            () ->
                model.differentiate(
                    pooled.mask,
                    pooled.rows(),
                    recompute,
                    (hidden, head) -> {
                      embedded.accept(pooled.mean(hidden));
                      return pooled.backward(share.of(gradient), hidden.scalar_type().intern());
                    },
                    gradients.contributor(number)));
      }
      gradients.finished(number);
    }
  }
}
