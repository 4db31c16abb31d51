package io.llara.train;

import java.util.List;

/**
 * What a run is about to do.
 *
 * @param firstStep the step it begins with, from 1; more if it goes on from a checkpoint
 * @param totalSteps how many steps the whole run has
 * @param trainedParameters how many elements the trained parameters have
 * @param lanes how many threads compute
 * @param ranks how many processes take part
 * @param skippedCheckpoints damaged checkpoints that were passed over, each with the reason
 */
public record RunInfo(
    long firstStep,
    long totalSteps,
    long trainedParameters,
    int lanes,
    int ranks,
    List<String> skippedCheckpoints) {
  /** Copies the list. */
  public RunInfo {
    skippedCheckpoints = List.copyOf(skippedCheckpoints);
  }
}
