package io.llara.examples;

import io.llara.ComputeType;
import io.llara.LlaraException;
import io.llara.examples.golden.Comparison;
import io.llara.examples.golden.GoldenCase;
import io.llara.examples.golden.GoldenFolder;
import io.llara.examples.golden.ReplayEngines;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** A golden folder in, what differs from it out. */
@Command(
    name = "verify",
    description = {
      "Compares this library with the reference implementation.",
      "",
      "Replays the cases of a golden folder (schema llara-golden-1, with its checkpoints) and"
          + " compares the results with its float64 values.",
      "",
      "One line per case shows the quantity that came nearest to its limit, its largest absolute"
          + " difference (abs), that divided by the largest magnitude of the quantity (rel), and"
          + " the limit. In bfloat16 and int8 unit embeddings are judged by their cosine, and other"
          + " quantities are only shown. Training (losses.json, trajectory.json, contrastive.json,"
          + " the training in lora.json) is computed in float32 whatever the type, and judged by"
          + " the tolerances of float32.",
      ""
    })
final class VerifyCommand extends Subcommand {
  @Option(
      names = "--dtype",
      paramLabel = "float32|bfloat16|int8",
      defaultValue = "float32",
      description = "The type to compute in (default: float32).")
  private ComputeType computeType = ComputeType.FLOAT32;

  @Option(
      names = "--device",
      paramLabel = "cpu|cuda[:N]",
      defaultValue = "cpu",
      description =
          "The device of all cases; those of training are in float32 in any case (default:"
              + " ${DEFAULT-VALUE}).")
  private String device = "cpu";

  @Option(
      names = {"-v", "--verbose"},
      description = "Show every quantity of every case.")
  private boolean verbose;

  @Parameters(paramLabel = "DIR", description = "The golden folder.")
  private Path folder = Path.of("");

  @Override
  public Integer call() {
    if (computeType == ComputeType.AUTO) {
      throw new IllegalArgumentException(
          "--dtype auto has no tolerances; expected float32, bfloat16 or int8");
    }
    List<GoldenCase> cases = GoldenFolder.cases(folder);
    int verified = 0;
    int failed = 0;
    try (Results results = new Results(streams().out());
        ReplayEngines engines = new ReplayEngines(computeType, device)) {
      for (GoldenCase one : cases) {
        String name = one.file() + " " + one.name();
        if (one.replay().isEmpty()) {
          results.line(name + ": not covered");
        } else {
          Comparison comparison = replay(name, one.replay().get(), engines);
          verified++;
          failed += comparison.failed() ? 1 : 0;
          results.line(name + ": " + comparison);
          if (verbose || comparison.needsDetails()) {
            comparison.details().forEach(line -> results.line("    " + line));
          }
        }
        results.flush();
      }
      results.line(
          "verified %d cases, %d failed, %d not covered"
              .formatted(verified, failed, cases.size() - verified));
    }
    return failed == 0 ? Llara.OK : Llara.CHECK_FAILED;
  }

  /** What a file says may be out of the range of what it is given to; then name the case. */
  private static Comparison replay(String name, GoldenCase.Replay replay, ReplayEngines engines) {
    try {
      return replay.run(engines);
    } catch (IllegalArgumentException e) {
      throw new LlaraException("%s cannot be replayed: %s".formatted(name, e.getMessage()), e);
    }
  }
}
