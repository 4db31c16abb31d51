package io.llara.train.run;

import io.llara.Internal;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.autograd.Parameter;
import java.util.List;
import java.util.Map;

/**
 * What a run minimises: a loss of examples. Its terms are sums divided by counts of the whole
 * batch, over all processes and micro-batches, which are known before anything is differentiated:
 * how a batch is cut changes nothing.
 *
 * @param <E> the examples
 */
@Internal
public interface Objective<E> {

  /**
   * Returns parameters of the loss's own: they train with the model's and are saved in checkpoints,
   * but are not part of the model.
   */
  default List<Parameter> parameters() {
    return List.of();
  }

  /** Returns the names of the loss's terms, {@code loss} first. */
  List<String> termNames();

  /** Returns what the sums over examples are divided by. */
  double[] counts(List<E> examples);

  /** Returns how many contributors the gradients of this process's examples of a batch have. */
  int contributors(List<E> batch);

  /**
   * Runs this process's examples of a batch forward and backward.
   *
   * @param counts those of all processes
   * @param key what dropout draws from in this step
   * @param gradients takes the gradients; every contributor finishes
   * @return this process's sums
   */
  double[] train(List<E> batch, double[] counts, long key, GradientAccumulator gradients);

  /** Runs batches forward, without dropout, and returns this process's sums. */
  double[] evaluate(List<List<E>> batches);

  /**
   * Returns the loss and its terms by name; a term that nothing in the batch had is left out.
   *
   * @param sums the sum of each term, over all processes
   * @param counts how many tokens, embeddings or queries each sum is over
   */
  Map<String, Double> terms(double[] sums, double[] counts);
}
