package io.llara.benchmarks;

import io.llara.ComputeType;
import io.llara.engine.EncodingEngine;
import io.llara.engine.EngineOptions;

/** Makes engines of random weights, otherwise with the options a user gets. */
final class Engines {
  private Engines() {}

  static EncodingEngine random(Shape shape, ComputeType type, int lanes) {
    return EncodingEngine.of(
        shape.config(),
        new RandomWeights(),
        EngineOptions.builder()
            .computeType(type)
            .lanes(lanes)
            .maxTokens(Workload.MAX_TOKENS)
            .build());
  }
}
