package io.llara.train.contrastive;

import com.google.common.collect.ImmutableList;
import io.llara.train.teacher.TeacherVectors;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalDouble;

/**
 * What a run learns from a teacher, and with which weights beside InfoNCE. The teacher's part is
 * read from files, the teacher itself does not run.
 *
 * <pre>{@code
 * Distillation distillation = Distillation.of(List.of(Path.of("pairs.teacher.safetensors")));
 * }</pre>
 *
 * @param vectors files of the teacher's vectors of all texts, see {@link TeacherVectors}; empty for
 *     none
 * @param cosine the weight of {@code 1 − cos(W e, t)}, averaged over the texts of a step: {@code t}
 *     is the teacher's vector, {@code e} the embedding, {@code W} a linear projection that trains
 *     with it and is not part of the model
 * @param similarity the weight of {@code KL(softmax(teacher's similarities / its temperature) ‖
 *     softmax(similarities / temperature))} over all passages of a step, averaged over its queries
 * @param temperature the teacher's temperature; empty for that of the run
 * @param scores the weight of {@code KL(softmax(scores) ‖ softmax(similarities / temperature))}
 *     over the passages of each query's own, averaged over the queries, where {@code scores} are
 *     {@code pos_scores} and {@code neg_scores} of the data, often those of a reranker; 0 if the
 *     data need not have them
 */
public record Distillation(
    List<Path> vectors,
    double cosine,
    double similarity,
    OptionalDouble temperature,
    double scores) {
  /** No teacher. */
  public static final Distillation NONE =
      new Distillation(List.of(), 0, 0, OptionalDouble.empty(), 0);

  /**
   * Checks the weights and copies the list.
   *
   * @throws IllegalArgumentException if a weight is negative or not finite, the temperature is not
   *     above 0, or weights and files do not go together
   */
  public Distillation {
    vectors = ImmutableList.copyOf(vectors);
    for (double weight : new double[] {cosine, similarity, scores}) {
      if (!(weight >= 0) || Double.isInfinite(weight)) {
        throw new IllegalArgumentException(
            "a weight of the distillation is %s; expected 0 or more".formatted(weight));
      }
    }
    double divisor = temperature.orElse(1);
    if (!(divisor > 0) || Double.isInfinite(divisor)) {
      throw new IllegalArgumentException(
          "the teacher's temperature is %s; expected more than 0".formatted(divisor));
    }
    if (vectors.isEmpty() != (cosine == 0 && similarity == 0)) {
      throw new IllegalArgumentException(
          vectors.isEmpty()
              ? "there are no files of the teacher's vectors, but weights of them"
              : "there are files of the teacher's vectors, but their weights are 0");
    }
  }

  /** Returns a distillation from a teacher's vectors, cosine and similarities weighted 1. */
  public static Distillation of(List<Path> vectors) {
    return new Distillation(vectors, 1, 1, OptionalDouble.empty(), 0);
  }

  /** Returns the same with other weights of the teacher's vectors. */
  public Distillation withWeights(double cosineWeight, double similarityWeight) {
    return new Distillation(vectors, cosineWeight, similarityWeight, temperature, scores);
  }

  /** Returns the same with a temperature of the teacher's own. */
  public Distillation withTemperature(double divisor) {
    return new Distillation(vectors, cosine, similarity, OptionalDouble.of(divisor), scores);
  }

  /** Returns the same with a weight of the scores in the data. */
  public Distillation withScores(double weight) {
    return new Distillation(vectors, cosine, similarity, temperature, weight);
  }
}
