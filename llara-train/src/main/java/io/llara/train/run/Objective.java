package io.llara.train.run;

import io.llara.Internal;
import io.llara.train.autograd.GradientAccumulator;
import java.util.List;
import java.util.Map;

/**
 * What a run minimises, over batches it draws itself. Sums over a batch are divided by counts of
 * the whole batch, over all processes and micro-batches, before anything is differentiated: how a
 * batch is cut changes nothing.
 */
@Internal
public interface Objective {

  /** Returns the names of the loss's terms, {@code loss} first. */
  List<String> termNames();

  /** Returns how many contributors a step's gradients have in this process. */
  int contributors();

  /**
   * Draws the next batch.
   *
   * @return this process's counts
   */
  double[] draw();

  /** Returns how many examples have been drawn by all processes since the run began. */
  long position();

  /** Returns how many tokens the batch at hand has in this process. */
  long tokens();

  /**
   * Runs the batch at hand forward and backward.
   *
   * @param step the number of the step, from 1
   * @param counts the counts of all processes
   * @param gradients takes the gradients; every contributor finishes
   * @return this process's sums
   */
  double[] run(long step, double[] counts, GradientAccumulator gradients);

  /**
   * Returns the loss and its terms, from the sums and counts of all processes, by name; a term that
   * nothing in the batch had is left out.
   */
  Map<String, Double> terms(double[] sums, double[] counts);

  /** Says which examples the batch at hand is made of, for an error. */
  String describeBatch();

  /** Returns the evaluation of held-out examples, or of none. */
  Evaluation evaluation();

  /** Losses of examples that are not trained on. */
  interface Evaluation {

    /** Returns whether there is anything to evaluate. */
    boolean present();

    /** Returns this process's counts. */
    double[] counts();

    /** Runs this process's part forward and returns its sums. */
    double[] run();
  }
}
