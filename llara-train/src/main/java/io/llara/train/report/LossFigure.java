package io.llara.train.report;

import io.llara.train.report.LossCurves.Curve;
import io.llara.train.report.LossCurves.Panel;
import io.llara.train.report.LossCurves.Term;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Path2D;
import java.awt.image.BufferedImage;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.XYSeries.XYSeriesRenderStyle;
import org.knowm.xchart.style.Styler.LegendLayout;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.lines.SeriesLines;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Loss curves as an image: colours, ranges and the arrangement of panels. */
final class LossFigure {
  private static final int WIDTH = 1000;
  private static final int PANEL_HEIGHT = 430;

  /** Pixels of the image for one of the drawing, so that text stays sharp on dense screens. */
  private static final int SCALE = 2;

  /** More points than this lie on top of each other. */
  private static final int MOST_POINTS = 2000;

  /** So few points are marked on their line. */
  private static final int FEW_POINTS = 60;

  /** How many steps on either side a point of the line is the mean of, as a share of all. */
  private static final double SMOOTHING = 0.01;

  /**
   * The share of single steps on either side that may lie outside: a spike must not set a range.
   */
  private static final double OUTLIERS = 0.005;

  private static final double PADDING = 0.04;

  private static final Color INK = new Color(0x33, 0x33, 0x33);
  private static final Color GRID = new Color(0xE4, 0xE4, 0xE4);
  private static final int FAINT = 60;

  private static final BasicStroke LINE =
      new BasicStroke(2f, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND);

  /** Told apart with any colour vision: Okabe and Ito's palette. */
  private static final Map<Term, Color> COLOURS =
      Map.of(
          Term.LOSS, new Color(0x4D, 0x4D, 0x4D),
          Term.AR, new Color(0x00, 0x72, 0xB2),
          Term.SELF, new Color(0xD5, 0x5E, 0x00),
          Term.NEXT, new Color(0x00, 0x9E, 0x73),
          Term.ACCURACY, new Color(0xCC, 0x79, 0xA7));

  private LossFigure() {}

