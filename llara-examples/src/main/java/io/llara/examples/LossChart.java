package io.llara.examples;

import com.google.common.collect.Sets;
import com.google.common.collect.Table;
import com.google.common.collect.TreeBasedTable;
import com.google.common.primitives.Doubles;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.train.run.MetricsLog;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler.LegendLayout;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.lines.SeriesLines;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * Draws the losses of a run over its steps into a PNG: single steps as faint dots, a smoothed line
 * over them, held-out losses as diamonds. Terms of different magnitude, and accuracies, get panels
 * of their own, one below the other. Sizes are twice those of an ordinary screen, so that text
 * stays sharp on dense ones.
 */
final class LossChart {
  /** Medians further apart than this would squeeze one of two curves into a flat line. */
  private static final double SAME_PANEL = 3;

  /** More points than this lie on top of each other. */
  private static final int MOST_POINTS = 2000;

  /** How many steps on either side a point of the line is the mean of, as a share of all. */
  private static final double SMOOTHING = 0.01;

  /** The share of steps on either side that may lie outside: a spike must not set the range. */
  private static final double OUTLIERS = 0.005;

  /** So few points are marked on their line. */
  private static final int FEW_POINTS = 60;

  private static final double PADDING = 0.03;

  private static final Color INK = new Color(0x333333);
  private static final Color GRID = new Color(0xE4E4E4);
  private static final int FAINT = 60 << 24;

  private LossChart() {}

  /** The quantities of a step, in the order they are drawn in; Okabe and Ito's colours. */
  enum Term {
    LOSS("loss", "total", 0x4D4D4D),
    AR("ar_loss", "next token", 0x0072B2),
    SELF("self_loss", "EBAE (own text)", 0xD55E00),
    NEXT("next_loss", "EBAR (next text)", 0x009E73),
    INFO_NCE("infonce_loss", "InfoNCE", 0x0072B2),
    SIMILARITY("similarity_loss", "KL of similarities", 0xD55E00),
    SCORE("score_loss", "KL of scores", 0x009E73),
    COSINE("cosine_loss", "1 - cosine to the teacher", 0xE69F00),
    ACCURACY("accuracy", "positive passage first", 0xCC79A7);

    private final String key;
    private final String title;
    private final int rgb;

    Term(String key, String title, int rgb) {
      this.key = key;
      this.title = title;
      this.rgb = rgb;
    }
  }

  /**
   * Draws losses of training and, where there are any, held-out ones.
   *
   * @param metrics JSON lines with {@code step} and any of the terms' keys, losses in nats; null
   *     stands for none. A last line that is still being written is left out
   * @param evaluation the same of held-out text; a file that does not exist has no points
   * @param png replaced as a whole if it is there
   * @throws LlaraException if a file cannot be read or written, there is nothing to draw, or this
   *     machine cannot draw (for want of fonts, say)
   */
  static void write(Path metrics, Path evaluation, Path png) {
    Table<Term, Double, Double> training = read(metrics);
    if (training.isEmpty()) {
      throw new LlaraException("%s: contains no step with a loss".formatted(metrics));
    }
    Table<Term, Double, Double> heldOut =
        Files.exists(evaluation) ? read(evaluation) : TreeBasedTable.create();
    // Drawing into a file needs no screen, and must not fail for a wrong DISPLAY.
    System.setProperty("java.awt.headless", "true");
    ByteArrayOutputStream image = new ByteArrayOutputStream();
    try {
      List<XYChart> charts =
          panels(training).stream().map(terms -> chart(terms, training, heldOut)).toList();
      // Title and label stand once for all.
      charts.stream().skip(1).forEach(chart -> chart.setTitle(""));
      charts.get(charts.size() - 1).setXAxisTitle("step");
      BitmapEncoder.saveBitmap(charts, charts.size(), 1, image, BitmapFormat.PNG);
    } catch (OutOfMemoryError e) {
      throw e;
    } catch (IOException | RuntimeException | Error e) {
      // Java reports a machine without fonts or font libraries by errors of several kinds.
      throw new LlaraException(
          "%s: the curves cannot be drawn: %s"
              .formatted(
                  png,
                  Objects.requireNonNullElse(e.getMessage(), "the machine's fonts cannot be used")),
          e);
    }
    AtomicFiles.write(png, image.toByteArray());
  }

