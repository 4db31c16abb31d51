package io.llara.train.pretrain;

import io.llara.ComputeType;
import io.llara.tensor.Cpu;
import io.llara.train.TrainingListener;
import io.llara.train.data.BadLines;
import io.llara.train.data.StopWords;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.lora.LoraOptions;
import io.llara.train.optim.LearningRateSchedule;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/** What a {@link Pretrainer} was told, checked and with every default filled in. */
record PretrainSettings(
    Path model,
    List<Path> data,
    Path out,
    Recipe recipe,
    LossWeights weights,
    Optional<LoraOptions> lora,
    boolean trainMarkers,
    OptionalLong steps,
    long epochs,
    int batch,
    int microBatches,
    double learningRate,
    OptionalLong warmup,
    LearningRateSchedule.Decay decay,
    double weightDecay,
    double clip,
    int maxTokens,
    int passageTokens,
    int shuffleBuffer,
    StopWords stopWords,
    boolean stripTargets,
    BadLines badLines,
    double heldOut,
    long evaluateEvery,
    int evaluationTexts,
    long saveEvery,
    int keep,
    long seed,
    int threads,
    ComputeType computeType,
    boolean recompute,
    boolean visibleSelf,
    Optional<WorldSettings> world,
    TrainingListener listener) {

  int ranks() {
    return world.map(WorldSettings::worldSize).orElse(1);
  }

  int rank() {
    return world.map(WorldSettings::rank).orElse(0);
  }

  /**
   * Returns what decides the numbers of a run, by name: what a run that is gone on with must have
   * the same.
   */
  Map<String, String> deciding(long totalSteps) {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("model", model.toAbsolutePath().normalize().toString());
    values.put("recipe", recipe.spelled());
    values.put("weights", "%s %s %s".formatted(weights.token(), weights.self(), weights.next()));
    values.put("train", lora.map(Object::toString).orElse("all parameters"));
    values.put("train markers", String.valueOf(trainMarkers));
    values.put("steps", String.valueOf(totalSteps));
    values.put("batch", String.valueOf(batch));
    values.put("micro-batches", String.valueOf(microBatches));
    values.put("learning rate", String.valueOf(learningRate));
    values.put("warm-up steps", String.valueOf(warmupSteps(totalSteps)));
    values.put("decay", decay.toString());
    values.put("weight decay", String.valueOf(weightDecay));
    values.put("clip", String.valueOf(clip));
    values.put("max tokens", String.valueOf(maxTokens));
    values.put("passage tokens", String.valueOf(passageTokens));
    values.put("shuffle buffer", String.valueOf(shuffleBuffer));
    values.put("strip targets", String.valueOf(stripTargets));
    values.put("stop words", String.valueOf(stopWords.words().hashCode()));
    values.put("bad lines", badLines.toString());
    values.put("held out", String.valueOf(heldOut));
    values.put("seed", String.valueOf(seed));
    values.put("threads", String.valueOf(threads));
    values.put("compute type", Cpu.resolve(computeType).toString());
    values.put("visible self", String.valueOf(visibleSelf));
    values.put("processes", String.valueOf(ranks()));
    return values;
  }

  /** A thirtieth of the run unless told otherwise. */
  long warmupSteps(long totalSteps) {
    return warmup.orElse(totalSteps / 30);
  }
}
