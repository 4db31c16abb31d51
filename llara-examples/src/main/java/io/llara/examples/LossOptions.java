package io.llara.examples;

import io.llara.train.contrastive.ContrastiveTrainer;
import io.llara.train.contrastive.Distillation;
import io.llara.train.contrastive.Matryoshka;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** What fine-tuning learns beside which passage answers which query. */
final class LossOptions {
  private static final Pattern WEIGHTS = Pattern.compile("([0-9.eE+-]+),([0-9.eE+-]+)");
  private static final Pattern PREFIX = Pattern.compile("([0-9]{1,9})(?::([0-9.eE+-]+))?");

  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Option(
      names = "--teacher",
      arity = "1..*",
      paramLabel = "FILE",
      description =
          "Learn from a teacher's vectors of all texts of the pairs; llara teach makes the files. A"
              + " text without a vector makes its line a bad one.")
  private List<Path> teacher = new ArrayList<>();

  @Option(
      names = "--distil-weights",
      paramLabel = "COSINE,KL",
      description =
          "With --teacher: the weights of 1 - cosine to the teacher's vectors, through a projection"
              + " that trains too, and of the divergence of the similarities of all queries and"
              + " passages of a step from the teacher's (default: 1,1).")
  private Optional<String> weights = Optional.empty();

  @Option(
      names = "--teacher-temperature",
      paramLabel = "X",
      description =
          "With --teacher: the temperature of the teacher's similarities (default: --temperature).")
  private Optional<Double> temperature = Optional.empty();

  @Option(
      names = "--score-weight",
      paramLabel = "X",
      description =
          "Learn from scores in the pairs, pos_scores and neg_scores: the weight of the divergence"
              + " within each group (default: 0, they are not read).")
  private double scores;

  @Option(
      names = "--infonce-weight",
      paramLabel = "X",
      description =
          "With a teacher: the weight of InfoNCE, the loss of finding the positive passages"
              + " (default: 1).")
  private Optional<Double> infoNce = Optional.empty();

  @Option(
      names = "--matryoshka",
      paramLabel = "N[:X],...",
      description =
          "Also make the first N dimensions of the embedding usable by themselves, as in 64,128,256;"
              + " X is the weight relative to that of the whole, 1 (default: 1).")
  private Optional<String> matryoshka = Optional.empty();

  /** Hands the options given to a builder. */
  void applyTo(ContrastiveTrainer.Builder builder) {
    try {
      builder.distillation(distillation());
      infoNce.ifPresent(builder::infoNceWeight);
      matryoshka.map(this::prefixes).ifPresent(builder::matryoshka);
    } catch (IllegalArgumentException e) {
      throw Subcommand.usageError(command, String.valueOf(e.getMessage()));
    }
  }

  private Distillation distillation() {
    List<String> idle = Subcommand.given(command, "--distil-weights", "--teacher-temperature");
    if (teacher.isEmpty() && !idle.isEmpty()) {
      throw Subcommand.usageError(
          command,
          "%s is for a teacher's vectors; give --teacher FILE too"
              .formatted(String.join(", ", idle)));
    }
    Distillation distillation = teacher.isEmpty() ? Distillation.NONE : Distillation.of(teacher);
    if (weights.isPresent()) {
      Matcher two = matcher("--distil-weights", WEIGHTS, weights.get(), "two numbers as in 1,1");
      distillation = distillation.withWeights(number(two.group(1)), number(two.group(2)));
    }
    if (temperature.isPresent()) {
      distillation = distillation.withTemperature(temperature.get());
    }
    return distillation.withScores(scores);
  }

  private Matryoshka prefixes(String value) {
    List<Matryoshka.Prefix> prefixes = new ArrayList<>();
    for (String prefix : value.split(",", -1)) {
      Matcher parts =
          matcher("--matryoshka", PREFIX, prefix, "dimensions as in 64,128,256 or 64:0.5,128:1");
      double weight = Optional.ofNullable(parts.group(2)).map(this::number).orElse(1.0);
      prefixes.add(new Matryoshka.Prefix(Integer.parseInt(parts.group(1)), weight));
    }
    return new Matryoshka(prefixes);
  }

  private Matcher matcher(String option, Pattern pattern, String value, String expected) {
    Matcher matcher = pattern.matcher(value);
    if (!matcher.matches()) {
      throw Subcommand.usageError(
          command, "%s is %s; expected %s".formatted(option, value, expected));
    }
    return matcher;
  }

  private double number(String value) {
    try {
      return Double.parseDouble(value);
    } catch (NumberFormatException e) {
      throw Subcommand.usageError(command, value + " is not a number");
    }
  }
}
