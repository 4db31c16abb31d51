package io.llara.benchmarks;

import io.llara.ComputeType;
import io.llara.engine.EncodingEngine;

/** Makes engines of random weights, otherwise with the options a user gets. */
final class Engines {
  private Engines() {}

  static EncodingEngine random(Shape shape, ComputeType type, int lanes) {
    return EncodingEngine.builder()
        .computeType(type)
        .threads(lanes)
        .maxTokens(Workload.MAX_TOKENS)
        .open(shape.config(), new RandomWeights(shape.config()));
  }
}
