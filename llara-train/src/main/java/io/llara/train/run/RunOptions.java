package io.llara.train.run;

import io.llara.ComputeType;
import io.llara.Internal;
import io.llara.tensor.Cpu;
import io.llara.train.TrainingListener;
import io.llara.train.data.BadLines;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.lora.LoraOptions;
import io.llara.train.optim.AdamW;
import io.llara.train.optim.LearningRateSchedule;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * What a run was told, whatever it trains on: checked, and with every default filled in. See {@link
 * RunBuilder} for what each of them means.
 */
@Internal
public record RunOptions(
    Path model,
    List<Path> data,
    Path out,
    Optional<LoraOptions> lora,
    boolean trainMarkers,
    OptionalLong steps,
    long epochs,
    int batch,
    double learningRate,
    OptionalLong warmup,
    LearningRateSchedule.Decay decay,
    double weightDecay,
    double clip,
    int shuffleBuffer,
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
    Optional<WorldSettings> world,
    TrainingListener listener) {

  /** Returns how many processes there are. */
  public int ranks() {
    return world.map(WorldSettings::worldSize).orElse(1);
  }

  /** Returns the number of this process, from 0. */
  public int rank() {
    return world.map(WorldSettings::rank).orElse(0);
  }

  /**
   * Returns what decides the numbers of a run, by name: what a run that is gone on with must have
   * the same.
   *
   * @param task the settings of what it trains on, which follow the model
   */
  Map<String, String> deciding(long totalSteps, Map<String, String> task) {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("model", model.toAbsolutePath().normalize().toString());
    values.putAll(task);
    values.put("train", lora.map(Object::toString).orElse("all parameters"));
    values.put("train markers", String.valueOf(trainMarkers));
    values.put("steps", String.valueOf(totalSteps));
    values.put("batch", String.valueOf(batch));
    values.put("learning rate", String.valueOf(learningRate));
    values.put("warm-up steps", String.valueOf(warmupSteps(totalSteps)));
    values.put("decay", decay.toString());
    values.put("weight decay", String.valueOf(weightDecay));
    values.put("clip", String.valueOf(clip));
    values.put("shuffle buffer", String.valueOf(shuffleBuffer));
    values.put("bad lines", badLines.toString());
    values.put("held out", String.valueOf(heldOut));
    values.put("seed", String.valueOf(seed));
    values.put("threads", String.valueOf(threads));
    values.put("compute type", Cpu.resolve(computeType).toString());
    values.put("processes", String.valueOf(ranks()));
    return values;
  }

  /** Returns the course of the run. */
  TrainingLoop.Plan plan(long totalSteps) {
    return new TrainingLoop.Plan(
        totalSteps,
        new LearningRateSchedule(learningRate, warmupSteps(totalSteps), totalSteps, decay, 0),
        new AdamW.Settings(
            AdamW.Settings.DEFAULT.beta1(),
            AdamW.Settings.DEFAULT.beta2(),
            AdamW.Settings.DEFAULT.eps(),
            weightDecay),
        clip,
        saveEvery,
        keep,
        heldOut == 0 ? 0 : evaluateEvery);
  }

  /** A thirtieth of the run unless told otherwise. */
  private long warmupSteps(long totalSteps) {
    return warmup.orElse(totalSteps / 30);
  }
}
