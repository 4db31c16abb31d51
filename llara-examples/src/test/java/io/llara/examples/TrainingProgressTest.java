package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.train.RunInfo;
import io.llara.train.StepReport;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class TrainingProgressTest {
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();
  private final Streams streams =
      new Streams(
          InputStream.nullInputStream(),
          OutputStream.nullOutputStream(),
          new PrintStream(err, true, StandardCharsets.UTF_8),
          true);

  private static RunInfo run(long firstStep, int ranks) {
    return new RunInfo(firstStep, 40, 1_500_000, 2, ranks, List.of());
  }

  private static StepReport step(long number) {
    return new StepReport(number, 40, terms(), 1e-4, 1, 3000, 1.5);
  }

  private static Map<String, Double> terms() {
    Map<String, Double> terms = new LinkedHashMap<>();
    terms.put("loss", 13.25);
    terms.put("ar_loss", 2.5);
    terms.put("self_loss", 0.3125);
    terms.put("next_loss", 0.25);
    return terms;
  }

  private List<String> lines() {
    return err.toString(StandardCharsets.UTF_8).lines().toList();
  }

  @Test
  void withoutABarThereIsALineNowAndThen() {
    try (TrainingProgress progress = new TrainingProgress(streams, false)) {
      progress.started(run(1, 1));
      for (int i = 1; i <= 40; i++) {
        progress.step(step(i));
      }
      progress.evaluated(40, terms());
      assertThat(progress.reached())
          .isEqualTo(
              ", loss 13.2500, ar_loss 2.5000, self_loss 0.3125, next_loss 0.2500; held out: loss"
                  + " 13.2500, ar_loss 2.5000, self_loss 0.3125, next_loss 0.2500");
    }
    assertThat(lines()).hasSize(4);
    assertThat(lines().get(0))
        .isEqualTo("llara: 40 steps; 1.50 million trainable parameters; 2 threads");
    assertThat(lines().get(1))
        .matches(
            "llara: step 1/40: loss 13.2500, ar_loss 2.5000, self_loss 0.3125, next_loss 0.2500;"
                + " 2000 tokens/s, \\d+:\\d\\d left");
    assertThat(lines().get(2)).startsWith("llara: step 40/40: ").endsWith(", 0:00 left");
    assertThat(lines().get(3)).startsWith("llara: held out, after step 40: loss 13.2500, ar_loss");
  }

  @Test
  void linesAreAsFarApartAsAskedFor() {
    try (TrainingProgress progress = new TrainingProgress(streams, false, Duration.ZERO)) {
      progress.started(run(31, 2));
      for (int i = 31; i <= 40; i++) {
        progress.step(step(i));
      }
    }
    assertThat(lines()).hasSize(11);
    assertThat(lines().get(0))
        .isEqualTo(
            "llara: resuming at step 31 of 40; 1.50 million trainable parameters; 2 threads in each of"
                + " 2 processes");
  }

  @Test
  void aBarFitsIntoALineAndHeldOutLossesStandAboveIt() {
    try (TrainingProgress progress = new TrainingProgress(streams, true)) {
      progress.started(run(1, 1));
      progress.step(step(30));
      progress.evaluated(30, terms());
    }
    List<String> shown = err.toString(StandardCharsets.UTF_8).lines().toList();
    assertThat(shown)
        .anyMatch(
            line ->
                line.matches(
                    "\\[=+ +\\] 30/40 loss 13.3 ar 2.50 self 0.313 next 0.250 2000 tok/s"
                        + " \\d+:\\d\\d left *"))
        .anyMatch(line -> line.matches("llara: held out, after step 30: .*"));
    assertThat(shown)
        .filteredOn(line -> line.startsWith("["))
        .isNotEmpty()
        .allMatch(line -> line.length() == 79);
  }

  @Test
  void aSecondTermThatIsNoLossIsShownAndRefreshesAreTold() {
    Map<String, Double> terms = new LinkedHashMap<>();
    terms.put("loss", 1.5);
    terms.put("accuracy", 0.75);
    try (TrainingProgress progress = new TrainingProgress(streams, true)) {
      progress.started(run(1, 1));
      progress.step(new StepReport(30, 40, terms, 1e-4, 1, 3000, 1.5));
      progress.refreshing(30);
      progress.refreshed(30, Path.of("out", "pairs.jsonl"));
    }
    assertThat(lines())
        .anyMatch(line -> line.contains("] 30/40 loss 1.50 accuracy 0.750 2000 tok/s"))
        .anyMatch(line -> line.startsWith("llara: after step 30: mining new negatives"))
        .anyMatch(line -> line.startsWith("llara: continuing with out"));
  }

  @Test
  void theLossOfOneTermIsShownOnce() {
    Map<String, Double> terms = new LinkedHashMap<>();
    terms.put("loss", 2.5);
    terms.put("ar_loss", 2.5);
    try (TrainingProgress progress = new TrainingProgress(streams, true)) {
      progress.started(run(1, 1));
      progress.step(new StepReport(30, 40, terms, 1e-4, 1, 3000, 1.5));
    }
    assertThat(lines()).anyMatch(line -> line.contains("] 30/40 loss 2.50 2000 tok/s"));
  }

  @Test
  void aRunWithNothingLeftSaysSo() {
    try (TrainingProgress progress = new TrainingProgress(streams, false)) {
      progress.started(run(41, 1));
      assertThat(progress.reached()).isEmpty();
    }
    assertThat(lines().get(0)).contains("all 40 steps are already done");
  }
}
