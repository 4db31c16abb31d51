package io.llara.train.pretrain;

import java.util.Arrays;
import java.util.List;

/** The losses by their definitions, in double precision, without a thought for speed. */
final class ReferenceLosses {
  private ReferenceLosses() {}

  /** A loss as a function of whatever array the caller changes between calls. */
  interface Function {
    double value();
  }

  static double nextToken(double[][] weight, double[][] hidden, int[] targets) {
    double sum = 0;
    for (int i = 0; i < targets.length; i++) {
      sum -= logSoftmax(logits(weight, hidden[i]))[targets[i]];
    }
    return sum;
  }

  static double bags(double[][] weight, double[][] markers, int k, List<Bag> bags) {
    double sum = 0;
    for (int b = 0; b < bags.size(); b++) {
      double[] largest = new double[weight.length];
      Arrays.fill(largest, Double.NEGATIVE_INFINITY);
      for (int m = 0; m < k; m++) {
        double[] logits = logits(weight, markers[b * k + m]);
        for (int v = 0; v < largest.length; v++) {
          largest[v] = Math.max(largest[v], logits[v]);
        }
      }
      double[] logProbabilities = logSoftmax(largest);
      Bag bag = bags.get(b);
      for (int i = 0; i < bag.size(); i++) {
        sum -= bag.weight(i) * logProbabilities[bag.id(i)];
      }
    }
    return sum;
  }

  /** Central differences by every element of a matrix. */
  static double[][] gradient(double[][] matrix, Function loss) {
    double step = 1e-5;
    double[][] gradient = new double[matrix.length][];
    for (int row = 0; row < matrix.length; row++) {
      gradient[row] = new double[matrix[row].length];
      for (int column = 0; column < matrix[row].length; column++) {
        double before = matrix[row][column];
        matrix[row][column] = before + step;
        double above = loss.value();
        matrix[row][column] = before - step;
        double below = loss.value();
        matrix[row][column] = before;
        gradient[row][column] = (above - below) / (2 * step);
      }
    }
    return gradient;
  }

  private static double[] logits(double[][] weight, double[] hidden) {
    double[] logits = new double[weight.length];
    for (int v = 0; v < logits.length; v++) {
      for (int j = 0; j < hidden.length; j++) {
        logits[v] += weight[v][j] * hidden[j];
      }
    }
    return logits;
  }

  private static double[] logSoftmax(double[] logits) {
    double largest = Arrays.stream(logits).max().orElseThrow();
    double sum = Arrays.stream(logits).map(logit -> Math.exp(logit - largest)).sum();
    return Arrays.stream(logits).map(logit -> logit - largest - Math.log(sum)).toArray();
  }
}
