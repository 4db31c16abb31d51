package io.llara.benchmarks;

import io.llara.ComputeType;
import java.util.ArrayList;
import java.util.List;

/**
 * The command line of {@link GpuCheck} and of {@link GpuTrainingCheck}.
 *
 * @param device what computes
 * @param shape of the model of random weights
 * @param type it computes in
 * @param tokens how many tokens are encoded at once for throughput
 * @param encodes how many texts are encoded while memory is watched
 * @param rounds how often each side has its turn
 * @param peers what it is compared with, {@code PYTHON:SCRIPT:ATTENTION} each
 */
record GpuCheckOptions(
    String device,
    Shape shape,
    ComputeType type,
    int tokens,
    int encodes,
    int rounds,
    List<String> peers) {
  private static final String USAGE =
      " [--device cpu|cuda[:N]] [--shape tiny|base|large|llama2_7b] [--type float32|bfloat16|float8]"
          + " [--tokens N] [--encodes N] [--rounds N] [--peer PYTHON:SCRIPT:ATTENTION] …";

  /** Reads the command line of a program; says what is wrong with it and exits with 2 otherwise. */
  static GpuCheckOptions parseOrExit(String program, String[] args) {
    try {
      return parse(args);
    } catch (IllegalArgumentException e) {
      System.err.println(program + ": " + e.getMessage());
      System.err.println("usage: " + program + USAGE);
      System.exit(2);
      throw e;
    }
  }

  private static GpuCheckOptions parse(String[] args) {
    String device = "cuda";
    Shape shape = Shape.LLAMA2_7B;
    ComputeType type = ComputeType.BFLOAT16;
    int tokens = 16_384;
    int encodes = 10_000;
    int rounds = 5;
    List<String> peers = new ArrayList<>();
    for (int i = 0; i < args.length; i += 2) {
      if (i + 1 == args.length) {
        throw new IllegalArgumentException(args[i] + " needs a value");
      }
      String value = args[i + 1];
      switch (args[i]) {
        case "--device" -> device = value;
        case "--shape" -> shape = Shape.parse(value);
        case "--type" -> type = Types.parse(value);
        case "--tokens" -> tokens = Integer.parseInt(value);
        case "--encodes" -> encodes = Integer.parseInt(value);
        case "--rounds" -> rounds = Integer.parseInt(value);
        case "--peer" -> peers.add(value);
        default -> throw new IllegalArgumentException("unknown option " + args[i]);
      }
    }
    if (tokens < 1 || encodes < 1 || rounds < 1) {
      throw new IllegalArgumentException("expected numbers of at least 1");
    }
    return new GpuCheckOptions(device, shape, type, tokens, encodes, rounds, List.copyOf(peers));
  }
}