  static BufferedImage draw(List<Panel> panels) {
    BufferedImage image =
        new BufferedImage(
            WIDTH * SCALE, PANEL_HEIGHT * panels.size() * SCALE, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    try {
      graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
      graphics.setRenderingHint(
          RenderingHints.KEY_STROKE_CONTROL, RenderingHints.VALUE_STROKE_PURE);
      graphics.scale(SCALE, SCALE);
      double[] steps =
          range(
              panels.stream()
                  .flatMap(panel -> Stream.of(panel.training(), panel.heldOut()))
                  .flatMap(curves -> curves.values().stream())
                  .map(Curve::steps));
      double margin = (steps[1] - steps[0]) * PADDING / 2;
      double[] padded = {steps[0] - margin, steps[1] + margin};
      for (Panel panel : panels) {
        XYChart chart = chart(panel, padded);
        // Said once for all.
        chart.getStyler().setChartTitleVisible(panel == panels.get(0));
        chart.getStyler().setXAxisTitleVisible(panel == panels.get(panels.size() - 1));
        chart.paint(graphics, WIDTH, PANEL_HEIGHT);
        graphics.translate(0, PANEL_HEIGHT);
      }
    } finally {
      graphics.dispose();
    }
    return image;
  }

  private static XYChart chart(Panel panel, double[] steps) {
    int longest = panel.training().values().stream().mapToInt(Curve::size).max().orElse(0);
    int radius = (int) (longest * SMOOTHING);
    XYChart chart =
        new XYChartBuilder()
            .width(WIDTH)
            .height(PANEL_HEIGHT)
            .title(title(radius))
            .xAxisTitle("step")
            .yAxisTitle(
                panel.training().keySet().stream().allMatch(Term::isLoss)
                    ? "loss (nats)"
                    : "accuracy")
            .build();
    double[] losses =
        padded(
            range(
                Stream.concat(
                    panel.training().values().stream()
                        .flatMap(
                            curve ->
                                Stream.of(
                                    smooth(curve, radius).values(), withoutSpikes(curve.values()))),
                    panel.heldOut().values().stream().map(Curve::values))));
    style(chart.getStyler(), steps, losses);
    panel.training().forEach((term, curve) -> addDots(chart, term, inside(curve, losses)));
    panel.training().forEach((term, curve) -> addLine(chart, term, smooth(curve, radius)));
    panel.heldOut().forEach((term, curve) -> addDiamonds(chart, term, curve));
    return chart;
  }

  private static String title(int radius) {
    return radius == 0
        ? "Training loss, every step"
        : "Training loss: every step (dots), and smoothed over %d steps (line)"
            .formatted(2 * radius + 1);
  }

  private static void style(XYStyler styler, double[] steps, double[] losses) {
    styler
        .setXAxisMin(steps[0])
        .setXAxisMax(steps[1])
        .setYAxisMin(losses[0])
        .setYAxisMax(losses[1])
        .setLocale(Locale.ROOT)
        .setXAxisDecimalPattern("#,##0")
        .setYAxisDecimalPattern(losses[1] - losses[0] > 0.02 ? "0.###" : "0.######")
        .setXAxisTickMarkSpacingHint(90)
        .setYAxisTickMarkSpacingHint(45)
        .setAxisTitleFont(font(Font.PLAIN, 14))
        .setAxisTickLabelsFont(font(Font.PLAIN, 12))
        .setAxisTickLabelsColor(INK)
        .setAxisTickMarksColor(GRID)
        .setPlotGridLinesColor(GRID)
        .setPlotGridLinesStroke(new BasicStroke(1f))
        .setPlotGridVerticalLinesVisible(false)
        .setPlotMargin(0);
    styler
        // The plots of all panels begin at one place.
        .setYAxisLeftWidthHint(80)
        .setPlotContentSize(1)
        .setPlotBackgroundColor(Color.WHITE)
        .setPlotBorderVisible(false)
        .setChartBackgroundColor(Color.WHITE)
        .setChartFontColor(INK)
        .setChartPadding(16)
        .setChartTitleFont(font(Font.BOLD, 15))
        .setChartTitleBoxVisible(false)
        // Below the plot: inside, it would cover data sooner or later.
        .setLegendPosition(LegendPosition.OutsideS)
        .setLegendLayout(LegendLayout.Horizontal)
        .setLegendFont(font(Font.PLAIN, 13))
        .setLegendBorderColor(Color.WHITE)
        .setLegendPadding(14)
        .setLegendSeriesLineLength(26);
  }

  private static Font font(int weight, int size) {
    return new Font(Font.SANS_SERIF, weight, size);
  }

  private static void addDots(XYChart chart, Term term, Curve curve) {
    if (curve.size() == 0) {
      return;
    }
    Color colour = colour(term);
    Curve thinned = thinned(curve);
    XYSeries dots = chart.addSeries(term + " dots", thinned.steps(), thinned.values());
    dots.setXYSeriesRenderStyle(XYSeriesRenderStyle.Scatter);
    dots.setMarker(new Dot(3));
    dots.setMarkerColor(new Color(colour.getRed(), colour.getGreen(), colour.getBlue(), FAINT));
    dots.setShowInLegend(false);
  }

  private static void addLine(XYChart chart, Term term, Curve curve) {
    Curve thinned = thinned(curve);
    XYSeries line = chart.addSeries(term.title, thinned.steps(), thinned.values());
    line.setMarker(curve.size() <= FEW_POINTS ? new Dot(6) : SeriesMarkers.NONE);
    line.setMarkerColor(colour(term));
    line.setLineColor(colour(term));
    line.setLineStyle(LINE);
  }

  private static void addDiamonds(XYChart chart, Term term, Curve curve) {
    XYSeries diamonds = chart.addSeries(term.title + ", held-out", curve.steps(), curve.values());
    diamonds.setMarker(new Diamond());
    diamonds.setMarkerColor(colour(term));
    diamonds.setLineStyle(SeriesLines.NONE);
  }

  private static Color colour(Term term) {
    return COLOURS.getOrDefault(term, INK);
  }

  /**
   * A weighted mean around each point, heaviest at the point: a mean of means. Near the start there
   * are as few values after a point as before it, so that a steep start stays as high as it is.
   */
  static Curve smooth(Curve curve, int radius) {
    double[] once = means(curve.values(), radius / 2);
    return new Curve(curve.steps(), means(once, radius - radius / 2));
  }

  private static double[] means(double[] values, int radius) {
    double[] sums = new double[values.length + 1];
    for (int i = 0; i < values.length; i++) {
      sums[i + 1] = sums[i] + values[i];
    }
    double[] means = new double[values.length];
    for (int i = 0; i < means.length; i++) {
      int first = i - Math.min(radius, i);
      int last = Math.min(i + Math.min(radius, i), values.length - 1);
      means[i] = (sums[last + 1] - sums[first]) / (last + 1 - first);
    }
    return means;
  }

  private static double[] withoutSpikes(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int cut = (int) (sorted.length * OUTLIERS);
    return Arrays.copyOfRange(sorted, cut, sorted.length - cut);
  }

  private static Curve inside(Curve curve, double[] range) {
    return picked(
        curve,
        IntStream.range(0, curve.size())
            .filter(i -> curve.values()[i] >= range[0] && curve.values()[i] <= range[1])
            .toArray());
  }

  /** Every n-th point, and the last. */
  private static Curve thinned(Curve curve) {
    int stride = (curve.size() - 1) / MOST_POINTS + 1;
    return picked(
        curve,
        IntStream.range(0, curve.size())
            .filter(i -> i % stride == 0 || i == curve.size() - 1)
            .toArray());
  }

  private static Curve picked(Curve curve, int[] indexes) {
    return new Curve(
        Arrays.stream(indexes).mapToDouble(i -> curve.steps()[i]).toArray(),
        Arrays.stream(indexes).mapToDouble(i -> curve.values()[i]).toArray());
  }

  /** The least and the greatest of all; two different numbers in any case. */
  private static double[] range(Stream<double[]> values) {
    var all = values.flatMapToDouble(Arrays::stream).summaryStatistics();
    return all.getMin() < all.getMax()
        ? new double[] {all.getMin(), all.getMax()}
        : new double[] {all.getMin() - 0.5, all.getMax() + 0.5};
  }

  private static double[] padded(double[] range) {
    double padding = (range[1] - range[0]) * PADDING;
    // Losses are not below 0, and neither is the axis unless one is.
    double low = range[0] >= 0 ? Math.max(0, range[0] - padding) : range[0] - padding;
    return new double[] {low, range[1] + padding};
  }

  private static final class Dot extends Marker {
    private final double diameter;

    Dot(double diameter) {
      this.diameter = diameter;
    }

    @Override
    public void paint(Graphics2D graphics, double x, double y, int size) {
      graphics.fill(new Ellipse2D.Double(x - diameter / 2, y - diameter / 2, diameter, diameter));
    }
  }

  private static final class Diamond extends Marker {
    private static final double RADIUS = 6;

    @Override
    public void paint(Graphics2D graphics, double x, double y, int size) {
      Path2D shape = new Path2D.Double();
      shape.moveTo(x, y - RADIUS);
      shape.lineTo(x + RADIUS, y);
      shape.lineTo(x, y + RADIUS);
      shape.lineTo(x - RADIUS, y);
      shape.closePath();
      Color colour = graphics.getColor();
      graphics.fill(shape);
      // A white rim sets it off from the line of the same colour.
      graphics.setColor(Color.WHITE);
      graphics.setStroke(new BasicStroke(1.2f));
      graphics.draw(shape);
      graphics.setColor(colour);
    }
  }
}
