package io.llara.train.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.llara.LlaraException;
import io.llara.testing.ChildJvm;
import io.llara.train.report.LossCurves.Curve;
import io.llara.train.report.LossCurves.Panel;
import io.llara.train.report.LossCurves.Term;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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

class LossCurvesTest {
  private static final int BLUE = 0x0072B2;
  private static final int ORANGE = 0xD55E00;
  private static final int PURPLE = 0xCC79A7;

  @TempDir Path dir;
  private Path metrics;
  private Path png;

  @BeforeEach
  void names() {
    metrics = dir.resolve("metrics.jsonl");
    png = dir.resolve("loss.png");
  }

  @Test
  void oneTermIsOnePanel() throws IOException {
    writeLines(300, "{\"step\":%1$d,\"loss\":%2$s,\"ar_loss\":%2$s,\"self_loss\":null}");
    LossCurves.write(metrics, png);
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
    Path evaluation = dir.resolve("evaluation.jsonl");
    Files.writeString(
        evaluation, "{\"step\":0,\"self_loss\":0.55}\n{\"step\":150,\"self_loss\":0.45}");
    LossCurves.write(metrics, png);
    BufferedImage without = ImageIO.read(png.toFile());
    LossCurves.write(metrics, Optional.of(evaluation), png);
    BufferedImage with = ImageIO.read(png.toFile());
    assertThat(with.getHeight()).isEqualTo(1720);
    assertThat(pixels(with, ORANGE)).isGreaterThan(pixels(without, ORANGE) + 100);
  }

  @Test
  void panelsByMedian() {
    Curve ten = new Curve(new double[] {1}, new double[] {10});
    Curve four = new Curve(new double[] {1}, new double[] {4});
    Curve one = new Curve(new double[] {1}, new double[] {1});
    List<Panel> panels =
        LossCurves.panels(
            Map.of(Term.LOSS, ten, Term.AR, four, Term.SELF, one, Term.NEXT, one),
            Map.of(Term.SELF, one));
    assertThat(panels).hasSize(2);
    assertThat(panels.get(0).training()).containsOnlyKeys(Term.LOSS, Term.AR);
    assertThat(panels.get(1).training()).containsOnlyKeys(Term.SELF, Term.NEXT);
    assertThat(panels.get(1).heldOut()).containsOnlyKeys(Term.SELF);
  }

  @Test
  void anAccuracyHasAPanelOfItsOwn() throws IOException {
    Curve loss = new Curve(new double[] {1}, new double[] {0.5});
    Curve half = new Curve(new double[] {1}, new double[] {0.5});
    List<Panel> panels =
        LossCurves.panels(
            Map.of(Term.LOSS, loss, Term.ACCURACY, half), Map.of(Term.ACCURACY, half));
    assertThat(panels).hasSize(2);
    assertThat(panels.get(0).training()).containsOnlyKeys(Term.LOSS);
    assertThat(panels.get(1).training()).containsOnlyKeys(Term.ACCURACY);
    assertThat(panels.get(1).heldOut()).containsOnlyKeys(Term.ACCURACY);
    writeLines(300, "{\"step\":%1$d,\"loss\":%2$s,\"accuracy\":0.5}");
    LossCurves.write(metrics, png);
    BufferedImage image = ImageIO.read(png.toFile());
    assertThat(image.getHeight()).isEqualTo(1720);
    assertThat(pixels(image, PURPLE)).isGreaterThan(500);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 59, 5000})
  void anyNumberOfSteps(int steps) throws IOException {
    writeLines(steps, "{\"step\":%1$d,\"loss\":%2$s}");
    LossCurves.write(metrics, Optional.of(dir.resolve("none.jsonl")), png);
    assertThat(ImageIO.read(png.toFile())).isNotNull();
  }

  @Test
  void aLineStillBeingWrittenAndNumbersThatAreNoneAreLeftOut() throws IOException {
    Files.writeString(
        metrics,
        """
        {"step":1,"loss":3.5,"ar_loss":"x"}
        {"step":2,"loss":null}
        {"step":3,"loss":2.5}
        {"step":4,"lo\
        """);
    Map<Term, Curve> curves = LossCurves.read(metrics);
    assertThat(curves).containsOnlyKeys(Term.LOSS);
    assertThat(curves.get(Term.LOSS).steps()).containsExactly(1, 3);
    assertThat(curves.get(Term.LOSS).values()).containsExactly(3.5, 2.5);
  }

  @Test
  void smoothingKeepsTheStartAndALevel() {
    double[] steps = IntStream.range(0, 100).asDoubleStream().toArray();
    double[] level = new double[100];
    Arrays.fill(level, 2);
    assertThat(LossFigure.smooth(new Curve(steps, level), 7).values()).containsOnly(2);
    double[] falling = Arrays.stream(steps).map(step -> 50 - step / 2).toArray();
    double[] smoothed = LossFigure.smooth(new Curve(steps, falling), 9).values();
    assertThat(smoothed[0]).isEqualTo(50);
    assertThat(smoothed[40]).isEqualTo(30, within(1e-9));
  }

  @Test
  void whatCannotBeDrawnIsNamed() throws IOException {
    assertThatThrownBy(() -> LossCurves.write(metrics, png))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(metrics + ": cannot be read");
    Files.writeString(metrics, "{\"step\":1}\n");
    assertThatThrownBy(() -> LossCurves.write(metrics, png))
        .isInstanceOf(LlaraException.class)
        .hasMessage(metrics + ": holds no step with a loss");
    Files.writeString(metrics, "{\"step\":1,\"loss\":1}\nstep 2\n{\"step\":3,\"loss\":1}\n");
    assertThatThrownBy(() -> LossCurves.write(metrics, png))
        .isInstanceOf(LlaraException.class)
        .hasMessage(metrics + ":2: is not an object with a number 'step'");
    assertThat(png).doesNotExist();
  }

  /** Java ends in an InternalError there; the trainer must outlive it. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void aMachineWithoutFontsIsAnErrorOfOurs() throws Exception {
    writeLines(3, "{\"step\":%1$d,\"loss\":%2$s}");
    List<String> broken =
        List.of("-Djava.awt.headless=true", "-Dsun.awt.fontconfig=" + dir.resolve("none"));
    assertThat(ChildJvm.run(broken, Draw.class, metrics.toString(), png.toString()))
        .contains("LlaraException " + png + ": the curves cannot be drawn");
    assertThat(png).doesNotExist();
  }

  /** Draws, and says what went wrong. */
  static final class Draw {
    public static void main(String[] arguments) {
      try {
        LossCurves.write(Path.of(arguments[0]), Path.of(arguments[1]));
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
