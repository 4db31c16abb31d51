package io.llara.benchmarks;

import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import java.util.Arrays;
import java.util.Locale;

/** The shapes of model that are measured; weights are random. */
enum Shape {
  /** Hidden 64, 2 layers, 4 heads over 2 key heads, MLP 172: to try a program out. */
  TINY(
      LlamaConfig.builder()
          .hiddenSize(64)
          .layers(2)
          .heads(4)
          .kvHeads(2)
          .intermediateSize(172)
          .vocabularySize(512)
          .tieWordEmbeddings(true)
          .build()),
  /** Hidden 768, 12 layers, 12 heads, MLP 2048: about 85 M weights beside the embedding. */
  BASE(
      LlamaConfig.builder()
          .hiddenSize(768)
          .layers(12)
          .heads(12)
          .intermediateSize(2048)
          .vocabularySize(32_000)
          .tieWordEmbeddings(true)
          .build()),
  /** Hidden 2048, 22 layers, 32 heads over 4 key heads, MLP 5632: about 970 M weights. */
  LARGE(
      LlamaConfig.builder()
          .hiddenSize(2048)
          .layers(22)
          .heads(32)
          .kvHeads(4)
          .intermediateSize(5632)
          .vocabularySize(32_000)
          .tieWordEmbeddings(true)
          .build()),
  /** LLaMA-2-7B: hidden 4096, 32 layers, 32 heads, MLP 11008; about 6.5 G weights. */
  LLAMA2_7B(
      LlamaConfig.builder()
          .hiddenSize(4096)
          .layers(32)
          .heads(32)
          .intermediateSize(11_008)
          .vocabularySize(32_000)
          .tieWordEmbeddings(true)
          .build());

  private final LlamaConfig config;

  Shape(LlamaConfig config) {
    this.config = config;
  }

  /**
   * Returns the one of a name.
   *
   * @throws IllegalArgumentException if there is none
   */
  static Shape parse(String name) {
    return Arrays.stream(values())
        .filter(shape -> shape.toString().equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "shape is \"%s\"; expected one of %s"
                        .formatted(name, Arrays.asList(values()))));
  }

  LlamaConfig config() {
    return config;
  }

  /** Returns the number of weights, embedding included. */
  long weights() {
    long sum = 0;
    for (long[] shape : LlamaTensors.required(config).values()) {
      long elements = 1;
      for (long size : shape) {
        elements *= size;
      }
      sum += elements;
    }
    return sum;
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
