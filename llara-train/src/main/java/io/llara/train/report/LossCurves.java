package io.llara.train.report;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import java.awt.image.BufferedImage;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import javax.imageio.ImageIO;
import org.jspecify.annotations.Nullable;

/**
 * Draws the loss terms of a run over its steps into a PNG: single steps as faint dots, a smoothed
 * line over them, held-out losses as diamonds. Terms of different magnitude, and accuracies, get
 * panels of their own, one below the other. No screen is needed. Thread-safe.
 */
public final class LossCurves {
  /** Medians further apart than this would squeeze one of the two curves into a flat line. */
  private static final double SAME_PANEL = 3;

  private LossCurves() {}

  /** The numbers that a line may have, in the order they are drawn in. */
  enum Term {
    LOSS("loss", "total"),
    AR("ar_loss", "next token"),
    SELF("self_loss", "EBAE (own text)"),
    NEXT("next_loss", "EBAR (next text)"),
    ACCURACY("accuracy", "positive passage first");

    final String key;
    final String title;

    Term(String key, String title) {
      this.key = key;
      this.title = title;
    }

    boolean isLoss() {
      return this != ACCURACY;
    }
  }

  /** The steps a term has a number at, ascending, and the numbers. */
  record Curve(double[] steps, double[] values) {
    int size() {
      return steps.length;
    }

    double median() {
      double[] sorted = values.clone();
      Arrays.sort(sorted);
      return sorted[sorted.length / 2];
    }
  }

  /** Terms that share a vertical axis. */
  record Panel(Map<Term, Curve> training, Map<Term, Curve> heldOut) {}

  /**
   * Draws the losses of training alone.
   *
   * @see #write(Path, Optional, Path)
   */
  public static void write(Path metrics, Path png) {
    write(metrics, Optional.empty(), png);
  }

  /**
   * Draws losses of training and, where there are any, held-out ones.
   *
   * @param metrics JSON lines with {@code step} and any of {@code loss}, {@code ar_loss}, {@code
   *     self_loss}, {@code next_loss}, in nats, and {@code accuracy}; null stands for none. A last
   *     line that is still being written is left out
   * @param evaluation the same of held-out text; a file that does not exist has no points
   * @param png replaced as a whole if it is there
   * @throws LlaraException if a file cannot be read or written, there is nothing to draw, or this
   *     machine cannot draw (for want of fonts, say)
   */
  public static void write(Path metrics, Optional<Path> evaluation, Path png) {
    Map<Term, Curve> training = read(metrics);
    if (training.isEmpty()) {
      throw new LlaraException("%s: holds no step with a loss".formatted(metrics));
    }
    Map<Term, Curve> heldOut =
        evaluation.filter(Files::exists).map(LossCurves::read).orElse(Map.of());
    byte[] bytes = png(panels(training, heldOut), png);
    AtomicFiles.write(png, bytes);
  }

  private static byte[] png(List<Panel> panels, Path png) {
    try {
      BufferedImage image = LossFigure.draw(panels);
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      if (!ImageIO.write(image, "png", bytes)) {
        throw new IOException("this Java has no writer of PNG files");
      }
      return bytes.toByteArray();
    } catch (OutOfMemoryError e) {
      throw e;
    } catch (IOException | RuntimeException | Error e) {
      // Java reports a machine without fonts or font libraries by errors of several kinds.
      throw new LlaraException("%s: the curves cannot be drawn: %s".formatted(png, e), e);
    }
  }

  static List<Panel> panels(Map<Term, Curve> training, Map<Term, Curve> heldOut) {
    Map<Term, Curve> shown = new EnumMap<>(training);
    Curve accuracy = shown.remove(Term.ACCURACY);
    if (shown.size() == 2 && shown.containsKey(Term.LOSS)) {
      shown.remove(Term.LOSS); // The total of one term is that term.
    }
    List<Map.Entry<Term, Curve>> byMedian = new ArrayList<>(shown.entrySet());
    byMedian.sort(Comparator.comparingDouble(entry -> -entry.getValue().median()));
    List<Panel> panels = new ArrayList<>();
    double top = 0;
    for (Map.Entry<Term, Curve> entry : byMedian) {
      Term term = entry.getKey();
      double median = entry.getValue().median();
      if (panels.isEmpty() || median * SAME_PANEL < top) {
        panels.add(new Panel(new EnumMap<>(Term.class), new EnumMap<>(Term.class)));
        top = median;
      }
      put(panels.get(panels.size() - 1), term, entry.getValue(), heldOut);
    }
    if (accuracy != null) {
      panels.add(new Panel(new EnumMap<>(Term.class), new EnumMap<>(Term.class)));
      put(panels.get(panels.size() - 1), Term.ACCURACY, accuracy, heldOut);
    }
    return panels;
  }

  private static void put(Panel panel, Term term, Curve curve, Map<Term, Curve> heldOut) {
    panel.training().put(term, curve);
    Curve points = heldOut.get(term);
    if (points != null) {
      panel.heldOut().put(term, points);
    }
  }

  static Map<Term, Curve> read(Path file) {
    Map<Term, List<double[]>> points = new EnumMap<>(Term.class);
    try (BufferedReader lines = Files.newBufferedReader(file)) {
      int number = 1;
      String next = lines.readLine();
      while (next != null) {
        String line = next;
        next = lines.readLine();
        if (!addPoints(points, parse(line)) && next != null) {
          throw new LlaraException(
              "%s:%d: is not an object with a number 'step'".formatted(file, number));
        }
        number++;
      }
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be read: %s".formatted(file, e), e);
    }
    Map<Term, Curve> curves = new EnumMap<>(Term.class);
    points.forEach(
        (term, list) -> {
          list.sort(Comparator.comparingDouble(point -> point[0]));
          curves.put(
              term,
              new Curve(
                  list.stream().mapToDouble(point -> point[0]).toArray(),
                  list.stream().mapToDouble(point -> point[1]).toArray()));
        });
    return curves;
  }

  /** Returns whether the object is one of a step. */
  private static boolean addPoints(Map<Term, List<double[]>> points, @Nullable JsonObject json) {
    Double step = json == null ? null : number(json, "step");
    if (json == null || step == null) {
      return false;
    }
    for (Term term : Term.values()) {
      Double value = number(json, term.key);
      if (value != null) {
        points.computeIfAbsent(term, key -> new ArrayList<>()).add(new double[] {step, value});
      }
    }
    return true;
  }

  private static @Nullable JsonObject parse(String line) {
    try {
      return JsonParser.parseString(line) instanceof JsonObject json ? json : null;
    } catch (JsonParseException e) {
      return null;
    }
  }

  private static @Nullable Double number(JsonObject json, String key) {
    JsonElement value = json.get(key);
    if (value == null || !value.isJsonPrimitive() || !value.getAsJsonPrimitive().isNumber()) {
      return null;
    }
    double number = value.getAsDouble();
    return Double.isFinite(number) ? number : null;
  }
}