  /** Returns the values of a file by term and step, steps ascending. */
  static Table<Term, Double, Double> read(Path file) {
    Table<Term, Double, Double> values = TreeBasedTable.create();
    MetricsLog.read(
        file,
        json -> {
          double step = json.requiredNumber("step");
          for (Term term : Term.values()) {
            json.number(term.key).ifPresent(value -> values.put(term, step, value));
          }
        });
    return values;
  }

  /** Returns which terms share a vertical axis: losses of about one magnitude, largest first. */
  static List<Set<Term>> panels(Table<Term, Double, Double> training) {
    List<Term> losses = new ArrayList<>(training.rowKeySet());
    boolean accuracy = losses.remove(Term.ACCURACY);
    if (losses.size() == 2) {
      losses.remove(Term.LOSS); // The total of one term is that term.
    }
    losses.sort(Comparator.comparingDouble(term -> -median(training.row(term).values())));
    List<Set<Term>> panels = new ArrayList<>();
    double top = Double.POSITIVE_INFINITY;
    for (Term term : losses) {
      double median = median(training.row(term).values());
      if (median * SAME_PANEL < top) {
        panels.add(EnumSet.noneOf(Term.class));
        top = median;
      }
      panels.get(panels.size() - 1).add(term);
    }
    if (accuracy) {
      panels.add(EnumSet.of(Term.ACCURACY));
    }
    return panels;
  }

  private static double median(Collection<Double> values) {
    return values.stream().sorted().skip(values.size() / 2).findFirst().orElseThrow();
  }

  private static XYChart chart(
      Set<Term> terms, Table<Term, Double, Double> training, Table<Term, Double, Double> heldOut) {
    int steps = terms.stream().mapToInt(term -> training.row(term).size()).max().orElseThrow();
    int radius = (int) (steps * SMOOTHING);
    XYChart chart =
        new XYChartBuilder()
            .width(2000)
            .height(860)
            .title(
                radius == 0
                    ? "Training loss, every step"
                    : "Training loss: every step (dots), and smoothed over %d steps (line)"
                        .formatted(2 * radius + 1))
            .yAxisTitle(terms.contains(Term.ACCURACY) ? "accuracy" : "loss (nats)")
            .build();
    // Dots lie below all lines, and diamonds above them.
    for (Term term : terms) {
      XYSeries dots = add(chart, term + " dots", training.row(term), 0);
      dots.setMarker(marker(SeriesMarkers.CIRCLE, 6, 0));
      dots.setMarkerColor(new Color(term.rgb | FAINT, true));
      dots.setLineStyle(SeriesLines.NONE);
      dots.setShowInLegend(false);
    }
    for (Term term : terms) {
      XYSeries line = add(chart, term.title, training.row(term), radius);
      boolean few = training.row(term).size() <= FEW_POINTS;
      line.setMarker(few ? marker(SeriesMarkers.CIRCLE, 12, 0) : SeriesMarkers.NONE);
      line.setMarkerColor(new Color(term.rgb));
      line.setLineColor(new Color(term.rgb));
      line.setLineStyle(new BasicStroke(4, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND));
    }
    for (Term term : Sets.intersection(terms, heldOut.rowKeySet())) {
      XYSeries diamonds = add(chart, term.title + ", held-out", heldOut.row(term), 0);
      diamonds.setMarker(marker(SeriesMarkers.DIAMOND, 18, 4));
      diamonds.setMarkerColor(new Color(term.rgb));
      diamonds.setLineStyle(SeriesLines.NONE);
    }
    List<Double> shown = new ArrayList<>();
    for (XYSeries series : chart.getSeriesMap().values()) {
      double[] values = series.getYData().clone();
      Arrays.sort(values);
      int cut = series.isShowInLegend() ? 0 : (int) (values.length * OUTLIERS);
      shown.addAll(Doubles.asList(values).subList(cut, values.length - cut));
    }
    XYStyler styler = chart.getStyler();
    style(styler);
    setRange(shown, styler::setYAxisMin, styler::setYAxisMax);
    Set<Double> allSteps = Sets.union(training.columnKeySet(), heldOut.columnKeySet());
    setRange(allSteps, styler::setXAxisMin, styler::setXAxisMax);
    return chart;
  }

