package io.llara.train.contrastive;

import io.llara.train.run.Manifest;
import java.nio.file.Path;
import java.util.Map;

/**
 * What a run minimises: a weighted sum of terms.
 *
 * @param infoNce how similarities are made, and the loss of the positives
 * @param weight the weight of that loss
 * @param distillation the losses of what a teacher says, and their weights
 * @param matryoshka the prefixes that similarities are made of
 */
record ContrastiveLoss(
    InfoNce infoNce, double weight, Distillation distillation, Matryoshka matryoshka) {
  /** Returns InfoNCE of whole embeddings, and nothing else. */
  static ContrastiveLoss of(InfoNce infoNce) {
    return new ContrastiveLoss(infoNce, 1, Distillation.NONE, Matryoshka.NONE);
  }

  /** Returns the temperature of the teacher's similarities. */
  double teacherTemperature() {
    return distillation.temperature().orElse(infoNce.temperature());
  }

  /** Adds what decides the results of a run; what is left out was so before there was a choice. */
  void addDeciding(Map<String, String> values) {
    if (!matryoshka.equals(Matryoshka.NONE)) {
      values.put("matryoshka", matryoshka.spelled());
    }
    if (!distillation.equals(Distillation.NONE)) {
      values.put(
          "weights",
          "InfoNCE %s, cosine %s, similarity %s, scores %s"
              .formatted(
                  weight, distillation.cosine(), distillation.similarity(), distillation.scores()));
      values.put("teacher temperature", String.valueOf(teacherTemperature()));
      int number = 0;
      for (Path file : distillation.vectors()) {
        values.put(
            "teacher " + ++number,
            "%s (SHA-256 %s)".formatted(file, Manifest.DataFile.of(file).sha256()));
      }
    }
  }
}
