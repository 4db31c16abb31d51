package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.google.common.collect.ImmutableTable;
import com.google.common.collect.Table;
import io.llara.LlaraException;
import io.llara.examples.LossChart.Term;
import io.llara.testing.ChildJvm;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LossChartTest {
  private static final int BLUE = 0x0072B2;
  private static final int ORANGE = 0xD55E00;
  private static final int PURPLE = 0xCC79A7;

  @TempDir Path dir;
  private Path metrics;
  private Path evaluation;
  private Path png;

  @BeforeEach
  void names() {
    metrics = dir.resolve("metrics.jsonl");
    evaluation = dir.resolve("evaluation.jsonl");
    png = dir.resolve("loss.png");
  }

  @Test
  void oneTermIsOnePanel() throws IOException {
    writeLines(300, "{\"step\":%1$d,\"loss\":%2$s,\"ar_loss\":%2$s,\"self_loss\":null}");
    LossChart.write(metrics, evaluation, png);
    BufferedImage image = ImageIO.read(png.toFile());
    assertThat(image.getWidth()).isEqualTo(2000);
    assertThat(image.getHeight()).isEqualTo(860);
    assertThat(pixels(image, BLUE)).isGreaterThan(2000);
    assertThat(pixels(image, ORANGE)).isZero();
    assertThat(dir.toFile().list()).containsExactlyInAnyOrder("metrics.jsonl", "loss.png");
  }

  @Test
  void termsOfAnotherMagnitudeHaveAPanelOfTheirOwn() throws IOException {
    writeLines(
        300, "{\"step\":%1$d,\"loss\":%2$s,\"ar_loss\":%2$s,\"self_loss\":0.5,\"next_loss\":0.4}");
    LossChart.write(metrics, evaluation, png);
    BufferedImage without = ImageIO.read(png.toFile());
    Files.writeString(
        evaluation, "{\"step\":0,\"self_loss\":0.55}\n{\"step\":150,\"self_loss\":0.45}");
    LossChart.write(metrics, evaluation, png);
    BufferedImage with = ImageIO.read(png.toFile());
    assertThat(with.getHeight()).isEqualTo(1720);
    assertThat(pixels(with, ORANGE)).isGreaterThan(pixels(without, ORANGE) + 100);
  }

  @Test
  void panelsByMedian() {
    Table<Term, Double, Double> training =
        ImmutableTable.<Term, Double, Double>builder()
            .put(Term.LOSS, 1.0, 10.0)
            .put(Term.AR, 1.0, 4.0)
            .put(Term.SELF, 1.0, 1.0)
            .put(Term.NEXT, 1.0, 1.0)
            .build();
    assertThat(LossChart.panels(training))
        .containsExactly(Set.of(Term.LOSS, Term.AR), Set.of(Term.SELF, Term.NEXT));
  }

  @Test
  void anAccuracyHasAPanelOfItsOwn() throws IOException {
    Table<Term, Double, Double> training =
        ImmutableTable.<Term, Double, Double>builder()
            .put(Term.LOSS, 1.0, 0.5)
            .put(Term.ACCURACY, 1.0, 0.5)
            .build();
    assertThat(LossChart.panels(training))
        .containsExactly(Set.of(Term.LOSS), Set.of(Term.ACCURACY));
    writeLines(300, "{\"step\":%1$d,\"loss\":%2$s,\"accuracy\":0.5}");
    LossChart.write(metrics, evaluation, png);
    BufferedImage image = ImageIO.read(png.toFile());
    assertThat(image.getHeight()).isEqualTo(1720);
    assertThat(pixels(image, PURPLE)).isGreaterThan(500);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 59, 5000})
  void anyNumberOfSteps(int steps) throws IOException {
    writeLines(steps, "{\"step\":%1$d,\"loss\":%2$s}");
    LossChart.write(metrics, evaluation, png);
    assertThat(ImageIO.read(png.toFile())).isNotNull();
  }

  @Test
  void aLineStillBeingWrittenAndNullsAreLeftOut() throws IOException {
    Files.writeString(
        metrics,
        """
        {"step":1,"loss":3.5}
        {"step":2,"loss":null}
        {"step":3,"loss":2.5}
        {"step":4,"lo\
        """);
    assertThat(LossChart.read(metrics).rowMap())
        .isEqualTo(Map.of(Term.LOSS, Map.of(1.0, 3.5, 3.0, 2.5)));
  }

  @Test
  void smoothingKeepsTheStartAndALevel() {
    double[] level = new double[100];
    Arrays.fill(level, 2);
    assertThat(LossChart.smooth(level, 3, 7)).isEqualTo(2);
    assertThat(LossChart.smooth(level, 99, 7)).isEqualTo(2);
    double[] falling = IntStream.range(0, 100).mapToDouble(step -> 50 - step / 2.0).toArray();
    assertThat(LossChart.smooth(falling, 0, 9)).isEqualTo(50);
    assertThat(LossChart.smooth(falling, 40, 9)).isEqualTo(30, within(1e-9));
  }

  @Test
  void whatCannotBeDrawnIsNamed() throws IOException {
    assertThatThrownBy(() -> LossChart.write(metrics, evaluation, png))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(metrics + ": cannot be read");
    Files.writeString(metrics, "{\"step\":1}\n");
    assertThatThrownBy(() -> LossChart.write(metrics, evaluation, png))
        .isInstanceOf(LlaraException.class)
        .hasMessage(metrics + ": contains no step with a loss");
    Files.writeString(metrics, "{\"step\":1,\"loss\":1}\nstep 2\n{\"step\":3,\"loss\":1}\n");
    assertThatThrownBy(() -> LossChart.write(metrics, evaluation, png))
        .isInstanceOf(LlaraException.class)
        .hasMessage(metrics + ":2: is not valid JSON: unexpected character at character 1");
    Files.writeString(metrics, "{\"step\":1,\"loss\":\"x\"}\n");
    assertThatThrownBy(() -> LossChart.write(metrics, evaluation, png))
        .isInstanceOf(LlaraException.class)
        .hasMessage(metrics + ":1: key 'loss' is the string 'x'; expected a finite number");
    assertThat(png).doesNotExist();
  }

  /** Java ends in an InternalError there; the trainer must outlive it. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void aMachineWithoutFontsIsAnErrorOfOurs() throws Exception {
    writeLines(3, "{\"step\":%1$d,\"loss\":%2$s}");
    List<String> broken =
        List.of("-Djava.awt.headless=true", "-Dsun.awt.fontconfig=" + dir.resolve("none"));
    assertThat(
            ChildJvm.run(
                broken, Draw.class, metrics.toString(), evaluation.toString(), png.toString()))
        .contains("LlaraException " + png + ": the curves cannot be drawn");
    assertThat(png).doesNotExist();
  }

  /** Draws, and says what went wrong. */
  static final class Draw {
    public static void main(String[] arguments) {
      try {
        LossChart.write(Path.of(arguments[0]), Path.of(arguments[1]), Path.of(arguments[2]));
      } catch (LlaraException e) {
        System.out.println("LlaraException " + e.getMessage());
      }
    }
  }

  private void writeLines(int steps, String form) throws IOException {
    Files.writeString(
        metrics,
        IntStream.rangeClosed(1, steps)
            .mapToObj(step -> form.formatted(step, 3 + 7 * Math.exp(-step / 50.0)))
            .collect(Collectors.joining("\n", "", "\n")));
  }

  private static long pixels(BufferedImage image, int colour) {
    return Arrays.stream(
            image.getRGB(0, 0, image.getWidth(), image.getHeight(), null, 0, image.getWidth()))
        .filter(pixel -> (pixel & 0xFFFFFF) == colour)
        .count();
  }
}