  /** Adds every n-th point, and the last, smoothed over a radius. */
  private static XYSeries add(XYChart chart, String name, Map<Double, Double> points, int radius) {
    double[] steps = Doubles.toArray(points.keySet());
    double[] values = Doubles.toArray(points.values());
    int last = steps.length - 1;
    int stride = last / MOST_POINTS + 1;
    int[] kept = IntStream.rangeClosed(0, last).filter(i -> i % stride == 0 || i == last).toArray();
    return chart.addSeries(
        name,
        Arrays.stream(kept).mapToDouble(i -> steps[i]).toArray(),
        Arrays.stream(kept).mapToDouble(i -> smooth(values, i, radius)).toArray());
  }

  /**
   * Returns a weighted mean around a value, with weights that fall linearly from it. Near the start
   * as few values after it count as before it, so that a steep start stays as high as it is.
   */
  static double smooth(double[] values, int index, int radius) {
    int reach = Math.min(radius, index);
    double sum = 0;
    double weights = 0;
    for (int i = index - reach; i <= Math.min(index + reach, values.length - 1); i++) {
      double weight = reach + 1 - Math.abs(i - index);
      sum += weight * values[i];
      weights += weight;
    }
    return sum / weights;
  }

  /** Leaves some room on both sides, and never makes an axis of a single value. */
  private static void setRange(
      Collection<Double> values, Consumer<Double> low, Consumer<Double> high) {
    double least = Collections.min(values);
    double greatest = Collections.max(values);
    double room = least < greatest ? PADDING * (greatest - least) : 0.5;
    low.accept(least - room);
    high.accept(greatest + room);
  }

  private static void style(XYStyler styler) {
    styler
        .setLocale(Locale.ROOT)
        .setXAxisDecimalPattern("#,##0")
        .setYAxisDecimalPattern("0.######")
        .setXAxisTickMarkSpacingHint(180)
        .setYAxisTickMarkSpacingHint(90)
        .setAxisTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 28))
        .setAxisTitlePadding(20)
        .setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 24))
        .setAxisTickLabelsColor(INK)
        .setAxisTickMarksColor(GRID)
        .setAxisTickMarksStroke(new BasicStroke(2))
        .setPlotGridLinesColor(GRID)
        .setPlotGridLinesStroke(new BasicStroke(2))
        .setPlotGridVerticalLinesVisible(false)
        .setPlotMargin(0)
        // The plots of all panels begin at one place.
        .setYAxisLeftWidthHint(160)
        .setPlotContentSize(1)
        .setPlotBorderVisible(false)
        .setChartBackgroundColor(Color.WHITE)
        .setChartFontColor(INK)
        .setChartPadding(32)
        .setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 30))
        // Below the plot: inside, it would cover data sooner or later.
        .setLegendPosition(LegendPosition.OutsideS)
        .setLegendLayout(LegendLayout.Horizontal)
        .setLegendFont(new Font(Font.SANS_SERIF, Font.PLAIN, 26))
        .setLegendBorderColor(Color.WHITE)
        .setLegendPadding(28)
        .setLegendSeriesLineLength(52);
  }

  /** A marker with a size and a white rim of its own; the library has one size for a chart. */
  private static Marker marker(Marker shape, int size, int rim) {
    return new Marker() {
      @Override
      public void paint(Graphics2D graphics, double x, double y, int common) {
        if (rim > 0) {
          Color color = graphics.getColor();
          graphics.setColor(Color.WHITE);
          shape.paint(graphics, x, y, size + rim);
          graphics.setColor(color);
        }
        shape.paint(graphics, x, y, size);
      }
    };
  }
}
